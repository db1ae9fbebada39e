"""Commands that look at one site: what its peer is behind, and whether all that a call takes works."""
