"""End-to-end reliability, duplicate detection, signatures and response checks (RFC 6940 section 6.2.1, 6.3.4).

Theory of operation. A request is signed once and its bytes are kept; only the forwarding header is made anew for
each transmission, at 0, 3, 6, 9 and 12 s (overlay-reliability-timer), and at once when the link that it left by
fails. It ends with an answer whose signer passes 6.3.4, or 3 s after the last transmission. Whoever is asked keeps
its answer for 15 s and a little, so that a request that comes again is answered again and not done again.
"""

from __future__ import annotations

import random
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from p2psip.base.effects import Effect
from p2psip.base.errors import Cause
from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.base.wallclock import WallClock
from p2psip.reload.forwarding import options
from p2psip.reload.forwarding.forwarder import TTL_MAX, response_route
from p2psip.reload.forwarding.routing_modes import RouteTrust, route_asked_for, route_to
from p2psip.reload.link.link import LinkLost
from p2psip.reload.security.roles import Identity, Signer, Verifier
from p2psip.reload.transport import extensions
from p2psip.reload.transport.answers import REQUEST_LIFETIME_S, Answers
from p2psip.reload.transport.open_request import OpenRequest
from p2psip.reload.transport.outcome import Answer, Outcome, Refused, Unanswered
from p2psip.reload.transport.request import TRANSMISSIONS_MAX, OverlayRequest
from p2psip.reload.wire.contents import (
    ErrorCode,
    ErrorResponse,
    MessageCode,
    MessageContents,
    MessageExtension,
    UnknownBody,
    UnknownKinds,
)
from p2psip.reload.wire.extensions.routing_mode import ExtensiveRoutingModeOption
from p2psip.reload.wire.header import Destination, Entry, ForwardingHeader, ForwardingOption, ForwardingOptionFlags
from p2psip.reload.wire.kinds import REGISTERED_MODELS, Models
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.message import Message, SignedPayload, body_of, signature_input
from p2psip.reload.wire.rejections import UnknownExtension, UnsupportedForwardingOption
from p2psip.reload.wire.security_block import BlockWriter, GenericCertificate, encode_block
from p2psip.reload.wire.storage_messages import FetchAns, StatAns

OPEN_REQUESTS_MAX = 2048
MESSAGE_BYTES_MAX = 5000
"""11.1: the default of max-message-size."""

READS = frozenset({MessageCode.FETCH_REQ, MessageCode.STAT_REQ, MessageCode.FIND_REQ})
"""Requests whose answer may be of any size: we say how much of it we take."""

_MISMATCHES = frozenset({ErrorCode.CONFIG_TOO_OLD, ErrorCode.CONFIG_TOO_NEW, ErrorCode.UNKNOWN_KIND})
"""Errors that a ConfigUpdate mends (6.3.2.1, 7.4.1.2)."""

_NOTHING_THERE: Mapping[MessageCode, Struct] = {
    MessageCode.FETCH_REQ: FetchAns(()),
    MessageCode.STAT_REQ: StatAns(()),
}
"""What Error_Not_Found says in answer to these. 6.3.3.1: "The resource or node cannot be found or does not exist"; some
say so of a resource where nothing is stored. To a Find it says another thing (7.4.4.2)."""

_PASSING = _MISMATCHES | {ErrorCode.TTL_EXCEEDED}
"""Errors that do not stand for long: who sends the request again has it looked at again."""


class Proximity(Protocol):
    """What the checks of a response need to know of the topology (6.3.4)."""

    def is_close_enough(self, node: NodeId, resource: ResourceId) -> bool:
        """True if `node` is at least as close to `resource` as any node in the Neighbor Table."""


@frozen
class Originate(Effect):
    """Send a message of ours: `payload` is contents and security block; `sender` is this peer or a client of it."""

    sender: NodeId
    header: ForwardingHeader
    payload: bytes
    after: int | None = None
    """Leave only once this Ask is answered (a commit to disk)."""
    route: ExtensiveRoutingModeOption | None = None
    """Of a response: the way that the requester would have it go, if that can be."""


@frozen
class Finished(Effect):
    """A request of ours is over; `context` is what its sender gave."""

    context: object
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Mismatch(Effect):
    """A node knows another configuration than we, or not all of our Kinds; a request of ours waits for that to end."""

    node: NodeId
    code: ErrorCode
    route: tuple[Entry, ...]
    """The way to that node."""
    kinds: tuple[int, ...] = ()
    """Kinds of ours that it does not know."""


@frozen
class Received:
    """A request for us, its signature verified; its body is an UnknownBody if it cannot be read."""

    message: Message
    contents: MessageContents
    signer: Signer
    previous_hop: NodeId
    node: NodeId
    body: Struct

    @property
    def code(self) -> MessageCode:
        """Which request it is."""
        return self.contents.message_code

    def require_understood(self) -> None:
        """Raise a Rejection if the request asks for more than is known here (6.3.2.3, 6.3.3)."""
        option = options.beyond_us(self.message.header, ForwardingOptionFlags.DESTINATION_CRITICAL)
        if option is not None:
            # 6.3.2.3: "any node that generates a response to the message but does not understand the forwarding
            # option MUST reject the request with an Error_Unsupported_Forwarding_Option error response."
            raise UnsupportedForwardingOption(f"option {int(option)} is unknown here")
        try:
            route_asked_for(self.message.header, node_id_length=len(self.signer.node_id))
        except DecodeError as error:
            # RFC 7263 5.4.1: "If the destination peer cannot understand the extensive_routing_mode option in the
            # request, it MUST attempt to use SRR to return an "Error_Unknown_Extension" response".
            raise UnknownExtension(str(error)) from None
        extension = extensions.beyond_us(self.contents)
        if extension is not None:
            # 6.3.3: "it MUST generate an Error_Unknown_Extension error."
            raise UnknownExtension(f"extension {int(extension)} is unknown here")


class Transport:
    """The requests and answers of one node."""

    def __init__(
        self,
        overlay: int,
        verifier: Verifier,
        proximity: Proximity,
        rng: random.Random,
        wall: WallClock,
        *,
        configuration_sequence: int,
        reliability_timer_s: float = 3.0,
        ttl: int = TTL_MAX,
        models: Models = REGISTERED_MODELS,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        node_id_length: int = 16,
        queue: TimerQueue | None = None,
        topology_bodies: Mapping[MessageCode, type[Struct]] = MappingProxyType({}),
    ) -> None:
        """`topology_bodies` are those of the topology's messages."""
        self.configuration_sequence = configuration_sequence
        self.defined_kinds: Container[int] = frozenset()
        """Kinds whose signed definition we can give to who does not know them."""
        self._overlay = overlay
        self._verifier = verifier
        self._proximity = proximity
        self._rng = rng
        self.wall = wall
        self._ttl = ttl
        self._models = models
        self._message_bytes_max = message_bytes_max
        self._node_id_length = node_id_length
        self._topology_bodies = topology_bodies
        self._open: dict[int, OpenRequest] = {}
        self._queue = TimerQueue(queue)
        self._timers: Timers[int] = self._queue.scope()
        self.answers = Answers(self._queue)
        self.route_trust = RouteTrust()
        self._use_timer(reliability_timer_s)
        self._use_header()
        self._blocks = BlockWriter()
        self._effects: list[Effect] = []

    def use_configuration(
        self,
        *,
        configuration_sequence: int,
        reliability_timer_s: float,
        ttl: int,
        models: Models,
        message_bytes_max: int,
        now: float,
    ) -> None:
        """The overlay has a new configuration: requests that were refused for the old one go out again."""
        self.configuration_sequence = configuration_sequence
        self._use_timer(reliability_timer_s)
        self._ttl = ttl
        self._models = models
        self._message_bytes_max = message_bytes_max
        self._use_header()
        self.retry_mismatched(None, now)

    def _use_timer(self, reliability_timer_s: float) -> None:
        self._timer_s = reliability_timer_s
        # Where the overlay has others repeat their requests more slowly, they do so for longer.
        self.answers.lifetime_s = max(REQUEST_LIFETIME_S, TRANSMISSIONS_MAX * reliability_timer_s)

    def _use_header(self) -> None:
        """What the headers of all our messages have in common."""
        self._usual_header = ForwardingHeader(
            overlay=self._overlay,
            configuration_sequence=self.configuration_sequence,
            ttl=self._ttl,
            transaction_id=0,
            destination_list=(),
        )

    def retry_mismatched(self, node: NodeId | None, now: float) -> None:
        """Send again at once what `node` (None: anybody) refused for its idea of the configuration."""
        for transaction_id, request in list(self._open.items()):
            if request.mismatched is not None and node in (None, request.mismatched):
                request.mismatched = None
                if request.transmissions < request.asked.transmissions_max:
                    self._transmit(transaction_id, now)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._queue.next_deadline()

    # Requests of ours

    @property
    def is_full(self) -> bool:
        """True if no further request may be made now."""
        return len(self._open) >= OPEN_REQUESTS_MAX

    def request(self, identity: Identity, asked: OverlayRequest, context: object, now: float) -> int:
        """Begin a transaction, signed by `identity`; its end is a `Finished(context, ...)`. Returns its ID."""
        assert not self.is_full, "look at is_full before making a request"
        # 6.3.2: "In order to provide a high probability that transaction IDs are unique, they MUST be randomly
        # generated."
        transaction_id = self._rng.getrandbits(64)
        payload = self._sign(identity, transaction_id, asked.code, asked.body, asked.certificates, asked.extensions)
        route = tuple(asked.destination_list)
        self._open[transaction_id] = OpenRequest(asked, identity.node_id, route, payload, context, now)
        self._transmit(transaction_id, now)
        return transaction_id

    def send_on(self, held: Originate) -> None:
        """What waited for its way goes now."""
        self._effects.append(held)

    def cancel(self, transaction_id: int) -> None:
        """Forget a request: no more transmissions, no Finished."""
        self._open.pop(transaction_id, None)
        self._timers.cancel(transaction_id)

    def fail(self, transaction_id: int, cause: Cause) -> None:
        """A request of ours that cannot even be sent: it is over at once."""
        if (request := self._open.get(transaction_id)) is not None:
            self.cancel(transaction_id)
            self._effects.append(Finished(request.context, Unanswered((*request.causes, cause))))

    def is_open(self, transaction_id: int) -> bool:
        """True for a request of ours that is not over."""
        return transaction_id in self._open

    def reroute(self, transaction_id: int, destination_list: Sequence[Entry], now: float) -> None:
        """A better way to the same destination is known: send the request there at once."""
        if (request := self._open.get(transaction_id)) is not None:
            assert request.destination_list[-1] == destination_list[-1], "the destination stays the same"
            request.destination_list = tuple(destination_list)
            request.reroutes += 1
            if request.transmissions < request.asked.transmissions_max:
                self._transmit(transaction_id, now)

    def left_by(self, transaction_id: int, first_hop: NodeId) -> None:
        """The forwarding layer sent the request out over the link to `first_hop`."""
        if (request := self._open.get(transaction_id)) is not None:
            request.first_hop = first_hop

    def hint(self, transaction_id: int, cause: Cause) -> None:
        """Something that may be why a request goes unanswered; told if it does."""
        if (request := self._open.get(transaction_id)) is not None:
            request.hint(cause)

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """Requests that left by the failed link go out again at once, another way."""
        node = lost.node
        for transaction_id, request in list(self._open.items()):
            if request.first_hop == node:
                request.first_hop = None
                if len(request.destination_list) > 1 and request.destination_list[0].node_id == node:
                    # It was to go by way of that node; now the overlay finds the way.
                    request.destination_list = request.destination_list[1:]
                self.hint(transaction_id, Cause("this peer", f"lost the link to {node.short}", now))
                if request.transmissions < request.asked.transmissions_max:
                    self._transmit(transaction_id, now)

    def handle_timeout(self, now: float) -> None:
        """Retransmit or give up what is due; forget answers that nobody may ask for again."""
        for transaction_id in self._timers.pop_due(now):
            request = self._open[transaction_id]
            if request.asked.route is not None and request.transmissions == 1:
                self.route_trust.noted(now, is_in_time=False)
            if request.transmissions < request.asked.transmissions_max:
                self._transmit(transaction_id, now)
            else:
                # 6.2.1: "After the timer for the fifth transmission fires, the message MUST be considered to have
                # failed."
                del self._open[transaction_id]
                self._effects.append(Finished(request.context, Unanswered(tuple(request.causes))))
        self.answers.handle_timeout(now)

    def handle_commit_failed(self, token: int, now: float) -> None:
        """What waited for this commit did not come about: requests fail, and whoever repeats one is served anew."""
        self.answers.forget_waiting(token)
        cause = Cause("this peer", "its disk failed", now)
        for transaction_id, request in list(self._open.items()):
            if request.asked.after == token:
                self.fail(transaction_id, cause)

    def _transmit(self, transaction_id: int, now: float) -> None:
        request = self._open[transaction_id]
        request.transmissions += 1
        request.sent_under = self.configuration_sequence
        self._timers.set(transaction_id, now + self._timer_s, "no answer yet")
        # 6.3.2: "This is used by requesting nodes to avoid receiving (unexpected) very large responses."
        most = self._message_bytes_max if request.asked.code in READS else 0
        # RFC 7263 5.4.2: "If the peer does not receive a response until the timeout, it SHOULD resend the request using
        # SRR."
        offered = request.asked.route if request.transmissions == 1 else None
        options = () if offered is None else (offered,)
        header = self._header(transaction_id, request.destination_list, options, max_response_length=most)
        # A link over datagrams passes on once what comes twice: this copy is to go on wherever the one before has been.
        header = header.altered(ttl=max(1, self._ttl - request.reroutes)) if request.reroutes else header
        if request.asked.configuration_sequence is not None:
            header = replace(header, configuration_sequence=request.asked.configuration_sequence)
        self._effects.append(Originate(request.sender, header, request.payload, request.asked.after))

    def _header(
        self,
        transaction_id: int,
        destination_list: tuple[Entry, ...],
        options: tuple[ForwardingOption, ...] = (),
        *,
        max_response_length: int = 0,
    ) -> ForwardingHeader:
        return self._usual_header.altered(
            transaction_id=transaction_id,
            max_response_length=max_response_length,
            destination_list=destination_list,
            options=options,
        )

    def _sign(
        self,
        identity: Identity,
        transaction_id: int,
        code: MessageCode,
        body: Struct,
        certificates: Sequence[GenericCertificate],
        extensions: tuple[MessageExtension, ...] = (),
    ) -> bytes:
        """Contents and security block. 6.3.4: "All messages MUST be signed by their originator."""
        contents = MessageContents(code, body.encode(), extensions)
        contents_bytes = contents.encode()
        signature = identity.sign(signature_input(self._overlay, transaction_id, contents_bytes))
        bucket = identity.certificates
        if certificates:
            bucket = tuple(dict.fromkeys((*bucket, *certificates)))
            block = encode_block(bucket, signature)
        else:
            block = self._blocks.write(bucket, signature)
        return SignedPayload.of(contents, contents_bytes, bucket, signature, block)

    # What comes in

    def receive(
        self, header: ForwardingHeader, payload: bytes, previous_hop: NodeId, node: NodeId, now: float
    ) -> Received | None:
        """A message for `node`, which is this peer or a client of it. Returns a request that is to be served.

        Raises RemoteProtocolError (DecodeError, SecurityError) for what is to be dropped.
        """
        message = Message.of_payload(header, payload)
        contents = message.contents
        if contents.message_code.is_request:
            return self._receive_request(message, contents, previous_hop, node, now)
        self._receive_response(message, contents, previous_hop == node, now)
        return None

    def _receive_request(
        self, message: Message, contents: MessageContents, previous_hop: NodeId, node: NodeId, now: float
    ) -> Received | None:
        signer = self._verify(message, now)
        key = (message.header.transaction_id, signer.node_id)
        earlier = self.answers.get(key)
        if earlier is not None:
            # 6.2.1: "Receiving nodes MUST generate semantically equivalent responses to retransmissions of the
            # same request (this can be determined by the transaction ID)". Who repeats it may sign it anew.
            if earlier.payload is not None:
                onward = self._answer_header(message.header, previous_hop)
                route = route_to(message.header, signer.node_id)
                self._effects.append(Originate(node, onward, earlier.payload, earlier.after, route))
            return None
        self.answers.begin(key, now)
        try:
            body = self._body_of(contents)
        except DecodeError:
            body = UnknownBody(contents.message_body)
        return Received(message, contents, signer, previous_hop, node, body)

    def answer(
        self,
        request: Received,
        identity: Identity,
        body: Struct,
        *,
        certificates: Sequence[GenericCertificate] = (),
        extensions: tuple[MessageExtension, ...] = (),
        after: int | None = None,
    ) -> None:
        """Answer a request; with `after`, as soon as that Ask is answered."""
        self._answer(request, identity, request.code.answer, body, certificates, after, extensions)

    def reject(self, request: Received, identity: Identity, error: ErrorResponse) -> None:
        """Answer a request with an error (6.3.3.1)."""
        self._answer(request, identity, MessageCode.ERROR, error, (), None)
        if error.error_code in _PASSING:
            # The same request may come again, and be served, once one of us has learned of the other's configuration.
            self.answers.forget((request.message.header.transaction_id, request.signer.node_id))

    def reject_unread(
        self, header: ForwardingHeader, previous_hop: NodeId, identity: Identity, error: ErrorResponse
    ) -> None:
        """Answer with an error what came over the link to `previous_hop` and is not worth receiving (6.6)."""
        payload = self._sign(identity, header.transaction_id, MessageCode.ERROR, error, ())
        self._effects.append(Originate(identity.node_id, self._answer_header(header, previous_hop), payload))

    def _answer(
        self,
        request: Received,
        identity: Identity,
        code: MessageCode,
        body: Struct,
        certificates: Sequence[GenericCertificate],
        after: int | None,
        extensions: tuple[MessageExtension, ...] = (),
    ) -> None:
        header = request.message.header
        payload = self._sign(identity, header.transaction_id, code, body, certificates, extensions)
        onward = self._answer_header(header, request.previous_hop)
        size = len(payload) + onward.size
        # 6.3.2: "responding peers MUST check that any response would not exceed it", and 6.6 has a limit for every
        # message.
        if size > min(header.max_response_length or self._message_bytes_max, self._message_bytes_max):
            error = ErrorResponse.of(ErrorCode.RESPONSE_TOO_LARGE, f"the answer has {size} bytes")
            payload = self._sign(identity, header.transaction_id, MessageCode.ERROR, error, ())
        key = (header.transaction_id, request.signer.node_id)
        self.answers.answered(key, payload, after)
        route = route_to(header, request.signer.node_id)
        self._effects.append(Originate(request.node, onward, payload, after, route))

    def _answer_header(self, header: ForwardingHeader, previous_hop: NodeId) -> ForwardingHeader:
        # 6.3.2.3: "If the RESPONSE_COPY flag is set, any node generating a response MUST copy the option from the
        # request to the response except that the [three flags] MUST be cleared."
        copied = tuple(
            replace(option, flags=option.flags & ~options.ALL_FLAGS)
            for option in header.options
            if option.flags & ForwardingOptionFlags.RESPONSE_COPY
        )
        return self._header(header.transaction_id, response_route(header, previous_hop), copied)

    def _receive_response(self, message: Message, contents: MessageContents, is_local: bool, now: float) -> None:
        transaction_id = message.header.transaction_id
        request = self._open.get(transaction_id)
        if request is None:
            return
        signer = self._verify(message, now)
        body = self._body_of(contents)
        if isinstance(body, ErrorResponse) and body.error_code is ErrorCode.NOT_FOUND:
            body = _NOTHING_THERE.get(request.asked.code, body)
        why_not = self._why_no_answer(contents, signer.node_id, request)
        if isinstance(body, ErrorResponse):
            outcome: Outcome = Refused(signer, body.error_code, body.error_info, now)
            if body.error_code is ErrorCode.TTL_EXCEEDED:
                # While the ring closes over a dead peer its neighbours may pass a message back and forth; that ends,
                # and the retransmission of 6.2.1 finds the way.
                why_not = "the message went in circles"
            elif why_not is None and self._is_mismatch(body, signer.node_id, transaction_id, request):
                why_not = "knows another configuration"
                if request.sent_under != self.configuration_sequence:
                    # It was on its way while we learned of the other's.
                    self.retry_mismatched(signer.node_id, now)
        else:
            hops = 0 if is_local else max(0, self._ttl - message.header.ttl) + 1
            rtt_s, certificates = now - request.began_at, message.security_block.certificates
            outcome = Answer(signer, body, certificates, rtt_s, hops, contents.extensions)
        if why_not is None:
            self.cancel(transaction_id)
            if request.asked.route is not None and request.transmissions == 1:
                self.route_trust.noted(now, is_in_time=True)
            self._effects.append(Finished(request.context, outcome))
        elif isinstance(outcome, Refused):
            self.hint(transaction_id, outcome.cause)
        else:
            self.hint(transaction_id, Cause(f"peer {signer.node_id.short}", why_not, now))

    def _is_mismatch(self, error: ErrorResponse, node: NodeId, transaction_id: int, request: OpenRequest) -> bool:
        """True if the request may be served once the two of us have the same configuration: then it stays open."""
        if error.error_code not in _MISMATCHES or request.asked.configuration_sequence is not None:
            return False
        kinds = tuple(kind for kind in _unknown_kinds(error) if kind in self.defined_kinds)
        if error.error_code is ErrorCode.UNKNOWN_KIND and not kinds:
            return False
        request.mismatched = node
        is_whole_way = request.destination_list[-1].node_id == node
        route = request.destination_list if is_whole_way else (Destination.node(node),)
        self._effects.append(Mismatch(node, error.error_code, route, kinds))
        return True

    def _why_no_answer(self, contents: MessageContents, signer: NodeId, request: OpenRequest) -> str | None:
        """What is wrong with a response to this request; None if it may answer it."""
        if contents.message_code not in (request.asked.code.answer, MessageCode.ERROR):
            return f"answered {request.asked.code.rfc_name} with {contents.message_code.rfc_name}"
        if extensions.beyond_us(contents) is not None:
            return "answered with a critical extension that is unknown here"
        return None if self._may_answer(signer, request) else "answered in another's place"

    def _may_answer(self, signer: NodeId, request: OpenRequest) -> bool:
        last = request.destination_list[-1]
        if last.node_id is not None:
            # 6.3.4: "The response to a message sent to a Node-ID MUST have been sent by that Node-ID unless the
            # response has been sent to the wildcard Node-ID."
            return last.node_id in (signer, NodeId.wildcard(len(last.node_id)))
        assert last.resource_id is not None, "we send to nodes and resources only"
        # "MUST have been sent by a Node-ID which is at least as close to the target Resource-ID as any node in the
        # requesting node's Neighbor Table." But 10.7.4.4: "If a response is received from peer S', which is not P's
        # successor, then the overlay is partitioned"; farther than our successor it may be, as well as nearer.
        return request.asked.is_elsewhere or self._proximity.is_close_enough(signer, last.resource_id)

    def _body_of(self, contents: MessageContents) -> Struct:
        return body_of(
            contents,
            node_id_length=self._node_id_length,
            models=self._models,
            topology=self._topology_bodies,
        )

    def _verify(self, message: Message, now: float) -> Signer:
        """6.3.4: "the destination node MUST verify the signature and the authorizing certificate"."""
        # That of the message: one of another overlay is answered with an error, if it is signed.
        prefix = signature_input(message.header.overlay, message.header.transaction_id, message.contents_bytes)
        block = message.security_block
        wall = self.wall
        return self._verifier.verify(prefix, block.signature, block.certificates, wall.date(now), wall.is_trusted)


def _unknown_kinds(error: ErrorResponse) -> tuple[int, ...]:
    """7.4.1.2: which Kinds the other end does not know, if that is what the error says."""
    if error.error_code is not ErrorCode.UNKNOWN_KIND:
        return ()
    try:
        return UnknownKinds.decode(error.error_info).unknown_kinds
    except DecodeError:
        return ()
