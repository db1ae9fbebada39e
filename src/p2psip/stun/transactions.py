"""A client's requests until they are answered (RFC 8489 section 6.2).

Over datagrams a request goes out again, each time after twice as long, and is given up; over a stream it goes out once.
What an answer means, and whether it is to be believed, is the business of who asked: until he says `done`, answers that
he does not believe change nothing. How fast requests may follow one another is his business, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen
from p2psip.base.rto import STUN_RTO, RoundTripEstimator
from p2psip.base.timers import Deadline, Timers

C = TypeVar("C")

TRANSACTION_BYTES: Final = 12
RTO_KEPT_S: Final = 600.0
"""6.2.1: the RTO "SHOULD be considered stale and discarded if no transactions have occurred to the same server in the
last 10 minutes"."""


@frozen
class Patience:
    """How often a request goes out, and how long its answer is waited for (6.2.1, 6.2.2)."""

    requests_max: int = 7
    """Rc."""
    last_rtos: float = 16
    """Rm: how many RTOs after the last request."""
    stream_s: float = 39.5
    """Ti."""


@frozen
class Resend(Effect):
    """Send this request, for the first time or again."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StunUnanswered(Effect, Generic[C]):
    """A request came to nothing. `is_forged` if there were answers, and none was to be believed (9.1.4, 9.2.5)."""

    context: C
    is_forged: bool


@dataclass(slots=True)
class _Open(Generic[C]):
    data: bytes
    context: C
    began_at: float
    patience: Patience
    rto_s: float
    sent: int = 1
    is_forged: bool = False


@dataclass(slots=True)
class Transactions(Generic[C]):
    """Those with one server, from one address of ours."""

    is_stream: bool
    _open: dict[bytes, _Open[C]] = field(default_factory=dict)
    _timers: Timers[bytes] = field(default_factory=Timers)
    _rtt: RoundTripEstimator = field(default_factory=lambda: RoundTripEstimator(STUN_RTO))
    _used_at: float = float("-inf")
    _effects: list[Effect] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, transaction: bytes, data: bytes, context: C, now: float, patience: Patience | None = None) -> None:
        """Ask; `context` comes back with whatever becomes of it."""
        if now >= self._used_at + RTO_KEPT_S:
            self._rtt = RoundTripEstimator(STUN_RTO)
        self._used_at = now
        opened = _Open(data, context, now, patience or Patience(), self._rtt.rto_s)
        self._open[transaction] = opened
        self._effects.append(Resend(data))
        self._arm(transaction, opened, now)

    def find(self, transaction: bytes) -> C | None:
        """Whose answer has come; None if nobody waits for it (6.3: "silently discarded")."""
        found = self._open.get(transaction)
        return None if found is None else found.context

    def done(self, transaction: bytes, now: float) -> None:
        """The answer was taken."""
        found = self._open.pop(transaction)
        self._timers.cancel(transaction)
        # 6.2.1, Karn: "RTT estimates SHOULD NOT be computed from STUN transactions that result in the retransmission".
        if found.sent == 1:
            self._rtt.measured(now - found.began_at)

    def disbelieved(self, transaction: bytes) -> None:
        """An answer with no integrity, or another's.

        9.2.5: over an unreliable transport it "MUST be discarded, as if it had never been received"; over a reliable
        one "the layer MUST immediately end the transaction and signal that the integrity protection was violated".
        """
        self._open[transaction].is_forged = True
        if self.is_stream:
            self._give_up(transaction)

    def fail(self) -> None:
        """6.2.1: "also considered failed if there has been a hard ICMP error"; 6.2.2: if the connection fails."""
        for transaction in list(self._open):
            self._give_up(transaction)

    def handle_timeout(self, now: float) -> None:
        """Ask again, or give up."""
        for transaction in self._timers.pop_due(now):
            opened = self._open[transaction]
            if self.is_stream or opened.sent >= opened.patience.requests_max:
                self._give_up(transaction)
                continue
            opened.sent += 1
            opened.rto_s *= 2
            self._effects.append(Resend(opened.data))
            self._arm(transaction, opened, now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def _arm(self, transaction: bytes, opened: _Open[C], now: float) -> None:
        patience = opened.patience
        if self.is_stream:
            wait_s = patience.stream_s
        elif opened.sent < patience.requests_max:
            wait_s = opened.rto_s
        else:
            # "a duration equal to Rm times the RTO", the RTO being the first one.
            wait_s = patience.last_rtos * opened.rto_s / 2 ** (opened.sent - 1)
        self._timers.set(transaction, now + wait_s, "STUN answer overdue")

    def _give_up(self, transaction: bytes) -> None:
        opened = self._open.pop(transaction)
        self._timers.cancel(transaction)
        self._effects.append(StunUnanswered(opened.context, opened.is_forged))
