"""Bytes of applications inside overlay messages, where two nodes have no path between them."""
