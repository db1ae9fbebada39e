"""A node of the overlay: all rungs of RELOAD composed into one core (RFC 6940 section 1.2)."""
