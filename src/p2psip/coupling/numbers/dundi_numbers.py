"""Numbers that neighbours by DUNDi have, and those of the overlay that they ask for (docs/decisions/dundi.md).

Theory of operation. A number that nobody in the overlay has is asked of the neighbours first: their answer is a place
to try, outside of the overlay, each in its turn as gateways are. Where they know nothing, or what they know has failed,
the gateways are asked. What a neighbour asks for is looked for in the overlay: a line of this peer, or a record.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from p2psip.base.address import Address
from p2psip.base.effects import Ask, AskAnswered, Effect
from p2psip.base.errors import RequestFailed
from p2psip.base.timers import Deadline
from p2psip.coupling.lines import Publisher
from p2psip.coupling.locating import Locator
from p2psip.coupling.numbers.gateways import Gateways
from p2psip.dundi.entity import Entity
from p2psip.dundi.values import EntityTerms, FindOwn, NumberPlace, NumberSought
from p2psip.reload.node.node import Node
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.sip_registration import NotAnAor, fetch_request
from p2psip.sip.entities.gateway.offer import OfferedNumbers
from p2psip.sip.entities.numbers.dial_plan import DialPlan
from p2psip.sip.entities.questions import FindGateway, Located, NotLocated, Target
from p2psip.sip.entities.registrar.ways import outside_target
from p2psip.sip.message.uri import SipUri, escape_user


@dataclass(frozen=True, slots=True)
class NumberContext:
    """The Fetch of a record of which a neighbour wants to know whether it is there; `token` is the entity's, `user` who
    is called if it is.
    """

    token: int
    aor: str
    user: str


@dataclass(frozen=True, slots=True)
class _ForCall:
    """A call waits for what the neighbours say; `token` is the SIP server's."""

    token: int


class DundiNumbers:
    """Answers FindGateway, and what neighbours ask. Without terms of an operator there are no neighbours."""

    def __init__(
        self,
        terms: EntityTerms | None,
        node: Node,
        publisher: Publisher,
        locator: Locator,
        gateways: Gateways,
        plan: DialPlan,
        rng: random.Random,
    ) -> None:
        self.entity = None if terms is None else Entity(terms, rng)
        self._node = node
        self._publisher = publisher
        self._locator = locator
        self._gateways = gateways
        self._plan = plan
        self._overlay = node.configuration.instance_name
        self._waiting: dict[int, FindGateway] = {}
        self._offered: tuple[OfferedNumbers, ...] = ()
        self._effects: list[Effect] = []

    def start(self, now: float) -> None:
        """Speak to the neighbours from now on."""
        if self.entity is not None:
            self.entity.start(now)
            self._carry(now)

    def locate(self, token: int, question: FindGateway, now: float) -> None:
        """Find who calls a number; the answer may come at once."""
        if self.entity is None or question.is_emergency:
            self._gateways.locate(token, question, now)
            return
        self._waiting[token] = question
        self.entity.find(question.number, _ForCall(token), now)
        self._carry(now)

    def look_for(self, number: str, context: object, now: float) -> None:
        """Ask the neighbours for an operator; `NumberSought(context, ...)` follows."""
        if self.entity is None:
            self._effects.append(NumberSought(context, number, (), ()))
        else:
            self.entity.find(number, context, now)
            self._carry(now)

    def cancel(self, token: int) -> None:
        """Nobody waits for that any more."""
        self._waiting.pop(token, None)

    def handle_datagram(self, remote: Address, data: bytes, now: float) -> None:
        """A datagram has come to the entity's port."""
        assert self.entity is not None, "there is a port for an entity alone"
        self.entity.handle_datagram(remote, data, now)
        self._carry(now)

    def handle_done(self, context: NumberContext, result: Answer | RequestFailed, now: float) -> None:
        """The end of a Fetch."""
        assert self.entity is not None, "it has asked"
        is_there = isinstance(result, Answer) and bool(self._locator.read(context.aor, result, now).entries)
        self.entity.handle_answer(context.token, context.user if is_there else "", now)
        self._carry(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        if self.entity is not None:
            self.entity.handle_timeout(now)
            self._carry(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return None if self.entity is None else self.entity.next_deadline()

    def drain(self) -> list[Effect]:
        """What is to be done since the last call: answers to the SIP server, and what is the driver's."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _carry(self, now: float) -> None:
        while self.entity is not None and (effects := self.entity.drain()):
            for effect in effects:
                match effect:
                    case Ask(token, FindOwn(number)):
                        self._find_own(self.entity, token, number, now)
                    case NumberSought(_ForCall(token)):
                        self._sought(token, effect, now)
                    case _:
                        self._effects.append(effect)

        self._offer(now)

    def _offer(self, now: float) -> None:
        """What other members may call through this peer, as long as some neighbour has answered."""
        if self.entity is None:
            return
        terms = self.entity.terms
        is_there = any(each.is_up and each.rtt_s is not None for each in self.entity.facts)
        offered = tuple(OfferedNumbers(prefix, terms.preference) for prefix in terms.reaches if is_there)
        if offered != self._offered:
            self._offered = offered
            self._gateways.announce_beyond(offered, now)

    def _find_own(self, entity: Entity, token: int, number: str, now: float) -> None:
        """Who is meant by the dial plan, as who has no line dials: a line of this peer, or who has a record."""
        ruled = self._plan.ruled(number, None)
        name = number if ruled is None else "" if ruled.refusal else ruled.number
        try:
            aor = self._locator.aor(name.lower())
        except NotAnAor:
            entity.handle_answer(token, "", now)
            return
        if self._publisher.meant(name) is not None:
            entity.handle_answer(token, escape_user(name), now)
        elif self._node.is_connected:
            found = NumberContext(token, aor, escape_user(name))
            self._node.fetch(fetch_request(aor, self._node.hash_name), found, now)
        else:
            entity.handle_answer(token, "", now)

    def _sought(self, token: int, sought: NumberSought, now: float) -> None:
        """The neighbours have said what they know; the next of it that has not been tried, or else the gateways."""
        question = self._waiting.pop(token, None)
        if question is None:
            return
        tried = {each.uri for each in question.tried}
        targets = (self._target(place) for place in sought.places)
        if (target := next((each for each in targets if each.uri not in tried), None)) is not None:
            self._effects.append(AskAnswered(token, Located((target,))))
            return
        said = question.otherwise
        reason = f"{said.reason or said.phrase}; DUNDi: {'; '.join(sought.said)}"
        otherwise = NotLocated(said.status, said.phrase, reason)
        if question.is_here:
            self._effects.append(AskAnswered(token, otherwise))
            return
        self._gateways.locate(token, replace(question, otherwise=otherwise), now)

    def _target(self, place: NumberPlace) -> Target:
        uri = SipUri(place.host, escape_user(place.user), place.port or None)
        outside = outside_target(uri, self._overlay, f"DUNDi peer {place.neighbour}")
        # Who says nothing at all for a while is not waited for.
        return replace(outside, is_gateway=True, is_doubtful=True)
