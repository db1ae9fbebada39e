"""What every part of a node speaks through: requests, answers, effects."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from p2psip.base.effects import Effect, Note
from p2psip.base.errors import Cause, RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.node.effects import RequestRefused
from p2psip.reload.security.roles import Identity
from p2psip.reload.transport.outcome import Outcome, Refused, Unanswered
from p2psip.reload.transport.request import TRANSMISSIONS_MAX, OverlayRequest
from p2psip.reload.transport.transport import Received, Transport
from p2psip.reload.wire.contents import ErrorResponse, MessageCode, MessageExtension
from p2psip.reload.wire.header import Destination, ForwardingOption
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.security_block import GenericCertificate

MESSAGE_OVERHEAD = 1024
"""Bytes of a message that are not its values: header, lists, the signer's certificate and signature."""

VALUES_BYTES_MAX = 0xFFFF
"""The bucket of certificates has a length of 16 bits (6.3.4); no message has more values than fit there either."""


ROUTED = frozenset({MessageCode.FETCH_REQ, MessageCode.STAT_REQ, MessageCode.FIND_REQ, MessageCode.STORE_REQ})
"""Requests whose responses may go another way than back (RFC 7263)."""

ATTACHES_MAX = 256
"""So many Attach requests of ours are known again when they come round: some minutes' worth, where one seeks peers."""


class Exchange:
    """The node's own identity, those of its in-process clients, the overlay's configuration, its transport, its timers,
    and the effects it collects.
    """

    def __init__(
        self, identity: Identity, configuration: OverlayConfiguration, transport: Transport, queue: TimerQueue
    ) -> None:
        self.identity = identity
        self.configuration = configuration
        self.transport = transport
        self.queue = queue
        self.clients: dict[NodeId, Identity] = {}
        self.route: ForwardingOption | None = None
        """What requests of ours that look for a place say of the way of their responses."""
        self._effects: list[Effect] = []
        self._attaches: deque[int] = deque(maxlen=ATTACHES_MAX)

    @property
    def values_size_max(self) -> int:
        """How many bytes of values and their certificates one message has room for."""
        return min(self.configuration.max_message_size, VALUES_BYTES_MAX) - MESSAGE_OVERHEAD

    def identity_of(self, node: NodeId) -> Identity:
        """The identity of this node, or of a client of ours."""
        return self.clients.get(node, self.identity)

    def request(self, asked: OverlayRequest, context: object, now: float) -> int | None:
        """Begin a transaction; None if too many are open, which the caller treats as a failure."""
        if self.transport.is_full:
            return None
        if self.route is not None and _is_routed(asked) and self.transport.route_trust.may_offer(now):
            asked = replace(asked, route=self.route)
        transaction_id = self.transport.request(asked.identity or self.identity, asked, context, now)
        if asked.code is MessageCode.ATTACH_REQ:
            self._attaches.append(transaction_id)
        return transaction_id

    def is_own_attach(self, transaction_id: int) -> bool:
        """True for an Attach of ours, though it be over: what a path has held up comes late."""
        return transaction_id in self._attaches

    def to_node(
        self,
        node: NodeId,
        code: MessageCode,
        body: Struct,
        context: object,
        now: float,
        *,
        transmissions_max: int = TRANSMISSIONS_MAX,
    ) -> int | None:
        """A request to one node by its Node-ID."""
        asked = OverlayRequest([Destination.node(node)], code, body, transmissions_max=transmissions_max)
        return self.request(asked, context, now)

    def answer(
        self,
        request: Received,
        body: Struct,
        *,
        certificates: Sequence[GenericCertificate] = (),
        extensions: tuple[MessageExtension, ...] = (),
        after: int | None = None,
    ) -> None:
        """Answer a request."""
        identity = self.identity_of(request.node)
        self.transport.answer(request, identity, body, certificates=certificates, extensions=extensions, after=after)

    def reject(self, request: Received, error: ErrorResponse) -> None:
        """Answer a request with an error."""
        self.transport.reject(request, self.identity_of(request.node), error)

    def emit(self, effect: Effect) -> None:
        """Something for the driver, or the core above."""
        self._effects.append(effect)

    def drain(self) -> list[Effect]:
        """What the parts have emitted since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def note(self, event: str, **facts: object) -> None:
        """Say something to the log."""
        self.emit(Note(event, facts))

    def warn(self, event: str, **facts: object) -> None:
        """Say something to the log that an operator should see."""
        self.emit(Note(event, facts, is_warning=True))


def _is_routed(asked: OverlayRequest) -> bool:
    """True of a request of the node itself that is likely to go over several hops."""
    return asked.identity is None and asked.code in ROUTED and asked.destination_list[-1].resource_id is not None


def causes_of(outcome: Outcome) -> tuple[Cause, ...]:
    """Why a request came to nothing."""
    if isinstance(outcome, Refused):
        return (outcome.cause,)
    return outcome.causes if isinstance(outcome, Unanswered) else ()


def failure_of(outcome: Outcome) -> RequestFailed:
    """The same for the layer above."""
    if isinstance(outcome, Refused):
        return RequestRefused("refused", causes_of(outcome), outcome.code)
    return RequestFailed("nobody answered", causes_of(outcome))
