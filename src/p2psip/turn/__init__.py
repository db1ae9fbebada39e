"""TURN (RFC 8656): what relays datagrams between two who have no way to each other."""
