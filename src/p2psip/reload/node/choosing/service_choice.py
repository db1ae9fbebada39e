"""In which order the peers are tried that offer one service (concepts draft section 6.1).

By measured round trip, capacity and load, and so that callers spread (docs/decisions/choosing-a-service.md). What is
known of load is old: it is as the provider has said it at last, and all callers read the same. If all took the best,
it would be the worst a moment later. So each draws, and the nearer and freer one is, the likelier it comes first.

Where all are to come to the same one, they draw by the same hash (rendezvous hashing).
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass

from p2psip.base.ids import NodeId

CAPACITY_UNSAID = 8
"""What one counts as that has not said how many it serves at once."""

FULL = 0.95
"""Who is taken to more than that comes after all that are not."""

CROWDED_S = 0.05
"""What it counts as, in seconds of round trip, that half of a provider's places are taken; it grows as queues do."""

ALIKE_S = 0.02
"""Round trips that differ by less hardly count."""

FAR_S = 60.0
"""The round trip of one that has not answered a Ping."""

NEARNESS = 3
"""How much the way counts: who is twice as far away comes first an eighth as often."""


@dataclass(frozen=True, slots=True)
class Offerer:
    """One that offers the service: what it has said, and what we know.

    `capacity` is how many it serves at once (0: not said), `load` how much of that is taken, in percent, `placed` how
    many we have sent there since it has said so. `rtt_s` is None if it has not answered a Ping.
    """

    node: NodeId
    capacity: int = 0
    load: int = 0
    placed: int = 0
    rtt_s: float | None = None
    has_failed: bool = False

    @property
    def places(self) -> int:
        """How many it serves at once, as far as anybody knows."""
        return self.capacity or CAPACITY_UNSAID

    @property
    def taken(self) -> float:
        """How much of that is taken: 1.0 is all."""
        return self.load / 100 + self.placed / self.places

    @property
    def comes_late(self) -> tuple[bool, bool]:
        """Who has just failed is tried after all others, and before him who is full."""
        return (self.has_failed, self.taken > FULL)

    @property
    def cost_s(self) -> float:
        """How long one waits there, about: the way, and the crowd."""
        taken = min(self.taken, FULL)
        return (FAR_S if self.rtt_s is None else self.rtt_s) + CROWDED_S * taken / (1.0 - taken)

    @property
    def weight(self) -> float:
        """How likely it is to come first: as it has places, and the less the longer one waits."""
        return float(self.places * max(1.0 - self.taken, 1.0 - FULL) / (ALIKE_S + self.cost_s) ** NEARNESS)


def in_order_for_one(offerers: Iterable[Offerer], rng: random.Random) -> list[Offerer]:
    """The order in which one caller tries them."""
    # The smallest of exponential times with these rates is each with a probability that is as its rate, and so on.
    drawn = [(each.comes_late, rng.expovariate(1.0) / each.weight, each) for each in offerers]
    return [each for _, _, each in sorted(drawn, key=lambda draw: draw[:2])]


def in_order_for_all(offerers: Iterable[Offerer], place: bytes) -> list[Offerer]:
    """The order in which everybody tries them who wants to come to the same `place`.

    The way does not count, which is another for each; places count, and who is full. If one goes or comes, nobody but
    who was there or is to be there moves.
    """
    drawn = [(each.comes_late, -math.log(_hashed(each.node, place)) / each.places, each) for each in offerers]
    return [each for _, _, each in sorted(drawn, key=lambda draw: draw[:2])]


def _hashed(node: NodeId, place: bytes) -> float:
    """A number above 0 and up to 1 that is the same for everybody."""
    digest = hashlib.sha256(len(node).to_bytes(1, "big") + bytes(node) + place).digest()
    return (int.from_bytes(digest[:8], "big") + 1) / (1 << 64)
