"""What we answered lately, so that a request that comes again is answered again and not done again (RFC 6940, 6.2.1).

Where there is no room for another answer, who has the most loses its oldest: a flood of requests by one member does not
make us forget what others may still ask for again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers

REQUEST_LIFETIME_S = 15.0
"""6.2.1: "the maximum request lifetime (15 seconds)"."""

FORGET_EVERY_S = 15.0
"""Answers are forgotten some at a time."""

ANSWERS_MAX = 4096
ANSWER_BYTES_MAX = 16 << 20

COST = 4096
"""What it counts to be kept at all: as many answers without a byte as may be kept, and no more."""
assert COST * ANSWERS_MAX == ANSWER_BYTES_MAX

Key = tuple[int, NodeId]
"""Which request it was: its transaction, and who signed it. The signature itself may be another the next time."""


@dataclass(slots=True)
class Answered:
    """A request that we were asked, and the answer's payload once there is one; it may wait for the Ask `after`."""

    expires_at: float
    payload: bytes | None = None
    after: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the answer."""
        return len(self.payload or b"")


class Answers:
    """The requests that one node was asked within the lifetime of a request."""

    def __init__(self, queue: TimerQueue | None = None) -> None:
        self._timers: Timers[None] = Timers(queue)
        self.lifetime_s = REQUEST_LIFETIME_S
        """How long after it came a request may come again."""
        self._kept: dict[Key, Answered] = {}
        self._bytes = 0
        self._share: Counter[NodeId] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes_kept(self) -> int:
        """Of all answers."""
        return self._bytes

    def get(self, key: Key) -> Answered | None:
        """What became of this request, if it was asked before."""
        return self._kept.get(key)

    def begin(self, key: Key, now: float) -> None:
        """A request that is being served."""
        while len(self._kept) >= ANSWERS_MAX:
            self._make_room()
        self._kept[key] = Answered(now + self.lifetime_s)
        if len(self._kept) == 1:
            self._await_oldest()
        self._share[key[1]] += COST

    def answered(self, key: Key, payload: bytes, after: int | None) -> None:
        """The answer to it."""
        answer = self._kept.get(key)
        if answer is None:
            return
        growth = len(payload) - answer.size
        # Its bytes alone are what is counted here; that it was signed in this process is nothing to remember.
        answer.payload, answer.after = bytes(payload), after
        self._bytes += growth
        self._share[key[1]] += growth
        while self._bytes > ANSWER_BYTES_MAX:
            self._make_room()

    def forget(self, key: Key) -> None:
        """It may come again and be served anew."""
        answer = self._kept.pop(key, None)
        if answer is None:
            return
        if not self._kept:
            self._timers.cancel(None)
        self._bytes -= answer.size
        self._share[key[1]] -= answer.size + COST
        if not self._share[key[1]]:
            del self._share[key[1]]

    def forget_waiting(self, token: int) -> None:
        """What this Ask was to bring about did not come about."""
        for key in [key for key, answer in self._kept.items() if answer.after == token]:
            self.forget(key)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Forget answers that nobody may ask for again."""
        while self._kept and next(iter(self._kept.values())).expires_at <= now:
            self.forget(next(iter(self._kept)))
        for _ in self._timers.pop_due(now):
            self._await_oldest()

    def _await_oldest(self) -> None:
        if self._kept:
            forgotten_at = next(iter(self._kept.values())).expires_at + FORGET_EVERY_S
            self._timers.set(None, forgotten_at, "answers no longer kept")

    def _make_room(self) -> None:
        greedy, _ = self._share.most_common(1)[0]
        self.forget(next(key for key in self._kept if key[1] == greedy))
