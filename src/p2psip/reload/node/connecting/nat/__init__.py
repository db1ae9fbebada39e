"""What this node is behind: surveys with other members, whether UDP passes, ports that a router maps."""
