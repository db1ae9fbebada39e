"""Message receipt and forwarding (RFC 6940 section 6.1), symmetric recursive routing (section 6.2).

What a node does with a message that came in, or that it originates, decided by the forwarding header alone: the rest
may be one fragment of it. How a response finds back is the business of p2psip.reload.forwarding.return_path.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.reload.forwarding.options import ALL_FLAGS, UNDERSTOOD, beyond_us
from p2psip.reload.forwarding.return_path import ReturnPaths
from p2psip.reload.wire.contents import ErrorCode
from p2psip.reload.wire.header import Destination, Entry, ForwardingHeader, ForwardingOptionFlags, ForwardingOptionType

TTL_MAX = 100
"""6.3.2: "The initial value of the TTL SHOULD be 100 and MUST NOT exceed 100 unless defined otherwise"."""


VIA_LIST_MAX = 254
"""Entries of a via list: as many as there can be hops, and few enough that one more always fits into the header."""


LIST_BYTES_MAX = 0xFFFF
"""Of a destination list, whose length has 16 bits."""


class NextHops(Protocol):
    """What forwarding needs to know of the topology."""

    def is_responsible(self, target: bytes) -> bool:
        """True if a message for this identifier ends here."""

    def next_hop(self, target: bytes, chosen_by: NodeId | None, without: NodeId | None) -> NodeId | None:
        """Where a message for this identifier goes next; `chosen_by` is who has routed it here, `without` who does not
        take it.
        """


@frozen
class Deliver:
    """The message is for `node`: this peer, or a client of ours that lives in this process."""

    node: NodeId
    header: ForwardingHeader


@frozen
class Forward:
    """Send the message with this header to `next_hop`, which we are linked with."""

    next_hop: NodeId
    header: ForwardingHeader


@frozen
class Drop:
    """Say nothing; `reason` is for the log."""

    reason: str


@frozen
class Astray:
    """Nobody is known here towards the place that the message was to go to through us; `reason` is for the log."""

    reason: str


@frozen
class Reject:
    """Answer a request with this error, a response with nothing."""

    code: ErrorCode
    reason: str


Verdict = Deliver | Forward | Drop | Astray | Reject


class Forwarder:
    """Decides for one node. `links` are the nodes we have a link to; `clients` live in this process.

    `is_request` is None where nobody can tell: of a fragment that does not have the message code in it.
    """

    def __init__(
        self,
        node_id: NodeId,
        overlay: int,
        router: NextHops,
        links: Container[NodeId],
        paths: ReturnPaths,
        *,
        passes_on: bool = True,
        ttl_max: int = TTL_MAX,
        understood: frozenset[ForwardingOptionType] = UNDERSTOOD,
    ) -> None:
        self.clients: set[NodeId] = set()
        self.aliases: frozenset[NodeId] = frozenset()
        """Our certificate's other Node-IDs: who cannot know yet as which of them we act sends through us by any."""
        self.paths = paths
        self._node_id = node_id
        self._overlay = overlay
        self._router = router
        self._links = links
        self.ttl_max = ttl_max
        self._passes_on = passes_on
        self._understood = understood

    def receive(
        self, header: ForwardingHeader, previous_hop: NodeId, now: float, *, is_request: bool | None
    ) -> Verdict:
        """What to do with a message that came over the link to `previous_hop`, or from a client of ours."""
        if header.overlay != self._overlay:
            return Reject(ErrorCode.INCOMPATIBLE_WITH_OVERLAY, "the message is of another overlay")
        if header.ttl > self.ttl_max:
            # 6.3.2: "Implementations which receive messages with a TTL greater than the current value of
            # initial-ttl (or the default of 100) MUST discard the message and send an Error_TTL_Exceeded error."
            return Reject(ErrorCode.TTL_EXCEEDED, f"TTL {header.ttl} is above initial-ttl {self.ttl_max}")
        if (why_not := _malformed(header, is_request)) is not None:
            return Drop(why_not)
        return self._route(header, previous_hop, now, is_request=is_request)

    def originate(self, header: ForwardingHeader, now: float) -> Verdict:
        """What to do with a message of our own."""
        return self._route(header, None, now, is_request=None)

    def reroute(self, header: ForwardingHeader, lost_hop: NodeId, now: float, *, is_request: bool | None) -> Verdict:
        """What to do with a message that we sent to `lost_hop` and that it did not take; `header` is as we sent it."""
        back = self.paths.recall(header.transaction_id, lost_hop, now) if is_request else None
        if back is not None:
            header = header.altered(via_list=(*header.via_list, Destination.node(back)))
        entries = header.destination_list
        if len(entries) > 1 and entries[0].node_id == lost_hop and entries[1].opaque_id is None:
            # What comes after it may well be reached without it.
            header = header.altered(destination_list=entries[1:])
        return self._route(header, None, now, is_request=is_request, without=lost_hop)

    def _route(
        self,
        header: ForwardingHeader,
        previous_hop: NodeId | None,
        now: float,
        *,
        is_request: bool | None,
        without: NodeId | None = None,
    ) -> Verdict:
        entries = self._from_here_on(header, previous_hop, now, is_request=is_request)
        if not entries:
            return Drop("the destination list is empty, or has an opaque ID that is none of ours")
        chosen_by = previous_hop
        if entries is not header.destination_list:
            # It is here as whoever made the list wanted that, not by the routing of the previous hop.
            header, chosen_by = header.altered(destination_list=entries), None
        first = entries[0]
        if first.node_id is not None:
            verdict = self._to_node(header, first.node_id, previous_hop, chosen_by, without)
        elif first.resource_id is not None:
            verdict = self._to_resource(header, first.resource_id, chosen_by, without)
            if isinstance(verdict, Drop) and previous_hop is not None and chosen_by is None:
                return Astray(verdict.reason)
        else:
            return Drop("a destination of an unknown type")
        if isinstance(verdict, Forward) and previous_hop is not None:
            return self._forward(verdict, previous_hop, now, is_request=is_request)
        return verdict

    def _is_ours(self, node: NodeId | None, *, is_last: bool) -> bool:
        return node == self._node_id or (node in self.aliases and not is_last and node not in self._links)

    def _from_here_on(
        self, header: ForwardingHeader, previous_hop: NodeId | None, now: float, *, is_request: bool | None
    ) -> tuple[Entry, ...]:
        """The destination list without what is ours at its beginning; nothing if it makes no sense."""
        entries = header.destination_list
        for _ in range(VIA_LIST_MAX):
            first = entries[0] if entries else None
            if first is not None and (node := first.node_id) is not None and node != self._node_id and not self.aliases:
                # Most often it is another's.
                return entries
            if first is not None and first.opaque_id is not None:
                # 6.1.3: "the peer MUST replace the entry with the original Via List that it replaced and then
                # re-examine the Destination List".
                expanded = self.paths.expand(first.opaque_id, header.transaction_id, now)
                entries = _joined(expanded, entries[1:])
            elif first is None or not self._is_ours(first.node_id, is_last=len(entries) == 1):
                return entries
            elif (back := self._kept_way_back(header, previous_hop, now, is_request=is_request)) is not None:
                # 6.1.1: "If the message is a response and list compression was used, then the node first modifies the
                # Destination List to reinsert the saved state".
                return (Destination.node(back), *entries[1:])
            elif len(entries) == 1:
                return entries
            else:
                # "Otherwise, the node removes the entry from the Destination List and repeats the routing process with
                # the next entry on the Destination List."
                entries = entries[1:]
        return ()

    def _kept_way_back(
        self, header: ForwardingHeader, previous_hop: NodeId | None, now: float, *, is_request: bool | None
    ) -> NodeId | None:
        if is_request or previous_hop is None:
            return None
        return self.paths.recall(header.transaction_id, previous_hop, now)

    def _to_node(
        self,
        header: ForwardingHeader,
        node: NodeId,
        previous_hop: NodeId | None,
        chosen_by: NodeId | None,
        without: NodeId | None,
    ) -> Verdict:
        # 6.1.1: "A message with a wildcard Node-ID as its first entry is never forwarded; it is consumed locally."
        if node == self._node_id or (node.is_wildcard and previous_hop is not None):
            return Deliver(self._node_id, header)
        if node in self.clients:
            return Deliver(node, header) if len(header.destination_list) == 1 else Drop("a client forwards nothing")
        if node in self._links:
            # 6.1.2: "If the first entry on the Destination List is in the peer's Connection Table, the peer MUST
            # forward the message to that peer directly."
            return Forward(node, header)
        if self._router.is_responsible(node):
            # 6.1.1: "the node MUST drop the message silently unless the Node-ID corresponds to a node which is
            # directly connected to this node".
            return Drop(f"{node.short} is not in the overlay")
        return self._onward(header, node, chosen_by, without)

    def _to_resource(
        self, header: ForwardingHeader, resource: bytes, chosen_by: NodeId | None, without: NodeId | None
    ) -> Verdict:
        if self._router.is_responsible(resource):
            return Deliver(self._node_id, header)
        return self._onward(header, resource, chosen_by, without)

    def _onward(
        self, header: ForwardingHeader, target: bytes, chosen_by: NodeId | None, without: NodeId | None
    ) -> Verdict:
        next_hop = self._router.next_hop(target, chosen_by, without)
        if next_hop is None or next_hop not in self._links:
            return Drop(f"no way towards {target.hex()[:8]}")
        return Forward(next_hop, header)

    def _forward(self, forward: Forward, previous_hop: NodeId, now: float, *, is_request: bool | None) -> Verdict:
        """Pass on what came from `previous_hop`: there must be a way back, and an end."""
        header = forward.header
        if not self._passes_on and previous_hop not in self.clients:
            # 4.2: "the term "client" to refer to nodes that do not have routing or storage responsibilities".
            return Reject(ErrorCode.FORBIDDEN, "this node is a client, it passes nothing on")
        if header.ttl == 0:
            return Reject(ErrorCode.TTL_EXCEEDED, "the TTL came to an end here")
        # 6.3.2: "The TTL value MUST be decremented by one at every hop along the route the message traverses".
        ttl = header.ttl - 1
        if is_request is False:
            # 6.1.2: "there is no requirement to use either of the mechanisms described above [...] when processing a
            # response message."
            return Forward(forward.next_hop, header.altered(ttl=ttl))
        unknown = beyond_us(header, ForwardingOptionFlags.FORWARD_CRITICAL, self._understood)
        if unknown is not None:
            # 6.3.2.3: "any peer that would forward the message but does not understand this option MUST reject".
            return Reject(ErrorCode.UNSUPPORTED_FORWARDING_OPTION, f"option {int(unknown)} is unknown here")
        via_list = self.paths.via_list(header, previous_hop, forward.next_hop, now)
        return Forward(forward.next_hop, header.altered(ttl=ttl, via_list=via_list))


def _malformed(header: ForwardingHeader, is_request: bool | None) -> str | None:
    """What is wrong with the header of a message that was received; 6.1: "it is an error and the message MUST be
    discarded".
    """
    if len(header.via_list) > VIA_LIST_MAX:
        return "the via list is longer than any path"
    if header.via_list and any(entry.resource_id is not None for entry in header.via_list):
        # 6.3.2.2: "MUST NOT appear in a Via List. It is meaningless to try to route through a resource."
        return "a Resource-ID in the via list"
    if len(header.destination_list) > 1 and any(
        entry.resource_id is not None for entry in header.destination_list[:-1]
    ):
        # 6.3.2.2: "MUST appear only in the final location of a Destination List"; 6.1.1: "If there are other entries,
        # the message MUST be silently dropped."
        return "a Resource-ID is not the last entry of the destination list"
    if is_request is False and header.options and any(option.flags & ALL_FLAGS for option in header.options):
        # 6.3.2.3: "These flags MUST NOT be set in a response."
        return "a response with flags on a forwarding option"
    return None


def _joined(expanded: tuple[Entry, ...] | None, rest: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The destination list with an expanded entry in front; nothing if there is none, or it no longer fits."""
    if expanded is None:
        return ()
    entries = (*expanded, *rest)
    return entries if sum(len(entry.encode()) for entry in entries) <= LIST_BYTES_MAX else ()


def response_route(header: ForwardingHeader, previous_hop: NodeId) -> tuple[Entry, ...]:
    """The destination list of the response to a request that came from `previous_hop`.

    6.1.2: "a Destination List equal to the concatenation of the Node-ID of the node from which the request was
    received with the Via List in the original request", the via list reversed.
    """
    return (Destination.node(previous_hop), *reversed(header.via_list))
