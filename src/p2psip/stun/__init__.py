"""STUN (RFC 8489), as far as SIP and RELOAD both need it."""
