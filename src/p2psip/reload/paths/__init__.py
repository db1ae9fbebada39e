"""Ways to other nodes: from what an Attach says of both ends to a connection, or to why there is none."""
