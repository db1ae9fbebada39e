"""Where a message goes next (RFC 6940 section 6.1, 6.2)."""
