"""User agents (RFC 3261 section 8)."""
