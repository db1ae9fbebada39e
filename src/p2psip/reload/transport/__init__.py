"""Message transport: requests and answers, end to end (RFC 6940 section 1.2.2, 6.2.1, 6.3.4)."""
