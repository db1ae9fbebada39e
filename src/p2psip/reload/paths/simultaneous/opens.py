"""When both ends of an Attach open a stream to each other, and how often (RFC 6544, RFC 5382).

Theory of operation. A NAT lets a SYN in that comes from where one has gone out. So both ends send theirs, each from the
port that it has said, and what the two TCPs make of it is one connection (RFC 9293 section 3.5). A box that does as RFC
5382 says drops the SYN that comes first without a word (REQ-4), and the one that came late is let in by the first. A
box may answer with a reset instead; then the two have to cross on their way. Both ends know one moment: that at which
the answer to the Attach was sent. Who has answered waits for a time from then on; who has asked has measured how long
question and answer took, and waits for half of that less.

               the answer is sent                    both open
    answerer  -------+------------- TOGETHER_S ---------+---->
                      \\
    asker     ---------+--- TOGETHER_S - took_s / 2 ----+---->

Who is refused is early, and opens again at once, a few times: there and back takes longer than what the late one lacks.
If that does not help both let the boxes forget (a NAT of Linux that has refused a SYN keeps that port from who is
inside, for 10 s), and begin another round, in which the asker is a little later, and in the one after that earlier: the
way there may be longer than the way back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.ice.restraint import Restraint
from p2psip.reload.paths.ice.values import PairReport
from p2psip.reload.paths.limits import OPENS_PER_ROUND_MAX, OPENS_ROUNDS_MAX
from p2psip.reload.paths.simultaneous.open_candidates import pairs_of
from p2psip.reload.paths.simultaneous.stream_waits import PASSES_S, may_lack_datagrams
from p2psip.reload.paths.values import Candidate, Session

TOGETHER_S: Final = 0.6
"""How long after the answer: punches of UDP have had their time by then, and relays have theirs after it."""

ROUND_S: Final = 12.0
"""From one round to the next: longer than 10 s after the last of the one before was refused."""

REFUSED_S: Final = 2.0
"""For how long who is refused opens again."""

APART_S: Final = 0.05
SHIFTS: Final = (0.0, 0.5, -0.5)
"""By how much of the way the asker is later in each round."""

TOO_MANY: Final = "that host has left too many checks unanswered"


@dataclass(frozen=True, slots=True)
class OpenTogether:
    """A stream is to be opened now: a session with the one candidate that is its other end, and what it is for."""

    session: Session
    context: object


@dataclass(slots=True)
class _Opens:
    session: Session
    context: object
    pairs: tuple[Candidate, ...]
    together_at: float
    round: int = 0
    count: int = 0
    """How many were opened in this round."""
    outcome: str = "not opened yet"

    @property
    def pair(self) -> Candidate:
        """What is opened in this round."""
        return self.pairs[self.round % len(self.pairs)]

    @property
    def round_at(self) -> float:
        """When this round begins."""
        shift_s = SHIFTS[self.round % len(SHIFTS)] * self.session.took_s / 2
        return self.together_at + self.round * ROUND_S + shift_s


class SimultaneousOpens:
    """Those of one node's sessions, by our ufrags."""

    def __init__(self, restraint: Restraint, queue: TimerQueue | None = None) -> None:
        """`restraint` is that of all checks: a stranger may be named as the other end."""
        self._restraint = restraint
        self._opens: dict[bytes, _Opens] = {}
        self._timers: Timers[bytes] = Timers(queue)
        self._due: list[OpenTogether] = []
        self._over: list[bytes] = []

    def begin(self, session: Session, context: object, now: float, *, is_again: bool = False) -> None:
        """Both ends' words are here; nothing follows where one of them has no port for this. `is_again`: the path that
        is to be replaced does not answer.
        """
        if pairs := pairs_of(session.local, session.remote):
            together_s = TOGETHER_S if may_lack_datagrams(session, is_again=is_again) else PASSES_S
            at = now + max(together_s - session.took_s / 2, 0.0)
            opens = self._opens[session.local.ufrag] = _Opens(session, context, pairs, at)
            self._timers.set(session.local.ufrag, opens.round_at, "both ends open a stream")

    def end(self, ufrag: bytes) -> None:
        """There is a path that is as good, or nobody wants one any more; no matter if there is no such session."""
        if self._opens.pop(ufrag, None) is not None:
            self._timers.cancel(ufrag)
            self._over.append(ufrag)

    def failed(self, session: Session, reason: str, now: float) -> None:
        """What was opened came to nothing."""
        ufrag = session.local.ufrag
        if (opens := self._opens.get(ufrag)) is None:
            return
        opens.outcome = reason.removeprefix(f"{opens.pair}: ")
        if opens.count < OPENS_PER_ROUND_MAX and now < opens.round_at + REFUSED_S:
            self._timers.set(ufrag, now + APART_S, "who was refused opens again")
            return
        opens.round += 1
        opens.count = 0
        if opens.round < OPENS_ROUNDS_MAX:
            self._timers.set(ufrag, max(now, opens.round_at), "both ends open a stream once more")

    def reports(self, ufrag: bytes) -> tuple[PairReport, ...]:
        """What has become of a session's pairs."""
        if (opens := self._opens.get(ufrag)) is None or opens.pair.local is None:
            return ()
        return (PairReport(opens.pair.local, opens.pair.address, "TCP, opened by both ends", opens.outcome),)

    def take(self) -> list[OpenTogether]:
        """What is to be opened since the last call."""
        due, self._due = self._due, []
        return due

    def over(self) -> list[bytes]:
        """The sessions of which nothing is to be opened any more, since the last call."""
        over, self._over = self._over, []
        return over

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Open what is due."""
        for ufrag in self._timers.pop_due(now):
            opens = self._opens[ufrag]
            opens.count += 1
            if self._restraint.may_check(opens.pair.address, now):
                opens.outcome = "in progress"
                self._due.append(OpenTogether(replace(opens.session, candidates=(opens.pair,)), opens.context))
            else:
                self.failed(opens.session, TOO_MANY, now)
