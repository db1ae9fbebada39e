"""one-hop: every peer knows every peer (docs/decisions/one-hop.md)."""
