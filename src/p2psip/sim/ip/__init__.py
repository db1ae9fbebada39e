"""A world that begins at IP: networks and what is between them, machines with addresses, datagrams and streams."""
