"""The state directory of a peer, and of a client."""
