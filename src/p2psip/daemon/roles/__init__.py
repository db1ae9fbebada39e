"""Peer or client, where a site finds that out."""
