"""A peer as a service: its settings and state directory, its control socket, its beginning and end."""
