"""What keeps the overlay together: its topology's messages (RFC 6940 section 6.4.2), Ping and Probe (6.4.2.5, 6.5.3).

What is in the former is the topology's own: it makes and reads their bodies. Here they are sent, and what the RFC asks
of them whatever the topology is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.reload.node.connecting.connection_table import ConnectionTable
from p2psip.reload.node.exchange import Exchange, causes_of
from p2psip.reload.topology.actions import AskNode, FindPeer, Tell
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome, Refused, Unanswered
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import ErrorCode, MessageCode, MessageExtension, MessageExtensionType
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import (
    PingAns,
    PingReq,
    ProbeAns,
    ProbeInformation,
    ProbeInformationType,
    ProbeReq,
)
from p2psip.reload.wire.private_messages import PrivateAns
from p2psip.reload.wire.rejections import Forbidden
from p2psip.reload.wire.topology_messages import JoinReq, LeaveReq, RouteQueryReq

KEEPS_ALIVE: Final = MessageExtension(MessageExtensionType.KEEPS_ALIVE, False, b"")


@frozen
class TellContext:
    """A request of the topology's own, and what it wants back with its outcome."""

    code: MessageCode
    context: object


@dataclass(frozen=True, slots=True)
class AskContext:
    """A question of the topology's to any node."""

    context: object


@dataclass(frozen=True, slots=True)
class FindContext:
    """A Ping that looks for a peer at a place of the overlay."""

    via: NodeId | None


@frozen
class ProbeContext:
    """A connectivity Ping over a link that was silent."""

    node: NodeId


UpkeepContext = AskContext | TellContext | FindContext | ProbeContext


class Upkeep:
    """Speaks for the topology, and serves what others ask of it and of us."""

    def __init__(self, exchange: Exchange, connections: ConnectionTable, topology: Topology, began_at: float) -> None:
        self._exchange = exchange
        self._connections = connections
        self._topology = topology
        self._began_at = began_at

    # What we say

    def tell(self, message: Tell, now: float) -> None:
        """Send a message of the topology."""
        if message.node in self._connections:
            self._exchange.to_node(
                message.node,
                message.code,
                message.body,
                TellContext(message.code, message.context),
                now,
                transmissions_max=message.transmissions_max,
            )

    def ask(self, question: AskNode, now: float) -> None:
        """Put a question of the topology's to any node."""
        destinations, tries = [*question.via, Destination.node(question.node)], question.transmissions_max
        asked = OverlayRequest(destinations, question.code, question.body, transmissions_max=tries)
        if self._exchange.request(asked, AskContext(question.context), now) is None:
            self._topology.handle_outcome(question.context, Unanswered((), is_sent=False), now)

    def find(self, wanted: FindPeer, now: float) -> None:
        """Ping a place."""
        place = Destination.resource(wanted.resource)
        route = [place] if wanted.via is None else [Destination.node(wanted.via), place]
        asked = OverlayRequest(route, MessageCode.PING_REQ, PingReq(), is_elsewhere=wanted.via is not None)
        self._exchange.request(asked, FindContext(wanted.via), now)

    def probe(self, node: NodeId, now: float) -> None:
        """10.7.1: see with a Ping whether a silent neighbour is there; the link watches for the acknowledgement.

        It says that less will do from now on, and the answer whether that is understood.
        """
        to, body = [Destination.node(node)], PingReq()
        asked = OverlayRequest(to, MessageCode.PING_REQ, body, transmissions_max=1, extensions=(KEEPS_ALIVE,))
        self._exchange.request(asked, ProbeContext(node), now)

    def handle_outcome(self, context: UpkeepContext, outcome: Outcome, now: float) -> None:
        """A request that was made here is over."""
        if isinstance(context, AskContext):
            self._topology.handle_outcome(context.context, outcome, now)
            return
        if not isinstance(outcome, Answer):
            what = context.code.rfc_name if isinstance(context, TellContext) else "ping"
            self._exchange.note("request failed", request=what)
        if isinstance(context, TellContext):
            self._topology.handle_outcome(context.context, outcome, now)
        elif isinstance(context, FindContext) and isinstance(outcome, Answer):
            self._topology.handle_found(outcome.signer.node_id, context.via, now)
        elif isinstance(outcome, Refused) and outcome.code is ErrorCode.FORBIDDEN and isinstance(context, FindContext):
            # A client passes nothing on: to ask it again at once would be answered the same, for ever.
            return
        elif isinstance(context, FindContext):
            reason = "; ".join(map(str, causes_of(outcome))) or "nobody answered the Ping"
            self._topology.handle_not_found(context.via, reason, now)
        elif isinstance(context, ProbeContext) and isinstance(outcome, Answer) and _keeps_alive(outcome.extensions):
            self._connections.keep_alive(outcome.signer.node_id)

    # What others ask

    def handle(self, request: Received, now: float) -> None:
        """Join, Leave, Update or RouteQuery. Raises a Rejection."""
        body = request.body
        if isinstance(body, JoinReq) and body.joining_peer_id != request.signer.node_id:
            # 6.4.2.1: "Receivers of the JoinReq MUST verify that the joining_peer_id field matches the Node-ID used to
            # sign the message and, if not, the message MUST be rejected with an Error_Forbidden error."
            raise Forbidden("joining_peer_id is not the Node-ID that signed")
        if isinstance(body, LeaveReq) and body.leaving_peer_id != request.signer.node_id:
            # 6.4.2.2: as for Join.
            raise Forbidden("leaving_peer_id is not the Node-ID that signed")
        if not isinstance(body, RouteQueryReq) and request.previous_hop != request.signer.node_id:
            # 6.4.2.1: "receiving peers MUST verify that any JoinReq they receive arrives from a transport channel that
            # is bound to the Node-ID to be assumed by the Joining Node"; of Leave and Update the same is true.
            raise Forbidden("the message did not come over a link from its signer")
        self._exchange.answer(request, self._topology.handle(request, now))

    def handle_router(self, request: Received, body: bytes, now: float) -> None:
        """A private message: its signer, whom we are linked with, passes messages on. Raises a Rejection."""
        if request.previous_hop != request.signer.node_id:
            raise Forbidden("the message did not come over a link from its signer")
        self._topology.handle_router(request.signer.node_id, now)
        self._exchange.answer(request, PrivateAns(b""))

    def handle_probe(self, request: Received, body: ProbeReq, num_resources: int, now: float) -> None:
        """6.4.2.5.2: "The responding peer SHOULD include any values that the requesting node requested and that it
        recognizes. They SHOULD be returned in the requested order. Any other values MUST NOT be returned."
        """
        figures = {
            ProbeInformationType.RESPONSIBLE_SET: self._topology.responsible_ppb,
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
        if _keeps_alive(request.contents.extensions) and request.previous_hop == request.signer.node_id:
            self._connections.keep_alive(request.previous_hop)
            extensions = (*extensions, KEEPS_ALIVE)
        self._exchange.answer(request, PingAns(response_id, max(0, date_ms)), extensions=extensions)


def _keeps_alive(extensions: tuple[MessageExtension, ...]) -> bool:
    return any(each.type is MessageExtensionType.KEEPS_ALIVE for each in extensions)
