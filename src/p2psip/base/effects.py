"""What a core wants done: one ordered list of effects and one next deadline.

The contract of a core. Every entry point takes `now` last, in seconds on a clock that never jumps
or runs back. A core has no sockets, no clock and no randomness inside; it is given bytes, link
events, commands, `handle_timeout(now)` and `handle_answer(token, answer, now)`, and is then drained
with `drain()` and asked for `next_deadline()`. One input, drain the effects, re-arm, next.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from p2psip.base.frozen import frozen
from p2psip.base.timers import Deadline, TimerQueue, Timers

C = TypeVar("C")


class Effect:
    """Something that a core wants its driver, or the core above it, to do."""

    __slots__ = ()


@frozen
class Ask(Effect):
    """A question to the outside, answered through `handle_answer(token, answer, now)`.

    The core forgets the question at `deadline`; a later answer is ignored.
    """

    token: int
    question: object
    deadline: float


@dataclass(frozen=True, slots=True)
class AskAnswered(Effect):
    """The answer to an Ask, from another core than the one that asked."""

    token: int
    answer: object


@dataclass(frozen=True, slots=True)
class CancelAsk(Effect):
    """Nobody waits for this answer any more; the driver may stop working on it."""

    token: int


@frozen
class Note(Effect):
    """Something that an operator may want to read: an event in a few words, and its facts."""

    event: str
    facts: Mapping[str, object]
    is_warning: bool = False


class Asks(Generic[C]):
    """The open questions of one core: what each was asked for, bounded in number.

    `first` and `step` keep the tokens of several sub-cores apart where one `handle_answer` serves them all.
    """

    def __init__(
        self, limit: int, *, first: int = 1, step: int = 1, reserved: int = 0, queue: TimerQueue | None = None
    ) -> None:
        """So many beyond the limit are reserved for what is urgent; `queue` is of the core that this is a part of."""
        self._limit = limit
        self._reserved = reserved
        self._numbers = itertools.count(first, step)
        self._open: dict[int, C] = {}
        self._timers: Timers[int] = Timers(queue)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """True if no further question may be asked now: refuse the work that needs it."""
        return self.is_full_for(is_urgent=False)

    def is_full_for(self, *, is_urgent: bool) -> bool:
        """The same; what is urgent may ask when others may not any more."""
        return len(self._open) >= self._limit + (self._reserved if is_urgent else 0)

    def ask(self, question: object, context: C, deadline: float) -> Ask:
        """Open a question; `context` comes back from `answered` or `expired`."""
        assert not self.is_full_for(is_urgent=True), "look at is_full before asking"
        token = next(self._numbers)
        self._open[token] = context
        self._timers.set(token, deadline, "answer overdue")
        return Ask(token, question, deadline)

    def answered(self, token: int) -> C | None:
        """Close a question; None if it was not open (cancelled, expired, or another core's)."""
        self._timers.cancel(token)
        return self._open.pop(token, None)

    def cancel(self, token: int) -> CancelAsk:
        """Close a question that nobody waits for any more."""
        self.answered(token)
        return CancelAsk(token)

    def expired(self, now: float) -> Iterator[C]:
        """Close the questions whose deadline has come, oldest first; what is done about one may close another."""
        for token in self._timers.pop_due(now):
            if (context := self._open.pop(token, None)) is not None:
                yield context

    def join(self, queue: TimerQueue) -> None:
        """Be a part of the core that has this queue."""
        self._timers.join(queue)

    def next_deadline(self) -> Deadline | None:
        """When the next question expires."""
        return self._timers.next_deadline()
