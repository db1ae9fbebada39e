"""What happens to a datagram on its way: it comes late, out of order, twice, or not at all."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Path:
    """A network between two hosts, in one direction; each datagram has its own fate."""

    delay_s: float = 0.02
    jitter_s: float = 0.0
    """Up to so much is added to the delay: more than the time between two datagrams puts them out of order."""
    loss: float = 0.0
    """What part of the datagrams is lost."""
    duplication: float = 0.0
    """What part of those that arrive comes twice."""

    def arrivals(self, rng: random.Random) -> list[float]:
        """The delays after which copies of a datagram arrive."""
        if rng.random() < self.loss:
            return []
        copies = 2 if rng.random() < self.duplication else 1
        return [self.delay_s + rng.uniform(0, self.jitter_s) for _ in range(copies)]
