"""Deadlines, never ticks: a set of keyed deadlines, each with its reason."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """When `handle_timeout` is wanted, in seconds of the core's clock, and why (for people who debug)."""

    at: float
    reason: str


class Timers(Generic[K]):
    """Keyed deadlines. Setting a key again moves its deadline; due keys come out in order of time, then of setting."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._live: dict[K, tuple[int, Deadline]] = {}
        self._serial = 0

    def __contains__(self, key: K) -> bool:
        return key in self._live

    def __len__(self) -> int:
        return len(self._live)

    def set(self, key: K, at: float, reason: str) -> None:
        """Have `key` come due at `at`, whatever was set for it before."""
        self._serial += 1
        self._live[key] = (self._serial, Deadline(at, reason))
        heapq.heappush(self._heap, (at, self._serial, key))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._live):
            self._heap = [entry for entry in self._heap if self._is_live(entry)]
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Forget `key`; no matter if it was not set."""
        self._live.pop(key, None)

    def pop_due(self, now: float) -> Iterator[K]:
        """Remove the keys that are due, one by one.

        What is done about one may cancel another, which then does not come; what it sets comes at the next call. A
        machine that slept finds timers due together that otherwise never are.
        """
        last = self._serial
        later: list[tuple[float, int, K]] = []
        try:
            while self._heap and self._heap[0][0] <= now:
                entry = heapq.heappop(self._heap)
                if not self._is_live(entry):
                    continue
                if entry[1] > last:
                    later.append(entry)
                    continue
                del self._live[entry[2]]
                yield entry[2]
        finally:
            for entry in later:
                heapq.heappush(self._heap, entry)

    def next_deadline(self) -> Deadline | None:
        """The earliest deadline, or None if nothing is set."""
        while self._heap:
            _, serial, key = self._heap[0]
            live = self._live.get(key)
            if live is not None and live[0] == serial:
                return live[1]
            heapq.heappop(self._heap)
        return None

    def _is_live(self, entry: tuple[float, int, K]) -> bool:
        live = self._live.get(entry[2])
        return live is not None and live[0] == entry[1]


def earliest(deadlines: Iterable[Deadline | None]) -> Deadline | None:
    """The first of several cores' next deadlines."""
    first: Deadline | None = None
    for deadline in deadlines:
        if deadline is not None and (first is None or deadline.at < first.at):
            first = deadline
    return first
