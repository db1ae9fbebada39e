"""What the operator has opened between this peer and other domains, and to which addresses it then sends."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from p2psip.base.address import Address

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class OtherDomains:
    """Which doors are open (docs/decisions/other-domains.md): without a word of the operator, none.

    `calls_out`: lines of this peer may call users of other domains. `calls_in`: anybody may call users by
    `user@domain`, where the domain is the overlay's or one of `names`. `guests` are networks in which nobody needs an
    account: who is there may call users by any name of this peer, and is called at its address. `host` is the name or
    numeric address by which others reach the phones' ports of this peer, "" if that is the address of the machine.
    Of the domains in `servers` that is where they are called, whatever DNS says: their servers are guests.
    Users of the domains in `shared` are in the overlay or at the domain's own servers, or both. `reaches` is how
    numbers begin that are called for other members at guests, where neighbours by DUNDi say that they are.
    """

    calls_out: bool = False
    calls_in: bool = False
    names: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    guests: tuple[IpNetwork, ...] = ()
    host: str = ""
    reaches: tuple[str, ...] = ()
    servers: Mapping[str, Address] = field(default_factory=dict)

    def is_guest(self, host: str) -> bool:
        """True for a numeric address in one of the networks of guests."""
        address = ipaddress.ip_address(host.partition("%")[0])
        return any(address in network for network in self.guests)

    def refusal(self, address: Address, own_ports: frozenset[int], *, is_own: bool) -> str:
        """Why nothing is sent to an address that DNS, or somebody else's URI, has named; "" if it may be.

        `is_own` tells that the host is this very machine, `own_ports` are those at which it takes requests.
        """
        if not address.port:
            return f"{address.host} is to be called at port 0, which is none"
        if is_own and address.port in own_ports:
            return f"{address} is this peer itself"
        if self.is_guest(address.host):
            return ""
        if is_own:
            return f"{address} is this machine"
        if not _is_of_internet(address.host):
            return f"{address.host} is no address of the Internet; networks of your own are listed in guests"
        return ""


def _is_of_internet(host: str) -> bool:
    """True for a unicast address that is good everywhere, and so is the one that it may carry inside (RFC 4291)."""
    address = ipaddress.ip_address(host.partition("%")[0])
    inside = None
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or _translated(address)
        if address.teredo is not None or address in _COMPATIBLE:
            return False
    return all(one.is_global and not one.is_multicast for one in (address, inside) if one is not None)


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The address behind a translator of its network (RFC 6052 section 2.1)."""
    return ipaddress.IPv4Address(address.packed[12:]) if address in _NAT64 else None


_COMPATIBLE = ipaddress.IPv6Network("::/96")
"""RFC 4291 section 2.5.5.1: deprecated, and of use to nobody but who hides an address in one."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
