"""Virtual time: a heap of what happens when."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class VirtualClock:
    """Runs what is scheduled in order of time, then of scheduling; never waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        """How many have happened."""
        self._serial = itertools.count()
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []

    def at(self, when: float, run: Callable[..., None], *arguments: object) -> None:
        """Have something happen at a time, which must not have passed."""
        heapq.heappush(self._heap, (max(when, self.now), next(self._serial), run, arguments))

    def run_until(self, end: float, *, stop: Callable[[], bool] | None = None) -> bool:
        """Let things happen up to `end`, or until `stop` says so; True if it did."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.now, _, run, arguments = heapq.heappop(heap)
            self.events += 1
            run(*arguments)
            if stop is not None and stop():
                return True
        self.now = max(self.now, end)
        return stop is not None and stop()
