"""Links with other nodes: who may be at the other end, how each is made, what becomes of it (RFC 6940 6.5.1)."""
