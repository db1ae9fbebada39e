"""Deadlines, never ticks: a set of keyed deadlines, each with its reason."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadline(NamedTuple):
    """When `handle_timeout` is wanted, in seconds of the core's clock, and why (for people who debug)."""

    at: float
    reason: str


class Timers(Generic[K]):
    """Keyed deadlines. Setting a key again moves its deadline; due keys come out in order of time, then of setting."""

    __slots__ = ("_heap", "_live", "_next", "_queue", "_serial", "armed_at")

    def __init__(self, queue: TimerQueue | None = None) -> None:
        """Those of a part of a core that has a `queue` for all of them, or of something that stands alone."""
        self.armed_at: float | None = None
        """When the queue looks here."""
        self._queue = queue
        self._heap: list[tuple[float, int, K]] = []
        self._live: dict[K, tuple[int, Deadline]] = {}
        self._next: tuple[int, Deadline] | None = None
        """The earliest that is live, if that is known."""
        self._serial = 0

    def __contains__(self, key: K) -> bool:
        return key in self._live

    def __len__(self) -> int:
        return len(self._live)

    def set(self, key: K, at: float, reason: str) -> None:
        """Have `key` come due at `at`, whatever was set for it before."""
        self._serial = serial = self._serial + 1
        live = serial, Deadline(at, reason)
        if self._next is not None:
            if self._live.get(key) is self._next:
                self._next = None
            elif at < self._next[1].at:
                self._next = live
        self._live[key] = live
        heap = self._heap
        heapq.heappush(heap, (at, serial, key))
        if self._queue is not None and (self.armed_at is None or at < self.armed_at):
            self._queue.arm(self, at)
        if len(heap) > 64 and len(heap) > 4 * len(self._live):
            self._heap = [entry for entry in heap if self._is_live(entry)]
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Forget `key`; no matter if it was not set."""
        live = self._live.pop(key, None)
        if live is not None and live is self._next:
            self._next = None

    def clear(self) -> None:
        """Forget all."""
        self._live.clear()
        self._heap.clear()
        self._next = None

    def join(self, queue: TimerQueue) -> None:
        """Be a scope of this queue, for a part that was made before its core."""
        self._queue = queue
        deadline = self.next_deadline()
        if deadline is not None:
            queue.arm(self, deadline.at)

    def pop_due(self, now: float) -> Iterator[K]:
        """Remove the keys that are due, one by one.

        What is done about one may cancel another, which then does not come; what it sets comes at the next call. A
        machine that slept finds timers due together that otherwise never are.
        """
        return self._pop_due(now) if self._heap and self._heap[0][0] <= now else iter(())

    def _pop_due(self, now: float) -> Iterator[K]:
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
                self.cancel(entry[2])
                yield entry[2]
        finally:
            for entry in later:
                heapq.heappush(self._heap, entry)
            if later:
                self._next = None
                if self._queue is not None:
                    self._queue.arm(self, later[0][0])

    def next_deadline(self) -> Deadline | None:
        """The earliest deadline, or None if nothing is set."""
        if self._next is not None:
            return self._next[1]
        heap = self._heap
        while heap:
            _, serial, key = heap[0]
            live = self._live.get(key)
            if live is not None and live[0] == serial:
                self._next = live
                return live[1]
            heapq.heappop(heap)
        return None

    def _is_live(self, entry: tuple[float, int, K]) -> bool:
        live = self._live.get(entry[2])
        return live is not None and live[0] == entry[1]


class TimerQueue:
    """The timers of one core: each of its parts has a scope of them, and here is which comes due first.

    A part that is made of parts has a queue of its own in the `whole`'s, which is a scope there.
    """

    __slots__ = ("_clean_at", "_heap", "_serial", "_whole", "armed_at")

    def __init__(self, whole: TimerQueue | None = None) -> None:
        self.armed_at: float | None = None
        """When the queue of the whole looks here."""
        self._whole = whole
        self._heap: list[tuple[float, int, Timers[Any] | TimerQueue]] = []
        self._serial = 0
        self._clean_at = 64

    def scope(self) -> Timers[Any]:
        """The timers of one part."""
        return Timers(self)

    def arm(self, timers: Timers[Any] | TimerQueue, at: float) -> None:
        """Something comes due in this scope, sooner than all else there."""
        if self._whole is not None and (self.armed_at is None or at < self.armed_at):
            self._whole.arm(self, at)
        self._serial += 1
        timers.armed_at = at
        heapq.heappush(self._heap, (at, self._serial, timers))
        if len(self._heap) > self._clean_at:
            # Each scope once is enough: the others are of times when something else was its first.
            first = {each: (when, serial, each) for when, serial, each in self._heap if when == each.armed_at}
            self._heap = sorted(first.values())
            self._clean_at = max(64, 4 * len(self._heap))

    def next_deadline(self) -> Deadline | None:
        """The earliest deadline of all scopes, or None if nothing is set."""
        while self._heap:
            at, _, timers = self._heap[0]
            deadline = timers.next_deadline()
            if deadline is not None and deadline.at == at:
                return deadline
            heapq.heappop(self._heap)
            if timers.armed_at == at:
                timers.armed_at = None
                if deadline is not None:
                    self.arm(timers, deadline.at)
        return None


class Timed(Protocol):
    """A core, or a part of one, that wants to be woken."""

    def next_deadline(self) -> Deadline | None: ...


def is_due(part: Timed, now: float) -> bool:
    """True if there is something to do in its `handle_timeout`."""
    deadline = part.next_deadline()
    return deadline is not None and deadline.at <= now


def earliest(deadlines: Iterable[Deadline | None]) -> Deadline | None:
    """The first of several cores' next deadlines."""
    first: Deadline | None = None
    for deadline in deadlines:
        if deadline is not None and (first is None or deadline.at < first.at):
            first = deadline
    return first
