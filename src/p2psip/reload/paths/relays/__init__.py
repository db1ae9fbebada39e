"""Relays on the way: addresses that a relay lends us, and what we relay ourselves (RFC 8656; RFC 6940 section 9)."""
