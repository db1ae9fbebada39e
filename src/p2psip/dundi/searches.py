"""Where a number leads that nobody in the overlay has: all neighbours are asked at once, and remembered what they say.

Theory of operation. A number is asked for in each context of each neighbour that has answered last, unless what that
one said of it counts still. Each is told of all the others, so that it does not ask them as well. It is over when all
have answered, or one has said that it is the number's own place (weight 0); or after 2 s and 0.2 s for each hop that
the question may go on (`EntityTerms.ttl`). Who calls for the same number at the same time waits for the same search.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, Timers
from p2psip.dundi.elements import (
    ANSWER,
    CALLED_CONTEXT,
    CALLED_NUMBER,
    CAUSE,
    EID_DIRECT,
    EXPIRATION,
    SIP_PROTOCOL,
    TTL,
    VERSION,
    VERSION_SPOKEN,
    AnswerFlags,
    NumberAnswer,
)
from p2psip.dundi.exchanges import Exchanges
from p2psip.dundi.limits import (
    CACHE_MAX,
    EMPTY_CACHE_S,
    NEXT_S,
    NUMBER_BYTES_MAX,
    PLACES_MAX,
    SEARCHES_MAX,
    WAIT_S,
    WAITING_MAX,
)
from p2psip.dundi.message import CommandCode, Said
from p2psip.dundi.neighbour import Neighbour
from p2psip.dundi.values import EntityTerms, NumberPlace, NumberSought, number_in, read_place

EXPIRATION_S = 3600
"""How long an answer counts that does not say it."""


@dataclass(frozen=True, slots=True)
class _Word:
    """What a neighbour has said of a number in a context, until when it counts."""

    places: tuple[NumberPlace, ...]
    said: tuple[str, ...]
    until: float


@dataclass(slots=True, eq=False)
class Question:
    """A number that is asked for in a context, of one neighbour: the purpose of an exchange."""

    search: _Search
    neighbour: Neighbour
    context: str
    number: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What its answer is remembered by."""
        return (self.neighbour.name, self.context, self.number)


@dataclass(slots=True, eq=False)
class _Search:
    number: str
    waiting: list[object]
    open: list[Question] = field(default_factory=list)
    places: list[NumberPlace] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class Searches:
    """Those of one entity. Each ends as NumberSought."""

    def __init__(self, terms: EntityTerms, neighbours: tuple[Neighbour, ...], exchanges: Exchanges) -> None:
        self._terms = terms
        self._neighbours = neighbours
        self._exchanges = exchanges
        self._searches: dict[str, _Search] = {}
        self._cache: OrderedDict[tuple[str, str, str], _Word] = OrderedDict()
        self._timers: Timers[str] = Timers()
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return len(self._searches)

    def find(self, number: str, context: object, now: float) -> None:
        """Ask for a number as it is dialled here; `NumberSought(context, ...)` follows, at once if it is known."""
        waiting = sum(len(each.waiting) for each in self._searches.values())
        known = self._searches.get(number)
        if waiting >= WAITING_MAX or (known is None and len(self._searches) >= SEARCHES_MAX):
            self._effects.append(NumberSought(context, number, (), ("too many numbers are asked for",)))
        elif known is not None:
            known.waiting.append(context)
        else:
            self._begin(_Search(number, [context]), now)

    def answered(self, question: Question, said: Said, now: float) -> None:
        """A neighbour has answered. Raises NotDundi where an element cannot be read."""
        cause = CAUSE.last(said)
        if cause is not None and cause.code:
            self.failed(question, f"refuses: {cause.words or f'cause {cause.code}'}", now)
            return
        answers = ANSWER.every(said)
        expiration_s = float(EXPIRATION.last(said) or EXPIRATION_S)
        question.neighbour.answered += 1
        places, words = self._read(question, answers)
        until = now + (expiration_s if answers else min(expiration_s, EMPTY_CACHE_S))
        self._cache[question.key] = word = _Word(places, words, until)
        self._cache.move_to_end(question.key)
        if len(self._cache) > CACHE_MAX:
            self._cache.popitem(last=False)
        self._take(question.search, word)
        self._is_over(question, now)

    def failed(self, question: Question, reason: str, now: float) -> None:
        """Nothing comes of a question."""
        question.search.said.append(f"{question.neighbour.name}: {reason}")
        self._is_over(question, now)

    def handle_timeout(self, now: float) -> None:
        """Whoever has not answered in time is not waited for."""
        for number in self._timers.pop_due(now):
            search = self._searches[number]
            for question in search.open:
                search.said.append(f"{question.neighbour.name}: has not answered in {self._wait_s:g} s")
            self._end(search, now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def drain(self) -> list[Effect]:
        """What was found since the last call."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    @property
    def _wait_s(self) -> float:
        return WAIT_S + NEXT_S * self._terms.ttl

    def _begin(self, search: _Search, now: float) -> None:
        asked = [
            Question(search, neighbour, context, number)
            for neighbour in self._neighbours
            for context in neighbour.terms.include
            if (number := number_in(context, search.number)) is not None and len(number.encode()) <= NUMBER_BYTES_MAX
        ]
        for question in asked:
            word = self._cache.get(question.key)
            if word is not None and now < word.until:
                self._take(search, word)
            elif not question.neighbour.is_up:
                search.said.append(f"{question.neighbour.name}: is silent, and not asked")
            else:
                search.open.append(question)
        self._searches[search.number] = search
        self._timers.set(search.number, now + self._wait_s, "neighbours have not answered")
        for question in tuple(search.open):
            if self._exchanges.begin(question.neighbour, self._discover(question), question, now) is None:
                self.failed(question, "too much is under way", now)
        if not search.open and search.number in self._searches:
            self._end(search, now)

    def _discover(self, question: Question) -> Said:
        """The first entity is who asks, the last who has asked first; between them those that need not be asked."""
        us, open_ = self._terms.eid, question.search.open
        others = [
            each.neighbour.terms.eid
            for each in open_
            if each.context == question.context and each.neighbour is not question.neighbour
        ]
        named = (us, *others, us) if others else (us,)
        return Said(
            CommandCode.DPDISCOVER,
            (
                VERSION.of(VERSION_SPOKEN),
                *map(EID_DIRECT.of, named),
                CALLED_NUMBER.of(question.number),
                CALLED_CONTEXT.of(question.context),
                TTL.of(self._terms.ttl),
            ),
        )

    def _read(
        self, question: Question, answers: tuple[NumberAnswer, ...]
    ) -> tuple[tuple[NumberPlace, ...], tuple[str, ...]]:
        name, places, words = question.neighbour.name, [], []
        for answer in answers[:PLACES_MAX]:
            if not answer.flags & AnswerFlags.EXISTS:
                continue
            if answer.protocol != SIP_PROTOCOL:
                words.append(f"{name}: has the number by another protocol than SIP ({answer.protocol})")
                continue
            place = read_place(answer.destination, question.neighbour.terms, answer.weight)
            if place is None:
                words.append(f"{name}: names {answer.destination!r}, which is none of the addresses in its calls")
            else:
                places.append(place)
                words.append(f"{name}: {place}, weight {place.weight}")
        return tuple(places), tuple(words) or (f"{name}: does not have it",)

    def _take(self, search: _Search, word: _Word) -> None:
        search.places += [each for each in word.places if str(each) not in map(str, search.places)]
        search.said += word.said

    def _is_over(self, question: Question, now: float) -> None:
        search = question.search
        if question in search.open:
            search.open.remove(question)
        if self._searches.get(search.number) is search and (
            not search.open or any(not place.weight for place in search.places)
        ):
            self._end(search, now)

    def _end(self, search: _Search, now: float) -> None:
        del self._searches[search.number]
        self._timers.cancel(search.number)
        for question in search.open:
            self._exchanges.cancel_all(question, now)
        search.open.clear()
        places = tuple(sorted(search.places, key=lambda place: place.weight)[:PLACES_MAX])
        said = tuple(dict.fromkeys(search.said)) or ("no neighbour is asked for such a number",)
        self._effects += [NumberSought(context, search.number, places, said) for context in search.waiting]
