"""Ports that a router gives to a machine inside when it is asked: PCP (RFC 6887), NAT-PMP (RFC 6886), UPnP."""
