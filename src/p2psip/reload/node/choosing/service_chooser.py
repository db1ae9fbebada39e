"""Which peers offer a service, how far away they are, and which of them comes first (concepts draft section 6.1).

Theory of operation. Who wants to choose among the providers of a service has them sought (`seek`): all of them, up to a
bound, are fetched at once (RFC 7374), since what one fetch finds serves every choice for a minute. Each is asked by
Ping how far away it is, for half a second. Then `ProvidersKnown` comes, once for all that wait. How many we have placed
at one since then counts as its load, and who has failed is remembered, and comes last for a minute.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from p2psip.base.effects import Effect
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.node.choosing.service_choice import Offerer, in_order_for_all, in_order_for_one
from p2psip.reload.node.node import Node
from p2psip.reload.node.service_discovery import ServiceDiscovery, ServicesFound
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.redir import Provider
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import REDIR
from p2psip.reload.wire.link_messages import PingReq

FRESH_S = 60.0
"""So long it is believed who the providers are."""

PINGS_S = 0.5
"""So long a choice waits for how far away they are."""

FAILED_S = 60.0
"""So long one that has failed comes after all others."""

PROVIDERS_MAX = 32
"""Of one service: so many are considered, those that follow us on the ring."""


@dataclass(frozen=True, slots=True)
class ProvidersSought:
    """The context of a search for the providers of a service."""

    service: str


@dataclass(frozen=True, slots=True)
class ProviderPinged:
    """The context of a Ping to one of them."""

    service: str
    node: NodeId


@dataclass(frozen=True, slots=True)
class ProvidersKnown(Effect):
    """What was sought is known now, or cannot be."""

    service: str


@dataclass(slots=True)
class _Known:
    """What is known of the providers of one service."""

    providers: dict[NodeId, Provider] = field(default_factory=dict)
    found_at: float | None = None
    is_searching: bool = False
    counts_way: bool = True
    pinging: set[NodeId] = field(default_factory=set)
    rtts: dict[NodeId, float] = field(default_factory=dict)
    placed: Counter[NodeId] = field(default_factory=Counter)
    failed_at: dict[NodeId, float] = field(default_factory=dict)


class ServiceChooser:
    """Chooses among the providers of the services that this node uses."""

    def __init__(
        self, node: Node, services: ServiceDiscovery, rng: random.Random, queue: TimerQueue | None = None
    ) -> None:
        self._node = node
        self._services = services
        self._rng = rng
        self._known: dict[str, _Known] = {}
        self._timers: Timers[str] = Timers(queue)
        self._effects: list[Effect] = []

    # Who there is

    def seek(self, service: str, now: float, *, fresh_s: float = FRESH_S, counts_way: bool = True) -> bool:
        """True if the providers are known, as they were `fresh_s` ago at most, or nobody can be asked.

        Else `ProvidersKnown` follows, without Pings where the way does not count. Services are the program's own: as
        many as it has names for are remembered.
        """
        known = self._known.setdefault(service, _Known())
        may_search = self._node.is_connected and REDIR in self._node.configuration.kinds
        is_seeking = known.is_searching or bool(known.pinging)
        if not may_search or (not is_seeking and known.found_at is not None and now < known.found_at + fresh_s):
            return True
        if not is_seeking:
            known.is_searching, known.counts_way = True, counts_way
            self._services.find(service, self._node.node_id, PROVIDERS_MAX, ProvidersSought(service), now)
        return False

    def providers(self, service: str) -> dict[NodeId, Provider]:
        """The providers that are known, ourselves among them if others find us as one."""
        return dict(self._of(service).providers)

    def rtt_s(self, service: str, node: NodeId) -> float | None:
        """How far away one is; None if nobody knows."""
        return self._of(service).rtts.get(node)

    # What became of it

    def placed(self, service: str, node: NodeId) -> None:
        """One of ours goes there: so much more is taken than it has said."""
        known = self._of(service)
        if node in known.providers:
            known.placed[node] += 1

    def failed(self, service: str, node: NodeId, now: float) -> None:
        """One has not done what it offers."""
        known = self._known.setdefault(service, _Known())
        known.failed_at = {each: at for each, at in known.failed_at.items() if now < at + FAILED_S}
        known.failed_at[node] = now

    def stopped(self, service: str, node: NodeId, now: float) -> None:
        """One has said that it stops: it is none any more, and if it is found all the same, one that has failed."""
        self.failed(service, node, now)
        self._of(service).providers.pop(node, None)

    def forget_failures(self, service: str) -> None:
        """Those that have failed may be tried as any others."""
        self._of(service).failed_at.clear()

    def has_failed(self, service: str, node: NodeId, now: float) -> bool:
        """True if it has failed a moment ago."""
        failed_at = self._of(service).failed_at.get(node)
        return failed_at is not None and now < failed_at + FAILED_S

    # Which of them

    def order_for_one(self, service: str, nodes: Iterable[NodeId], now: float) -> list[NodeId]:
        """In which order one caller tries these, who spread so; one that nobody knows has said nothing of itself."""
        drawn = in_order_for_one([self._offerer(service, node, now) for node in nodes], self._rng)
        return [each.node for each in drawn]

    def order_for_all(self, service: str, place: bytes, now: float) -> list[NodeId]:
        """In which order all providers are tried by everybody who wants to come to the same place."""
        drawn = in_order_for_all([self._offerer(service, node, now) for node in self._of(service).providers], place)
        return [each.node for each in drawn]

    # What comes

    def handle_found(self, found: ServicesFound, now: float) -> None:
        """A search is over; how far away those are that it has found comes next."""
        assert isinstance(found.context, ProvidersSought), "others have searched for themselves"
        service = found.context.service
        known = self._known[service]
        known.is_searching = False
        if found.error is None:
            self._take(known, found.providers, now)
        others = [node for node in known.providers if node != self._node.node_id]
        if found.error is not None or not known.counts_way or not others:
            self._effects.append(ProvidersKnown(service))
            return
        known.pinging.update(others)
        self._timers.set(service, now + PINGS_S, "how far away providers are")
        for node in others:
            request = OverlayRequest([Destination.node(node)], MessageCode.PING_REQ, PingReq())
            self._node.request(request, ProviderPinged(service, node), now)

    def handle_pinged(self, pinged: ProviderPinged, result: Answer | RequestFailed) -> None:
        """How far away one is; who does not answer is as far as can be."""
        known = self._known[pinged.service]
        known.rtts.pop(pinged.node, None)
        if isinstance(result, Answer) and pinged.node in known.providers:
            known.rtts[pinged.node] = result.rtt_s
        if pinged.node in known.pinging:
            known.pinging.discard(pinged.node)
            if not known.pinging:
                self._timers.cancel(pinged.service)
                self._effects.append(ProvidersKnown(pinged.service))

    def handle_timeout(self, now: float) -> None:
        """Who has not answered by now is chosen last."""
        for service in self._timers.pop_due(now):
            known = self._known[service]
            for node in known.pinging:
                known.rtts.pop(node, None)
            known.pinging.clear()
            self._effects.append(ProvidersKnown(service))

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def drain(self) -> list[Effect]:
        """What is known now, since the last call."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _of(self, service: str) -> _Known:
        """What is known, which is nothing of what was never sought."""
        return self._known.get(service) or _Known()

    def _take(self, known: _Known, providers: Iterable[Provider], now: float) -> None:
        before, known.found_at = known.providers, now
        known.providers = {provider.node: provider for provider in providers}
        known.rtts = {node: rtt_s for node, rtt_s in known.rtts.items() if node in known.providers}
        # What one says anew has counted ours.
        same = {node for node, each in known.providers.items() if node in before and before[node].offer == each.offer}
        known.placed = Counter({node: count for node, count in known.placed.items() if node in same})

    def _offerer(self, service: str, node: NodeId, now: float) -> Offerer:
        known = self._of(service)
        provider = known.providers.get(node)
        offer = None if provider is None else provider.offer
        is_own = node == self._node.node_id
        return Offerer(
            node,
            capacity=0 if offer is None else offer.capacity,
            load=0 if offer is None else offer.load,
            placed=known.placed[node],
            rtt_s=0.0 if is_own else known.rtts.get(node),
            has_failed=self.has_failed(service, node, now),
        )
