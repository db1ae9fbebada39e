"""Boxes between networks: routers, firewalls, and NATs with the behaviours of RFC 4787.

Theory of operation. A router has interfaces and forwards by them; between a LAN and the world it keeps out what
nobody inside has asked for, as an IPv6 firewall does (RFC 6092), and, if it is so set, all UDP. A `Nat` is a router
that besides gives the IPv4 packets of the inside an address of its own. A mapping is from an inside address and port,
and as far as the behaviour says the remote, to an outside port; who may use it from outside is the filtering's
business. Streams are treated as UDP is, with a timeout of their own (RFC 5382). What a box says to a SYN that nobody
inside has asked for, if anything, is a habit of each.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from p2psip.base.address import Address
from p2psip.sim.ip.machine import Interface, plug, way_out
from p2psip.sim.ip.network import Internet, Network
from p2psip.sim.ip.packet import IcmpError, Packet, Protocol, Segment, Unreachable, version_of
from p2psip.sim.ip.virtual_streams import reset_for

TCP_TIMEOUT_S = 7440.0
"""RFC 5382 REQ-5: "the idle-timeout MUST NOT be less than 2 hours 4 minutes"."""

UNASKED_S = 6.0
"""RFC 5382 REQ-4: "A NAT MUST NOT respond to an unsolicited inbound SYN packet for at least 6 seconds"."""

REFUSED_S = 10.0
"""How long Linux remembers a flow that was reset (nf_conntrack_tcp_timeout_close)."""

LOW_PORTS = range(1, 1024)
HIGH_PORTS = range(1024, 65536)


class Router:
    """A box that forwards. With `inside` it lets nothing in there that was not asked for, unless `is_open`."""

    def __init__(
        self,
        internet: Internet,
        name: str,
        *,
        blocks: frozenset[Protocol] = frozenset(),
        is_open: bool = True,
        timeout_s: float = 300.0,
    ) -> None:
        """What is in `blocks` is dropped, whichever way it goes; a flow is forgotten after `timeout_s` of silence."""
        self.internet = internet
        self.name = name
        self.interfaces: list[Interface] = []
        self.inside: Interface | None = None
        self.is_on = True
        self.blocks = blocks
        self._is_open = is_open
        self._timeout_s = timeout_s
        self._flows: dict[tuple[Protocol, Address, Address], float] = {}

    def plug(self, network: Network, *hosts: str, gateways: tuple[str, ...] = (), is_inside: bool = False) -> Interface:
        """Plug the box into a network, with its addresses there."""
        interface = plug(self, network, hosts, gateways)
        self.interfaces.append(interface)
        if is_inside:
            self.inside = interface
        return interface

    def receive(self, interface: Interface, packet: Packet) -> None:
        """A packet has come."""
        if not self.is_on or packet.protocol in self.blocks or not packet.hops:
            return
        packet = packet._replace(hops=packet.hops - 1)
        if self._lets_through(interface, packet):
            self._forward(packet)

    def _lets_through(self, interface: Interface, packet: Packet) -> bool:
        """True for what goes out, and remembers it; for what comes in if it answers, or speaks of, what went out."""
        if self._is_open or self.inside is None:
            return True
        error = packet.payload
        about = error.original if isinstance(error, IcmpError) else None
        flow = (
            (packet.protocol, packet.source, packet.destination)
            if interface is self.inside
            else (packet.protocol, packet.destination, packet.source)
            if about is None
            else (about.protocol, about.source, about.destination)
        )
        now = self.internet.now
        if interface is self.inside or self._flows.get(flow, -1.0) >= now:
            self._flows[flow] = now + (TCP_TIMEOUT_S if flow[0] is Protocol.TCP else self._timeout_s)
            return True
        return False

    def _forward(self, packet: Packet) -> None:
        way = way_out(self.interfaces, [], packet.destination.host)
        if way is not None and packet.destination.host not in way[0].hosts:
            self.internet.carry(way[0], packet, way[1])


class Dependence(enum.Enum):
    """On how much of the remote something depends (RFC 4787 sections 4.1 and 5)."""

    NONE = "endpoint-independent"
    ADDRESS = "address-dependent"
    ADDRESS_AND_PORT = "address-and-port-dependent"

    def key(self, remote: Address) -> tuple[str, int]:
        """As much of a remote as it depends on."""
        host = "" if self is Dependence.NONE else remote.host
        return host, remote.port if self is Dependence.ADDRESS_AND_PORT else 0


class Hairpin(enum.Enum):
    """What becomes of packets from inside to an outside address of the NAT (RFC 4787 section 6)."""

    NO = "dropped"
    EXTERNAL = "external source address and port"
    INTERNAL = "internal source address and port"


class Unasked(enum.Enum):
    """What becomes of a SYN that nobody inside has asked for (RFC 5382 REQ-4)."""

    DROPPED = "dropped"
    TOLD = "dropped; after 6 s ICMP says so, if nobody inside has opened the same connection"
    RESET = "reset at once, which the RFC forbids"
    RESET_AND_KEPT = "reset at once; for 10 s nothing goes out there from the same port, as with Linux"


@dataclass(frozen=True)
class NatBehaviour:
    """How a NAT behaves, in RFC 4787's words. As it stands it does all that the RFC asks for.

    The usual names: "full cone" is filtering NONE, "restricted cone" ADDRESS, "port-restricted" ADDRESS_AND_PORT, all
    with mapping NONE; "symmetric" is both ADDRESS_AND_PORT.
    """

    mapping: Dependence = Dependence.NONE
    filtering: Dependence = Dependence.ADDRESS
    hairpin: Hairpin = Hairpin.EXTERNAL
    timeout_s: float = 300.0
    inbound_refresh: bool = False
    """Packets from outside keep a mapping as well (REQ-6a)."""
    preserves_port: bool = True
    """The outside port is the inside one, where it is free."""
    preserves_parity: bool = True
    overloads_ports: bool = False
    """Hosts share an outside port (REQ-3 forbids it): what comes in goes to who used it last."""
    is_paired: bool = True
    """With several outside addresses a host has always the same (REQ-2)."""
    passes_fragments: bool = True
    unasked: Unasked = Unasked.DROPPED
    lets_syn_in: bool = True
    """One comes in where one has gone out: both ends may open a stream at once (RFC 5382 REQ-2)."""


FULL_CONE = NatBehaviour(filtering=Dependence.NONE)
PORT_RESTRICTED = NatBehaviour(filtering=Dependence.ADDRESS_AND_PORT)
SYMMETRIC = NatBehaviour(Dependence.ADDRESS_AND_PORT, Dependence.ADDRESS_AND_PORT, preserves_port=False)


@dataclass(eq=False, slots=True)
class _Mapping:
    """An outside address and port that stands for an inside one, and who may use it."""

    key: tuple[Protocol, Address, tuple[str, int]]
    outside: Address
    expires_at: float
    permitted: set[tuple[str, int]] = field(default_factory=set)


class Nat(Router):
    """A NAT between one LAN and one outside network, which may be the LAN of another NAT.

    IPv6 passes untranslated, and in only as answers.
    """

    def __init__(
        self,
        internet: Internet,
        name: str,
        behaviour: NatBehaviour | None = None,
        *,
        blocks: frozenset[Protocol] = frozenset(),
    ) -> None:
        """`blocks` as of a router."""
        self.behaviour = behaviour or NatBehaviour()
        super().__init__(internet, name, blocks=blocks, is_open=False, timeout_s=self.behaviour.timeout_s)
        self._rng = random.Random(f"{internet.seed}/{name}")
        self._mappings: dict[tuple[Protocol, Address, tuple[str, int]], _Mapping] = {}
        self._ports: dict[tuple[Protocol, Address], _Mapping] = {}
        self._paired: dict[str, str] = {}
        self._forwarded: dict[tuple[Protocol, int], Address] = {}
        self._refused: dict[tuple[Address, Address], float] = {}
        """Until when nothing goes out between these two, as a SYN the other way was reset."""

    @property
    def outside(self) -> Interface:
        """The interface with the outside addresses."""
        return next(interface for interface in self.interfaces if interface is not self.inside)

    @property
    def mappings(self) -> dict[Address, Address]:
        """Inside addresses by outside ones, of the mappings that live."""
        now = self.internet.now
        return {each.outside: each.key[1] for each in self._mappings.values() if each.expires_at > now}

    def forward(self, protocol: Protocol, port: int, inside: Address) -> None:
        """What comes to a port of the outside goes to `inside` for ever, as people set it in their routers."""
        self._forwarded[protocol, port] = inside

    def reboot(self, *hosts: str, off_s: float = 20.0) -> None:
        """Off for a while; then all mappings are forgotten, and the outside addresses are `hosts`, if any are given."""
        self.is_on = False
        self._mappings.clear()
        self._ports.clear()
        self._paired.clear()
        self._flows.clear()
        if hosts:
            for host in [host for host in self.outside.hosts if version_of(host) == 4]:
                self.outside.remove(host)
            for host in hosts:
                self.outside.add(host)
        self.internet.clock.at(self.internet.now + off_s, self._on)

    def _on(self) -> None:
        self.is_on = True

    def receive(self, interface: Interface, packet: Packet) -> None:
        """A packet has come, from one side or the other."""
        if version_of(packet.destination.host) == 6:
            super().receive(interface, packet)
            return
        if not self.is_on or packet.protocol in self.blocks or not packet.hops:
            return
        if packet.fragments > 1 and not self.behaviour.passes_fragments:
            return
        packet = packet._replace(hops=packet.hops - 1)
        if isinstance(packet.payload, IcmpError):
            self._tell(packet, packet.payload)
        elif interface is not self.inside:
            self._inward(packet)
        elif packet.destination.host in self.outside.hosts:
            self._hairpin(packet)
        elif packet.destination.host not in interface.hosts:
            self._outward(packet)

    def _outward(self, packet: Packet) -> None:
        if (mapping := self._mapped(packet)) is None:
            return
        if self._refused.get((mapping.outside, packet.destination), -1.0) > self.internet.now:
            # It would go out from another port, at which nobody expects it.
            mapping.permitted.discard(self.behaviour.filtering.key(packet.destination))
        else:
            self._forward(packet.from_(mapping.outside))

    def _inward(self, packet: Packet) -> None:
        if (inside := self._forwarded.get((packet.protocol, packet.destination.port))) is not None:
            self._mapped(packet.from_(inside).to(packet.source))
            self._deliver(packet.to(inside))
            return
        mapping = self._permitting(packet)
        segment = packet.payload if isinstance(packet.payload, Segment) else None
        is_syn = segment is not None and segment.syn and not segment.ack
        if mapping is None:
            if segment is not None and is_syn:
                self._unasked(packet, segment)
            return
        if is_syn and not self.behaviour.lets_syn_in:
            return
        if self.behaviour.inbound_refresh:
            mapping.expires_at = self.internet.now + self._lifetime_s(packet.protocol)
        if segment is not None and segment.rst and self.behaviour.filtering is Dependence.ADDRESS_AND_PORT:
            # That connection is over: what comes for it later was not asked for.
            mapping.permitted.discard(self.behaviour.filtering.key(packet.source))
        self._deliver(packet.to(mapping.key[1]))

    def _permitting(self, packet: Packet) -> _Mapping | None:
        """The mapping by which a packet comes in; None if it does not."""
        mapping = self._ports.get((packet.protocol, packet.destination))
        if mapping is None or mapping.expires_at <= self.internet.now:
            return None
        return mapping if self.behaviour.filtering.key(packet.source) in mapping.permitted else None

    def _unasked(self, packet: Packet, syn: Segment) -> None:
        now, unasked = self.internet.now, self.behaviour.unasked
        if unasked is Unasked.TOLD:
            self.internet.clock.at(now + UNASKED_S, lambda: self._refuse_late(packet))
        elif unasked is not Unasked.DROPPED:
            if unasked is Unasked.RESET_AND_KEPT:
                self._refused[packet.destination, packet.source] = now + REFUSED_S
            self._forward(Packet(Protocol.TCP, packet.destination, packet.source, reset_for(syn)))

    def _refuse_late(self, packet: Packet) -> None:
        # REQ-4: "If during this interval the NAT receives and translates an outbound SYN for the connection the NAT
        # MUST silently drop the original unsolicited inbound SYN packet. Otherwise, the NAT SHOULD send an ICMP Port
        # Unreachable error (Type 3, Code 3) for the original SYN".
        if self.is_on and self._permitting(packet) is None:
            error = IcmpError(Unreachable.PORT, packet)
            self._forward(Packet(Protocol.ICMP, packet.destination._replace(port=0), packet.source, error))

    def _hairpin(self, packet: Packet) -> None:
        # REQ-9a: "A NAT Hairpinning behavior MUST be 'External source IP address and port'."
        match self.behaviour.hairpin:
            case Hairpin.EXTERNAL:
                if (mapping := self._mapped(packet)) is not None:
                    self._inward(packet.from_(mapping.outside))
            case Hairpin.INTERNAL:
                mapping = self._ports.get((packet.protocol, packet.destination))
                if mapping is not None and mapping.expires_at > self.internet.now:
                    self._deliver(packet.to(mapping.key[1]))

    def _tell(self, packet: Packet, error: IcmpError) -> None:
        """Pass on what ICMP says of a packet of the inside, in the inside's terms.

        REQ-12: "Receipt of any sort of ICMP message MUST NOT terminate the NAT mapping."
        """
        mapping = self._ports.get((error.original.protocol, error.original.source))
        if mapping is not None:
            inside = mapping.key[1]
            translated = replace(error, original=error.original.from_(inside))
            self._deliver(packet._replace(destination=inside, payload=translated))
        else:
            self._tell_out(packet, error)

    def _tell_out(self, packet: Packet, error: IcmpError) -> None:
        """The other direction: a host inside refuses what came in by a mapping."""
        inside = (error.original.protocol, error.original.destination)
        out = next((each for each in self._mappings.values() if each.key[:2] == inside), None)
        if out is not None:
            source = packet.source._replace(host=out.outside.host)
            translated = replace(error, original=error.original.to(out.outside))
            self._forward(packet._replace(source=source, payload=translated))

    def _deliver(self, packet: Packet) -> None:
        assert self.inside is not None, "a NAT has an inside"
        next_hop = self.inside.next_hop(packet.destination.host)
        if next_hop is not None:
            self.internet.carry(self.inside, packet, next_hop)

    def _mapped(self, packet: Packet) -> _Mapping | None:
        """The mapping by which a packet goes out, made if there is none and a port is free; its use keeps it."""
        now = self.internet.now
        key = (packet.protocol, packet.source, self.behaviour.mapping.key(packet.destination))
        mapping = self._mappings.get(key)
        if mapping is None or mapping.expires_at <= now:
            mapping = self._make(key)
        if mapping is None:
            return None
        # REQ-6: "The NAT mapping Refresh Direction MUST have a 'NAT Outbound refresh behavior' of 'True'."
        mapping.expires_at = now + self._lifetime_s(packet.protocol)
        mapping.permitted.add(self.behaviour.filtering.key(packet.destination))
        return mapping

    def _make(self, key: tuple[Protocol, Address, tuple[str, int]]) -> _Mapping | None:
        protocol, inside, _ = key
        host = self._outside_host(inside.host)
        forwarded = [port for (kind, port), to in self._forwarded.items() if (kind, to) == (protocol, inside)]
        for port in forwarded or self._candidates(inside.port):
            outside = Address(host, port)
            if forwarded or self._may_have(protocol, outside):
                if (used := self._ports.get((protocol, outside))) is not None and not (
                    forwarded or self.behaviour.overloads_ports
                ):
                    self._mappings.pop(used.key, None)
                mapping = self._mappings[key] = self._ports[protocol, outside] = _Mapping(key, outside, 0.0)
                return mapping
        return None

    def _outside_host(self, inside: str) -> str:
        hosts = [host for host in self.outside.hosts if version_of(host) == 4]
        if not self.behaviour.is_paired:
            return self._rng.choice(hosts)
        return self._paired.setdefault(inside, self._rng.choice(hosts))

    def _candidates(self, port: int) -> Iterator[int]:
        """Outside ports in the order in which they are tried."""
        if self.behaviour.preserves_port:
            yield port
        # REQ-3a: "If the host's source port was in the range 0-1023, it is RECOMMENDED the NAT's source port be in the
        # same range."
        ports = LOW_PORTS if port in LOW_PORTS else HIGH_PORTS
        first = self._rng.randrange(len(ports))
        for offset in range(len(ports)):
            candidate = ports[(first + offset) % len(ports)]
            # REQ-4: "It is RECOMMENDED that a NAT have a 'Port parity preservation' behavior of 'Yes'."
            if not self.behaviour.preserves_parity or candidate % 2 == port % 2:
                yield candidate

    def _may_have(self, protocol: Protocol, outside: Address) -> bool:
        # REQ-3: "A NAT MUST NOT have a 'Port assignment' behavior of 'Port overloading'."
        used = self._ports.get((protocol, outside))
        if (protocol, outside.port) in self._forwarded:
            return False
        return self.behaviour.overloads_ports or used is None or used.expires_at <= self.internet.now

    def _lifetime_s(self, protocol: Protocol) -> float:
        return TCP_TIMEOUT_S if protocol is Protocol.TCP else self.behaviour.timeout_s
