"""A site: one peer and the phones on its LAN."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import Deadline
from p2psip.coupling.peer import Peer
from p2psip.dundi.values import SendDundi
from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.session import SendRtp
from p2psip.reload.node.effects import LinkUp
from p2psip.reload.paths.values import PathEvent
from p2psip.sim.sites.phone import VirtualPhone
from p2psip.sim.world import Host, World
from p2psip.sip.entities.agents.types import (
    MediaWanted,
)
from p2psip.sip.entities.gateway.terms import FindTrunk, ForTrunk, TrunkFound
from p2psip.sip.entities.overlays.crossing import Crossed
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.transports.arrivals import Datagram, FlowDown
from p2psip.sip.transports.effects import OpenFlow, SendUdp

LAN_S = 0.001
SPOKEN_MAX = 5000
PROVIDER = Address("198.51.100.7", 5060)
"""Where the far end of every trunk is."""


@dataclass
class Site:
    """One peer and the LAN that its phones are in: a core for the world, which looks after links and the disk."""

    name: str
    peer: Peer
    world: World
    local: Address
    phones: dict[Address, SitePhone] = field(default_factory=dict)
    media_towards: list[str | None] = field(default_factory=list)
    """Where media addresses of the echo service were wanted for."""
    spoken: deque[SendRtp] = field(default_factory=lambda: deque(maxlen=SPOKEN_MAX))
    """What its agents have said of late; phones here do not hear."""
    provider: Callable[[bytes], list[bytes]] | None = None
    """The far end of its trunk: what it answers to a datagram."""
    neighbours: dict[Address, Callable[[bytes], None]] = field(default_factory=dict)
    """Those by DUNDi: who takes what is sent to them."""
    carry: Callable[[Address, Address, bytes], None] | None = None
    """Who takes what its agents say, from one media address to another; it is lost if there is nobody."""
    beside: dict[str, Site] = field(default_factory=dict)
    """The peers of this site in other overlays, by their names."""
    outsiders: dict[Address, Callable[[bytes], None]] = field(default_factory=dict)
    """SIP servers beside the phones: the same."""

    def handle_path(self, event: PathEvent, now: float) -> None:
        """Something has happened to a connection, beside that it is up or down."""
        self.peer.handle_path(event, now)

    def handle_link_up(self, link: LinkUp, now: float) -> None:
        """A connection with another peer is up."""
        self.peer.handle_link_up(link, now)

    def handle_link_data(self, number: int, data: bytes, now: float) -> None:
        """Bytes came over it."""
        self.peer.handle_link_data(number, data, now)

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        """It is down, or never came up."""
        self.peer.handle_link_down(number, reason, now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to a question of the peer."""
        self.peer.handle_answer(token, answer, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self.peer.handle_timeout(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self.peer.next_deadline()

    def drain(self) -> list[Effect]:
        """Carry to the phones what is for them; the rest is for the world."""
        for_world: list[Effect] = []
        for effect in self.peer.drain():
            match effect:
                case SendUdp(_, remote, data):
                    self._to_phone(remote, data)
                case SendDundi(remote, data) if remote in self.neighbours:
                    self._later(lambda take=self.neighbours[remote], data=data: take(data))  # type: ignore[misc]
                case OpenFlow(flow):
                    self._later(lambda flow=flow: self._no_tcp(flow))  # type: ignore[misc]
                case Ask(token, MediaWanted(_, towards)):
                    self.media_towards.append(towards)
                    port = 40_000 + 2 * len(self.media_towards)
                    self._later(lambda token=token, port=port: self._media(token, port))  # type: ignore[misc]
                case OpenPorts(_, port):
                    self._later(lambda port=port: self._ports(port))  # type: ignore[misc]
                case SendRtp(local, remote, data):
                    self.spoken.append(effect)
                    if self.carry is not None:
                        self._later(lambda local=local, remote=remote, data=data: self._carried(local, remote, data))  # type: ignore[misc]
                case ClosePorts():
                    pass
                case Crossed(overlay):
                    self._later(lambda effect=effect, there=self.beside[overlay]: there.crossed(effect))  # type: ignore[misc]
                case Ask(token, FindTrunk()):
                    self._later(lambda token=token: self._found(token))  # type: ignore[misc]
                case ForTrunk(name, SendUdp(_, _, data)):
                    self._later(lambda name=name, data=data: self._to_provider(name, data))  # type: ignore[misc]
                case _:
                    for_world.append(effect)
        return for_world

    def call(self, run: Callable[[float], object]) -> None:
        """One input for the peer, from its driver."""
        self.world.call(self.host, lambda now: _discard(run(now)))

    def crossed(self, crossed: Crossed) -> None:
        """The peer of this site in another overlay has something for this one."""
        self.call(lambda now: self.peer.handle_crossed(crossed, now))

    @property
    def host(self) -> Host:
        """The machine of the world that it runs on now."""
        return self.world.hosts[self.name]

    def carried(self, method: str = "INVITE") -> list[RequestCarried]:
        """What became of the requests that this peer carried."""
        return [e for e in self.host.events if isinstance(e, RequestCarried) and e.method == method]

    def _to_phone(self, remote: Address, data: bytes) -> None:
        phone = self.phones.get(remote)
        take = self.outsiders.get(remote) if phone is None else phone.receive
        if take is not None:
            self._later(lambda: take(data))

    def _carried(self, local: Address, remote: tuple[str, int], data: bytes) -> None:
        if self.carry is not None and self.host.is_alive:
            self.carry(local, Address(*remote), data)

    def _no_tcp(self, flow: int) -> None:
        """Phones here listen on UDP alone."""
        self.call(lambda now: self.peer.handle_sip(FlowDown(flow, "connection refused"), now))

    def _media(self, token: int, port: int) -> None:
        self.call(lambda now: self.peer.handle_answer(token, Address(self.local.host, port), now))

    def _ports(self, port: int) -> None:
        self.call(lambda now: self.peer.handle_ports(port, True, now))

    def _found(self, token: int) -> None:
        found = TrunkFound((PROVIDER,), Address(self.local.host, 5080))
        self.call(lambda now: self.peer.handle_answer(token, found, now))

    def _to_provider(self, trunk: str, data: bytes) -> None:
        for said in () if self.provider is None else self.provider(data):
            arrival = Datagram(Address(self.local.host, 5080), PROVIDER, said)
            self.call(lambda now, arrival=arrival: self.peer.handle_trunk(f"trunk-{trunk}", arrival, now))  # type: ignore[misc]

    def _later(self, run: Callable[[], None]) -> None:
        self.world.clock.at(self.world.now + LAN_S, run)


class SitePhone(VirtualPhone):
    """A phone on the LAN of a site."""

    def __init__(self, site: Site, user: str, number: int, **options: Any) -> None:
        """`options` as of a VirtualPhone."""
        self.site = site
        address = Address(site.local.host.rpartition(".")[0] + f".{100 + number}", 5060)
        super().__init__(user, address, site.local, random.Random(f"{user} {number} {site.name}"), **options)
        site.phones[self.address] = self

    @property
    def now(self) -> float:
        """The world's time is the phone's."""
        return self.site.world.now

    def send(self, data: bytes) -> None:
        """Bytes of one's own choice."""
        self.site.call(lambda now: self.site.peer.handle_sip(Datagram(self.site.local, self.address, data), now))

    def _transmit(self, data: bytes) -> None:
        self._at(self.now + LAN_S, lambda: self.send(data))

    def _at(self, when: float, run: Callable[[], None]) -> None:
        self.site.world.clock.at(when, run)


def _discard(_: object) -> None:
    return None
