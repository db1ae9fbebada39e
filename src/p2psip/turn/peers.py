"""To whom a relay relays: to nobody within the walls of its own site, or of its own machine.

Whoever may send through a relay stands, for those behind it, where the relay stands. So private, loopback and
link-local peers are only for clients that stand there as well, and only if the peer has asked here from there, too;
multicast, broadcast and 0.0.0.0 (which is the machine itself) for nobody; and IPv4 addresses in the guise of IPv6 ones
are looked at as what they are, or not relayed to at all (RFC 8656 section 21.4: "a TURN server MUST NOT accept Teredo
or 6to4 addresses").
"""

from __future__ import annotations

import enum
import ipaddress
from functools import lru_cache
from typing import Final

from p2psip.base.address import without_zone


class Scope(enum.Enum):
    """From where an address can be reached."""

    GLOBAL = "global"
    PRIVATE = "private"
    LINK_LOCAL = "link-local"
    LOOPBACK = "loopback"
    NONE = "none"


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

_SCOPES: Final[tuple[tuple[_Network, Scope], ...]] = tuple(
    (ipaddress.ip_network(network), scope)
    for network, scope in (
        ("0.0.0.0/8", Scope.NONE),  # This host (RFC 1122): Linux takes 0.0.0.0 for 127.0.0.1.
        ("224.0.0.0/3", Scope.NONE),  # Multicast, reserved, broadcast.
        ("127.0.0.0/8", Scope.LOOPBACK),
        ("169.254.0.0/16", Scope.LINK_LOCAL),
        ("10.0.0.0/8", Scope.PRIVATE),
        ("172.16.0.0/12", Scope.PRIVATE),
        ("192.168.0.0/16", Scope.PRIVATE),
        ("100.64.0.0/10", Scope.PRIVATE),  # Between a carrier's NAT and its customers (RFC 6598).
        ("192.0.0.0/24", Scope.PRIVATE),
        ("198.18.0.0/15", Scope.PRIVATE),
        ("::1/128", Scope.LOOPBACK),
        ("::/96", Scope.NONE),  # Unspecified, and IPv4-compatible.
        ("::ffff:0:0/96", Scope.NONE),  # An IPv4 address asks for a relayed address of IPv4.
        ("::ffff:0:0:0/96", Scope.NONE),  # IPv4-translated (RFC 7915).
        ("64:ff9b:1::/48", Scope.NONE),  # NAT64 with what prefix inside only its operator knows (RFC 8215).
        ("2001::/32", Scope.NONE),  # Teredo.
        ("2002::/16", Scope.NONE),  # 6to4.
        ("fe80::/10", Scope.LINK_LOCAL),
        ("fec0::/10", Scope.NONE),  # Site-local, deprecated (RFC 3879).
        ("fc00::/7", Scope.PRIVATE),
        ("ff00::/8", Scope.NONE),
    )
)


@lru_cache(maxsize=1024)
def scope_of(host: str) -> Scope:
    """That of a numeric address."""
    ip = ipaddress.ip_address(without_zone(host))
    if ip in _NAT64:
        # RFC 6052 section 5.1: such a prefix is not for IPv4 addresses that are not global.
        embedded = scope_of(str(ipaddress.IPv4Address(ip.packed[-4:])))
        return Scope.GLOBAL if embedded is Scope.GLOBAL else Scope.NONE
    return next((scope for network, scope in _SCOPES if ip in network), Scope.GLOBAL)
