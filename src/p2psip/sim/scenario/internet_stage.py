"""Peers and phones as machines on an Internet, behind NATs or not: by the ten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.coupling.peer import Peer
from p2psip.coupling.peer_news import Stopped
from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.ip.network import Way
from p2psip.sim.scenario.scenario_terms import NatKind, Scenario
from p2psip.sim.scenario.stage import MAIN_ISLAND, Stage
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone
from p2psip.sim.sites.making import identity_of

BEHAVIOURS: dict[NatKind, NatBehaviour | None] = {
    "none": None,
    "full-cone": FULL_CONE,
    "address-restricted": NatBehaviour(),
    "port-restricted": PORT_RESTRICTED,
    "symmetric": SYMMETRIC,
}
"""By the old names (RFC 3489 section 5), as people still call them."""

REBOOT_S = 20.0


class InternetStage(Stage):
    """See above."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        super().__init__()
        has_nats = any(kind != "none" for kind in scenario.nats)
        settings: dict[str, object] = {"topology_plugin": scenario.topology}
        if has_nats:
            settings |= {"no_ice": False, "overlay_link_protocols": ("DTLS",)}
        self._nats = scenario.nats or ("none",)
        self._has_nats = has_nats
        self._sites = InternetSites(seed, **settings)  # type: ignore[arg-type]
        self._internet = self._sites.internet
        least_s, most_s = (delay / 1000 for delay in scenario.delay_ms)
        self._internet.default_way = Way(delay_s=least_s, jitter_s=most_s - least_s, loss=scenario.loss)
        self.clock = self._internet.clock
        self._island: dict[int, int] = {}
        self._leaving: set[int] = set()
        self._by_number: dict[int, InternetSite] = {}

    def run(self, seconds: float, stop: Callable[[], bool] | None = None) -> bool:
        """As the Internet's clock has it."""
        return self._sites.run(seconds, stop=stop)

    def add(self, number: int) -> None:
        """A site, whose router forwards nothing."""
        kind = self._nats[number % len(self._nats)]
        behaviour = BEHAVIOURS[kind]
        if behaviour is None:
            site = self._sites.add_public(number, relay=RelayWish.YES if self._has_nats else RelayWish.NO)
        else:
            site = self._sites.add_behind_nat(number, behaviour, forwards=False)
        self._by_number[number] = site
        self._island[number] = MAIN_ISLAND
        self.is_new(number)

    def crash(self, number: int) -> None:
        """Its machine goes on."""
        self._end(number)
        self._site(number).machine.kill()

    def cut_power(self, number: int) -> None:
        """Its phones have power."""
        self._end(number)
        self._sites.cut_power(self._site(number))

    def leave(self, number: int) -> None:
        """Over as soon as it says so."""
        self._leaving.add(number)
        self.give(number, self.peer(number).stop)

    def start(self, number: int) -> None:
        """Its machine boots, if it was off."""
        self._sites.power_up(self._site(number))
        self.up.add(number)

    def part(self, numbers: Iterable[int]) -> None:
        """Their providers reach each other, and nobody else."""
        island = 1 + max(self._island.values())
        for number in numbers:
            self._island[number] = island
        self._lay_cables()

    def heal(self) -> None:
        """All providers reach each other."""
        self._island = dict.fromkeys(self._island, MAIN_ISLAND)
        self._internet.heal()

    def _lay_cables(self) -> None:
        self._internet.heal()
        for island in set(self._island.values()) - {MAIN_ISLAND}:
            here = [self._site(number).isp for number, at in self._island.items() if at == island]
            there = [self._site(number).isp for number, at in self._island.items() if at != island]
            self._internet.part(here, there)

    def peer(self, number: int) -> Peer:
        """The one that runs now."""
        return self._site(number).peer

    def give(self, number: int, run: Callable[[float], object]) -> None:
        """By its driver."""
        self._site(number).driver.call(run)

    def take_events(self, number: int) -> Sequence[Effect]:
        """Of this life."""
        told = self._site(number).driver.events
        events = [event for _, event in told]
        told.clear()
        if number in self._leaving and any(isinstance(event, Stopped) for event in events):
            self._end(number)
            self._sites.cut_power(self._site(number))
        return events

    def woken(self) -> Iterable[int]:
        """Whoever it was: here packets are many, and peers few."""
        return sorted(self.up)

    def island_of(self, number: int) -> int:
        """As it was parted."""
        return self._island[number]

    def node_id(self, number: int) -> NodeId:
        """Always the same."""
        return identity_of(self._sites.seed, f"s{number}").node_id

    def are_linked(self, node: NodeId, other: NodeId) -> bool:
        """Both think so, and no sea is between them: here a link goes on when that is gone."""
        here, there = self.by_node[node], self.by_node[other]
        if not {here, there} <= self.up or self._island[here] != self._island[there]:
            return False
        return self.node(here).is_linked(other) and self.node(there).is_linked(node)

    def bytes_sent(self, number: int) -> int:
        """IP and all, and what goes to phones."""
        return self._site(number).machine.bytes_sent

    def add_line(self, number: int, user: str) -> None:
        """There to stay."""
        self._sites.line(self._site(number), user)

    def remove_line(self, number: int, user: str) -> None:
        """Nor does it come back with the next start."""
        self._sites.remove_line(self._site(number), user)

    def add_phone(self, number: int, user: str) -> MachinePhone:
        """A machine in the LAN of the site."""
        return self._sites.begin_phone(self._site(number), user)

    # What takes machines

    def sleep(self, number: int) -> None:
        """Nothing happens there."""
        self._site(number).machine.sleep()

    def wake(self, number: int) -> None:
        """All that was due is done."""
        self._site(number).machine.wake()

    def reboot_router(self, number: int) -> bool:
        """All its mappings are gone; False if there is none."""
        nat = self._site(number).nat
        if nat is not None:
            nat.reboot(off_s=REBOOT_S)
        return nat is not None

    def switch_uplink(self, number: int) -> bool:
        """Another network and another address; False if there is no router."""
        site = self._site(number)
        if site.nat is not None:
            self._sites.switch_uplink(site)
            self._lay_cables()
        return site.nat is not None

    def set_date(self, number: int, error_s: float) -> None:
        """It is wrong by so much."""
        self._site(number).driver.set_date(error_s)

    def fill_disk(self, number: int, *, is_full: bool) -> None:
        """Nothing more can be written, or again."""
        disk = self._site(number).disk
        disk.state.capacity_bytes = disk.used_bytes if is_full else None

    def _site(self, number: int) -> InternetSite:
        return self._by_number[number]

    def _end(self, number: int) -> None:
        self.up.discard(number)
        self._leaving.discard(number)
