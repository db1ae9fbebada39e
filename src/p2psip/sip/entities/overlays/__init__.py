"""Calls between the overlays that one site is in."""
