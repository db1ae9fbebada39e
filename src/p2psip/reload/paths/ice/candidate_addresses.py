"""Candidates of ICE: what we are known by, and what the other end says that it is known by (RFC 8445 section 5.1)."""

from __future__ import annotations

import enum
import ipaddress
import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from p2psip.base.address import Address, without_zone
from p2psip.reload.paths.limits import ICE_CANDIDATES_MAX
from p2psip.reload.paths.values import COMPONENT
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.link_messages import CandType, IceCandidate, OverlayLinkType
from p2psip.turn.peers import Scope, scope_of

BROADCAST: Final = "255.255.255.255"
DEPRECATED: Final = (ipaddress.ip_network("fec0::/10"), ipaddress.ip_network("::/96"))
"""Site-local addresses of IPv6, and IPv4-compatible ones."""

RELAY_WAIT_S: Final = 1.2
"""How long direct pairs have before a relayed one may be nominated: a punch, its repetition, a round trip."""

NEAR_WAIT_S: Final = 0.3
"""The same where one end has no address of its own that is known outside, in a family in which the other has one: as
its UDP is blocked, or one has IPv4 alone and the other IPv6. Direct is only a path within one site then, or one that a
check from inside makes in time; a later one takes over all the same."""

T = TypeVar("T")


class CandidateType(enum.Enum):
    """Types and what they are worth (5.1.2.1: "The RECOMMENDED values for type preferences")."""

    HOST = "host", 126
    PEER_REFLEXIVE = "peer reflexive", 110
    SERVER_REFLEXIVE = "server reflexive", 100
    RELAYED = "relayed", 0

    def __init__(self, words: str, preference: int) -> None:
        self.words = words
        self.preference = preference


_OF_WIRE: Final = {
    CandType.HOST: CandidateType.HOST,
    CandType.SRFLX: CandidateType.SERVER_REFLEXIVE,
    CandType.RELAY: CandidateType.RELAYED,
}
_TO_WIRE: Final = {ours: wire for wire, ours in _OF_WIRE.items()}


class Mapped(NamedTuple):
    """An address that somebody else has for us: a STUN server, which sees it, or a TURN server, whose own it is.

    `base` is the address of this machine from which the server was asked.
    """

    address: Address
    base: Address
    server: Address


class CandidateAddress(NamedTuple):
    """One candidate of one end; `base` means something of our own alone, and is the address from which is sent."""

    type: CandidateType
    address: Address
    priority: int
    foundation: bytes
    base: Address
    related: Address | None = None

    @property
    def is_relayed(self) -> bool:
        """True if what goes by it goes through a relay."""
        return self.type is CandidateType.RELAYED


def gathered(
    hosts: Sequence[Address], reflexive: Iterable[Mapped] = (), relayed: Iterable[Mapped] = ()
) -> tuple[CandidateAddress, ...]:
    """Our candidates without what is redundant, best first: a bounded number.

    `hosts` are addresses of this machine, what it likes best first. Of loopback there are candidates only where it has
    nothing else (5.1.1.1: "Addresses from a loopback interface MUST NOT be included"), and none of what IPv6 has given
    up: "Deprecated IPv4-compatible IPv6 addresses and IPv6 site-local unicast addresses MUST NOT be included".
    """
    outer = [host for host in hosts if not _ip(host).is_loopback]
    outer = [host for host in outer if not any(_ip(host) in network for network in DEPRECATED)]
    found = [
        *((CandidateType.HOST, host, host, None) for host in _interleaved(outer or hosts)),
        *((CandidateType.SERVER_REFLEXIVE, each.address, each.base, each.server) for each in reflexive),
        *((CandidateType.RELAYED, each.address, each.address, each.server) for each in relayed),
    ]
    ranks = {base: rank for rank, base in enumerate(dict.fromkeys(base for _, _, base, _ in found))}
    foundations: dict[object, bytes] = {}
    candidates: dict[tuple[Address, Address], CandidateAddress] = {}
    priorities: set[int] = set()
    for kind, address, base, server in found:
        if (address, base) in candidates:
            # 5.1.3: "redundant if and only if its transport address and base equal those of another candidate".
            continue
        # 5.1.1.3: "They have the same type [...], their bases have the same IP address [...], for reflexive and relayed
        # candidates, the STUN or TURN servers used to obtain them have the same IP address".
        alike = (kind, base.host, server and server.host)
        foundation = foundations.setdefault(alike, b"%d" % (len(foundations) + 1))
        related = base if kind is CandidateType.SERVER_REFLEXIVE else server
        # 5.1.2: "Each candidate for a data stream MUST have a unique priority".
        ways = (priority_of(kind, rank) for rank in itertools.count(ranks[base]))
        priorities.add(priority := next(each for each in ways if each not in priorities))
        candidates[address, base] = CandidateAddress(kind, address, priority, foundation, base, related)
    return _bounded(sorted(candidates.values(), key=lambda each: -each.priority))


def priority_of(kind: CandidateType, rank: int) -> int:
    """5.1.2.1; `rank` is 0 for the base that is liked best."""
    return kind.preference << 24 | max(65535 - rank, 0) << 8 | 256 - COMPONENT


def encoded(candidates: Iterable[CandidateAddress]) -> tuple[IceCandidate, ...]:
    """Ours for an Attach (RFC 6940 section 6.5.1.1)."""
    return tuple(
        IceCandidate(
            _on_wire(each.address),
            OverlayLinkType.DTLS_UDP_SR,
            each.foundation,
            each.priority,
            _TO_WIRE[each.type],
            None if each.related is None else _on_wire(each.related),
        )
        for each in candidates
    )


def decoded(candidates: Iterable[IceCandidate]) -> tuple[CandidateAddress, ...]:
    """The other end's, as far as datagrams can be sent there: a bounded number."""
    found: dict[Address, CandidateAddress] = {}
    for each in candidates:
        host_port = each.addr_port.host_port
        if each.overlay_link is not OverlayLinkType.DTLS_UDP_SR or host_port is None:
            continue
        address = Address(*host_port)
        if address.port and is_of_one_host(address.host) and address not in found:
            found[address] = CandidateAddress(_OF_WIRE[each.type], address, each.priority, each.foundation, address)
    return _bounded(sorted(found.values(), key=lambda each: -each.priority))


def relay_wait_s(
    ours: Sequence[CandidateAddress], theirs: Sequence[CandidateAddress], *, was_relayed: bool = False
) -> float:
    """How long direct pairs have before a relayed one may be nominated; `was_relayed`: they were of no use before."""
    if was_relayed:
        return NEAR_WAIT_S
    both = [{_is_ipv6(each) for each in end if _is_outside(each)} for end in (ours, theirs)]
    return RELAY_WAIT_S if both[0] & both[1] else NEAR_WAIT_S


def _is_outside(candidate: CandidateAddress) -> bool:
    """True of an address that may be reached from anywhere, and is no relay's."""
    return not candidate.is_relayed and scope_of(candidate.address.host) is Scope.GLOBAL


def _is_ipv6(candidate: CandidateAddress) -> bool:
    return ":" in candidate.address.host


def is_of_one_host(host: str) -> bool:
    """True if what is sent there comes to one machine, and is what it seems: an IPv4 address in the guise of an IPv6
    one may be of many, or our own (RFC 8445 5.1.1.1: such "SHOULD NOT be included in the address candidates").
    """
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return False
    return not (address.is_multicast or address.is_unspecified or host == BROADCAST)


def are_pairable(local: Address, remote: Address) -> bool:
    """6.1.2.2: "a local candidate is paired with a remote candidate if and only if the two candidates have the same
    component ID and have the same IP address version"; and a scope in which both mean something.
    """
    here, there = _ip(local), _ip(remote)
    return (
        here.version == there.version
        and here.is_link_local == there.is_link_local
        and here.is_loopback == there.is_loopback
    )


def towards(local: Address, remote: Address) -> Address:
    """A remote address as it is dialled from a local one: the wire knows no zones, a link-local address has ours."""
    _, percent, zone = local.host.partition("%")
    return remote._replace(host=f"{remote.host}%{zone}") if percent and "%" not in remote.host else remote


def _bounded(ordered: Sequence[CandidateAddress]) -> tuple[CandidateAddress, ...]:
    """The best of each type, in turn: many interfaces do not take the place of the one relay."""
    if len(ordered) <= ICE_CANDIDATES_MAX:
        return tuple(ordered)
    return tuple(in_turn(ordered, lambda each: each.type, ICE_CANDIDATES_MAX))


def in_turn(ordered: Sequence[T], class_of: Callable[[T], Hashable], count: int) -> list[T]:
    """So many of these, in their order: the first of each class, then the second of each, and so on."""
    seen: Counter[Hashable] = Counter()
    turns: list[tuple[int, int]] = []
    for place, each in enumerate(ordered):
        turns.append((seen[class_of(each)], place))
        seen[class_of(each)] += 1
    return [ordered[place] for place in sorted(place for _, place in sorted(turns)[:count])]


def _interleaved(hosts: Sequence[Address]) -> list[Address]:
    """RFC 8421 section 4: IPv6 and IPv4 by turns, so that a family that does not work costs little time."""
    by_family = [[host for host in hosts if (":" in host.host) is is_ipv6] for is_ipv6 in (True, False)]
    longer = max(map(len, by_family))
    return [family[rank] for rank in range(longer) for family in by_family if rank < len(family)]


def _on_wire(address: Address) -> IpAddressPort:
    return IpAddressPort.of(without_zone(address.host), address.port)


@lru_cache(maxsize=1024)
def _ip(address: Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(without_zone(address.host))
