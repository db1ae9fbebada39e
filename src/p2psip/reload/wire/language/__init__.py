"""The presentation language (RFC 6940 section 6.3.1)."""
