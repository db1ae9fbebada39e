"""Sockets, and what runs over them."""
