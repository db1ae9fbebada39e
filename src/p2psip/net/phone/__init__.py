"""The test phone on real sockets."""
