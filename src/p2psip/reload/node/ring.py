"""The messages of the topology (RFC 6940 section 6.4.2, 6.5.3, 10), and the actions that Chord asks for."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.connecting.attach import Attaching
from p2psip.reload.node.connecting.connections import Connections
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.topology.actions import (
    AskForUpdate,
    AttachFinger,
    AttachTo,
    AttachToward,
    FindPeer,
    SendJoin,
    SendUpdate,
)
from p2psip.reload.topology.chord.ring import advance
from p2psip.reload.topology.plugin import NeighborView, NotAdmitting, TopologyPlugin
from p2psip.reload.transport.outcome import Answer, Outcome
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode, MessageExtension, UnknownBody
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.link_messages import (
    PingAns,
    PingReq,
    ProbeAns,
    ProbeInformation,
    ProbeInformationType,
    ProbeReq,
)
from p2psip.reload.wire.rejections import Forbidden
from p2psip.reload.wire.topology_messages import (
    ChordLeaveData,
    ChordLeaveType,
    ChordRouteQueryAns,
    ChordUpdate,
    ChordUpdateType,
    JoinAns,
    JoinReq,
    LeaveAns,
    LeaveReq,
    RouteQueryReq,
    UpdateAns,
)


@dataclass(frozen=True, slots=True)
class UpdateContext:
    """An Update of ours; nothing depends on its answer."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class JoinContext:
    """Our Join, at the Admitting Peer."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class FindContext:
    """A Ping that looks for a peer at a place of the ring."""

    via: NodeId | None


@dataclass(frozen=True, slots=True)
class ProbeContext:
    """A connectivity Ping over a link that was silent."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class LeaveContext:
    """Our Leave, at a neighbour."""

    node: NodeId


NEIGHBORS_HEARD_MAX = 128
"""As many of each list of an Update are looked at: no Finger Table has more entries."""

RingAction = AttachTo | AttachToward | AttachFinger | FindPeer | SendUpdate | AskForUpdate | SendJoin

RingContext = UpdateContext | JoinContext | FindContext | ProbeContext | LeaveContext


class Ring:
    """Speaks for Chord: sends what it asks for, and serves the requests that concern it."""

    def __init__(
        self,
        exchange: Exchange,
        connections: Connections,
        chord: TopologyPlugin,
        attaching: Attaching,
        began_at: float,
    ) -> None:
        self._exchange = exchange
        self._connections = connections
        self._chord = chord
        self._attaching = attaching
        self._began_at = began_at
        self.is_leaving = False
        self._encoded: tuple[NeighborView | None, int, bool, UnknownBody] = (None, 0, False, UnknownBody(b""))

    # What Chord asks for

    def perform(self, action: RingAction, now: float) -> None:
        """Do what the topology wants done by messages."""
        match action:
            case AttachTo(node, via):
                self._attaching.attach(node, via, now)
            case AttachToward(resource, via):
                self._attaching.seek(resource, via, now)
            case AttachFinger(resource):
                self._attaching.seek_finger(resource, now)
            case FindPeer(resource, via):
                route = [Destination.node(via)] if via is not None else []
                destinations = [*route, Destination.resource(resource)]
                asked = OverlayRequest(destinations, MessageCode.PING_REQ, PingReq())
                self._exchange.request(asked, FindContext(via), now)
            case SendUpdate(node, is_full):
                self._send_update(node, now, is_full=is_full)
            case AskForUpdate(node):
                query = RouteQueryReq(True, Destination.resource(advance(self._chord.node_id, 1)))
                self._exchange.to_node(node, MessageCode.ROUTE_QUERY_REQ, query, UpdateContext(node), now)
            case SendJoin(node):
                request = JoinReq(self._chord.node_id)
                self._exchange.to_node(node, MessageCode.JOIN_REQ, request, JoinContext(node), now)

    def _send_update(self, node: NodeId, now: float, *, is_full: bool) -> None:
        if node not in self._connections:
            return
        update = self._update(now, is_full=is_full)
        self._exchange.to_node(node, MessageCode.UPDATE_REQ, update, UpdateContext(node), now)

    def _update(self, now: float, *, is_full: bool) -> Struct:
        """The body of an Update, encoded once for all who get the same."""
        view, uptime_s = self._chord.view(with_fingers=is_full), self.uptime_s(now)
        if self._encoded[:3] != (view, uptime_s, is_full):
            kind = ChordUpdateType.FULL if is_full else ChordUpdateType.NEIGHBORS
            update = ChordUpdate(uptime_s, kind, view.predecessors, view.successors, view.fingers)
            self._encoded = (view, uptime_s, is_full, UnknownBody(update.encode()))
        return self._encoded[3]

    def probe(self, node: NodeId, now: float) -> None:
        """10.7.1: see with a Ping whether a silent neighbour is there; the link watches for the acknowledgement."""
        self._exchange.to_node(node, MessageCode.PING_REQ, PingReq(), ProbeContext(node), now, transmissions_max=1)

    def leave(self, now: float) -> None:
        """6.4.2.2: "A node SHOULD send this message to each peer with which it is directly connected prior to exiting
        the overlay."
        """
        view = self._chord.view()
        self.is_leaving = True
        self._chord.start_leaving()
        for node in sorted(self._connections):
            # Who has us as successor hears of our successors, who has us as predecessor of our predecessors.
            if node in view.predecessors:
                data = ChordLeaveData(ChordLeaveType.FROM_SUCC, successors=view.successors)
            else:
                data = ChordLeaveData(ChordLeaveType.FROM_PRED, predecessors=view.predecessors)
            request = LeaveReq(self._chord.node_id, data.encode())
            context = LeaveContext(node)
            self._exchange.to_node(node, MessageCode.LEAVE_REQ, request, context, now, transmissions_max=1)

    def handle_outcome(self, context: RingContext, outcome: Outcome, now: float) -> None:
        """A request that was made here is over."""
        if isinstance(context, JoinContext):
            self._chord.handle_join_answer(context.node, isinstance(outcome, Answer), now)
        elif isinstance(context, FindContext) and isinstance(outcome, Answer):
            self._chord.handle_found(outcome.signer.node_id, context.via, now)
        elif not isinstance(outcome, Answer):
            self._exchange.note("request failed", request=type(context).__name__.removesuffix("Context"))

    # What others ask

    def handle_update(self, request: Received, body: ChordUpdate, now: float) -> None:
        """10.7.3."""
        self._require_adjacent(request)
        self._exchange.answer(request, UpdateAns())
        view = None
        if body.type is not ChordUpdateType.PEER_READY:
            lists = (body.predecessors, body.successors, body.fingers)
            view = NeighborView(*(nodes[:NEIGHBORS_HEARD_MAX] for nodes in lists))
        self._chord.handle_update(request.signer.node_id, view, now)

    def handle_join(self, request: Received, body: JoinReq, now: float) -> None:
        """6.4.2.1: "Receivers of the JoinReq MUST verify that the joining_peer_id field matches the Node-ID used to
        sign the message and, if not, the message MUST be rejected with an Error_Forbidden error."
        """
        if body.joining_peer_id != request.signer.node_id:
            raise Forbidden("joining_peer_id is not the Node-ID that signed")
        self._require_adjacent(request)
        try:
            self._chord.handle_join(request.signer.node_id, now)
        except NotAdmitting as error:
            raise Forbidden(str(error)) from None
        self._exchange.answer(request, JoinAns())

    def handle_leave(self, request: Received, body: LeaveReq, now: float) -> None:
        """6.4.2.2: verify as for Join; 10.9: then as if the peer had failed."""
        if body.leaving_peer_id != request.signer.node_id:
            raise Forbidden("leaving_peer_id is not the Node-ID that signed")
        self._require_adjacent(request)
        try:
            data = ChordLeaveData.decode(body.overlay_specific_data)
            others = data.successors + data.predecessors
        except DecodeError:
            others = ()
        self._exchange.answer(request, LeaveAns())
        self._chord.handle_leave(request.signer.node_id, others, now)

    def handle_route_query(self, request: Received, body: RouteQueryReq, now: float) -> None:
        """10.8: "the single Node-ID of the next peer to which the responding peer would have routed"."""
        destination = body.destination
        target = destination.node_id or destination.resource_id
        if target is None:
            raise Forbidden("an opaque destination cannot be asked for")
        self._exchange.answer(request, ChordRouteQueryAns(self.next_peer(target)))
        if body.send_update and self._chord.is_serving and not self.is_leaving:
            # "If the requester has set the send_update flag, the responder SHOULD initiate an Update immediately"; who
            # leaves would say that it stays.
            self._send_update(request.signer.node_id, now, is_full=True)

    def next_peer(self, target: NodeId | ResourceId) -> NodeId:
        """Where a message for `target` would go next from here; ourselves, if it ends here or knows no way."""
        if isinstance(target, NodeId) and target in self._connections:
            return target
        here = self._chord.node_id
        return here if self._chord.is_responsible(target) else self._chord.next_hop(target) or here

    def handle_probe(self, request: Received, body: ProbeReq, num_resources: int, now: float) -> None:
        """6.4.2.5.2: "The responding peer SHOULD include any values that the requesting node requested and that it
        recognizes. They SHOULD be returned in the requested order. Any other values MUST NOT be returned."
        """
        figures = {
            ProbeInformationType.RESPONSIBLE_SET: self._chord.responsible_ppb,
            ProbeInformationType.NUM_RESOURCES: num_resources,
            ProbeInformationType.UPTIME: self.uptime_s(now),
        }
        wanted = dict.fromkeys(kind for kind in body.requested_info if kind in figures)
        self._exchange.answer(request, ProbeAns(tuple(ProbeInformation(kind, figures[kind]) for kind in wanted)))

    def uptime_s(self, now: float) -> int:
        """How long we have been up."""
        return int(now - self._began_at)

    def handle_ping(
        self, request: Received, response_id: int, date_ms: int, extensions: tuple[MessageExtension, ...]
    ) -> None:
        """6.5.3.2."""
        self._exchange.answer(request, PingAns(response_id, max(0, date_ms)), extensions=extensions)

    def _require_adjacent(self, request: Received) -> None:
        """6.4.2.1: "receiving peers MUST verify that any JoinReq they receive arrives from a transport channel that is
        bound to the Node-ID to be assumed by the Joining Node"; of Leave and Update the same is true.
        """
        if request.previous_hop != request.signer.node_id:
            raise Forbidden("the message did not come over a link from its signer")
