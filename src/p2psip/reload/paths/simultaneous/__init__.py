"""Streams that both ends open at the same moment, each through its own NAT (RFC 6544, RFC 5382 REQ-2)."""
