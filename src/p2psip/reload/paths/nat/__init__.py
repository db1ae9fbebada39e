"""What kind of NAT a node is behind, and whether it can be reached: found out with other members (RFC 5780)."""
