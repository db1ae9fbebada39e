"""CHORD-RELOAD (RFC 6940 section 10)."""
