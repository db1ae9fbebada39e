"""Candidates of TCP whose `tcptype` is "so" (RFC 6544 section 4.5), in the form of RFC 6940 section 6.5.1.1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from p2psip.base.address import Address, without_zone
from p2psip.reload.paths.ice.candidate_addresses import Mapped, are_pairable, is_of_one_host
from p2psip.reload.paths.values import COMPONENT, Candidate, Parameters
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.link_messages import CandType, IceCandidate, IceExtension, OverlayLinkType

SIMULTANEOUS_OPEN: Final = IceExtension(b"tcptype", b"so")
_FOUNDATION: Final = b"so"
_DIRECTION: Final = 2
"""RFC 6544 4.2: "If an implementation is uncertain whether S-O candidates are supported, it may be reasonable to
prioritize them lower": who does not look at `tcptype` dials what is passive first.
"""


def is_simultaneous(candidate: IceCandidate) -> bool:
    """True of one at which nobody listens."""
    return SIMULTANEOUS_OPEN in candidate.extensions


def encoded(ports: Iterable[Mapped]) -> tuple[IceCandidate, ...]:
    """Ours, of ports whose outside address is known: at most one for each version of IP."""
    found: dict[bool, Mapped] = {}
    for port in ports:
        found.setdefault(":" in port.address.host, port)
    return tuple(_encoded(port, rank) for rank, port in enumerate(found.values()))


def _encoded(port: Mapped, rank: int) -> IceCandidate:
    # 4.2: "local preference = (2^13) * direction-pref + other-pref".
    priority = (_DIRECTION << 13 | 8191 - rank) << 8 | 256 - COMPONENT
    address, base = _on_wire(port.address), _on_wire(port.base)
    kind = CandType.HOST if address == base else CandType.SRFLX
    related = None if kind is CandType.HOST else base
    return IceCandidate(address, OverlayLinkType.TLS_TCP_FH, _FOUNDATION, priority, kind, related, (SIMULTANEOUS_OPEN,))


def pairs_of(local: Parameters, remote: Parameters) -> tuple[Candidate, ...]:
    """What both ends may open at once, IPv6 first: 6.2 has "tcp-so" paired with "tcp-so" alone."""
    theirs = _by_version(remote)
    found = []
    for is_ipv6, own in sorted(_by_version(local).items(), reverse=True):
        base = _address(own.addr_port if own.rel_addr_port is None else own.rel_addr_port)
        there = _address(theirs[is_ipv6].addr_port) if is_ipv6 in theirs else None
        if base is not None and there is not None and are_pairable(base, there):
            found.append(Candidate(there, OverlayLinkType.TLS_TCP_FH_NO_ICE, local=base))
    return tuple(found)


def _by_version(parameters: Parameters) -> dict[bool, IceCandidate]:
    """One candidate for each version of IP: how many others there are is no matter."""
    found: dict[bool, IceCandidate] = {}
    for each in parameters.candidates:
        address = _address(each.addr_port)
        is_direct = each.type is not CandType.RELAY and each.overlay_link is OverlayLinkType.TLS_TCP_FH
        if is_direct and is_simultaneous(each) and address is not None:
            found.setdefault(":" in address.host, each)
    return found


def _address(place: IpAddressPort) -> Address | None:
    host_port = place.host_port
    if host_port is None or not host_port[1] or not is_of_one_host(host_port[0]):
        return None
    return Address(*host_port)


def _on_wire(address: Address) -> IpAddressPort:
    return IpAddressPort.of(without_zone(address.host), address.port)
