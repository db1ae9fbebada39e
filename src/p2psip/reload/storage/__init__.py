"""Data storage: what a node keeps for the overlay (RFC 6940 section 7)."""
