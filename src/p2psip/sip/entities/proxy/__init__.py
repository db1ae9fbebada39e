"""The proxy (RFC 3261 section 16)."""
