"""This peer as an entity of a DUNDi network: a core (draft-mspencer-dundi-01; docs/decisions/dundi.md).

Theory of operation. Messages go to and come from neighbours alone, which the operator has set up with their addresses;
anything else is dropped and counted. Of what they ask `OwnNumbers` speaks, of what we ask `Searches`, of whose a
message is `Exchanges`. Each neighbour is asked once a minute whether it is there (NULL), so that no call waits for one
that is not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect, Note
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.dundi.elements import UNKNOWN_COMMAND
from p2psip.dundi.exchanges import NO_ANSWER, Came, Exchanges, Failed, NeighbourExchange
from p2psip.dundi.limits import CHECK_S, CHECK_SILENT_S
from p2psip.dundi.message import COMMANDS, CommandCode, NotDundi, Said
from p2psip.dundi.neighbour import Neighbour
from p2psip.dundi.own_numbers import RESPONSES, OwnNumbers
from p2psip.dundi.searches import Question, Searches
from p2psip.dundi.values import EntityTerms, NeighbourFacts


@dataclass(slots=True, eq=False)
class _Check:
    """Is a neighbour there? The purpose of an exchange."""

    neighbour: Neighbour


class Entity:
    """One entity."""

    def __init__(self, terms: EntityTerms, rng: random.Random) -> None:
        self.terms = terms
        self._neighbours = tuple(Neighbour(each, rng) for each in terms.neighbours)
        self._by_name = {each.name: each for each in self._neighbours}
        by_address = {each.terms.address: each for each in self._neighbours}
        assert len(by_address) == len(self._neighbours), "each neighbour has an address of its own"
        self._exchanges = Exchanges(terms.eid, by_address, rng)
        self._own = OwnNumbers(terms, self._exchanges)
        self._searches = Searches(terms, self._neighbours, self._exchanges)
        self._checks: Timers[str] = Timers()
        self._effects: list[Effect] = []

    @property
    def facts(self) -> tuple[NeighbourFacts, ...]:
        """How it goes with each neighbour."""
        return tuple(each.facts for each in self._neighbours)

    @property
    def strangers(self) -> int:
        """Messages from elsewhere that were dropped."""
        return self._exchanges.strangers

    def start(self, now: float) -> None:
        """Ask all neighbours whether they are there, from now on."""
        for neighbour in self._neighbours:
            neighbour.since = now
            self._checks.set(neighbour.name, now, "is it there")

    def find(self, number: str, context: object, now: float) -> None:
        """Ask the neighbours where a number is called; `NumberSought(context, ...)` follows."""
        self._searches.find(number, context, now)

    def handle_datagram(self, remote: Address, data: bytes, now: float) -> None:
        """A datagram has come."""
        match self._exchanges.handle(remote, data, now):
            case Came(exchange, None):
                self._checked(exchange, now)
            case Came(exchange, said) as came:
                assert said is not None
                self._act(came, said, now)
                self._exchanges.settle(came, now)
            case Failed() as failed:
                self._failed(failed, now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to FindOwn."""
        assert isinstance(answer, str), f"FindOwn is not answered by {answer}"
        self._own.handle_answer(token, answer, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        for failed in self._exchanges.handle_timeout(now):
            self._failed(failed, now)
        self._own.handle_timeout(now)
        self._searches.handle_timeout(now)
        for name in self._checks.pop_due(now):
            neighbour = self._by_name[name]
            self._checks.set(name, now + (CHECK_S if neighbour.is_up else CHECK_SILENT_S), "is it there")
            self._exchanges.begin(neighbour, Said(CommandCode.NULL, is_final=True), _Check(neighbour), now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        parts = (self._exchanges, self._own, self._searches, self._checks)
        return earliest(part.next_deadline() for part in parts)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        parts = (self._exchanges, self._own, self._searches)
        return [*effects, *(effect for part in parts for effect in part.drain())]

    # Inside

    def _act(self, came: Came, said: Said, now: float) -> None:
        """Something new has come."""
        exchange = came.exchange
        if exchange.asked is not None:
            self._answered(came, said, now)
        elif said.command in RESPONSES and exchange.transaction.is_first:
            self._requested(came, said, now)
        elif said.command not in COMMANDS and not said.is_final:
            unknown = Said(CommandCode.UNKNOWN, (UNKNOWN_COMMAND.of(said.command),), is_final=True)
            self._exchanges.answer(exchange, unknown, now)
        elif not said.is_final:
            self._exchanges.cancel(exchange, now)

    def _requested(self, came: Came, said: Said, now: float) -> None:
        try:
            self._own.request(came.exchange, said, now, is_encrypted=came.is_encrypted)
        except NotDundi as error:
            came.exchange.neighbour.unread(error)
            self._exchanges.cancel(came.exchange, now)

    def _answered(self, came: Came, said: Said, now: float) -> None:
        exchange = came.exchange
        question, exchange.purpose = exchange.purpose, None
        self._heard(exchange.neighbour, None, now)
        if isinstance(question, Question):
            self._learn(question, came, said, now)
        if not said.is_final:
            self._exchanges.cancel(exchange, now)

    def _learn(self, question: Question, came: Came, said: Said, now: float) -> None:
        """What a neighbour says of a number."""
        if said.command != CommandCode.DPRESPONSE:
            self._searches.failed(question, "does not answer what it was asked", now)
            return
        if came.exchange.key is not None and not came.is_encrypted:
            self._searches.failed(question, "answers without encryption", now)
            return
        try:
            self._searches.answered(question, said, now)
        except NotDundi as error:
            question.neighbour.unread(error)
            self._searches.failed(question, f"says what cannot be read: {error}", now)

    def _checked(self, exchange: NeighbourExchange, now: float) -> None:
        """Our last word is acknowledged: of a NULL this is the answer."""
        if isinstance(exchange.purpose, _Check):
            self._heard(exchange.neighbour, now - exchange.began_at, now)

    def _failed(self, failed: Failed, now: float) -> None:
        exchange, neighbour = failed.exchange, failed.exchange.neighbour
        if exchange.asked is None:
            return
        if failed.reason == NO_ANSWER and neighbour.silent(failed.reason, now):
            means = "calls do without it until it answers"
            facts = {"peer": neighbour.name, "address": neighbour.terms.address, "means": means}
            self._effects.append(Note("DUNDi peer silent", facts, is_warning=True))
            self._checks.set(neighbour.name, now + CHECK_SILENT_S, "is it there")
        elif failed.reason != NO_ANSWER:
            neighbour.failure = failed.reason
        if isinstance(failed.purpose, Question):
            self._searches.failed(failed.purpose, failed.reason, now)

    def _heard(self, neighbour: Neighbour, rtt_s: float | None, now: float) -> None:
        if neighbour.heard(now, rtt_s):
            facts = {"peer": neighbour.name, "address": neighbour.terms.address}
            self._effects.append(Note("DUNDi peer answers again", facts))
