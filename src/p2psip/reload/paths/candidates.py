"""Candidates without ICE: what we say of ourselves, and what of another's can be dialled (RFC 6940 section 6.5.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from p2psip.base.address import Address
from p2psip.reload.paths.ice.candidate_addresses import Mapped, is_of_one_host
from p2psip.reload.paths.ice.punching import Punching
from p2psip.reload.paths.limits import CANDIDATES_MAX, STREAM_CANDIDATES_MAX
from p2psip.reload.paths.simultaneous import open_candidates
from p2psip.reload.paths.values import ACTIVE, COMPONENT, PASSIVE, Candidate, Parameters, Purpose
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.link_messages import NO_ICE, CandType, IceCandidate, IceExtension, OverlayLinkType

SIP_LINK_TYPES = (OverlayLinkType.TLS_TCP_FH_NO_ICE,)
"""What an AppAttach without ICE offers, whatever the links of the overlay run over."""

CALLS_LINK_TYPES = (OverlayLinkType.DTLS_UDP_SR,)
"""What an AppAttach with ICE offers (docs/decisions/call-paths.md)."""

PASSIVE_STREAM = IceExtension(b"tcptype", b"passive")
"""RFC 6544 section 4.5, in the form of RFC 6940 6.5.1.1: it can be dialled, and dials from another port."""

STREAMS = (OverlayLinkType.TLS_TCP_FH, OverlayLinkType.TLS_TCP_FH_NO_ICE)


class OwnPort(NamedTuple):
    """A port of ours at which others may connect, over streams or over datagrams."""

    purpose: Purpose
    is_stream: bool


class Whereabouts:
    """Where our own listeners can be dialled, by what for, and over what: what we say of ourselves."""

    def __init__(self, permitted: Sequence[OverlayLinkType], punching: Punching) -> None:
        """`permitted` are the links that the overlay permits, in the order that it says."""
        self.permit(permitted)
        self.able: tuple[OverlayLinkType, ...] = (OverlayLinkType.TLS_TCP_FH_NO_ICE,)
        """The links that our sockets can make."""
        self.addresses: dict[Purpose, tuple[Address, ...]] = dict.fromkeys(Purpose, ())
        self.hosts: tuple[str, ...] = ()
        """The addresses of this machine, the best first; empty where `addresses` are all its own."""
        self.mapped: dict[OwnPort, Mapped] = {}
        """What the router has given us, in which a port may be another one than here, and one for each transport."""
        self._punching = punching

    def permit(self, permitted: Sequence[OverlayLinkType]) -> None:
        """The overlay permits these links, in this order, from now on."""
        self.permitted = tuple(permitted)
        self.has_ice = OverlayLinkType.DTLS_UDP_SR in self.permitted
        """True if links are made by ICE. 6.5.1.5: "An overlay MUST be either all ICE or all No-ICE."."""

    def has_room(self, purpose: Purpose) -> bool:
        """False if we can offer no further session of this purpose now: with ICE each has an agent."""
        return OverlayLinkType.DTLS_UDP_SR not in self.link_types(purpose) or not self._punching.is_full

    def own(self, purpose: Purpose) -> tuple[Address, ...]:
        """Where the port for this purpose is at this machine."""
        told = self.addresses.get(purpose, ())
        return tuple(Address(host, told[0].port) for host in self.hosts) if self.hosts and told else told

    def known(self, purpose: Purpose) -> tuple[Address, ...]:
        """Where others may dial us for this purpose: there we are ourselves."""
        given = (mapped.address for port, mapped in self.mapped.items() if port.purpose is purpose)
        return (*self.addresses.get(purpose, ()), *given)

    def ports(self) -> dict[OwnPort, int]:
        """The ports at which others may connect to us, all of them together."""
        return {
            OwnPort(purpose, link_type in STREAMS): self.addresses[purpose][0].port
            for purpose in Purpose
            if self.addresses.get(purpose)
            for link_type in self.link_types(purpose)
        }

    def link_types(self, purpose: Purpose) -> tuple[OverlayLinkType, ...]:
        """What connections of this purpose run over; the better first."""
        if purpose is Purpose.SIP:
            return SIP_LINK_TYPES
        if purpose is Purpose.CALLS:
            return CALLS_LINK_TYPES if self.has_ice and self.addresses.get(purpose) else ()
        return tuple(link_type for link_type in self.permitted if link_type.without_ice in self.able)

    def opens_streams(self, purpose: Purpose) -> bool:
        """True if connections of this purpose may be made over TCP beside what ICE checks."""
        is_of_calls = purpose is Purpose.CALLS and self.is_punched(purpose)
        return OverlayLinkType.TLS_TCP_FH in (self.permitted if is_of_calls else self.link_types(purpose))

    def is_punched(self, purpose: Purpose) -> bool:
        """True if connections of this purpose are made by ICE."""
        return OverlayLinkType.DTLS_UDP_SR in self.link_types(purpose)

    def dialled_types(self, purpose: Purpose) -> tuple[OverlayLinkType, ...]:
        """What is tried where somebody is dialled without an Attach."""
        beside = OverlayLinkType.TLS_TCP_FH
        return tuple(each.without_ice if each is beside else each for each in self.link_types(purpose))

    def offering(self, purpose: Purpose) -> Parameters:
        """Ours, in a request that we send."""
        # 6.5.1.1: "This value MUST be "passive" for the offerer (the peer sending the Attach request)".
        return self._parameters(purpose, PASSIVE, self.link_types(purpose))

    def answering(self, purpose: Purpose, remote: Parameters) -> Parameters:
        """Ours, in an answer: we dial."""
        # The same: "and "active" for the answerer (the peer sending the Attach response)".
        return self._parameters(purpose, ACTIVE, self._link_types_with(purpose, remote))

    def _parameters(self, purpose: Purpose, role: bytes, link_types: Sequence[OverlayLinkType]) -> Parameters:
        if OverlayLinkType.DTLS_UDP_SR not in link_types:
            return Parameters(b"", b"", role, _hosts(self._dialled_at(purpose, link_types)))
        checked = self._describe(purpose, role)
        if not self.opens_streams(purpose):
            return checked
        # Streams of calls come to where those of SIP alone do, and say what they are for.
        port = Purpose.SIP if purpose is Purpose.CALLS else purpose
        streams = _streams(self._dialled_at(port, [OverlayLinkType.TLS_TCP_FH]))
        both_open = open_candidates.encoded(self._punching.outside.mapped(purpose))
        return replace(checked, candidates=(*checked.candidates, *streams, *both_open))

    def _dialled_at(
        self, purpose: Purpose, link_types: Iterable[OverlayLinkType]
    ) -> list[tuple[OverlayLinkType, Address]]:
        """Where we can be dialled: at what the router has given us after our best address, as others may be near."""
        found: list[tuple[OverlayLinkType, Address]] = []
        for link_type in link_types:
            mapped = self.mapped.get(OwnPort(purpose, link_type in STREAMS))
            own = self.addresses[purpose]
            given = () if mapped is None else (mapped.address,)
            found += [(link_type, address) for address in (*own[:1], *given, *own[1:])]
        return found

    def _describe(self, purpose: Purpose, role: bytes) -> Parameters:
        """With ICE nothing is sent from an address that is none of this machine's: what is known of a router that
        passes packets on is as good as the word of a server that sees us behind it.
        """
        own, mapped = self.own(purpose), self.mapped.get(OwnPort(purpose, is_stream=False))
        passed = [*passed_on(self.addresses[purpose], own), *(() if mapped is None else (mapped,))]
        return self._punching.describe(own, role, self._ports_of(purpose), passed)

    def _ports_of(self, purpose: Purpose) -> Callable[[int], bool]:
        """What tells our ports for this purpose from those for the other ones over datagrams."""
        calls = {address.port for address in self.addresses.get(Purpose.CALLS, ())}
        return lambda port: (port in calls) is (purpose is Purpose.CALLS)

    def streams(self, purpose: Purpose, remote: Parameters) -> tuple[Candidate, ...]:
        """Where a remote takes TLS over TCP beside what ICE checks."""
        if not self.opens_streams(purpose):
            return ()
        found = dialable(remote.candidates, (OverlayLinkType.TLS_TCP_FH,))
        return tuple(each._replace(link_type=each.link_type.without_ice) for each in found)

    def dialable(self, purpose: Purpose, remote: Parameters) -> tuple[Candidate, ...]:
        """Those of a remote's candidates that we can dial, what the remote likes best first."""
        return dialable(remote.candidates, self._link_types_with(purpose, remote))

    def _link_types_with(self, purpose: Purpose, remote: Parameters) -> tuple[OverlayLinkType, ...]:
        # 6.5.1.11: "No-ICE is selected when either side has provided "no ICE" Overlay Link candidates."
        is_without = any(candidate.overlay_link in NO_ICE for candidate in remote.candidates)
        return self.able if purpose is Purpose.RELOAD and is_without and self.has_ice else self.link_types(purpose)

    def are_at(self, purpose: Purpose, local: Address) -> bool:
        """True if a connection that was accepted there may be for this."""
        # By the port: an address may be known to others by another name, and come and go.
        local = self._punching.relayed.base_of(local)
        return local.port in {address.port for address in self.addresses[purpose]}


def passed_on(addresses: Iterable[Address], hosts: Sequence[Address]) -> tuple[Mapped, ...]:
    """Those of our addresses that some router has and passes on to one of `hosts`: to the best one of its kind."""
    found: list[Mapped] = []
    for address in addresses:
        is_ipv6 = ":" in address.host
        base = next((host for host in hosts if (":" in host.host) is is_ipv6), None)
        if address not in hosts and base is not None:
            found.append(Mapped(address, base, address))
    return tuple(found)


def _streams(dialled_at: Sequence[tuple[OverlayLinkType, Address]]) -> tuple[IceCandidate, ...]:
    """Where we take TLS over TCP, beside what ICE checks."""
    return tuple(
        replace(each, priority=each.priority & 0xFFFFFF, extensions=(PASSIVE_STREAM,))
        # RFC 6544 section 4.2: "UDP candidates [...] SHOULD be preferred".
        for each in _hosts(dialled_at)[:STREAM_CANDIDATES_MAX]
    )


def _hosts(dialled_at: Sequence[tuple[OverlayLinkType, Address]]) -> tuple[IceCandidate, ...]:
    return tuple(
        IceCandidate(
            IpAddressPort.of(address.host, address.port),
            link_type,
            b"1",
            # RFC 8445 section 5.1.2.1: type preference 126 for host, local preference falling, then the component.
            (126 << 24) | ((65535 - rank) << 8) | (256 - COMPONENT),
            CandType.HOST,
        )
        for rank, (link_type, address) in enumerate(dialled_at[:CANDIDATES_MAX])
    )


_DIALLED = (CandType.HOST, CandType.SRFLX)
"""At a relayed address nobody gets through who has not been announced to the relay."""


def dialable(candidates: Sequence[IceCandidate], link_types: Sequence[OverlayLinkType]) -> tuple[Candidate, ...]:
    """Those of a remote's candidates that we can dial, what the remote likes best first."""
    wanted = [
        candidate
        for candidate in candidates
        if candidate.overlay_link in link_types
        and candidate.type in _DIALLED
        and not open_candidates.is_simultaneous(candidate)
    ]
    found: dict[Candidate, None] = {}
    for candidate in sorted(wanted, key=lambda candidate: -candidate.priority):
        host_port = candidate.addr_port.host_port
        if host_port is not None and host_port[1] and is_of_one_host(host_port[0]):
            found[Candidate(Address(*host_port), candidate.overlay_link)] = None
    return tuple(found)[:CANDIDATES_MAX]
