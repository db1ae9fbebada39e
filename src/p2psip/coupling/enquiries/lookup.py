"""A lookup that explains itself: the way to the record, who keeps it and its replicas, what it says.

The way is asked with RouteQuery, hop by hop (RFC 6940 section 6.4.2.4); the replicas, which no message names, are
found as 10.5 finds successors: with a Ping to the Resource-ID just behind the peer before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from p2psip.base.effects import Effect
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId, ResourceId
from p2psip.coupling.locating import Locator
from p2psip.reload.node.node import Node
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.sip_registration import Registrations, fetch_request
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.storage_messages import FetchAns
from p2psip.reload.wire.topology_messages import RouteQueryReq

HOPS_MAX = 32
LOOKUPS_MAX = 64


@dataclass(frozen=True, slots=True)
class HopSeen:
    """A peer on the way, and how long it took to ask it and to hear from it."""

    node: NodeId
    user: str
    rtt_ms: float


@dataclass(frozen=True, slots=True)
class LookedUp(Effect):
    """The end of a lookup, of which `context` was given. `fetch_ms` is how long the Fetch itself took, over
    `fetch_hops`.
    """

    context: object
    aor: str
    resource: ResourceId
    path: tuple[HopSeen, ...]
    replicas: tuple[HopSeen, ...]
    registrations: Registrations | None
    fetch_ms: float
    fetch_hops: int
    error: RequestFailed | None


@dataclass(slots=True)
class _Lookup:
    """One lookup under way; `next_step` takes the outcome of the request that is open."""

    context: object
    aor: str
    resource: ResourceId
    next_step: Callable[[_Lookup, Answer, float], None]
    asked: NodeId | None = None
    path: list[HopSeen] = field(default_factory=list)
    replicas: list[HopSeen] = field(default_factory=list)
    registrations: Registrations | None = None
    fetch_ms: float = 0.0
    fetch_hops: int = 0


@dataclass(frozen=True, slots=True)
class LookupContext:
    """A request of a lookup."""

    lookup: _Lookup


class Lookups:
    """The lookups that an operator has asked for."""

    def __init__(self, node: Node, locator: Locator) -> None:
        self._effects: list[Effect] = []
        self._node = node
        self._locator = locator
        self._under_way = 0

    def begin(self, aor: str, context: object, now: float) -> None:
        """Look a canonical AoR up; `LookedUp(context, ...)` follows."""
        resource = self._node.hash_name(aor.encode())
        lookup = _Lookup(context, aor, resource, self._on_route)
        self._under_way += 1
        if self._under_way > LOOKUPS_MAX:
            self._end(lookup, RequestFailed("too many lookups under way"))
        elif self._node.is_responsible(resource):
            self._fetch(lookup, now)
        elif (first := self._node.next_peer(resource)) == self._node.node_id:
            self._end(lookup, RequestFailed("this peer has not joined the overlay yet"))
        else:
            self._ask_route(lookup, first, now)

    def drain(self) -> list[Effect]:
        """The lookups that are over since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def handle_done(self, lookup: _Lookup, result: Answer | RequestFailed, now: float) -> None:
        """The end of a request."""
        if isinstance(result, Answer):
            lookup.next_step(lookup, result, now)
        elif lookup.registrations is None and lookup.asked is not None:
            # The way could not be asked; the record may be there all the same.
            lookup.asked = None
            self._fetch(lookup, now)
        else:
            self._end(lookup, None if lookup.registrations is not None else result)

    def _ask_route(self, lookup: _Lookup, node: NodeId, now: float) -> None:
        lookup.next_step, lookup.asked = self._on_route, node
        query = RouteQueryReq(False, Destination.resource(lookup.resource))
        asked = OverlayRequest([Destination.node(node)], MessageCode.ROUTE_QUERY_REQ, query)
        self._node.request(asked, LookupContext(lookup), now)

    def _on_route(self, lookup: _Lookup, answer: Answer, now: float) -> None:
        lookup.path.append(_seen(answer))
        next_peer = self._node.next_peer_in(answer)
        known = {hop.node for hop in lookup.path}
        if next_peer in known or next_peer == self._node.node_id or len(lookup.path) >= HOPS_MAX:
            self._fetch(lookup, now)
        else:
            self._ask_route(lookup, next_peer, now)

    def _fetch(self, lookup: _Lookup, now: float) -> None:
        lookup.next_step = self._on_fetch
        self._node.fetch(fetch_request(lookup.aor, self._node.hash_name), LookupContext(lookup), now)

    def _on_fetch(self, lookup: _Lookup, answer: Answer, now: float) -> None:
        assert isinstance(answer.body, FetchAns)
        lookup.registrations = self._locator.read(lookup.aor, answer, now)
        lookup.fetch_ms, lookup.fetch_hops = answer.rtt_s * 1000, answer.hops
        if not lookup.path or lookup.path[-1].node != answer.signer.node_id:
            lookup.path.append(_seen(answer))
        self._ping_copy(lookup, answer.signer.node_id, now)

    def _ping_copy(self, lookup: _Lookup, holder: NodeId, now: float) -> None:
        """See who has the copy that comes after what `holder` has, if there is to be one."""
        place = self._node.place_of_copy(lookup.resource, holder, len(lookup.replicas) + 1)
        if place is None:
            self._end(lookup, None)
            return
        lookup.next_step = self._on_replica
        asked = OverlayRequest([Destination.resource(place)], MessageCode.PING_REQ, PingReq())
        self._node.request(asked, LookupContext(lookup), now)

    def _on_replica(self, lookup: _Lookup, answer: Answer, now: float) -> None:
        seen = _seen(answer)
        if seen.node in {hop.node for hop in [lookup.path[-1], *lookup.replicas]}:
            self._end(lookup, None)
            return
        lookup.replicas.append(seen)
        self._ping_copy(lookup, seen.node, now)

    def _end(self, lookup: _Lookup, error: RequestFailed | None) -> None:
        self._under_way -= 1
        self._effects.append(
            LookedUp(
                lookup.context,
                lookup.aor,
                lookup.resource,
                tuple(lookup.path),
                tuple(lookup.replicas),
                lookup.registrations,
                lookup.fetch_ms,
                lookup.fetch_hops,
                error,
            )
        )


def _seen(answer: Answer) -> HopSeen:
    return HopSeen(answer.signer.node_id, answer.signer.user, answer.rtt_s * 1000)
