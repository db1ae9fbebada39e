"""Gateways of an overlay: this peer's own, announced while they can call, and those of others, found and chosen.

Theory of operation. All gateways announce one service, `gateway` (RFC 7374; who may, the signed configuration says:
docs/decisions/services-by-permission.md), with their prefixes, emergency numbers and preferences in its offer. Who
looks for one fetches them all, at most once a minute, and asks by Ping how far away each is. Of those that reach a
number the longest prefix counts first, then the preference, then nearness; one that has just failed comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2psip.base.effects import AskAnswered, Effect, Note
from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.coupling.gruu import make_gruu
from p2psip.reload.node.node import Node
from p2psip.reload.node.service_discovery import ServiceDiscovery, ServicesFound
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.redir import Provider
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import CompressedDestination, Destination
from p2psip.reload.wire.kinds import REDIR
from p2psip.reload.wire.link_messages import PingReq
from p2psip.sip.entities.gateway.limits import GATEWAYS_MAX
from p2psip.sip.entities.gateway.offer import OfferedNumbers, offer_of, read_offer, write_offer
from p2psip.sip.entities.gateway.terms import GATEWAY_PARAM, is_number
from p2psip.sip.entities.gateway.trunk import Trunk, best_of
from p2psip.sip.entities.questions import FindGateway, Located, NotLocated, Target
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import LocalHop

SERVICE = "gateway"

FRESH_S = 60.0
"""So long it is believed who the gateways are."""

PINGS_S = 0.5
"""So long a call waits for how far away they are."""

FAILED_S = 60.0
"""So long a gateway that has failed comes after all others."""

FAR_S = 60.0
"""How far away one counts as that has not answered a Ping."""

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


@dataclass(frozen=True, slots=True)
class GatewaysFound:
    """The context of our search for the service."""


@dataclass(frozen=True, slots=True)
class GatewayPinged:
    """The context of a Ping to a gateway."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class _Known:
    """Another member's gateway."""

    provider: Provider
    offered: tuple[OfferedNumbers, ...]


class Gateways:
    """Answers FindGateway, and announces the trunks of this peer."""

    def __init__(self, node: Node, services: ServiceDiscovery, trunks: Sequence[Trunk], overlay: str) -> None:
        self._node = node
        self._services = services
        self._trunks = tuple(trunks)
        self._overlay = overlay
        self._known: dict[NodeId, _Known] = {}
        self._found_at: float | None = None
        self._rtts: dict[NodeId, float] = {}
        self._failed_at: dict[str, float] = {}
        self._waiting: dict[int, FindGateway] = {}
        self._wanted: list[tuple[object, str, bool]] = []
        self._pinging: set[NodeId] = set()
        self._is_searching = False
        self._announced = ""
        self._beyond: tuple[OfferedNumbers, ...] = ()
        self._timers: Timers[str] = Timers()
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
            capacity = sum(trunk.terms.calls_max for trunk in able) + (BEYOND_CALLS if self._beyond else 0)
            self._services.register(SERVICE, now, capacity=capacity, policy=policy)
        except LocalMisuse as error:
            means = "phones of this peer alone call through it"
            self._effects.append(Note("gateway not announced", {"reason": str(error), "means": means}, is_warning=True))

    # Those of others

    def locate(self, token: int, question: FindGateway, now: float) -> None:
        """Find the gateway whose turn it is for a number; the answer may come at once."""
        for each in question.tried:
            self._failed_at[each.uri.param("gr") or ""] = now
        self._failed_at = {gr: at for gr, at in self._failed_at.items() if now < at + FAILED_S}
        self._waiting[token] = question
        if self._is_known(now) or len(self._waiting) > WAITING_MAX:
            self._answer_all()
        else:
            self._search(now)

    def look_for(self, number: str, context: object, now: float, *, is_emergency: bool) -> None:
        """Find all gateways to a number; `GatewaysKnown(context, ...)` follows."""
        self._wanted.append((context, number, is_emergency))
        if self._is_known(now):
            self._answer_all()
        else:
            self._search(now)

    def cancel(self, token: int) -> None:
        """Nobody waits for that any more."""
        self._waiting.pop(token, None)

    def handle_found(self, found: ServicesFound, now: float) -> None:
        """Who the gateways are; how far away they are comes next."""
        self._is_searching = False
        if found.error is None:
            self._known = {
                provider.node: _Known(provider, offered)
                for provider in found.providers
                if provider.node != self._node.node_id and (offered := _offered(provider))
            }
            self._found_at = now
            self._rtts = {node: rtt_s for node, rtt_s in self._rtts.items() if node in self._known}
        for node in self._known if found.error is None else ():
            self._pinging.add(node)
            request = OverlayRequest([Destination.node(node)], MessageCode.PING_REQ, PingReq())
            self._node.request(request, GatewayPinged(node), now)
        if self._pinging:
            self._timers.set("pings", now + PINGS_S, "how far away gateways are")
        else:
            self._answer_all()

    def handle_pinged(self, node: NodeId, result: Answer | RequestFailed, now: float) -> None:
        """How far away one is; who does not answer is as far as can be."""
        self._pinging.discard(node)
        if isinstance(result, Answer):
            self._rtts[node] = result.rtt_s
        else:
            self._rtts.pop(node, None)
        if not self._pinging:
            self._answer_all()

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        for _ in self._timers.pop_due(now):
            self._pinging.clear()
            self._answer_all()

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def drain(self) -> list[Effect]:
        """Answers and news since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def choose(self, number: str, *, is_emergency: bool = False) -> list[NumberGateway]:
        """Those that reach a number, in the order in which they are tried."""
        each = [
            self._own(number, is_emergency),
            *(self._of(known, number, is_emergency) for known in self._known.values()),
        ]
        able = [gateway for gateway in each if gateway is not None]
        return sorted(able, key=_rank)

    # Inside

    def _is_known(self, now: float) -> bool:
        """True if nobody need be asked, or can be."""
        may_search = self._node.is_connected and REDIR in self._node.configuration.kinds
        return not may_search or (self._found_at is not None and now < self._found_at + FRESH_S)

    def _search(self, now: float) -> None:
        if not (self._is_searching or self._pinging):
            self._is_searching = True
            self._services.find(SERVICE, self._node.node_id, GATEWAYS_MAX, GatewaysFound(), now)

    def _answer_all(self) -> None:
        self._timers.cancel("pings")
        waiting, self._waiting = self._waiting, {}
        for token, question in waiting.items():
            self._answer(token, question)
        wanted, self._wanted = self._wanted, []
        for context, number, is_emergency in wanted:
            known = tuple(self.choose(number, is_emergency=is_emergency))
            self._effects.append(GatewaysKnown(context, number, known))

    def _answer(self, token: int, question: FindGateway) -> None:
        tried = {each.uri.param("gr") for each in question.tried}
        able = self.choose(question.number, is_emergency=question.is_emergency)
        rest = [gateway.target for gateway in able if gateway.target.uri.param("gr") not in tried]
        answer = Located((rest[0],)) if rest else self._none(question, has_failed=bool(able))
        self._effects.append(AskAnswered(token, answer))

    def _none(self, question: FindGateway, *, has_failed: bool) -> NotLocated:
        if has_failed or not (self._known or self._trunks):
            return question.otherwise
        said = question.otherwise
        return NotLocated(said.status, said.phrase, f"{said.reason}, and no gateway reaches {question.number}")

    def _own(self, number: str, is_emergency: bool) -> NumberGateway | None:
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
        digits = trunk.terms.reach(number) or 0
        return NumberGateway(
            self._node.user, self._node.node_id, digits, trunk.terms.preference, 0.0, self._failed(uri), target
        )

    def _of(self, known: _Known, number: str, is_emergency: bool) -> NumberGateway | None:
        fitting = [offered for offered in known.offered if offered.reaches(number, is_emergency=is_emergency)]
        if not fitting:
            return None
        best = max(fitting, key=lambda offered: (len(offered.prefix), offered.preference))
        # A service of RFC 5031 has no digits: whoever calls emergency services knows which number that is there.
        called = number if number.startswith(best.prefix) else best.prefix
        provider = known.provider
        uri = self._uri(called, provider.destination_list)
        label = f"gateway {provider.user.partition('@')[0]}"
        target = Target(uri, None, label, is_doubtful=True, is_gateway=True)
        rtt_s = self._rtts.get(provider.node)
        digits, failed = len(best.prefix), self._failed(uri)
        return NumberGateway(provider.user, provider.node, digits, best.preference, rtt_s, failed, target)

    def _uri(self, number: str, route: Sequence[Destination | CompressedDestination]) -> SipUri:
        gruu = make_gruu(number, self._overlay, route)
        return gruu.replace(params=(*gruu.params, (GATEWAY_PARAM, None)))

    def _failed(self, uri: SipUri) -> bool:
        return (uri.param("gr") or "") in self._failed_at


def _offered(provider: Provider) -> tuple[OfferedNumbers, ...]:
    return () if provider.offer is None else read_offer(provider.offer.policy.decode(errors="replace"))


def _rank(gateway: NumberGateway) -> tuple[bool, int, int, float]:
    rtt_s = FAR_S if gateway.rtt_s is None else gateway.rtt_s
    return (gateway.has_failed, -gateway.digits, -gateway.preference, rtt_s)
