"""Networks, the ways between them, and what happens to a packet on one.

Theory of operation. A `Network` is where machines are neighbours: a LAN, or the part of the Internet of one provider.
The public networks reach each other straight, each pair and each direction by a `Way` of its own; a LAN reaches
nothing but through a box (p2psip.sim.ip.boxes). Addresses are looked up when a packet arrives, not when it leaves:
who has moved meanwhile does not get it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from p2psip.base.address import Address
from p2psip.sim.clock import VirtualClock
from p2psip.sim.ip.packet import IcmpError, Packet, Protocol, Segment, Unreachable, version_of
from p2psip.sim.path import Path

if TYPE_CHECKING:
    from p2psip.sim.ip.machine import Interface

Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Way(Path):
    """What happens to packets from one network to another, in this direction."""

    reordering: float = 0.0
    """What part of the packets is overtaken by those of the next `held_s` seconds."""
    held_s: float = 0.05
    mtu_bytes: int = 1500
    fragments: bool = True
    """Longer packets that may be are sent in pieces; else they vanish."""
    tells_too_big: bool = True
    """Those that may not be are answered by ICMP (RFC 1191); if not, this is a black hole."""

    def delays(self, pieces: int, rng: random.Random) -> list[float]:
        """After how long copies of a packet of so many pieces arrive: with the last of these, or not at all."""
        if pieces == 1 and not self.reordering:
            return self.arrivals(rng)
        whole: list[float] = []
        for _ in range(pieces):
            copies = self.arrivals(rng)
            if not copies:
                return []
            held = self.held_s if self.reordering and rng.random() < self.reordering else 0.0
            arrived = [delay_s + held for delay_s in copies]
            whole = arrived if not whole else [max(whole[0], arrived[0])]
        return whole


LAN = Way(delay_s=0.0005)
"""Between neighbours."""

WAN = Way(delay_s=0.02, jitter_s=0.002)
"""Between networks of which nothing else has been said."""


class Network:
    """Where machines are neighbours; `prefixes` are its addresses, of IPv4, of IPv6 or both."""

    def __init__(self, name: str, prefixes: Iterable[str], way: Way, *, is_public: bool) -> None:
        self.name = name
        self.prefixes: tuple[Prefix, ...] = tuple(ipaddress.ip_network(prefix) for prefix in prefixes)
        self.way = way
        self.is_public = is_public
        self.holders: dict[str, Interface] = {}
        self._known: dict[str, bool] = {}
        """Which addresses are of this network, as far as anybody has asked: it is asked of every packet."""

    def __contains__(self, host: str) -> bool:
        is_here = self._known.get(host)
        if is_here is None:
            is_here = self._known[host] = any(ip_of(host) in prefix for prefix in self.prefixes)
        return is_here


class Transcript:
    """A digest of all that has happened, in order: two runs are the same if theirs are."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.entries = 0

    def note(self, at: float, what: str, *data: bytes) -> None:
        """Something has happened."""
        self.entries += 1
        self._hash.update(f"{at!r} {what}\n".encode())
        for each in data:
            self._hash.update(each)

    @property
    def digest(self) -> str:
        """Of everything until now."""
        return self._hash.hexdigest()


class Internet:
    """The networks of one world and its clock; `seed` decides everything that chance decides."""

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        self.clock = VirtualClock()
        self.transcript: Transcript | None = None
        """Kept if somebody wants it, who gives one: each packet is written out for it, and hashed."""
        self.counts: Counter[str] = Counter()
        """Packets by what became of them: sent, arrived, lost, nobody, too big, ..."""
        self.default_way = WAN
        self._public: list[Network] = []
        self._homes: dict[str, Network | None] = {}
        """In which of them an address is."""
        self._ways: dict[tuple[str, str], Way] = {}
        self._cut: set[tuple[str, str]] = set()
        self._rng = random.Random(f"{seed}/ways")

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.clock.now

    def network(self, name: str, *prefixes: str, way: Way = LAN) -> Network:
        """A public network: it reaches every other, and is reached."""
        made = Network(name, prefixes, way, is_public=True)
        self._public.append(made)
        self._homes.clear()
        return made

    def lan(self, name: str, *prefixes: str, way: Way = LAN) -> Network:
        """A network that is reached through boxes alone; several may have the same addresses."""
        return Network(name, prefixes, way, is_public=False)

    def join(self, here: Network, there: Network, way: Way, back: Way | None = None) -> None:
        """What the way between two public networks is like; `back` is the other direction, if it is another."""
        self._ways[here.name, there.name] = way
        self._ways[there.name, here.name] = back or way

    def cut(self, here: Network, there: Network) -> None:
        """Nothing comes through from `here` to `there` any more; the other direction is another matter."""
        self._cut.add((here.name, there.name))

    def part(self, some: Iterable[Network], others: Iterable[Network]) -> None:
        """Nothing comes through between these, in either direction."""
        others = list(others)
        for here in some:
            for there in others:
                self.cut(here, there)
                self.cut(there, here)

    def heal(self) -> None:
        """Nothing is cut any more."""
        self._cut.clear()

    def run_for(self, seconds: float, *, stop: Callable[[], bool] | None = None) -> bool:
        """Let time go on; True as soon as `stop` says so."""
        return self.clock.run_until(self.now + seconds, stop=stop)

    def note(self, what: str) -> None:
        """Something other than a packet has happened."""
        if self.transcript is not None:
            self.transcript.note(self.now, what)

    def carry(self, sender: Interface, packet: Packet, next_hop: str) -> None:
        """Take a packet from an interface toward `next_hop`, a neighbour or somebody in another public network."""
        here = sender.network
        there = here if next_hop in here else self._network_of(next_hop)
        self._tell("sent", packet)
        if there is None or (here.name, there.name) in self._cut:
            self._tell("nobody" if there is None else "cut", packet)
            return
        way = here.way if there is here else self._ways.get((here.name, there.name), self.default_way)
        if (fitting := self._fitted(sender, packet, way)) is None:
            return
        delays = way.delays(fitting.fragments, self._rng)
        if not delays:
            self._tell("lost", fitting)
        for delay_s in delays:
            self.clock.at(self.now + delay_s, lambda: self._arrive(there, fitting, next_hop))

    def spread(self, sender: Interface, packet: Packet) -> None:
        """Take a packet from an interface to all others of its network that take packets for that group."""
        network = sender.network
        for holder in dict.fromkeys(network.holders.values()):
            if holder is sender or packet.destination.host not in holder.groups:
                continue
            self._tell("sent", packet)
            for delay_s in network.way.delays(packet.fragments, self._rng):
                self.clock.at(self.now + delay_s, lambda to=holder: to.is_up and to.owner.receive(to, packet))

    def _arrive(self, network: Network, packet: Packet, next_hop: str) -> None:
        holder = network.holders.get(next_hop)
        if holder is None or not holder.is_up:
            self._tell("nobody", packet)
            return
        self._tell("arrived", packet)
        holder.owner.receive(holder, packet)

    def _fitted(self, sender: Interface, packet: Packet, way: Way) -> Packet | None:
        """A packet as it goes on a way, in pieces if need be; None if it does not."""
        if packet.fragments > 1 or packet.size_bytes <= way.mtu_bytes:
            return packet
        if packet.may_fragment and version_of(packet.destination.host) == 4:
            if way.fragments:
                return packet.in_pieces(way.mtu_bytes)
        elif way.tells_too_big and packet.protocol is not Protocol.ICMP:
            error = IcmpError(Unreachable.TOO_BIG, packet, way.mtu_bytes)
            source = Address(sender.host_of(version_of(packet.source.host)) or packet.destination.host, 0)
            notice = Packet(Protocol.ICMP, source, packet.source, error)
            self.clock.at(self.now + way.delay_s, lambda: sender.owner.receive(sender, notice))
        self._tell("too big", packet)
        return None

    def _network_of(self, host: str) -> Network | None:
        if host not in self._homes:
            self._homes[host] = next((network for network in self._public if host in network), None)
        return self._homes[host]

    def _tell(self, what: str, packet: Packet) -> None:
        self.counts[what] += 1
        if self.transcript is not None:
            payload = packet.payload
            data = payload if isinstance(payload, bytes) else payload.data if isinstance(payload, Segment) else b""
            self.transcript.note(self.now, f"{what} {packet}", data)


@lru_cache(maxsize=65536)
def ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """A numeric address as a number."""
    return ipaddress.ip_address(host)
