"""Overlay links: what runs between two adjacent nodes (RFC 6940 section 6.6)."""
