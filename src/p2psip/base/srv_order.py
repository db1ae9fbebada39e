"""In which order servers are tried that DNS names in SRV records (RFC 2782)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import groupby
from typing import Protocol, TypeVar


class Weighted(Protocol):
    """An SRV record, whoever has read it."""

    @property
    def priority(self) -> int:
        """The lowest is tried first."""

    @property
    def weight(self) -> int:
        """How often it is first among those of its priority."""


R = TypeVar("R", bound=Weighted)


def in_order(records: Iterable[R], rng: random.Random) -> list[R]:
    """By priority; among those of one at random, each as often first as its weight says."""
    ordered: list[R] = []
    for _, group in groupby(sorted(records, key=lambda one: one.priority), key=lambda one: one.priority):
        # "all those with weight 0 are placed at the beginning of the list."
        left = sorted(group, key=lambda one: one.weight)
        while left:
            # "choose a uniform random number between 0 and the sum computed (inclusive), and select the RR whose
            # running sum value is the first in the selected order which is greater than or equal to" it.
            drawn, running = rng.randint(0, sum(one.weight for one in left)), 0
            for at, one in enumerate(left):
                running += one.weight
                if running >= drawn:
                    ordered.append(left.pop(at))
                    break
    return ordered
