"""CHORD-RELOAD as the topology of a peer: Chord's messages, and the questions that the rest of the node has.

`Chord` says what is to be told to whom; here it becomes messages, and messages of others become Chord's inputs
(RFC 6940 section 6.4.2, 10.7-10.9).
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import TimerQueue
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.link.link import LinkLost
from p2psip.reload.topology.actions import Action, HandOver, Tell
from p2psip.reload.topology.chord.chord import PLACE, Chord, NotAdmitting
from p2psip.reload.topology.chord.messages import (
    ChordLeaveData,
    ChordLeaveType,
    ChordRouteQueryAns,
    ChordUpdate,
    ChordUpdateType,
    NeighborView,
)
from p2psip.reload.topology.chord.replicas import REPLICAS
from p2psip.reload.topology.chord.ring import RING_SIZE, advance, distance, is_between
from p2psip.reload.topology.chord.sayings import AskForUpdate, SendJoin, SendUpdate
from p2psip.reload.topology.chord.settings import ChordSettings
from p2psip.reload.transport.outcome import Answer, Outcome
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode, UnknownBody
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.rejections import Forbidden, InvalidMessage
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq, LeaveAns, LeaveReq, RouteQueryReq, UpdateAns


@dataclass(frozen=True, slots=True)
class AdmittingContext:
    """Our Join, at the Admitting Peer."""

    node: NodeId


class ChordTopology(Chord):
    """Speaks for Chord, and answers for it."""

    def __init__(
        self,
        node_id: NodeId,
        settings: ChordSettings,
        rng: random.Random,
        now: float,
        queue: TimerQueue | None = None,
    ) -> None:
        super().__init__(node_id, settings, rng, queue)
        self._began_at = now
        self._encoded: tuple[NeighborView | None, int, bool, UnknownBody] = (None, 0, False, UnknownBody(b""))

    # What others ask

    @property
    def is_connected(self) -> bool:
        """A peer reaches the overlay as a part of it."""
        return self.is_serving

    @property
    def routes(self) -> Collection[NodeId]:
        """The Routing Table."""
        return self.table.peers

    @property
    def neighbors(self) -> tuple[NodeId, ...]:
        """The Neighbor Table."""
        return self.table.neighbors

    @property
    def responsible_ppb(self) -> int:
        """6.4.2.5.2: "the fraction of the overlay for which the peer is responsible, in parts per billion"."""
        if not self.is_serving:
            return 0
        share = distance(self.table.range_low, self.node_id) or RING_SIZE
        return share * 1_000_000_000 // RING_SIZE

    def facts(self) -> dict[str, object]:
        """Our place in the ring."""
        return {
            "state": "in the ring" if self.is_serving else self.joining.state.value,
            "responsible_from": str(self.table.range_low),
            "successors": [str(each) for each in self.table.successors],
            "predecessors": [str(each) for each in self.table.predecessors],
        }

    def next_hop(self, target: bytes, chosen_by: NodeId | None = None, without: NodeId | None = None) -> NodeId | None:
        """Where to send a message for `target`, which is not ours; None if we know no peer.

        10.3: "If a peer is not responsible for a Resource-ID k, but is directly connected to a node with Node-ID k,
        then it MUST route the message to that node."
        """
        if target in self._links:
            return NodeId(target)
        found = self.table.next_hop(target, chosen_by, without)
        # Who takes us for a member while we are outside would send it here again.
        return found if self.is_serving or found != chosen_by else None

    def next_peer(self, target: bytes) -> NodeId:
        """10.8: "the single Node-ID of the next peer to which the responding peer would have routed"; ourselves, if a
        message for `target` ends here or knows no way.
        """
        if target in self._links:
            return NodeId(target)
        return self.node_id if self.is_responsible(target) else self.next_hop(target) or self.node_id

    def is_misrouted(self, sender: NodeId, target: bytes) -> bool:
        """True if `sender` names a peer that lies before `target`, and yet sent a message for it past that to us."""
        view, is_past = self._candidates.views.get(sender), distance(sender, self.node_id) > distance(sender, target)
        return view is not None and is_past and any(is_between(node, sender, target) for node in view.nodes)

    def is_close_enough(self, node: NodeId, resource: bytes) -> bool:
        """6.3.4: "at least as close to the target Resource-ID as any node in the requesting node's Neighbor Table"."""
        closest = min((distance(resource, neighbor) for neighbor in self.table.neighbors), default=None)
        return closest is None or distance(resource, node) <= closest

    def replicas_for(self, resource: bytes) -> tuple[NodeId, ...]:
        """10.4: of all that is ours, our successor and its successor."""
        return self.replicas.nodes

    def admitting_for(self, resource: bytes) -> list[NodeId]:
        """The joining nodes that must also get a value stored at `resource` while they are being let in."""
        return [node for node, low in self._admitting.items() if is_between(resource, low, node)]

    def may_hold(self, node: NodeId, resource: bytes) -> bool:
        """7.4.1.1: whether a node is in "the known replica set" of a resource or "closer than some node" in it; so is
        whoever is about to let us in, of what becomes ours.
        """
        if node == self.joining.admitting_peer:
            return True
        holders = self.table.holders_of(resource, 1 + REPLICAS)
        is_close = len(holders) <= REPLICAS or distance(resource, node) <= distance(resource, holders[-1])
        return node in self.table and is_close

    def is_from_responsible(self, sender: NodeId, resource: bytes) -> bool:
        """False if a value that `sender` passed on to us ought to go further: another is responsible for it."""
        return not self.joining.is_member or self.table.responsible_for(resource) in (sender, self.node_id)

    def place_of_copy(self, resource: bytes, holder: NodeId, number: int) -> ResourceId | None:
        """Behind who has the one before: its successor answers for the place beyond it."""
        return advance(holder, 1) if number <= REPLICAS else None

    def use_configuration(self, configuration: OverlayConfiguration, now: float) -> None:
        """The overlay has a new configuration."""
        self.use_settings(ChordSettings.of(configuration), now)

    def handle_copy_failed(self, node: NodeId, now: float) -> None:
        """A replica lacks something: it gets all again after the hold-down."""
        self.replicas.lacks(node, now)

    def handle_not_found(self, via: NodeId | None, reason: str, now: float) -> None:
        """The way in leads nowhere; a finger is sought again when they are refreshed."""
        if via is not None and via == self.joining.gateway:
            self.handle_unanswered(PLACE, reason, now)

    def handle_router(self, node: NodeId, now: float) -> None:
        """It is in neither of our tables, and messages go by it where that is nearer."""
        if node in self._links:
            self.table.routers.add(node)

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """A router's link is what it is a router by."""
        self.table.routers.discard(lost.node)
        super().handle_link_lost(lost, now)

    # What we say

    def drain(self, now: float) -> list[Action]:
        """What is to be done since the last call, in order."""
        return [self._in_words(action, now) for action in self.take_actions()] if self._actions else []

    def _in_words(self, action: Action, now: float) -> Action:
        match action:
            case SendUpdate(node, is_full):
                return Tell(node, MessageCode.UPDATE_REQ, self._update(now, is_full=is_full))
            case AskForUpdate(node):
                query = RouteQueryReq(True, Destination.resource(advance(self.node_id, 1)))
                return Tell(node, MessageCode.ROUTE_QUERY_REQ, query)
            case SendJoin(node):
                return Tell(node, MessageCode.JOIN_REQ, JoinReq(self.node_id), AdmittingContext(node))
        return action

    def _update(self, now: float, *, is_full: bool) -> Struct:
        """The body of an Update, encoded once for all who get the same."""
        view, uptime_s = self.view(with_fingers=is_full), int(now - self._began_at)
        if self._encoded[:3] != (view, uptime_s, is_full):
            kind = ChordUpdateType.FULL if is_full else ChordUpdateType.NEIGHBORS
            update = ChordUpdate(uptime_s, kind, view.predecessors, view.successors, view.fingers)
            self._encoded = (view, uptime_s, is_full, UnknownBody(update.encode()))
        return self._encoded[3]

    def leave(self, now: float) -> None:
        """6.4.2.2: "A node SHOULD send this message to each peer with which it is directly connected prior to exiting
        the overlay." Then our successor is responsible for all that we are responsible for.
        """
        view = self.view()
        self.start_leaving()
        for node in sorted(self._links):
            # Who has us as successor hears of our successors, who has us as predecessor of our predecessors.
            if node in view.predecessors:
                data = ChordLeaveData(ChordLeaveType.FROM_SUCC, successors=view.successors)
            else:
                data = ChordLeaveData(ChordLeaveType.FROM_PRED, predecessors=view.predecessors)
            leaving = LeaveReq(self.node_id, data.encode())
            self._actions.append(Tell(node, MessageCode.LEAVE_REQ, leaving, transmissions_max=1))
        if view.successors:
            self._actions.append(HandOver(view.successors[0], self.table.range_low, self.node_id))

    def handle_outcome(self, context: object, outcome: Outcome, now: float) -> None:
        """A request of ours is over; on that to a Join something depends."""
        if isinstance(context, AdmittingContext):
            self.handle_join_answer(context.node, isinstance(outcome, Answer), now)

    # What others say

    def handle(self, request: Received, now: float) -> Struct:
        """A request of another to its answer. Raises a Rejection."""
        sender = request.signer.node_id
        match request.body:
            case ChordUpdate() as body:
                # 10.7.3.
                self.handle_update(sender, body.view, now)
                return UpdateAns()
            case JoinReq():
                try:
                    self.handle_join(sender, now)
                except NotAdmitting as error:
                    raise Forbidden(str(error)) from None
                return JoinAns()
            case LeaveReq() as body:
                # 10.9: as if the peer had failed.
                self.handle_leave(sender, _others_in(body), now)
                return LeaveAns()
            case RouteQueryReq() as body:
                return self._route_query(sender, body)
        raise InvalidMessage(f"{request.code.rfc_name} is none of CHORD-RELOAD")

    def _route_query(self, sender: NodeId, body: RouteQueryReq) -> Struct:
        target = body.destination.node_id or body.destination.resource_id
        if target is None:
            raise Forbidden("an opaque destination cannot be asked for")
        if body.send_update and self.is_serving and not self.is_leaving:
            # "If the requester has set the send_update flag, the responder SHOULD initiate an Update immediately"; who
            # leaves would say that it stays.
            self._actions.append(SendUpdate(sender, is_full=True))
        return ChordRouteQueryAns(self.next_peer(target))


def _others_in(leaving: LeaveReq) -> tuple[NodeId, ...]:
    """Who comes next, as a leaving peer says."""
    try:
        data = ChordLeaveData.decode(leaving.overlay_specific_data)
    except DecodeError:
        return ()
    return data.successors + data.predecessors
