"""A virtual world for two ends of an Attach that open a stream to each other: boxes of all kinds, and a relay."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline
from p2psip.base.wallclock import WallClock
from p2psip.reload.node.effects import LinkUp, Write
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import HangUp, Open, PathEvent, Purpose, Session
from p2psip.reload.wire.link_messages import NO_ICE, OverlayLinkType
from p2psip.sim.ip.boxes import Dependence, Nat, NatBehaviour
from p2psip.sim.ip.machine import Interface, Machine
from p2psip.sim.ip.network import Internet, Network, Way
from p2psip.sim.ip.packet import Packet, Protocol, Segment
from p2psip.sim.ip.secured import Credentials
from p2psip.sim.sites.disk import Disk
from p2psip.sim.sites.node_driver import NodeDriver
from p2psip.turn.limits import TurnLimits
from p2psip.turn.values import RelaySettings

RELAY = Address("198.51.100.4", 6084)
PORT = 6084
DATA = b"data"
NO_UDP = frozenset([Protocol.UDP])
LINKS = (OverlayLinkType.DTLS_UDP_SR, OverlayLinkType.TLS_TCP_FH)


@dataclass(eq=False)
class PathsCore:
    """The paths of a node, without the node: links are up as soon as they have shown a certificate."""

    paths: Paths
    links: dict[int, LinkUp] = field(default_factory=dict)
    contexts: dict[int, object] = field(default_factory=dict)
    got: list[bytes] = field(default_factory=list)
    opened: list[tuple[float, Open]] = field(default_factory=list)
    """What was dialled, and when."""
    now: float = 0.0
    written: list[Effect] = field(default_factory=list)

    def start(self, now: float) -> None: ...

    def set_wall_clock(self, wall: WallClock, now: float) -> None: ...

    def handle_answer(self, token: int, answer: object, now: float) -> None: ...

    def handle_path(self, event: PathEvent, now: float) -> None:
        self.now = now
        self.paths.handle(event, now)

    def handle_link_up(self, link: LinkUp, now: float) -> None:
        self.now = now
        self.contexts[link.number] = self.paths.up(link.number)
        self.paths.end_search(Purpose.RELOAD, (), link.number)
        self.links[link.number] = link

    def handle_link_data(self, number: int, data: bytes, now: float) -> None:
        self.got.append(data)

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        self.now = now
        self.links.pop(number, None)
        self.paths.down(number, reason, now)

    def handle_timeout(self, now: float) -> None:
        self.now = now
        self.paths.handle_timeout(now)

    def next_deadline(self) -> Deadline | None:
        return self.paths.next_deadline()

    def hang_up(self, now: float) -> None:
        """Close all links."""
        for number in list(self.links):
            del self.links[number]
            self.paths.forget(number)
            self.written.append(HangUp(number, "over"))

    def say(self, now: float) -> None:
        """Send data over each link."""
        self.written += [Write(number, DATA) for number in self.links]

    def drain(self) -> list[Effect]:
        effects, self.written = [*self.written, *self.paths.drain()], []
        self.opened += [(self.now, each) for each in effects if isinstance(each, Open)]
        return effects


@dataclass(eq=False)
class End:
    """One of the two: a machine that runs nothing but paths."""

    machine: Machine
    name: str
    rng: random.Random

    def __post_init__(self) -> None:
        self.core = PathsCore(Paths(self.rng, permitted=LINKS))
        certificate = f"certificate of {self.name}".encode()
        self.driver = NodeDriver(self.machine, self.core, Credentials([certificate], self.rng), Disk(self.machine))
        self.host = self.machine.hosts[0]
        own = Address(self.host, PORT)
        self.driver.listen([own])
        self.core.paths.whereabouts.able = NO_ICE
        self.driver.call(lambda now: self.core.paths.use_addresses({Purpose.RELOAD: (own,)}, (), now))

    def ask_outside(self, relay: Address = RELAY) -> None:
        """Know a relay, and so as whom it is seen."""
        outside = self.core.paths.punching.outside
        self.driver.call(lambda now: outside.relay_lends(self.host, relay, now))

    @property
    def outside(self) -> list[Address]:
        """As whom the relay sees its port for streams."""
        return [each.address for each in self.core.paths.punching.outside.mapped()]

    @property
    def link(self) -> LinkUp | None:
        """The link that it has."""
        return next(iter(self.core.links.values()), None)


@dataclass(frozen=True)
class TcpScene:
    """What the two are behind, from the inside to the outside; the way between public hosts; how long the question of
    the Attach travels, and the answer.
    """

    first: tuple[NatBehaviour, ...]
    second: tuple[NatBehaviour, ...]
    way: Way = field(default_factory=lambda: Way(delay_s=0.02))
    question_s: float = 0.05
    answer_s: float = 0.05
    is_took_known: bool = True


def can_be_opened(scene: TcpScene) -> bool:
    """On paper: as whom the relay sees a port the other end has to see it, and in one of the two directions a bare SYN
    has to come in at every box.
    """
    both = (*scene.first, *scene.second)
    is_seen_alike = all(box.mapping is Dependence.NONE for box in both)
    return is_seen_alike and any(all(box.lets_syn_in for box in side) for side in (scene.first, scene.second))


class TcpWorld:
    """See above. No UDP passes anywhere."""

    def __init__(self, seed: int | str, scene: TcpScene) -> None:
        self.scene = scene
        self.internet = Internet(seed)
        self.internet.default_way = scene.way
        public = self.internet.network("public", "198.51.100.0/24")
        machine = Machine(self.internet, "relay")
        machine.plug(public, RELAY.host)
        self.relay = End(machine, "relay", random.Random(f"{seed}/relay"))
        settings = RelaySettings("relays", (RELAY.host,), frozenset((RELAY.host,)), frozenset((RELAY,)))
        self.relay.driver.call(lambda now: self.relay.core.paths.own_relay.offer(settings, TurnLimits(), now))
        self.nats: list[Nat] = []
        self.ends = [self._end(seed, side, boxes) for side, boxes in enumerate((scene.first, scene.second))]
        self.syns: list[Packet] = []
        """Those that went out into the public networks, without an acknowledgement."""
        self._carry = self.internet.carry
        self.internet.carry = self._watch  # type: ignore[method-assign]
        self.answered_at = 0.0

    def _watch(self, sender: Interface, packet: Packet, next_hop: str) -> None:
        segment = packet.payload
        if sender.network.is_public and isinstance(segment, Segment) and segment.syn and not segment.ack:
            self.syns.append(packet)
        self._carry(sender, packet, next_hop)

    def _end(self, seed: int | str, side: int, boxes: Sequence[NatBehaviour]) -> End:
        network: Network = self.internet.network(f"isp {side}", f"203.0.{side}.0/24")
        gateways: tuple[str, ...] = ()
        for depth, behaviour in enumerate(reversed(boxes)):
            nat = Nat(self.internet, f"nat {side} {depth}", behaviour, blocks=NO_UDP)
            prefix = str(network.prefixes[0].network_address).rpartition(".")[0]
            nat.plug(network, f"{prefix}.100", gateways=gateways)
            network = self.internet.lan(f"lan {side} {depth}", f"10.{side}.{depth}.0/24")
            nat.plug(network, f"10.{side}.{depth}.1", is_inside=True)
            gateways = (f"10.{side}.{depth}.1",)
            self.nats.append(nat)
        machine = Machine(self.internet, f"end {side}")
        prefix = str(network.prefixes[0].network_address).rpartition(".")[0]
        machine.plug(network, f"{prefix}.200", gateways=gateways)
        return End(machine, f"end {side}", random.Random(f"{seed}/{side}"))

    def attach(self, *, patience_s: float = 45.0) -> bool:
        """The first asks, the second answers; True as soon as both have a link."""
        first, second = self.ends
        for end in self.ends:
            end.ask_outside()
        assert self.internet.run_for(60.0, stop=lambda: all(end.outside for end in self.ends)), "no word of the relay"
        peer = NodeId(bytes(15) + b"\2")
        asked = first.core.paths.offers.session(Purpose.RELOAD, peer)
        first.core.paths.offers.make(asked, "asked")
        self.internet.run_for(self.scene.question_s)
        whereabouts = second.core.paths.whereabouts
        answer = whereabouts.answering(Purpose.RELOAD, asked.local)
        found = whereabouts.dialable(Purpose.RELOAD, asked.local)
        session = Session(Purpose.RELOAD, found, answer, asked.local)
        second.driver.call(lambda now: second.core.paths.connect(session, "answered", now))
        self.answered_at = self.internet.now
        took_s = self.scene.question_s + self.scene.answer_s if self.scene.is_took_known else 0.0
        taken = Session(Purpose.RELOAD, (), asked.local, peer=peer, took_s=took_s)
        self.internet.run_for(self.scene.answer_s)
        first.driver.call(lambda now: first.core.paths.offers.answered(taken, peer, answer, "asked", now))
        return self.internet.run_for(patience_s, stop=lambda: all(end.link for end in self.ends))

    def data_passes(self) -> bool:
        """True if data arrives both ways."""
        for end in self.ends:
            end.core.got.clear()
            end.driver.call(end.core.say)
        return self.internet.run_for(20.0, stop=lambda: all(end.core.got for end in self.ends))
