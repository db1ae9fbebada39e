"""Telephones that call each other with no server (RFC 6940, RFC 7904, RFC 7890)."""

__version__ = "0.1.0"
