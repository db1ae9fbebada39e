"""Enrollment and configuration over HTTPS (RFC 6940 section 11.2, 11.3)."""
