"""Responses that go directly, or by a relay peer, and not back by the way of the request (RFC 7263, RFC 7264).

Theory of operation. A request of ours offers a route in its first transmission, where the configuration prefers that:
our own address (DRR), or that of a peer with which we are linked (RPR). Who answers sends the response there if it is
linked with whoever that leads to, or connects first, and holds the response meanwhile. Whatever does not come about in
time, or at all, goes back as the request came.

    Originate(route) --linked--> sent directly
           |
           '--dialled, held--> up: sent directly    failed, DIAL_WAIT_S, asked again without a route: sent back
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.forwarding.routing_modes import offered_route
from p2psip.reload.link.link import LinkLost
from p2psip.reload.node.connecting.connection_table import ConnectionTable, LinkEvent
from p2psip.reload.node.connecting.contacts import Contacts
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.limits import RESPONSES_HELD_MAX, RESPONSES_HELD_PER_NODE_MAX, UNREACHABLE_MAX
from p2psip.reload.paths.candidates import Whereabouts
from p2psip.reload.paths.values import Candidate, Purpose, Session
from p2psip.reload.transport.transport import Originate
from p2psip.reload.wire.extensions.routing_mode import ExtensiveRoutingModeOption, RouteMode
from p2psip.reload.wire.header import ForwardingOption
from p2psip.reload.wire.link_messages import NO_ICE

DIAL_WAIT_S = 1.5
"""How long a response waits for its connection: before the request is sent again, which is after 3 s."""

LINK_IDLE_S = 60.0
"""How long a connection that was made for a response is kept for the next."""

UNREACHABLE_S = 600.0
"""How long somebody who could not be reached is answered by the way back alone (RFC 7263 section 3.2.1: "a peer would
keep a list of unreachable peers based on trying DRR and then would use only SRR for those peers")."""


@dataclass(frozen=True, slots=True)
class ResponseLink:
    """A connection that we dial to send responses to `node`, which is who asked, or its relay peer."""

    node: NodeId


class ResponseRoutes:
    """The ways of one node's responses, and what it offers for those to itself."""

    def __init__(
        self, exchange: Exchange, connections: ConnectionTable, whereabouts: Whereabouts, contacts: Contacts
    ) -> None:
        self._exchange, self._connections = exchange, connections
        self._whereabouts, self._contacts = whereabouts, contacts
        self._held: dict[NodeId, list[Originate]] = {}
        self._made: dict[NodeId, int] = {}
        """Links that were made for responses, by their numbers."""
        self._unreachable: OrderedDict[NodeId, float] = OrderedDict()
        self._timers: Timers[tuple[str, NodeId]] = Timers(exchange.queue)

    # Requests of ours

    def refresh(self) -> None:
        """We may be linked with others, be known by another address, or follow another configuration."""
        self._exchange.route = None if self._exchange.configuration.route_mode is None else self._offer()

    def _offer(self) -> ForwardingOption | None:
        """What a request of ours says of the way of its response; None for the way back."""
        own, kinds = self._exchange.identity.node_id, self._whereabouts.link_types(Purpose.RELOAD)
        relay: NodeId | None = None
        at: Address | None = None
        if self._exchange.configuration.route_mode is RouteMode.DRR:
            at = next(iter(self._whereabouts.addresses[Purpose.RELOAD]), None)
        elif (found := self._relay()) is not None:
            relay, at = found
        return None if at is None or not kinds else offered_route(at, kinds[0].without_ice, own, relay)

    def _relay(self) -> tuple[NodeId, Address] | None:
        """RFC 7264 section 3.2.2: "bootstrap nodes are well suited to play the role of relay peers"; else the peer with
        the shortest round trip, of those of which we know where they can be dialled.
        """
        configured = {Address(node.address, node.port) for node in self._exchange.configuration.bootstrap_nodes}
        found: list[tuple[bool, float, NodeId, Address]] = []
        for node in self._connections:
            link, at = self._connections.get(node), self._contacts.get(node)
            if link is not None and at is not None and node not in self._made:
                found.append((at not in configured, link.link.round_trip.srtt_s or 0.0, node, at))
        return None if not found else min(found)[2:]

    # Responses of ours

    def redirect(self, originate: Originate, now: float) -> Originate | None:
        """A message of ours is to go: as it is to be sent now, or None if it waits for a connection."""
        route = originate.route
        if route is None:
            # "If the destination peer receives a retransmit with SRR preference on the message it is trying to respond
            # to now, the responding peer SHOULD abort the DRR response and use SRR."
            self._abort(originate)
            return originate
        first = route.destinations[0].node_id
        assert first is not None, "a route leads to nodes"
        if first in self._connections:
            if first in self._made:
                self._timers.set(("idle", first), now + LINK_IDLE_S, "a link for responses")
            return _direct(originate, route)
        return None if self._hold(originate, first, route, now) else replace(originate, route=None)

    def _hold(self, originate: Originate, first: NodeId, route: ExtensiveRoutingModeOption, now: float) -> bool:
        """Let it wait for a connection to `first`; False if there will be none."""
        held = self._held.get(first, [])
        is_full = sum(map(len, self._held.values())) >= RESPONSES_HELD_MAX or len(held) >= RESPONSES_HELD_PER_NODE_MAX
        if is_full or now < self._unreachable.get(first, 0.0):
            return False
        if not held and not self._dial(first, route, now):
            return False
        self._held[first] = [*held, originate]
        return True

    def _dial(self, first: NodeId, route: ExtensiveRoutingModeOption, now: float) -> bool:
        at = route.ipaddressport.host_port
        is_able = route.transport in NO_ICE and route.transport in [
            kind.without_ice for kind in self._whereabouts.link_types(Purpose.RELOAD)
        ]
        if at is None or not is_able:
            return False
        session = Session(Purpose.RELOAD, (Candidate(Address(*at), route.transport),), asked_by=first.hex())
        if self._connections.dial(session, ResponseLink(first), now) is None:
            return False
        self._timers.set(("wait", first), now + DIAL_WAIT_S, "a response that waits for a connection")
        return True

    def _abort(self, originate: Originate) -> None:
        transaction_id = originate.header.transaction_id
        for node, held in list(self._held.items()):
            self._held[node] = [each for each in held if each.header.transaction_id != transaction_id]

    def linked(self, context: ResponseLink, node: NodeId, number: int, now: float) -> None:
        """What we dialled is up, and `node` is there."""
        if node != context.node:
            self.dial_failed(context, now)
            return
        self._made[node] = number
        self._timers.set(("idle", node), now + LINK_IDLE_S, "a link for responses")
        for held in self._release(node):
            self._exchange.transport.send_on(held)

    def dial_failed(self, context: ResponseLink, now: float) -> None:
        """Nobody is there, or another, or nobody that we could believe."""
        self._give_up(context.node, now)

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """No link to this node works any more."""
        self._made.pop(lost.node, None)
        self._timers.cancel(("idle", lost.node))
        self.refresh()

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> list[LinkEvent]:
        """Send back what has waited for too long; close what nobody uses."""
        events: list[LinkEvent] = []
        for what, node in self._timers.pop_due(now):
            if what == "wait":
                self._give_up(node, now)
            elif (number := self._made.pop(node, None)) is not None:
                events += self._connections.close(number, "no response has gone there for a while")
        return events

    def _give_up(self, node: NodeId, now: float) -> None:
        self._unreachable[node] = now + UNREACHABLE_S
        self._unreachable.move_to_end(node)
        while len(self._unreachable) > UNREACHABLE_MAX:
            self._unreachable.popitem(last=False)
        for held in self._release(node):
            self._exchange.transport.send_on(replace(held, route=None))

    def _release(self, node: NodeId) -> list[Originate]:
        self._timers.cancel(("wait", node))
        return self._held.pop(node, [])


def _direct(originate: Originate, route: ExtensiveRoutingModeOption) -> Originate:
    """RFC 7263 5.4.1: "the destination peer MUST construct the Destination List for the response with only one entry";
    RFC 7264 5.4.1: "The first entry MUST be set to the relay peer's Node-ID from the option in the request, and the
    second entry MUST be the sending peer's Node-ID from the option in the request."
    """
    return replace(originate, header=originate.header.altered(destination_list=route.destinations), route=None)
