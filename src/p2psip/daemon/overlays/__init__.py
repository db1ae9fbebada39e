"""A site that is in several overlays: the peers of all of them in one process."""
