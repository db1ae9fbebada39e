"""Relays in the overlay (RFC 6940 section 9): the one that a node offers, and those that it needs."""
