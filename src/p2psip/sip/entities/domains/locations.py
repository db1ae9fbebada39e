"""The searches for servers of other domains that are under way: a core with questions of DNS (location.py)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from p2psip.base.address import Address
from p2psip.base.effects import Asks, Effect
from p2psip.base.timers import Deadline, TimerQueue
from p2psip.sip.entities.domains.dns_answers import FindRecords, Records
from p2psip.sip.entities.domains.location import DomainServers, Permits, Steps, locate
from p2psip.sip.entities.questions import TOKEN_STEP
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import StreamHop

SEARCHES_MAX = 256
"""At a time, of all phones of a peer."""

QUESTIONS_MAX = 2048

ANSWER_S = 2.5
"""How long DNS may take for one step of three: a caller waits 8 s for all of it (`ServerLimits.resolve_s`)."""


@dataclass(frozen=True, slots=True)
class ServersFound(Effect):
    """The end of the search that was begun with this context."""

    context: object
    uri: SipUri
    found: DomainServers


@dataclass(slots=True, eq=False)
class _Search:
    context: object
    uri: SipUri
    steps: Steps
    answers: list[Records | None] = field(default_factory=list)
    """Of the step under way, None where one is still awaited."""


class Locations:
    """Runs the procedure for many URIs at a time. Each ends as ServersFound, some at once."""

    def __init__(
        self,
        permits: Permits,
        rng: random.Random,
        queue: TimerQueue | None = None,
        servers: Mapping[str, Address] | None = None,
    ) -> None:
        """`servers` are those of domains for which DNS is not asked."""
        self._permits = permits
        self._servers = servers or {}
        self._rng = rng
        self._searches: dict[object, _Search] = {}
        self._asks: Asks[tuple[_Search, int]] = Asks(QUESTIONS_MAX, first=4, step=TOKEN_STEP, queue=queue)
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return len(self._searches)

    def begin(self, uri: SipUri, context: object, now: float) -> None:
        """Search the servers for a URI."""
        search = _Search(context, uri, locate(uri, self._permits, self._rng))
        if (server := self._servers.get(uri.host)) is not None:
            hop = StreamHop("TLS", server, uri.host) if uri.scheme == "sips" else StreamHop("TCP", server)
            self._end(search, DomainServers((hop,), said=(f"the server of {uri.host} is set: {server}",)))
            return
        if len(self._searches) >= SEARCHES_MAX:
            self._end(search, DomainServers((), 480, "too many searches in DNS are under way"))
            return
        self._searches[context] = search
        self._go_on(search, None, now)

    def cancel(self, context: object) -> None:
        """Nobody waits for it any more: what DNS still says is not heard."""
        self._searches.pop(context, None)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """What DNS says."""
        if (waiting := self._asks.answered(token)) is not None:
            assert isinstance(answer, Records), f"FindRecords is not answered by {answer}"
            self._take(*waiting, answer, now)

    def handle_timeout(self, now: float) -> None:
        """What DNS has not said in time it does not say."""
        for search, at in self._asks.expired(now):
            self._take(search, at, Records(problem=f"no answer in {ANSWER_S:g} s"), now)

    def drain(self) -> list[Effect]:
        """Questions and ends since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._asks.next_deadline()

    def _take(self, search: _Search, at: int, answer: Records, now: float) -> None:
        if self._searches.get(search.context) is not search:
            return
        search.answers[at] = answer
        answers = [one for one in search.answers if one is not None]
        if len(answers) == len(search.answers):
            self._go_on(search, answers, now)

    def _go_on(self, search: _Search, answers: list[Records] | None, now: float) -> None:
        """The next step; None to begin with."""
        try:
            questions = next(search.steps) if answers is None else search.steps.send(answers)
        except StopIteration as end:
            del self._searches[search.context]
            self._end(search, end.value)
            return
        if len(self._asks) + len(questions) > QUESTIONS_MAX:
            del self._searches[search.context]
            self._end(search, DomainServers((), 480, "too many questions of DNS are open"))
            return
        search.answers = [None] * len(questions)
        self._effects += [self._ask(search, at, one, now) for at, one in enumerate(questions)]

    def _ask(self, search: _Search, at: int, question: FindRecords, now: float) -> Effect:
        return self._asks.ask(question, (search, at), now + ANSWER_S)

    def _end(self, search: _Search, found: DomainServers) -> None:
        self._effects.append(ServersFound(search.context, search.uri, found))
