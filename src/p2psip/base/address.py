"""Where packets come from and go to."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

IPV6_PREFIX = 64


class Address(NamedTuple):
    """A numeric IP address, without brackets, and a port. A link-local one of IPv6 may have a zone: `fe80::1%eth0`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def as_domain(name: str) -> str:
    """A name of DNS as it is compared: in lower case (RFC 4343), without the dot that may stand after a whole name."""
    return name.lower().removesuffix(".")


def without_zone(host: str) -> str:
    """A numeric address as the other end of a link knows it: zones mean nothing elsewhere (RFC 4007 section 11.2)."""
    return host.partition("%")[0]


def unmapped(host: str) -> str:
    """A numeric address as people know it: an IPv4 one also where a socket for both kinds says ::ffff:192.0.2.1."""
    try:
        ip = ipaddress.ip_address(without_zone(host))
    except ValueError:
        return host
    return str(ip.ipv4_mapped) if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None else host


def source_key(address: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 that an IPv6 host may roam in."""
    try:
        ip = ipaddress.ip_address(without_zone(unmapped(address)))
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, IPV6_PREFIX), strict=False))
    return str(ip)
