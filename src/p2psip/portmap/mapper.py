"""Has the router map ports of this machine, and keeps them mapped: in PCP, else in NAT-PMP, else in UPnP.

Theory of operation. One question is under way at a time (RFC 6886 section 3.1 wants that), the others wait. A language
that the router does not answer, or in which it grants nothing, is followed by the next; after the last one all is tried
again after a while. What is granted is asked for again when half of its lifetime is over, and at once when the router
betrays that it has forgotten: once a minute it is asked how it is. From elsewhere than the router's port nothing is
believed, and a grant that cannot be is taken as a refusal.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.portmap.epoch import Epoch
from p2psip.portmap.nat_pmp import NatPmp
from p2psip.portmap.pcp import Pcp
from p2psip.portmap.upnp import Upnp
from p2psip.portmap.values import (
    AskRouter,
    Dialect,
    HomeRouter,
    Outgoing,
    RouterAnswer,
    RouterLeft,
    WantedPort,
    is_of_a_host,
)

LIFETIME_S: Final = 3600
"""For how long ports are asked for. What a router grants for more counts for so long (RFC 6887 section 15 has a client
set a limit), so that what it said in error does not last."""

LIFETIME_MIN_S: Final = 60
"""What a router grants for less counts for so long: it is asked no more often than every half minute."""

RENEWED_AFTER: Final = (0.5, 0.55)
"""How much of its lifetime is over when a mapping is asked for again: half, or a little more (RFC 6887 11.2.1)."""

GREET_S: Final = 60.0
"""How often a router is asked how it is."""

RESTARTED_MAX_S: Final = 5.0
"""RFC 6887 section 8.5: those who see that a router has restarted ask it within so long, and not all at once."""

AGAIN_S: Final = 600.0
"""After how long a router is asked again that has refused or been silent: somebody may have changed its settings."""

WITHDRAWING_WAITS_S: Final = (0.5, 0.5)
"""Who ends a peer does not wait for longer; what the router has not heard ends with its lifetime."""

SILENT: Final = "it does not answer"
IMPOSSIBLE: Final = "it grants an address or port that cannot be"
NO_ADDRESS: Final = "it has no address that others could use"


class _Question(NamedTuple):
    """For a wish, for so long; without one, to the router itself."""

    wish: WantedPort | None
    lifetime_s: int = LIFETIME_S


class _Due(NamedTuple):
    """What a timer is for; some are for a wish."""

    what: str
    wish: WantedPort | None = None


@dataclass(slots=True)
class _Given:
    outside: Address


@dataclass(slots=True)
class _UnderWay:
    question: _Question
    outgoing: Outgoing
    sent: int = 0


class PortMapper:
    """What one machine has from its router. `secret` is its own, and the same after a restart."""

    def __init__(self, secret: bytes, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self.router: HomeRouter | None = None
        self.refusals: dict[str, str] = {}
        """Why the router has granted nothing when it was asked last, by the language."""
        self.refused: dict[WantedPort, str] = {}
        """Why it has not granted these, where it has granted others."""
        self.outside_host = ""
        """What the router has said last of its outside address, be it that it has refused."""
        self._given: dict[WantedPort, _Given] = {}
        self._secret = secret
        self._rng = rng
        self._wishes: tuple[WantedPort, ...] = ()
        self._untried: list[Dialect] = []
        self._dialect: Dialect | None = None
        self._waiting: deque[_Question] = deque()
        self._under_way: _UnderWay | None = None
        self._why = SILENT
        """Why nothing is granted in this language."""
        self._has_granted = False
        """True if something is."""
        self._host = ""
        """The router's outside address, in a language that says it apart from ports."""
        self._epoch = Epoch()
        self._is_withdrawing = False
        self._timers: Timers[_Due] = Timers(queue)
        self._effects: list[Effect] = []

    @property
    def given(self) -> Mapping[WantedPort, Address]:
        """What is mapped now, and to which outside address."""
        return {wish: each.outside for wish, each in self._given.items()}

    @property
    def language(self) -> str:
        """In which the router is spoken to; empty if in none."""
        return "" if self._dialect is None else self._dialect.name

    @property
    def is_withdrawing(self) -> bool:
        """True while the router has not heard yet that nothing is needed any more."""
        return self._is_withdrawing and self._dialect is not None

    @property
    def is_asking(self) -> bool:
        """True while the router is to answer something."""
        return self._under_way is not None

    # Commands

    def use(self, router: HomeRouter | None, wishes: Sequence[WantedPort], now: float) -> None:
        """This is the router from now on, and these ports are to be mapped."""
        if (router, tuple(wishes)) == (self.router, self._wishes) or self._is_withdrawing:
            return
        self._part()
        self._timers.clear()
        self._given.clear()
        self.refusals.clear()
        self.refused.clear()
        self.outside_host = ""
        self.router, self._wishes = router, tuple(wishes)
        if router is not None and wishes:
            self._begin(router, now)

    def withdraw(self, now: float) -> None:
        """Have nothing mapped any more, for good."""
        self._is_withdrawing = True
        self._under_way = None
        self._timers.clear()
        self._waiting = deque(_Question(wish, 0) for wish in self._given)
        self._given.clear()
        self._go_on(now)

    # What comes

    def handle_datagram(self, remote: Address, data: bytes, now: float) -> None:
        """Something has come to the port from which the router is asked."""
        dialect, asked = self._dialect, self._under_way
        if self.router is None or dialect is None or remote.host != self.router.host:
            return
        is_awaited = asked is not None and not asked.outgoing.is_stream
        if (remote.port == dialect.answers_from) if dialect.answers_from is not None else is_awaited:
            self._read(dialect, asked, data, now)

    def handle_stream(self, request: bytes, answer: bytes, now: float) -> None:
        """What has come on a stream until its end; nothing, if it could not be connected or took too long."""
        dialect, asked = self._dialect, self._under_way
        if dialect is None or asked is None or not asked.outgoing.is_stream or asked.outgoing.data != request:
            return
        if not self._read(dialect, asked, answer, now):
            self._unanswered(now)

    def _read(self, dialect: Dialect, asked: _UnderWay | None, data: bytes, now: float) -> bool:
        """True for an answer to what is under way."""
        answer = dialect.read(data)
        if asked is not None and isinstance(answer, Outgoing):
            asked.outgoing, asked.sent = answer, 0
            self._send(asked, now)
            return True
        if answer is None or isinstance(answer, Outgoing):
            return False
        if asked is not None and (answer.wish == asked.question.wish or answer.is_foreign):
            self._under_way = None
            self._timers.cancel(_Due("wait"))
            self._answered(asked.question, answer, now)
            self._go_on(now)
            return True
        if answer.is_proven and answer.wish in self._given and not answer.refusal:
            # RFC 6887 section 14.2: a router says by itself that an outside address is another one now.
            self._grant(answer.wish, answer, now)
        return False

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Ask again, or for what is due."""
        for due in self._timers.pop_due(now):
            match due.what:
                case "wait":
                    self._repeat(now)
                case "again":
                    assert self.router is not None, "who has none is asked nothing"
                    self._begin(self.router, now)
                case "greet":
                    self._waiting.append(_Question(None))
                case "restarted":
                    self._waiting.extend(map(_Question, self._wishes))
                case "renew":
                    self._waiting.append(_Question(due.wish))
                case _:
                    assert due.wish is not None, "what ends is a mapping"
                    self._given.pop(due.wish, None)
        self._go_on(now)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Languages

    def _begin(self, router: HomeRouter, now: float) -> None:
        self._untried = [Pcp(router, self._secret), NatPmp(), Upnp(router)]
        self.refusals.clear()
        self._timers.cancel(_Due("greet"))
        self._next_dialect(now)

    def _next_dialect(self, now: float) -> None:
        """Try the next language; after the last one wait, a little where the router has known us."""
        self._under_way = None
        self._timers.cancel(_Due("wait"))
        self._waiting.clear()
        self.refused.clear()
        for wish in self._wishes:
            self._timers.cancel(_Due("renew", wish))
        if not self._untried:
            self._part()
            self._timers.set(_Due("again"), now + (GREET_S if self._given else AGAIN_S), "ask the router again")
            return
        dialect = self._dialect = self._untried.pop(0)
        self._host, self._epoch, self._why, self._has_granted = "", Epoch(), SILENT, False
        greeting = (_Question(None),) if dialect.is_greeted else ()
        self._waiting.extend((*greeting, *map(_Question, self._wishes)))
        self._go_on(now)

    def _part(self) -> None:
        """Listen to the router no more."""
        if self._dialect is not None:
            self._dialect, self._under_way = None, None
            self._waiting.clear()
            self._effects.append(RouterLeft())

    def _give_up(self, why: str, now: float) -> None:
        assert self._dialect is not None, "it is that which is given up"
        self.refusals[self._dialect.name] = why
        self._next_dialect(now)

    # Questions

    def _go_on(self, now: float) -> None:
        """Ask what is to be asked next; if that is nothing, see what has come of it."""
        dialect = self._dialect
        if dialect is None or self._under_way is not None:
            return
        if self._waiting:
            question = self._waiting.popleft()
            self._under_way = _UnderWay(question, self._encoded(dialect, question))
            self._send(self._under_way, now)
        elif self._is_withdrawing:
            self._part()
        elif not self._given:
            self._give_up(self._why, now)
        elif _Due("greet") not in self._timers:
            self._timers.set(_Due("greet"), now + GREET_S, "ask the router how it is")

    def _encoded(self, dialect: Dialect, question: _Question) -> Outgoing:
        if question.wish is None:
            return dialect.greet()
        known = self._given.get(question.wish)
        # RFC 6886 section 3.3: the port inside is a good one to begin with, and what one had the best afterwards.
        outside = Address("", question.wish.port) if known is None else known.outside
        return dialect.ask(question.wish, question.lifetime_s, outside)

    def _send(self, asked: _UnderWay, now: float) -> None:
        assert self.router is not None, "somebody is asked"
        waits_s = self._waits_s(asked)
        self._effects.append(AskRouter(self.router, asked.outgoing))
        self._timers.set(_Due("wait"), now + waits_s[asked.sent] * self._rng.uniform(0.9, 1.1), "the router is silent")
        asked.sent += 1

    def _waits_s(self, asked: _UnderWay) -> Sequence[float]:
        return WITHDRAWING_WAITS_S if self._is_withdrawing else asked.outgoing.waits_s

    def _repeat(self, now: float) -> None:
        asked = self._under_way
        assert asked is not None, "that is what it was waited for"
        if asked.sent < len(self._waits_s(asked)):
            self._send(asked, now)
        else:
            self._unanswered(now)

    def _unanswered(self, now: float) -> None:
        """It is waited for no longer."""
        self._under_way = None
        self._timers.cancel(_Due("wait"))
        if self._is_withdrawing:
            self._go_on(now)
        else:
            self._give_up(SILENT, now)

    # Answers

    def _answered(self, question: _Question, answer: RouterAnswer, now: float) -> None:
        if self._is_withdrawing:
            return
        if answer.epoch_s is not None and self._epoch.has_restarted(answer.epoch_s, now):
            self._timers.set(_Due("restarted"), now + self._rng.uniform(0.0, RESTARTED_MAX_S), "the router restarted")
        if question.wish is None:
            self._greeted(answer, now)
        elif answer.is_foreign:
            self._give_up(answer.refusal, now)
        else:
            self._grant(question.wish, answer, now)

    def _greeted(self, answer: RouterAnswer, now: float) -> None:
        """The router is there, and may have said its outside address; who has granted ports need not know greetings."""
        host = answer.outside.host
        if is_of_a_host(host):
            self._host = self.outside_host = host
            for given in self._given.values():
                given.outside = Address(host, given.outside.port)
        elif not self._has_granted:
            self._give_up(answer.refusal or NO_ADDRESS, now)

    def _grant(self, wish: WantedPort, answer: RouterAnswer, now: float) -> None:
        """It is mapped, or is not: then it is asked for again later, if another one is mapped."""
        outside = Address(answer.outside.host or self._host, answer.outside.port)
        is_of_host = is_of_a_host(outside.host)
        if is_of_host:
            self.outside_host = outside.host
        is_possible = is_of_host and outside.port and answer.lifetime_s
        if answer.refusal or not is_possible:
            self._why = self.refused[wish] = answer.refusal or IMPOSSIBLE
            self._given.pop(wish, None)
            self._timers.cancel(_Due("end", wish))
            self._timers.set(_Due("renew", wish), now + AGAIN_S, "ask for a port again that was refused")
            return
        lifetime_s = min(max(answer.lifetime_s, LIFETIME_MIN_S), LIFETIME_S)
        self._given[wish], self._has_granted = _Given(outside), True
        self.refused.pop(wish, None)
        self._timers.set(_Due("end", wish), now + lifetime_s, "a mapped port ends")
        renewed_s = lifetime_s * self._rng.uniform(*RENEWED_AFTER)
        self._timers.set(_Due("renew", wish), now + renewed_s, "have a port mapped for longer")
