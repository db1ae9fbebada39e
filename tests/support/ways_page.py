"""What a call costs by each way, measured in the simulator. Run as a program (`make ways-of-calls`) it writes the table
of docs/ways-of-calls.md anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from p2psip.reload.config.calls_by import CallsBy
from p2psip.sim.ip.network import Network, Way
from p2psip.sim.ip.packet import Packet, Segment
from p2psip.sim.sites.internet import InternetSites
from p2psip.sim.sites.making import OVERLAY
from p2psip.sip.entities.handling.call_handling import CallHandling

PAGE: Final = Path(__file__).parents[2] / "docs/ways-of-calls.md"
PEERS: Final = 10
SEEDS: Final = range(3)
BETWEEN_SITES = Way(delay_s=0.02)
"""A round trip of 40 ms."""

CERTIFICATE = bytes(600)
"""What makes a handshake as long as one with the X.509 of an overlay."""

APART_S: Final = 30.0
"""From the beginning of a call to that of the next."""

BEGIN, END = "<!-- table: make ways-of-calls -->\n", "<!-- end of the table -->\n"


@dataclass(frozen=True)
class Cost:
    """Of one call until it rings, between sites, beside what they say to each other anyway."""

    packets: float
    """That carry something."""
    octets: float
    ringing_ms: float
    readers: tuple[str, ...] = ()
    """The peers that have had the INVITE, by their parts."""


class Meter:
    """What has passed between networks."""

    def __init__(self, world: InternetSites) -> None:
        self.packets = self.octets = 0
        self._carry = world.internet.carry
        world.internet.carry = self._count  # type: ignore[method-assign]

    def _count(self, sender: Any, packet: Packet, next_hop: str) -> None:
        here: Network = sender.network
        if next_hop not in here:
            data = packet.payload.data if isinstance(packet.payload, Segment) else packet.payload
            self.packets += bool(data)
            self.octets += packet.size_bytes
        self._carry(sender, packet, next_hop)


class Measured:
    """A world in which alice calls bob twice; with `is_quiet` nobody calls, and as much time goes by."""

    def __init__(self, way: CallsBy, seed: int) -> None:
        self.world = InternetSites(f"ways {seed}", authority=CERTIFICATE, calls_by=way)
        self.world.internet.default_way = BETWEEN_SITES
        for number in range(PEERS):
            self.world.add_public(number)
            self.world.run(2.0)
        self.world.settle(120.0)
        where = self.world.sites[0].peer.node.hash_name(f"bob@{OVERLAY}".encode())
        is_there = [site.peer.node.is_responsible(where) for site in self.world.sites]
        others = [site for site, is_it in zip(self.world.sites, is_there, strict=True) if not is_it]
        responsible = self.world.sites[is_there.index(True)]
        self.parts = dict(zip(("caller's", "callee's", "home"), others, strict=False)) | {"responsible": responsible}
        self.caller, callee = self.parts["caller's"], self.parts["callee's"]
        self.world.line(self.caller, "alice")
        self.world.line(callee, "bob")
        self.world.settle(120.0)
        homes = CallHandling(homes=(self.parts["home"].peer.node.node_id.hex(),))
        callee.driver.call(lambda now: callee.peer.handle_calls("bob", homes, now))
        self.alice = self.world.phone(self.caller, "alice")
        self.bob = self.world.phone(callee, "bob", answer_s=None)
        self.world.run(60.0)
        self.meter = Meter(self.world)

    def calls(self) -> list[Cost]:
        """The first call between these peers, and one when they know each other."""
        return [self._call() for _ in range(2)]

    def quiet(self, calls: Iterable[Cost]) -> list[Cost]:
        """What is said in the meantime where nobody calls."""
        return [self._window(lambda each=each: self.world.run(each.ringing_ms / 1000)) for each in calls]  # type: ignore[misc]

    def _call(self) -> Cost:
        before = {name: len(site.driver.carried()) for name, site in self.parts.items()}
        rang = self.bob.rang
        numbers: list[int] = []

        def ring() -> None:
            numbers.append(self.alice.dial("bob"))
            heard = self._rung()
            assert self.world.run(10.0, stop=lambda: self._rung() > heard), self.alice.ended(numbers[0])

        cost = self._window(ring, lambda: self.alice.hang_up(numbers[0]))
        assert self.bob.rang == rang + 1
        had = {name: len(site.driver.carried()) > before[name] for name, site in self.parts.items()}
        return Cost(cost.packets, cost.octets, cost.ringing_ms, tuple(name for name in self._order() if had[name]))

    def _rung(self) -> int:
        """How many responses that say so alice's phone has had."""
        return sum(data.startswith(b"SIP/2.0 180") for data in self.alice.received)

    def _order(self) -> tuple[str, ...]:
        return ("caller's", "responsible", "home", "callee's")

    def _window(self, run: Callable[[], object], then: Callable[[], object] = lambda: None) -> Cost:
        """What passes while that runs; `then` comes after, and time goes on until the next begins."""
        began, packets, octets = self.world.internet.now, self.meter.packets, self.meter.octets
        run()
        after_ms = 1000 * (self.world.internet.now - began)
        cost = Cost(self.meter.packets - packets, self.meter.octets - octets, after_ms)
        then()
        self.world.run(began + APART_S - self.world.internet.now)
        return cost


def measured(way: CallsBy, seeds: Iterable[int] = SEEDS) -> tuple[Cost, Cost]:
    """The medians of a first call and of a second one."""
    pairs: list[list[Cost]] = []
    for seed in seeds:
        calls = Measured(way, seed).calls()
        quiet = Measured(way, seed).quiet(calls)
        pairs.append(
            [
                Cost(call.packets - none.packets, call.octets - none.octets, call.ringing_ms, call.readers)
                for call, none in zip(calls, quiet, strict=True)
            ]
        )
    first, second = (
        Cost(
            median(cost.packets for cost in costs),
            median(cost.octets for cost in costs),
            median(cost.ringing_ms for cost in costs),
            costs[0].readers,
        )
        for costs in zip(*pairs, strict=True)
    )
    return first, second


def row(way: CallsBy, costs: tuple[Cost, Cost]) -> str:
    """Of the table."""
    figures = [f"{cost.packets:.0f} | {cost.octets / 1000:.1f} | {cost.ringing_ms:.0f}" for cost in costs]
    return f"| `{way.value}` | {' | '.join(figures)} | {', '.join(costs[0].readers)} |"


HEAD: Final = """| | packets, first call | kB | ms to ringing | packets, next call | kB | ms | INVITE read by |
|---|---|---|---|---|---|---|---|
"""


def table(ways: Iterable[CallsBy] = CallsBy) -> str:
    """All of it."""
    return HEAD + "".join(f"{row(way, measured(way))}\n" for way in ways)


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")
