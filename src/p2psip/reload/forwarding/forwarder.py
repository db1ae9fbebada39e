"""Message receipt and forwarding (RFC 6940 section 6.1), symmetric recursive routing (section 6.2).

A pure function of the forwarding header: what a node does with a message that came in, or that it originates. This
node keeps no state for what passes through: it appends the previous hop to the via list (6.1.2, first strategy).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Protocol

from p2psip.base.ids import NodeId
from p2psip.reload.wire.contents import ErrorCode
from p2psip.reload.wire.header import CompressedDestination, Destination, ForwardingHeader, ForwardingOptionFlags

TTL_MAX = 100
"""6.3.2: "The initial value of the TTL SHOULD be 100 and MUST NOT exceed 100 unless defined otherwise"."""


VIA_LIST_MAX = 254
"""Entries of a via list: as many as there can be hops, and few enough that one more always fits into the header."""


class Router(Protocol):
    """What forwarding needs to know of the topology."""

    def is_responsible(self, target: bytes) -> bool:
        """True if a message for this identifier ends here."""

    def next_hop(self, target: bytes) -> NodeId | None:
        """Where a message for this identifier goes next."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """The message is for `node`: this peer, or a client of ours that lives in this process."""

    node: NodeId
    header: ForwardingHeader


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the message with this header to `next_hop`, which we are linked with."""

    next_hop: NodeId
    header: ForwardingHeader


@dataclass(frozen=True, slots=True)
class Drop:
    """Say nothing; `reason` is for the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reject:
    """Answer a request with this error, a response with nothing."""

    code: ErrorCode
    reason: str


Verdict = Deliver | Forward | Drop | Reject


class Forwarder:
    """Decides for one node. `links` are the nodes we have a link to; `clients` live in this process."""

    def __init__(
        self,
        node_id: NodeId,
        overlay: int,
        router: Router,
        links: Container[NodeId],
        *,
        is_client: bool = False,
        ttl_max: int = TTL_MAX,
    ) -> None:
        self.clients: set[NodeId] = set()
        self._node_id = node_id
        self._overlay = overlay
        self._router = router
        self._links = links
        self._ttl_max = ttl_max
        self._is_client = is_client

    def receive(self, header: ForwardingHeader, previous_hop: NodeId, *, is_request: bool) -> Verdict:
        """What to do with a message that came over the link to `previous_hop`, or from a client of ours."""
        if header.overlay != self._overlay:
            return Reject(ErrorCode.INCOMPATIBLE_WITH_OVERLAY, "the message is of another overlay")
        if header.ttl > self._ttl_max:
            # 6.3.2: "Implementations which receive messages with a TTL greater than the current value of
            # initial-ttl (or the default of 100) MUST discard the message and send an Error_TTL_Exceeded error."
            return Reject(ErrorCode.TTL_EXCEEDED, f"TTL {header.ttl} is above initial-ttl {self._ttl_max}")
        if len(header.via_list) > VIA_LIST_MAX:
            return Drop("the via list is longer than any path")
        if any(entry.resource_id is not None for entry in header.via_list):
            # 6.3.2.2: "MUST NOT appear in a Via List. It is meaningless to try to route through a resource."
            return Drop("a Resource-ID in the via list")
        return self._route(header, previous_hop, is_request=is_request)

    def originate(self, header: ForwardingHeader) -> Verdict:
        """What to do with a message of our own."""
        return self._route(header, None, is_request=False)

    def _route(self, header: ForwardingHeader, previous_hop: NodeId | None, *, is_request: bool) -> Verdict:
        entries = header.destination_list
        # 6.1.1: "Otherwise, the node removes the entry from the Destination List and repeats the routing process
        # with the next entry on the Destination List."
        while len(entries) > 1 and entries[0].node_id == self._node_id:
            entries = entries[1:]
        if not entries:
            return Drop("the destination list is empty")
        header = header if entries is header.destination_list else replace(header, destination_list=entries)
        first = entries[0]
        if isinstance(first, Destination) and first.node_id is not None:
            return self._to_node(header, first.node_id, previous_hop, is_request=is_request)
        if isinstance(first, Destination) and first.resource_id is not None:
            return self._to_resource(header, first.resource_id, previous_hop, is_request=is_request)
        return Drop("the destination list begins with an opaque ID that is none of ours")

    def _to_node(
        self, header: ForwardingHeader, node: NodeId, previous_hop: NodeId | None, *, is_request: bool
    ) -> Verdict:
        # 6.1.1: "A message with a wildcard Node-ID as its first entry is never forwarded; it is consumed locally."
        if node == self._node_id or (node.is_wildcard and previous_hop is not None):
            return Deliver(self._node_id, header)
        if node in self.clients:
            return Deliver(node, header) if len(header.destination_list) == 1 else Drop("a client forwards nothing")
        if node in self._links:
            # 6.1.2: "If the first entry on the Destination List is in the peer's Connection Table, the peer MUST
            # forward the message to that peer directly."
            return self._forward(header, node, previous_hop, is_request=is_request)
        if self._router.is_responsible(node):
            # 6.1.1: "the node MUST drop the message silently unless the Node-ID corresponds to a node which is
            # directly connected to this node".
            return Drop(f"{node.short} is not in the overlay")
        return self._onward(header, node, previous_hop, is_request=is_request)

    def _to_resource(
        self, header: ForwardingHeader, resource: bytes, previous_hop: NodeId | None, *, is_request: bool
    ) -> Verdict:
        if not self._router.is_responsible(resource):
            return self._onward(header, resource, previous_hop, is_request=is_request)
        if len(header.destination_list) > 1:
            # 6.1.1: "If there are other entries, the message MUST be silently dropped."
            return Drop("a Resource-ID is not the last entry of the destination list")
        return Deliver(self._node_id, header)

    def _onward(
        self, header: ForwardingHeader, target: bytes, previous_hop: NodeId | None, *, is_request: bool
    ) -> Verdict:
        next_hop = self._router.next_hop(target)
        if next_hop is None or next_hop not in self._links:
            return Drop(f"no way towards {target.hex()[:8]}")
        return self._forward(header, next_hop, previous_hop, is_request=is_request)

    def _forward(
        self, header: ForwardingHeader, next_hop: NodeId, previous_hop: NodeId | None, *, is_request: bool
    ) -> Verdict:
        if previous_hop is None:
            return Forward(next_hop, header)
        if self._is_client and previous_hop not in self.clients:
            # 4.2: "the term "client" to refer to nodes that do not have routing or storage responsibilities".
            return Reject(ErrorCode.FORBIDDEN, "this node is a client, it passes nothing on")
        if header.ttl == 0:
            return Reject(ErrorCode.TTL_EXCEEDED, "the TTL came to an end here")
        if is_request and any(option.flags & ForwardingOptionFlags.FORWARD_CRITICAL for option in header.options):
            # 6.3.2.3: "any peer that would forward the message but does not understand this option MUST reject".
            return Reject(ErrorCode.UNSUPPORTED_FORWARDING_OPTION, "a forwarding option that is unknown here")
        via_list = header.via_list
        if is_request:
            # 6.1.2: "appending to the Via List the Node-ID of the node from which the request was received".
            via_list = (*via_list, Destination.node(previous_hop))
        # 6.3.2: "The TTL value MUST be decremented by one at every hop along the route the message traverses".
        return Forward(next_hop, replace(header, ttl=header.ttl - 1, via_list=via_list))


def response_route(header: ForwardingHeader, previous_hop: NodeId) -> tuple[Destination | CompressedDestination, ...]:
    """The destination list of the response to a request that came from `previous_hop`.

    6.1.2: "a Destination List equal to the concatenation of the Node-ID of the node from which the request was
    received with the Via List in the original request", the via list reversed.
    """
    return (Destination.node(previous_hop), *reversed(header.via_list))
