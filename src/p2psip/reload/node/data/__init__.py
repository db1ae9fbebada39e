"""Values: asked for and served, on their way between peers, waiting for the disk (RFC 6940 section 7)."""
