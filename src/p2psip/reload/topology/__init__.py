"""Topology plug-ins (RFC 6940 section 6.4): which peers to be linked with, where a message goes next."""
