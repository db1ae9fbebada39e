"""What neighbours are told: which numbers the overlay has, and who this peer is.

Theory of operation. A neighbour asks for a number in a context, of which its terms say whether it may. Where the number
begins as the operator has offered it, the overlay is asked who is meant by it; if anybody is, the answer is that name
at this peer's own address for SIP. Nobody else is asked: this peer answers for the overlay, and passes no question on,
so that none goes in a circle by it. Of what is not offered a hint says how numbers begin that need not be asked for.
"""

from __future__ import annotations

import re
from typing import Final

from p2psip.base.effects import Asks, Effect
from p2psip.base.timers import Deadline
from p2psip.dundi import elements
from p2psip.dundi.elements import (
    ANSWER,
    CALLED_CONTEXT,
    CALLED_NUMBER,
    CAUSE,
    DESTINATION_BYTES_MAX,
    E164,
    EXPIRATION,
    HINT,
    REQUESTED_EID,
    SIP_PROTOCOL,
    AnswerFlags,
    CauseCode,
    Hint,
    HintFlags,
    NumberAnswer,
    StatedCause,
    eids,
    first_eid,
)
from p2psip.dundi.exchanges import Exchanges, NeighbourExchange
from p2psip.dundi.limits import EMPTY_CACHE_S, OWN_ANSWER_S, OWN_ANSWERS_MAX
from p2psip.dundi.message import CommandCode, Element, Said
from p2psip.dundi.values import EntityTerms, FindOwn, OfferedContext, name_of

RESPONSES: Final = {
    CommandCode.DPDISCOVER: CommandCode.DPRESPONSE,
    CommandCode.EIDQUERY: CommandCode.EIDRESPONSE,
    CommandCode.PRECACHERQ: CommandCode.PRECACHERP,
    CommandCode.REGREQ: CommandCode.REGRESPONSE,
}

_NUMBER: Final = re.compile(r"[A-Za-z0-9+*#._-]{1,64}")

_ABOUT: Final = {
    "department": elements.DEPARTMENT,
    "organization": elements.ORGANIZATION,
    "locality": elements.LOCALITY,
    "state_province": elements.STATE_PROVINCE,
    "country": elements.COUNTRY,
    "email": elements.EMAIL,
    "phone": elements.PHONE,
}


class OwnNumbers:
    """Answers what neighbours ask."""

    def __init__(self, terms: EntityTerms, exchanges: Exchanges) -> None:
        self._terms = terms
        self._contexts = {each.name.lower(): each for each in terms.contexts}
        self._exchanges = exchanges
        self._asks: Asks[tuple[NeighbourExchange, OfferedContext]] = Asks(OWN_ANSWERS_MAX)
        self._effects: list[Effect] = []

    def request(self, exchange: NeighbourExchange, said: Said, now: float, *, is_encrypted: bool) -> None:
        """A neighbour asks. Raises NotDundi where an element cannot be read."""
        refusal = self._refusal(exchange, said, is_encrypted=is_encrypted)
        if refusal is not None:
            self._answer(exchange, said.command, (CAUSE.of(refusal),), now)
            return
        exchange.neighbour.asked += 1
        match said.command:
            case CommandCode.DPDISCOVER:
                self._discover(exchange, said, now)
            case CommandCode.EIDQUERY:
                self._answer(exchange, said.command, self._about(said), now)
            case CommandCode.PRECACHERQ:
                self._refuse(exchange, said.command, "Nothing is cached here before it is asked for", now)
            case CommandCode.REGREQ:
                self._refuse(exchange, said.command, "Addresses are set up here", now)

    def handle_answer(self, token: int, user: str, now: float) -> None:
        """The overlay has said who is meant by a number, "" if nobody."""
        if (waiting := self._asks.answered(token)) is None:
            return
        exchange, context = waiting
        destination = f"{user}@{self._terms.host}"
        flags = AnswerFlags.EXISTS | AnswerFlags.CANMATCH
        is_there = bool(user) and len(destination.encode()) <= DESTINATION_BYTES_MAX
        found = (self._answer_of(context, flags, destination),) if is_there else ()
        self._respond(exchange, found, Hint(HintFlags.UNAFFECTED), now)

    def handle_timeout(self, now: float) -> None:
        """What the overlay has not said in time."""
        for exchange, _ in self._asks.expired(now):
            self._refuse(exchange, CommandCode.DPDISCOVER, "The overlay has not answered in time", now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._asks.next_deadline()

    def drain(self) -> list[Effect]:
        """Questions since the last call."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _refusal(self, exchange: NeighbourExchange, said: Said, *, is_encrypted: bool) -> StatedCause | None:
        neighbour = exchange.neighbour.terms
        if first_eid(said) != neighbour.eid:
            return StatedCause(CauseCode.NOAUTH)
        if neighbour.keys is not None and not is_encrypted:
            return StatedCause(CauseCode.NOAUTH, "Unencrypted requests are not permitted")
        if self._terms.eid in eids(said)[1:]:
            # We have asked ourselves, or somebody who asks us as well has been told not to.
            return StatedCause(CauseCode.DUPLICATE, "This entity has been asked already")
        return None

    def _discover(self, exchange: NeighbourExchange, said: Said, now: float) -> None:
        name, number = CALLED_CONTEXT.last(said) or E164, CALLED_NUMBER.last(said) or ""
        context = self._contexts.get(name.lower())
        if context is None:
            self._refuse(exchange, said.command, "There is no such context here", now, CauseCode.NOAUTH)
        elif context.name not in exchange.neighbour.terms.permit:
            self._refuse(exchange, said.command, "Permission to context denied", now, CauseCode.NOAUTH)
        elif not _NUMBER.fullmatch(number):
            self._refuse(exchange, said.command, "Invalid or missing number", now)
        elif any(number.startswith(prefix) for prefix in context.prefixes):
            self._look(exchange, context, number, now)
        elif any(prefix.startswith(number) for prefix in context.prefixes):
            flags = AnswerFlags.CANMATCH | AnswerFlags.MATCHMORE
            self._respond(exchange, (self._answer_of(context, flags),), Hint(HintFlags.UNAFFECTED), now)
        else:
            hint = Hint(HintFlags.UNAFFECTED | HintFlags.DONT_ASK, _beginning(number, context.prefixes))
            self._respond(exchange, (), hint, now)

    def _look(self, exchange: NeighbourExchange, context: OfferedContext, number: str, now: float) -> None:
        if self._asks.is_full:
            self._refuse(exchange, CommandCode.DPDISCOVER, "Too much is asked for", now)
            return
        question = FindOwn(name_of(context.name, number))
        self._effects.append(self._asks.ask(question, (exchange, context), now + OWN_ANSWER_S))

    def _answer_of(self, context: OfferedContext, flags: AnswerFlags, destination: str = "") -> NumberAnswer:
        return NumberAnswer(self._terms.eid, SIP_PROTOCOL, flags, context.weight, destination)

    def _about(self, said: Said) -> tuple[Element, ...]:
        if REQUESTED_EID.last(said) != self._terms.eid:
            return (HINT.of(Hint(HintFlags.NONE)),)
        told = [kind.of(self._terms.about.get(name, "")) for name, kind in _ABOUT.items()]
        return (*told, HINT.of(Hint(HintFlags.NONE)))

    def _respond(self, exchange: NeighbourExchange, found: tuple[NumberAnswer, ...], hint: Hint, now: float) -> None:
        expiration_s = self._terms.expiration_s if found else min(self._terms.expiration_s, int(EMPTY_CACHE_S))
        said = (*map(ANSWER.of, found), HINT.of(hint), EXPIRATION.of(expiration_s))
        self._answer(exchange, CommandCode.DPDISCOVER, said, now)

    def _refuse(
        self, exchange: NeighbourExchange, command: int, why: str, now: float, code: CauseCode = CauseCode.GENERAL
    ) -> None:
        self._answer(exchange, command, (CAUSE.of(StatedCause(code, why)),), now)

    def _answer(self, exchange: NeighbourExchange, command: int, said: tuple[Element, ...], now: float) -> None:
        if self._exchanges.is_open(exchange):
            self._exchanges.answer(exchange, Said(RESPONSES[CommandCode(command)], said, is_final=True), now)


def _beginning(number: str, prefixes: tuple[str, ...]) -> str:
    """The shortest beginning of a number with which no number that is offered begins."""
    beginnings = (number[:size] for size in range(1, len(number) + 1))
    return next(each for each in beginnings if not any(prefix.startswith(each) for prefix in prefixes))
