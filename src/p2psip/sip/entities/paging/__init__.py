"""Pages: a number that many phones answer by themselves (docs/decisions/paging.md)."""
