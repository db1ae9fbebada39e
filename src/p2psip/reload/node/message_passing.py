"""Messages in, out and through (RFC 6940 section 6.1, 6.2): what came over a link, what we originate.

Forwarding says what becomes of a message; here it is done. What is for us comes back to the caller as a `Received`.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.errors import Cause, RemoteProtocolError
from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline
from p2psip.base.waiting_room import WaitingRoom
from p2psip.reload.forwarding.forwarder import Astray, Deliver, Drop, Forward, Forwarder, Reject
from p2psip.reload.forwarding.reassembly import CannotReassemble, FragmentedTooLarge, Reassembler
from p2psip.reload.link.framing import MessageTooLarge
from p2psip.reload.link.link import Late, LinkLost, Unacknowledged
from p2psip.reload.node.connecting.connection_table import ConnectionTable
from p2psip.reload.node.connecting.linked_members import LinkedMembers
from p2psip.reload.node.connecting.response_routes import ResponseRoutes
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.keeping.config_updates import ConfigUpdates
from p2psip.reload.node.keeping.diagnostics import Diagnostics
from p2psip.reload.node.keeping.traffic import Traffic
from p2psip.reload.transport.answers import REQUEST_LIFETIME_S
from p2psip.reload.transport.transport import Originate, Received
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode
from p2psip.reload.wire.header import RELO_TOKEN, VERSION, ForwardingHeader
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.message import join, parts_of

VERSION_FIELD = slice(10, 11)
"""Where the forwarding header has the version."""


@frozen
class _Transit:
    """A message that came from `previous_hop`; `payload` is its contents and security block, unread."""

    header: ForwardingHeader
    payload: bytes
    previous_hop: NodeId

    @property
    def is_request(self) -> bool | None:
        """True if somebody waits for an answer; None if a fragment does not say."""
        return None if self.header.fragment_offset else _is_of_request(self.payload)


@dataclass(frozen=True, slots=True)
class _Passing:
    """A diagnostics request that went on to `next_hop`; if the link is lost, whoever asked is told."""

    message: _Transit
    next_hop: NodeId
    until: float


ROUND_MAX = 128
"""Of how many requests that have gone round a silent link it is known."""

PASSING_MAX = 128
PASSING_S = 3.0
"""Diagnostics requests that are watched, and for how long: until the next transmission."""


class Messages:
    """The messages of one node."""

    def __init__(
        self,
        exchange: Exchange,
        connections: ConnectionTable,
        admission: LinkedMembers,
        forwarder: Forwarder,
        gate: WaitingRoom[Originate],
        config_updates: ConfigUpdates,
        traffic: Traffic,
        diagnostics: Diagnostics,
        routes: ResponseRoutes,
    ) -> None:
        self._exchange = exchange
        self._connections = connections
        self._admission = admission
        self._forwarder = forwarder
        self._gate = gate
        self._config_updates = config_updates
        self._traffic = traffic
        self._diagnostics = diagnostics
        self._routes = routes
        self._passing: dict[int, _Passing] = {}
        self._round: dict[int, NodeId] = {}
        """Requests by transaction that have gone another way as well, and round whom."""
        self.reassembler = Reassembler(exchange.configuration.max_message_size, queue=exchange.queue)
        self._node_id = exchange.identity.node_id

    def receive(self, data: bytes, previous_hop: NodeId, now: float) -> Received | None:
        """A message came over the link to `previous_hop`: the request that we are asked, if it is one for us."""
        try:
            header, payload = parts_of(data, node_id_length=len(self._node_id))
        except DecodeError as error:
            self._drop(previous_hop, str(error))
            self._refuse_version(data, previous_hop)
            return None
        self._traffic.received(b"" if header.fragment_offset else payload, len(data), now)
        return self._route(_Transit(header, payload, previous_hop), now)

    def originate(self, originate: Originate, now: float) -> Received | None:
        """Send a message of our own, or of an in-process client; it may be a request to ourselves."""
        if not self._gate.passes(originate, originate.after):
            return None
        if (redirected := self._routes.redirect(originate, now)) is None:
            return None
        originate = redirected
        if originate.sender != self._node_id:
            return self._route(_Transit(originate.header, originate.payload, originate.sender), now)
        match self._forwarder.originate(originate.header, now):
            case Deliver(node, header):
                return self._deliver(_Transit(header, originate.payload, self._node_id), node, now)
            case Forward(next_hop, header):
                self._send_own(header, originate.payload, next_hop, now)
            case Drop(reason) | Astray(reason) | Reject(_, reason):
                self._hint(originate.header, reason, now)
        return None

    def send_again(self, lost: NodeId, sent: Unacknowledged, now: float) -> Received | None:
        """The link to `lost` failed before it acknowledged this message: another way may lead on.

        If it was taken all the same, the destination tells a request that comes twice by its transaction (6.2.1), and
        the requester a response. Requests of our own are the transport's to send again.
        """
        if now >= sent.sent_at + REQUEST_LIFETIME_S:
            return None
        header, payload = parts_of(sent.message, node_id_length=len(self._node_id))
        message = _Transit(header, payload, self._node_id)
        if message.is_request is not False and self._exchange.transport.is_open(header.transaction_id):
            return None
        if message.is_request and self._round.get(header.transaction_id) == lost:
            return None
        if message.is_request and self._diagnostics.is_diagnostic(header, payload):
            # RFC 7851 has it answered with an error, which `handle_link_lost` did.
            return None
        match self._forwarder.reroute(header, lost, now, is_request=message.is_request):
            case Deliver(node, header):
                return self._deliver(_Transit(header, payload, self._node_id), node, now)
            case Forward(next_hop, header):
                self._send(join(header, payload), header, payload, next_hop, now)
            case Drop(reason) | Astray(reason) | Reject(_, reason):
                self._drop(lost, f"not taken, and {reason}")
        return None

    def send_round(self, silent: NodeId, sent: Late, now: float) -> None:
        """A request waits for `silent`, whose link still counts: it goes another way as well, if there is one. What
        comes twice the destination tells by its transaction (6.2.1).

        10.3 has it go by the Routing Table, from which 6.6.5 takes a link after one timeout; here it is after two.
        """
        if now >= sent.sent_at + REQUEST_LIFETIME_S:
            # The destination would not know it any more, and do it once more.
            return
        header, payload = parts_of(sent.message, node_id_length=len(self._node_id))
        if (
            not header.is_unfragmented
            or not _is_of_request(payload)
            or self._diagnostics.is_diagnostic(header, payload)
        ):
            return
        match self._forwarder.reroute(header, silent, now, is_request=True):
            case Forward(next_hop, header) if next_hop != silent:
                self._exchange.transport.left_by(header.transaction_id, next_hop)
                while len(self._round) >= ROUND_MAX:
                    del self._round[next(iter(self._round))]
                self._round[header.transaction_id] = silent
                self._send(join(header, payload), header, payload, next_hop, now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self.reassembler.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Forget fragments of what never became whole."""
        self.reassembler.handle_timeout(now)

    def refuse_unread(self, number: int, error: MessageTooLarge) -> None:
        """6.6: "the peer SHOULD send an Error_Message_Too_Large error and then close the TLS or DTLS session"; "this
        error can be sent and the session closed before the peer receives the complete message".
        """
        connection = self._connections.by_number(number)
        if connection is not None:
            self._refuse(error.beginning, connection.node, ErrorCode.MESSAGE_TOO_LARGE, str(error))

    def _refuse_version(self, data: bytes, previous_hop: NodeId) -> None:
        """6.3.2: "Nodes MUST reject messages with other versions.", if all else of the header is as in ours."""
        if data[:4] == RELO_TOKEN.to_bytes(4, "big") and data[VERSION_FIELD] != bytes([VERSION]):
            ours = data[: VERSION_FIELD.start] + bytes([VERSION]) + data[VERSION_FIELD.stop :]
            reason = "this is version 1.0 of RELOAD"
            self._refuse(ours, previous_hop, ErrorCode.INCOMPATIBLE_WITH_OVERLAY, reason)

    def _refuse(self, beginning: bytes, previous_hop: NodeId, code: ErrorCode, reason: str) -> None:
        """Answer with an error what is not worth receiving, if it begins as a request does."""
        try:
            header, end = ForwardingHeader.decode_prefix(beginning, node_id_length=len(self._node_id))
        except DecodeError:
            return
        if _is_of_request(beginning[end:]):
            error = ErrorResponse.of(code, reason)
            self._exchange.transport.reject_unread(header, previous_hop, self._exchange.identity, error)

    # Inside

    def _route(self, message: _Transit, now: float) -> Received | None:
        header, is_request = message.header, message.is_request
        match self._forwarder.receive(header, message.previous_hop, now, is_request=is_request):
            case Deliver(node, header):
                return self._deliver(_Transit(header, message.payload, message.previous_hop), node, now)
            case Forward(next_hop, header):
                objection = self._must_attach_first(message) or self._diagnostics.objection(
                    message.header, message.payload, message.previous_hop, now
                )
                if objection is None:
                    self._pass_on(message, header, next_hop, now)
                else:
                    self._reject(message, *objection, now)
            case Reject(code, reason):
                if code is ErrorCode.TTL_EXCEEDED and self._diagnostics.is_diagnostic(message.header, message.payload):
                    # RFC 7851 6.2: "The peer MUST return an error response with error code 0x1a
                    # "Error_TTL_Hops_Exceeded" when it finds that the TTL field value is no more than 0".
                    code = ErrorCode.TTL_HOPS_EXCEEDED
                self._reject(message, code, reason, now)
            case Astray(reason) if _looks_for_a_peer(message.payload):
                # A node that is outside itself is the way in for nobody; who asks it need not wait to know that.
                self._reject(message, ErrorCode.NOT_FOUND, reason, now)
            case Drop(reason) | Astray(reason):
                self._drop(message.previous_hop, reason)
        return None

    def _must_attach_first(self, message: _Transit) -> tuple[ErrorCode, str] | None:
        """6.1.2: "If a node with a certificate with multiple Node-IDs attempts to route a message other than a Ping or
        Attach through a node without performing an Attach, the receiving node MUST reject the request with an
        Error_Forbidden error."
        """
        links = self._connections.to(message.previous_hop)
        if not message.is_request or any(self._admission.has_attached(link.number) for link in links) or not links:
            return None
        if _looks_for_a_peer(message.payload):
            return None
        return ErrorCode.FORBIDDEN, "its certificate has several Node-IDs: attach first, so that we know which you are"

    def _pass_on(self, message: _Transit, onward: ForwardingHeader, next_hop: NodeId, now: float) -> None:
        data = join(onward, message.payload)
        if len(data) > self._exchange.configuration.max_message_size:
            # 6.6: who receives a message that is larger than max-message-size closes the link that it came by.
            reason = f"with its via list the message has {len(data)} bytes"
            self._reject(message, ErrorCode.MESSAGE_TOO_LARGE, reason, now)
            return
        if message.previous_hop in self._forwarder.clients:
            self._exchange.transport.left_by(onward.transaction_id, next_hop)
        if message.is_request and self._diagnostics.is_diagnostic(message.header, message.payload):
            self._watch(message, next_hop, now)
        self._send(data, onward, message.payload, next_hop, now)

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """RFC 7851 6.2: "MUST return an error response with the error code 0x15
        "Error_Underlay_Destination_Unreachable" when it receives an ICMP message with "Destination Unreachable"
        information after forwarding the received request": what TCP tells of that is that the connection is lost.
        """
        for passing in [passing for passing in self._passing.values() if passing.next_hop == lost.node]:
            del self._passing[passing.message.header.transaction_id]
            if now < passing.until:
                reason = f"lost the link to the next hop, {lost.node}"
                self._reject(passing.message, ErrorCode.UNDERLAY_DESTINATION_UNREACHABLE, reason, now)

    def _watch(self, message: _Transit, next_hop: NodeId, now: float) -> None:
        while len(self._passing) >= PASSING_MAX:
            del self._passing[next(iter(self._passing))]
        self._passing[message.header.transaction_id] = _Passing(message, next_hop, now + PASSING_S)

    def _send_own(self, header: ForwardingHeader, payload: bytes, next_hop: NodeId, now: float) -> None:
        data = join(header, payload)
        if len(data) > self._exchange.configuration.max_message_size:
            reason = f"the message has {len(data)} bytes, more than max-message-size"
            self._exchange.transport.fail(header.transaction_id, Cause("this peer", reason, now))
            return
        self._exchange.transport.left_by(header.transaction_id, next_hop)
        self._send(data, header, payload, next_hop, now)

    def _send(self, data: bytes, header: ForwardingHeader, payload: bytes, next_hop: NodeId, now: float) -> None:
        self._traffic.sent(b"" if header.fragment_offset else payload, len(data), now)
        self._connections.send(next_hop, data, now)

    def _deliver(self, message: _Transit, node: NodeId, now: float) -> Received | None:
        whole = message if message.header.is_unfragmented else self._reassembled(message, node, now)
        if whole is None:
            return None
        try:
            return self._exchange.transport.receive(whole.header, whole.payload, whole.previous_hop, node, now)
        except RemoteProtocolError as error:
            self._drop(whole.previous_hop, str(error))
            return None

    def _reassembled(self, message: _Transit, node: NodeId, now: float) -> _Transit | None:
        """6.7: "the peer holds the fragments in a holding buffer until the entire message has been received"."""
        header, previous_hop = message.header, message.previous_hop
        try:
            whole = self.reassembler.receive(header, message.payload, node, previous_hop, now)
        except CannotReassemble as error:
            self._drop(previous_hop, str(error))
            if isinstance(error, FragmentedTooLarge) and _is_of_request(error.beginning):
                answer = ErrorResponse.of(ErrorCode.MESSAGE_TOO_LARGE, str(error))
                self._exchange.transport.reject_unread(header, previous_hop, self._exchange.identity, answer)
            return None
        return None if whole is None else _Transit(*whole, previous_hop)

    def _reject(self, message: _Transit, code: ErrorCode, reason: str, now: float) -> None:
        """Answer a request that is not ours to serve with an error, if its signature holds."""
        self._drop(message.previous_hop, reason)
        if message.is_request is False:
            return
        request = self._deliver(message, self._node_id, now)
        if request is not None:
            self._exchange.reject(request, ErrorResponse.of(code, reason))
            # With an older configuration a message may have a TTL, or a size, that is too much by now.
            self._config_updates.tell_if_old(request, now)

    def _hint(self, header: ForwardingHeader, reason: str, now: float) -> None:
        self._exchange.transport.hint(header.transaction_id, Cause("this peer", reason, now))

    def _drop(self, previous_hop: NodeId, reason: str) -> None:
        self._exchange.note("message dropped", previous_hop=previous_hop, reason=reason)


def _is_of_request(payload: bytes) -> bool:
    """True for contents that begin with the message code of a request."""
    return len(payload) >= 2 and payload[1] % 2 == 1 and payload[0] < 0x80


def _looks_for_a_peer(payload: bytes) -> bool:
    """True for contents that begin with the message code of a Ping or an Attach."""
    return int.from_bytes(payload[:2], "big") in (MessageCode.PING_REQ, MessageCode.ATTACH_REQ)
