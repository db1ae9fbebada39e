"""What the overlay's storage is used for (RFC 6940 section 4.1 calls each of these a usage)."""
