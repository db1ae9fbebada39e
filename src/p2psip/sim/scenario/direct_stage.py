"""Peers whose cores hand each other messages: by the hundred and the thousand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.coupling.peer import Peer
from p2psip.coupling.peer_news import Stopped
from p2psip.reload.node.effects import ContactsChanged
from p2psip.sim.scenario.scenario_terms import Scenario
from p2psip.sim.scenario.stage import MAIN_ISLAND, Stage
from p2psip.sim.sites.making import identity_of
from p2psip.sim.sites.phone import VirtualPhone
from p2psip.sim.sites.site import Site
from p2psip.sim.sites.site_peers import SimulatedPeers

LEAVES_MAX_S = 5.0
"""Who has not ended cleanly by then is ended."""


@dataclass
class _Kept:
    """What outlives a peer that ends, beside its records."""

    contacts: tuple[Address, ...] = ()
    sent: int = 0
    """Bytes of its former lives."""


class DirectStage(Stage):
    """See above."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        super().__init__()
        least_s, most_s = (delay / 1000 for delay in scenario.delay_ms)
        self._peers = SimulatedPeers(
            seed,
            is_direct=True,
            latency_s=lambda rng: rng.uniform(least_s, most_s),
            topology_plugin=scenario.topology,
        )
        self._world = self._peers.world
        self.clock = self._world.clock
        self._kept: dict[int, _Kept] = {}
        self._leaving: dict[int, float] = {}
        self._number_of: dict[str, int] = {}

    def run(self, seconds: float, stop: Callable[[], bool] | None = None) -> bool:
        """Those that have left by then are gone."""
        is_stopped = self._world.run_for(seconds, stop=stop)
        for number, until in list(self._leaving.items()):
            if until <= self.now:
                self._end(number, is_silent=False)
        return is_stopped

    def add(self, number: int) -> None:
        """With an empty disk."""
        self._kept[number] = _Kept()
        self._number_of[f"p{number}"] = number
        self._peers.add(number)
        self.is_new(number)

    def crash(self, number: int) -> None:
        """Its streams are reset."""
        self._end(number, is_silent=False)

    def cut_power(self, number: int) -> None:
        """Silence."""
        self._end(number, is_silent=True)

    def leave(self, number: int) -> None:
        """Its records go, then it does."""
        self._leaving[number] = self.now + LEAVES_MAX_S
        self.give(number, self.peer(number).stop)

    def start(self, number: int) -> None:
        """With its records, its lines, and what it knew of phones and peers."""
        kept = self._kept[number]
        island = self.island_of(number)
        self._peers.begin_again(number, kept.contacts).host.island = island
        self.up.add(number)

    def part(self, numbers: Iterable[int]) -> None:
        """An island of its own each time."""
        island = 1 + max(map(self.island_of, self.known))
        for number in numbers:
            self._site(number).host.island = island

    def heal(self) -> None:
        """No seas."""
        for host in self._world.hosts.values():
            host.island = MAIN_ISLAND

    def peer(self, number: int) -> Peer:
        """The one that runs now."""
        return self._site(number).peer

    def give(self, number: int, run: Callable[[float], object]) -> None:
        """And do what it wants done."""
        self._site(number).call(run)

    def take_events(self, number: int) -> Sequence[Effect]:
        """What it remembers of others is kept."""
        host = self._site(number).host
        events, host.events = host.events, []
        for event in events:
            if isinstance(event, ContactsChanged):
                self._kept[number].contacts = tuple(event.addresses)
            elif isinstance(event, Stopped):
                self._leaving[number] = self.now
        return events

    def woken(self) -> Iterable[int]:
        """As the world says."""
        woken = [self._number_of[host.name] for host in self._world.woken if host.is_alive]
        self._world.woken.clear()
        return woken

    def island_of(self, number: int) -> int:
        """As its host says."""
        return self._site(number).host.island

    def node_id(self, number: int) -> NodeId:
        """Always the same."""
        return identity_of(self._peers.seed, f"p{number}").node_id

    def are_linked(self, node: NodeId, other: NodeId) -> bool:
        """Both think so, and nothing that they have sent was lost at sea: then a stream stands still for ever."""
        here, there = (self._site(self.by_node[each]) for each in (node, other))
        thought = here.peer.node.is_linked(other) and there.peer.node.is_linked(node)
        return thought and self._world.are_linked(here.host, there.host)

    def bytes_sent(self, number: int) -> int:
        """What was before its last start included."""
        return self._kept[number].sent + self._site(number).host.bytes_sent

    def add_line(self, number: int, user: str) -> None:
        """One that is stored by and by."""
        self._peers.line(number, user)

    def remove_line(self, number: int, user: str) -> None:
        """Its record goes by and by."""
        peer = self.peer(number)
        self.give(number, lambda now: peer.remove_line(user, now))

    def add_phone(self, number: int, user: str) -> VirtualPhone:
        """At the next address of the site's LAN."""
        return self._peers.begin_phone(number, user, len(self._site(number).phones))

    def _site(self, number: int) -> Site:
        return self._peers[number]

    def _end(self, number: int, *, is_silent: bool) -> None:
        self.take_events(number)
        self._leaving.pop(number, None)
        self.up.discard(number)
        host = self._site(number).host
        self._kept[number].sent += host.bytes_sent
        host.bytes_sent = 0
        self._world.crash(host, is_silent=is_silent)
