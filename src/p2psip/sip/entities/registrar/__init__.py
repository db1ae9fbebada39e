"""The registrar, and the ways to its phones (RFC 3261 section 10, RFC 5626)."""
