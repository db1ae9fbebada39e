"""Whole peers (`coupling.Peer`) in the virtual world, and phones that are user agents."""
