"""The Overlay Configuration Document (RFC 6940 section 11.1): its values, its grammar, its signatures."""
