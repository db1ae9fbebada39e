"""Gateways of an overlay: this peer's own, announced while they can call, and those of others, found and chosen.

Theory of operation. All gateways announce one service, `gateway` (RFC 7374; who may, the signed configuration says:
docs/decisions/services-by-permission.md), with their prefixes, emergency numbers and preferences in its offer. Who
looks for one has them chosen as the providers of any service are (docs/decisions/choosing-a-service.md). Of those that
reach a number the longest prefix counts first, then the preference, then that choice; one that has just failed comes
last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2psip.base.effects import AskAnswered, Effect, Note
from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.coupling.gruu import last_node, make_gruu, read_gruu
from p2psip.reload.node.choosing.service_chooser import ServiceChooser
from p2psip.reload.node.node import Node
from p2psip.reload.node.service_discovery import ServiceDiscovery
from p2psip.reload.usages.redir import Provider
from p2psip.reload.wire.header import CompressedDestination, Destination
from p2psip.sip.entities.gateway.by_gateway import best_of
from p2psip.sip.entities.gateway.offer import OfferedNumbers, offer_of, read_offer, write_offer
from p2psip.sip.entities.gateway.terms import GATEWAY_PARAM, is_number
from p2psip.sip.entities.gateway.trunk import Trunk
from p2psip.sip.entities.questions import FindGateway, Located, NotLocated, Target
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import LocalHop

SERVICE = "gateway"

BEYOND_CALLS = 100
"""How many calls are said to go to neighbours by DUNDi: nobody counts them, and nobody pays."""

WAITING_MAX = 256
"""Calls that wait until the gateways are known."""


@dataclass(frozen=True, slots=True)
class NumberGateway:
    """One that reaches a number: where, how many digits of it are its own, and how far away it is, if anybody knows."""

    user: str
    node: NodeId
    digits: int
    preference: int
    rtt_s: float | None
    has_failed: bool
    target: Target


@dataclass(frozen=True, slots=True)
class GatewaysKnown(Effect):
    """Which gateways reach a number, as somebody has asked with `context`; in the order in which they are tried."""

    context: object
    number: str
    gateways: tuple[NumberGateway, ...]


class Gateways:
    """Answers FindGateway, and announces the trunks of this peer."""

    def __init__(
        self, node: Node, services: ServiceDiscovery, chooser: ServiceChooser, trunks: Sequence[Trunk], overlay: str
    ) -> None:
        self._node = node
        self._services = services
        self._chooser = chooser
        self._trunks = tuple(trunks)
        self._overlay = overlay
        self._waiting: dict[int, FindGateway] = {}
        self._wanted: list[tuple[object, str, bool]] = []
        self._announced = ""
        self._beyond: tuple[OfferedNumbers, ...] = ()
        self._effects: list[Effect] = []

    # Our own

    def announce_beyond(self, offered: tuple[OfferedNumbers, ...], now: float) -> None:
        """Neighbours by DUNDi have these numbers now, which other members may call through this peer."""
        self._beyond = offered
        self.announce(now)

    def announce(self, now: float) -> None:
        """Some trunk is up, or is not any more: say what can be called through this peer now."""
        able = [trunk for trunk in self._trunks if trunk.health.is_up]
        policy = write_offer([*self._beyond, *(offer for trunk in able for offer in offer_of(trunk.terms))])
        if policy == self._announced:
            return
        self._announced = policy
        if not policy:
            self._services.unregister(SERVICE, now)
            return
        try:
            self._services.register(SERVICE, now, capacity=self._capacity, load=self._load, policy=policy)
        except LocalMisuse as error:
            means = "phones of this peer alone call through it"
            self._effects.append(Note("gateway not announced", {"reason": str(error), "means": means}, is_warning=True))

    def tell_load(self, now: float) -> None:
        """Others are told how many of the calls are taken that can go out through this peer at once."""
        if self._announced:
            self._services.tell_load(SERVICE, self._load, now)

    # Those of others

    def locate(self, token: int, question: FindGateway, now: float) -> None:
        """Find the gateway whose turn it is for a number; the answer may come at once."""
        for each in question.tried:
            if (node := self._node_of(each.uri)) is not None:
                self._chooser.failed(SERVICE, node, now)
        self._waiting[token] = question
        if self._chooser.seek(SERVICE, now) or len(self._waiting) > WAITING_MAX:
            self.handle_known(now)

    def look_for(self, number: str, context: object, now: float, *, is_emergency: bool) -> None:
        """Find all gateways to a number; `GatewaysKnown(context, ...)` follows."""
        self._wanted.append((context, number, is_emergency))
        if self._chooser.seek(SERVICE, now):
            self.handle_known(now)

    def cancel(self, token: int) -> None:
        """Nobody waits for that any more."""
        self._waiting.pop(token, None)

    def handle_known(self, now: float) -> None:
        """Who the gateways are is known now, as far as can be: all that wait are answered."""
        waiting, self._waiting = self._waiting, {}
        for token, question in waiting.items():
            self._answer(token, question, now)
        wanted, self._wanted = self._wanted, []
        for context, number, is_emergency in wanted:
            known = tuple(self.choose(number, now, is_emergency=is_emergency))
            self._effects.append(GatewaysKnown(context, number, known))

    def drain(self) -> list[Effect]:
        """Answers and news since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def choose(self, number: str, now: float, *, is_emergency: bool = False) -> list[NumberGateway]:
        """Those that reach a number, in the order in which they are tried."""
        others = self._others()
        each = [
            self._own(number, is_emergency, now),
            *(self._of(provider, offered, number, is_emergency, now) for provider, offered in others),
        ]
        able = [gateway for gateway in each if gateway is not None]
        drawn = self._chooser.order_for_one(SERVICE, (gateway.node for gateway in able), now)
        places = {node: place for place, node in enumerate(drawn)}
        return sorted(able, key=lambda gateway: (*_rank(gateway), places[gateway.node]))

    # Inside

    @property
    def _capacity(self) -> int:
        """How many calls can go out through this peer at once."""
        able = sum(trunk.terms.calls_max for trunk in self._trunks if trunk.health.is_up)
        return able + (BEYOND_CALLS if self._beyond else 0)

    @property
    def _load(self) -> int:
        """How much of that is taken, in percent."""
        taken = sum(trunk.calls for trunk in self._trunks if trunk.health.is_up)
        return min(100, 100 * taken // max(1, self._capacity))

    def _others(self) -> list[tuple[Provider, tuple[OfferedNumbers, ...]]]:
        """Other members' gateways."""
        own, providers = self._node.node_id, self._chooser.providers(SERVICE)
        return [(each, offered) for node, each in providers.items() if node != own and (offered := _offered(each))]

    def _node_of(self, uri: SipUri) -> NodeId | None:
        """Whose a gateway is that leads there; None of a neighbour by DUNDi."""
        route = read_gruu(uri, node_id_length=len(self._node.node_id))
        return None if route is None else last_node(route)

    def _answer(self, token: int, question: FindGateway, now: float) -> None:
        tried = {each.uri.param("gr") for each in question.tried}
        able = self.choose(question.number, now, is_emergency=question.is_emergency)
        rest = [gateway for gateway in able if gateway.target.uri.param("gr") not in tried]
        if rest:
            self._chooser.placed(SERVICE, rest[0].node)
        answer = Located((rest[0].target,)) if rest else self._none(question, has_failed=bool(able))
        self._effects.append(AskAnswered(token, answer))

    def _none(self, question: FindGateway, *, has_failed: bool) -> NotLocated:
        if has_failed or not (self._others() or self._trunks):
            return question.otherwise
        said = question.otherwise
        return NotLocated(said.status, said.phrase, f"{said.reason}, and no gateway reaches {question.number}")

    def _own(self, number: str, is_emergency: bool, now: float) -> NumberGateway | None:
        if is_emergency and not is_number(number):
            services = (
                trunk.terms.emergency[0] for trunk in self._trunks if trunk.health.is_up and trunk.terms.emergency
            )
            number = next(services, number)
        trunk = best_of(self._trunks, number)
        if trunk is None:
            return None
        uri = self._uri(number, (Destination.node(self._node.node_id),))
        target = Target(uri, (LocalHop(trunk.name),), f"trunk {trunk.terms.name}", is_gateway=True)
        digits, node = trunk.terms.reach(number) or 0, self._node.node_id
        failed = self._chooser.has_failed(SERVICE, node, now)
        return NumberGateway(self._node.user, node, digits, trunk.terms.preference, 0.0, failed, target)

    def _of(
        self,
        provider: Provider,
        all_offered: tuple[OfferedNumbers, ...],
        number: str,
        is_emergency: bool,
        now: float,
    ) -> NumberGateway | None:
        fitting = [offered for offered in all_offered if offered.reaches(number, is_emergency=is_emergency)]
        if not fitting:
            return None
        best = max(fitting, key=lambda offered: (len(offered.prefix), offered.preference))
        # A service of RFC 5031 has no digits: whoever calls emergency services knows which number that is there.
        called = number if number.startswith(best.prefix) else best.prefix
        uri = self._uri(called, provider.destination_list)
        label = f"gateway {provider.user.partition('@')[0]}"
        target = Target(uri, None, label, is_doubtful=True, is_gateway=True)
        rtt_s = self._chooser.rtt_s(SERVICE, provider.node)
        failed = self._chooser.has_failed(SERVICE, provider.node, now)
        return NumberGateway(provider.user, provider.node, len(best.prefix), best.preference, rtt_s, failed, target)

    def _uri(self, number: str, route: Sequence[Destination | CompressedDestination]) -> SipUri:
        gruu = make_gruu(number, self._overlay, route)
        return gruu.replace(params=(*gruu.params, (GATEWAY_PARAM, None)))


def _offered(provider: Provider) -> tuple[OfferedNumbers, ...]:
    return () if provider.offer is None else read_offer(provider.offer.policy.decode(errors="replace"))


def _rank(gateway: NumberGateway) -> tuple[bool, int, int, bool]:
    """What counts before the choice among the providers of a service: an own trunk is next to nobody's."""
    return (gateway.has_failed, -gateway.digits, -gateway.preference, gateway.rtt_s != 0.0)
