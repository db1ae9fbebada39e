"""What takes several requests to the overlay, one after the other.

Theory of operation. An errand is a generator: it yields what it wants (a request, or a pause), and is sent what came of
it and when that was, until it ends. So each is written in the order in which it happens. Their number is bounded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

from p2psip.base.errors import RequestFailed
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.node.node import Node
from p2psip.reload.security.errors import UntrustedCertificate
from p2psip.reload.security.roles import Identity
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.mailbox_usage import DAY_S
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.storage_messages import FetchReq, StoreReq

ERRANDS_MAX = 128


@dataclass(frozen=True, slots=True)
class Pause:
    """Go on after so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of what an errand wanted, None of a pause; and when."""

    result: Answer | RequestFailed | None
    now: float


Wish: TypeAlias = FetchReq | OverlayRequest | Pause
Errand: TypeAlias = Generator[Wish, Outcome, None]
PartOfErrand: TypeAlias = Generator[Wish, Outcome, tuple[str, float]]
"""Why it has failed, "" if it has not; and when that was."""


@dataclass(frozen=True, slots=True)
class ErrandContext:
    """A request of an errand."""

    number: int


class Errands:
    """Those of one peer that are under way."""

    def __init__(self, node: Node, queue: TimerQueue | None = None) -> None:
        self._node = node
        self._numbers = itertools.count(1)
        self._running: dict[int, Errand] = {}
        self._timers: Timers[int] = Timers(queue)

    @property
    def is_full(self) -> bool:
        """True if no more can be begun."""
        return len(self._running) >= ERRANDS_MAX

    def begin(self, errand: Errand, now: float) -> None:
        """Run one, which has not begun."""
        assert not self.is_full, "look at is_full before"
        number = next(self._numbers)
        self._running[number] = errand
        self._go_on(number, None, now)

    def handle_done(self, context: ErrandContext, result: Answer | RequestFailed, now: float) -> None:
        """The end of a request."""
        self._go_on(context.number, Outcome(result, now), now)

    def handle_timeout(self, now: float) -> None:
        """Pauses are over."""
        for number in self._timers.pop_due(now):
            self._go_on(number, Outcome(None, now), now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def _go_on(self, number: int, outcome: Outcome | None, now: float) -> None:
        errand = self._running[number]
        try:
            wish = next(errand) if outcome is None else errand.send(outcome)
        except StopIteration:
            del self._running[number]
            return
        match wish:
            case Pause(seconds):
                self._timers.set(number, now + seconds, "an errand goes on")
            case FetchReq():
                self._node.fetch(wish, ErrandContext(number), now)
            case OverlayRequest():
                self._node.request(wish, ErrandContext(number), now)


def latest_ms(node: Node, identity: Identity, now: float) -> float:
    """What may be the date of something that others have signed: no later than tomorrow, or, where nobody knows what
    day it is, than our own certificate is good for.
    """
    if node.wall.is_trusted:
        return node.wall.date_ms(now) + 1000 * DAY_S
    chain = [entry.certificate for entry in identity.certificates]
    try:
        return 1000 * node.reader.rules.verifier.check(chain, 0.0, False).not_after
    except UntrustedCertificate:
        return 0.0


def stored(
    node: Node, identity: Identity, make: Callable[[int], StoreReq], now: float, above_ms: int = 0
) -> PartOfErrand:
    """Store what `make` makes of a storage_time, as one of our own, later than `above_ms`."""
    if above_ms > latest_ms(node, identity, now):
        # Whoever has signed that has no clock, or wants ours to be wrong: all that we sign later would be dated so.
        return "what is there is dated in times to come", now
    try:
        issued = node.issue_storage_time(identity.node_id, now, above_ms=above_ms)
    except Rejection as error:
        return str(error), now
    request = make(issued.storage_time_ms)
    where = [Destination.resource(request.resource)]
    done = yield OverlayRequest(where, MessageCode.STORE_REQ, request, identity, after=issued.after)
    return (str(done.result) if isinstance(done.result, RequestFailed) else ""), done.now


def stored_in_the_end(
    node: Node,
    identity: Identity,
    make: Callable[[int], StoreReq],
    now: float,
    pauses_s: tuple[float, ...],
    above_ms: int = 0,
) -> PartOfErrand:
    """The same, tried again after each of these pauses: who is responsible may just have died."""
    for pause_s in (*pauses_s, None):
        why, now = yield from stored(node, identity, make, now, above_ms)
        if not why or pause_s is None:
            return why, now
        now = (yield Pause(pause_s)).now
    raise AssertionError("the last one is not followed by a pause")
