"""Configurations and Kinds that travel through the running overlay (RFC 6940 section 6.3.2.1, 6.5.4, 7.4.1.2).

Theory of operation. Whoever learns of a new configuration document, from its operator or from another node, checks its
signature by the configuration that it has, takes it, and passes it on to all that it is linked with; so it reaches the
whole overlay in some round trips. Whoever was not there is told as soon as it asks anything of a node that knows
better. Nothing is polled. The request that showed the difference stays open on its sender's side (see Transport), and
is served once both have the same.

A kind-block adds a Kind. It has no sequence number, so of two different ones for the same Kind nobody could say which
is newer: another definition of a Kind that is known comes in a configuration document, or not at all.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.document import Document, SignedKind, parse
from p2psip.reload.config.errors import ConfigurationError, OtherOverlay
from p2psip.reload.config.kind_blocks import kind_block, parse_kind_block
from p2psip.reload.config.sequence import is_newer
from p2psip.reload.config.signatures import verify_kind, verify_update
from p2psip.reload.forwarding.forwarder import response_route
from p2psip.reload.node.connecting.connection_table import ConnectionTable
from p2psip.reload.node.effects import ConfigurationOutdated
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.limits import (
    CONFIG_UPDATES_HEARD,
    CONFIG_UPDATES_OPEN,
    KINDS_LEARNED_MAX,
    NODES_HEARD_MAX,
    REFUSED_DOCUMENTS_MAX,
)
from p2psip.reload.security.errors import SecurityError
from p2psip.reload.security.roles import Verifier
from p2psip.reload.transport.outcome import Answer, Outcome, Refused
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Mismatch, Received
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import CONFIGURATION_SEQUENCE_ANY, Destination, Entry
from p2psip.reload.wire.link_messages import ConfigUpdateAns, ConfigUpdateReq, ConfigUpdateType
from p2psip.reload.wire.rejections import (
    ConfigTooNew,
    ConfigTooOld,
    DataTooLarge,
    Forbidden,
    IncompatibleWithOverlay,
    InvalidMessage,
    Rejection,
    RequestTimeout,
)

TELL_AGAIN_S = 5.0
"""A node is not told the same again sooner: what it had asked in the meantime comes again by itself."""

HEARD_WINDOW_S = 10.0
"""Within this time so many ConfigUpdates of one node are looked at."""

OVERHEAD = 4096
"""Bytes of a ConfigUpdate beside the document: header, lists, our certificates and signature."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ConfigUpdateContext:
    """A ConfigUpdate of ours; requests that its receiver refused wait for its answer."""

    node: NodeId
    sequence: int
    """The configuration that its receiver has at least, once it has it."""


@dataclass(frozen=True, slots=True)
class LearnedKind:
    """A Kind that came as a kind-block, not in the document, and who signed it."""

    signed: SignedKind
    signer: NodeId


@dataclass(frozen=True, slots=True)
class NewConfiguration(Effect):
    """The node is to change its configuration to this; it has not yet. `source` has it already."""

    document: Document
    kinds: tuple[LearnedKind, ...]
    source: NodeId | None


@dataclass(frozen=True, slots=True)
class NewKinds(Effect):
    """The node is to know these Kinds as well, beside those of its document; it does not yet."""

    kinds: tuple[LearnedKind, ...]
    source: NodeId | None


def effective(document: Document, kinds: Iterable[LearnedKind]) -> OverlayConfiguration:
    """What a document and the Kinds learned beside it say together."""
    named = document.configuration.kinds
    more = tuple(learned.signed.kind for learned in kinds if learned.signed.kind.kind_id not in named)
    return replace(document.configuration, required_kinds=(*document.configuration.required_kinds, *more))


def lasting(document: Document, kinds: Iterable[LearnedKind]) -> tuple[LearnedKind, ...]:
    """The learned Kinds that are of use under a document.

    11.1: "If any Kind data was signed by a node that is no longer allowed to sign Kinds, that Kind MUST be discarded";
    what the document says of a Kind "overrides any previously learned information".
    """
    configuration = document.configuration
    return tuple(
        learned
        for learned in kinds
        if learned.signer in configuration.kind_signers and learned.signed.kind.kind_id not in configuration.kinds
    )


class ConfigUpdates:
    """What one node tells others of the configuration, and hears of it."""

    def __init__(
        self,
        exchange: Exchange,
        connections: ConnectionTable,
        verifier: Verifier,
        document: Document | None,
    ) -> None:
        self.document = document
        self.kinds: dict[int, LearnedKind] = {}
        self._exchange = exchange
        self._connections = connections
        self._verifier = verifier
        self._news: list[NewConfiguration | NewKinds] = []
        self._told: OrderedDict[tuple[NodeId, bytes], float] = OrderedDict()
        self._open = 0
        self._heard: OrderedDict[NodeId, tuple[float, int]] = OrderedDict()
        self._refused: OrderedDict[bytes, str] = OrderedDict()
        self.sequences: OrderedDict[NodeId, int] = OrderedDict()
        """Which configuration others have shown to have."""
        self.use(document, ())

    def drain(self) -> list[NewConfiguration | NewKinds]:
        """What has been accepted since the last call, for the node to act upon."""
        news, self._news = self._news, []
        return news

    def use(self, document: Document | None, kinds: tuple[LearnedKind, ...]) -> None:
        """The node has this configuration now."""
        self.document = document
        self.kinds = {learned.signed.kind.kind_id: learned for learned in kinds}
        self._told.clear()
        self._refused.clear()
        of_document = () if document is None else (entry.kind.kind_id for entry in document.kinds)
        self._exchange.transport.defined_kinds = frozenset((*of_document, *self.kinds))

    def adopt(self, news: NewConfiguration | NewKinds) -> tuple[Document, tuple[LearnedKind, ...]]:
        """The node follows the news from now on: its document and the Kinds beside it."""
        document, kinds = self.document, tuple(self.kinds.values())
        if isinstance(news, NewConfiguration):
            document, kinds = news.document, news.kinds
        else:
            kinds += tuple(learned for learned in news.kinds if learned not in kinds)
        assert document is not None, "who has no document learns of none"
        self.use(document, kinds)
        return document, kinds

    def still_good(self, document: Document, blocks: Iterable[bytes], now: float) -> tuple[LearnedKind, ...]:
        """Kinds that were learned once, as far as they hold under this document."""
        wall = self._exchange.transport.wall
        kinds = []
        for block in blocks:
            try:
                signed = parse_kind_block(block)
                configuration = document.configuration
                signer = verify_kind(configuration, signed, self._verifier, wall.date(now), wall.is_trusted)
            except ConfigurationError as error:
                self._exchange.warn("kind given up", reason=str(error))
            else:
                kinds.append(LearnedKind(signed, signer.node_id))
        return lasting(document, kinds)

    def heard(self, request: Received) -> None:
        """A request shows which configuration its sender has."""
        sequence = request.message.header.configuration_sequence
        if sequence != CONFIGURATION_SEQUENCE_ANY:
            self._remember_sequence(request.signer.node_id, sequence)

    def _remember_sequence(self, node: NodeId, sequence: int) -> None:
        self.sequences.pop(node, None)
        self.sequences[node] = sequence
        while len(self.sequences) > NODES_HEARD_MAX:
            self.sequences.popitem(last=False)

    # What we are told

    def handle(self, request: Received, body: ConfigUpdateReq, now: float) -> None:
        """6.5.4.2. Raises a Rejection."""
        self._check_rate(request.signer.node_id, now)
        if body.type == ConfigUpdateType.CONFIG:
            source = request.signer.node_id
            try:
                news: NewConfiguration | NewKinds = self._examine(body.config_data or b"", source, now)
            except ConfigTooOld:
                self._tell_better(request, body.config_data or b"", now)
                raise
        elif body.type == ConfigUpdateType.KIND:
            news = self._examine_kinds(body.kinds, request.signer.node_id, now)
        else:
            raise InvalidMessage(f"a ConfigUpdate of type {int(body.type)}, which is unknown here")
        self._exchange.answer(request, ConfigUpdateAns())
        self._news.append(news)

    def accept(self, raw: bytes, now: float) -> None:
        """A document from our operator or a configuration server, which has the same to prove as any other.

        Raises a Rejection.
        """
        self._news.append(self._examine(raw, None, now))

    def accept_proven(self, document: Document, now: float) -> None:
        """A document that has been proven as at the first time (11.2), where ours is too old to tell who may sign.

        6.5.4.2: "the only available recovery mechanism is to attempt to retrieve a new Configuration Document,
        typically by the mechanisms used for initial bootstrapping". Raises a Rejection.
        """
        if not is_newer(document.configuration.sequence, self._exchange.configuration.sequence):
            raise ConfigTooOld(f"configuration {document.configuration.sequence} is not newer")
        self._news.append(NewConfiguration(document, lasting(document, self.kinds.values()), None))

    def accept_kinds(self, blocks: Sequence[bytes], now: float) -> None:
        """Kind-blocks from our operator. Raises a Rejection."""
        self._news.append(self._examine_kinds(blocks, None, now))

    def _check_rate(self, node: NodeId, now: float) -> None:
        """Looking at a document costs some milliseconds; nobody has reason to send many."""
        began, count = self._heard.pop(node, (now, 0))
        if now >= began + HEARD_WINDOW_S:
            began, count = now, 0
        self._heard[node] = (began, count + 1)
        while len(self._heard) > NODES_HEARD_MAX:
            self._heard.popitem(last=False)
        if count >= CONFIG_UPDATES_HEARD:
            raise RequestTimeout("too many ConfigUpdates at once")

    def _examine(self, raw: bytes, source: NodeId | None, now: float) -> NewConfiguration:
        """6.5.4.2: "it MUST be processed only if all the following are true: [...] sequence number [...] greater
        [...] correctly digitally signed [...]. Otherwise, appropriate errors MUST be generated."
        """
        current = self._exchange.configuration
        if self.document is not None and raw == self.document.raw:
            raise ConfigTooOld(f"configuration {current.sequence} is here already")
        key = hashlib.sha256(raw).digest()
        if (reason := self._refused.get(key)) is not None:
            raise Forbidden(reason)
        try:
            document = parse(raw, current.instance_name)
        except OtherOverlay as error:
            raise IncompatibleWithOverlay(str(error)) from None
        except ConfigurationError as error:
            raise InvalidMessage(str(error)) from None
        sequence = document.configuration.sequence
        if not is_newer(sequence, current.sequence):
            raise ConfigTooOld(f"configuration {sequence} is not newer than {current.sequence}")
        try:
            self._verify(current, document, now)
        except ConfigurationError as error:
            self._remember_refused(key, str(error))
            self._exchange.warn("configuration refused", sequence=sequence, source=source, reason=str(error))
            raise Forbidden(str(error)) from None
        return NewConfiguration(document, lasting(document, self.kinds.values()), source)

    def _verify(self, current: OverlayConfiguration, document: Document, now: float) -> None:
        wall = self._exchange.transport.wall
        verify_update(current, document, self._verifier, wall.date(now), wall.is_trusted)
        if wall.is_trusted and not document.configuration.is_valid_at(wall.date(now)):
            raise ConfigurationError(f"configuration {document.configuration.sequence} has expired")

    def _remember_refused(self, key: bytes, reason: str) -> None:
        self._refused[key] = reason
        while len(self._refused) > REFUSED_DOCUMENTS_MAX:
            self._refused.popitem(last=False)

    def _examine_kinds(self, blocks: Sequence[bytes], source: NodeId | None, now: float) -> NewKinds:
        """6.5.4.2: "it MUST be processed only if it is correctly digitally signed by an acceptable Kind signer (i.e.,
        one listed in the current configuration file)."
        """
        current = self._exchange.configuration
        if not blocks or len(blocks) > KINDS_LEARNED_MAX:
            raise InvalidMessage(f"{len(blocks)} kind-blocks")
        learned: dict[int, LearnedKind] = {}
        wall = self._exchange.transport.wall
        for block in blocks:
            try:
                signed = parse_kind_block(block)
                signer = verify_kind(current, signed, self._verifier, wall.date(now), wall.is_trusted)
            except ConfigurationError as error:
                self._exchange.warn("kind refused", source=source, reason=str(error))
                raise Forbidden(str(error)) from None
            kind = signed.kind
            known = current.kinds.get(kind.kind_id)
            if known is not None and known != kind:
                # "if the Kind update conflicts with an existing known Kind [...], then it should be rejected with an
                # Error_Forbidden error."
                raise Forbidden(f"Kind {kind.kind_id:#x} is defined otherwise here; a new configuration may change it")
            if known is None:
                learned[kind.kind_id] = LearnedKind(signed, signer.node_id)
        if len(self.kinds) + len(learned) > KINDS_LEARNED_MAX:
            raise DataTooLarge(f"{KINDS_LEARNED_MAX} Kinds beside those of the configuration are enough")
        return NewKinds(tuple(learned.values()), source)

    # What we tell

    def tell_if_old(self, request: Received, now: float) -> None:
        """6.3.2.1: "if the configuration file in the request is too old, the node MUST generate a ConfigUpdate message
        to update the requesting node."
        """
        theirs = request.message.header.configuration_sequence
        if theirs != CONFIGURATION_SEQUENCE_ANY and is_newer(self._exchange.configuration.sequence, theirs):
            self._tell_requester(request, now)

    def _tell_requester(self, request: Received, now: float) -> None:
        node = request.signer.node_id
        route = response_route(request.message.header, request.previous_hop)
        whole = route if route[-1].node_id == node else (*route, Destination.node(node))
        self._tell_document(node, whole, now)

    def handle_mismatch(self, mismatch: Mismatch, now: float) -> None:
        """Somebody refused a request of ours for its idea of the configuration."""
        match mismatch.code:
            case ErrorCode.CONFIG_TOO_NEW:
                # 6.5.4: "Whenever a node detects that another node has old configuration data, it MUST generate a
                # ConfigUpdate request."
                self._tell_document(mismatch.node, mismatch.route, now)
            case ErrorCode.UNKNOWN_KIND:
                # 7.4.1.2: "A node which receives this error MUST generate a ConfigUpdate message which contains the
                # appropriate Kind definition".
                self._tell_kinds(mismatch.node, mismatch.route, mismatch.kinds, now)
            case _:
                self._exchange.note("configuration is too old", node=mismatch.node)
                self._exchange.emit(ConfigurationOutdated(mismatch.node))

    def push(self, news: NewConfiguration | NewKinds, now: float) -> None:
        """Pass on what we have just learned to all that we are linked with, but who told us."""
        for node in list(self._connections):
            if node == news.source:
                continue
            if isinstance(news, NewConfiguration):
                self._tell_document(node, (Destination.node(node),), now)
            else:
                kinds = [learned.signed.kind.kind_id for learned in news.kinds]
                self._tell_kinds(node, (Destination.node(node),), kinds, now)

    def handle_outcome(self, context: ConfigUpdateContext, outcome: Outcome, now: float) -> None:
        """A ConfigUpdate of ours is over."""
        self._open -= 1
        if isinstance(outcome, Answer):
            self._remember_sequence(context.node, context.sequence)
            self._exchange.transport.retry_mismatched(context.node, now)
        elif isinstance(outcome, Refused) and outcome.code is ErrorCode.CONFIG_TOO_OLD:
            # It has learned of it from another; or it knows a newer one, and tells us.
            self._remember_sequence(context.node, context.sequence)
            self._exchange.transport.retry_mismatched(context.node, now)
        else:
            why = str(outcome.cause) if isinstance(outcome, Refused) else "no answer"
            self._exchange.note("node not told of the configuration", node=context.node, reason=why)

    def _tell_better(self, request: Received, raw: bytes, now: float) -> None:
        """Who sends an old document has old configuration data."""
        if self.document is not None and raw != self.document.raw:
            self._tell_requester(request, now)

    def _tell_document(self, node: NodeId, route: Sequence[Entry], now: float) -> None:
        document = self.document
        if document is None:
            return
        if len(document.raw) + OVERHEAD > self._exchange.configuration.max_message_size:
            reason = f"the document has {len(document.raw)} bytes, more than max-message-size lets through"
            self._exchange.warn("configuration not passed on", node=node, reason=reason)
            return
        self._tell(node, b"", route, ConfigUpdateReq.config(document.raw), now)

    def _tell_kinds(self, node: NodeId, route: Sequence[Entry], kinds: Iterable[int], now: float) -> None:
        blocks = [kind_block(signed) for kind in kinds if (signed := self._signed_kind(kind)) is not None]
        if blocks:
            key = hashlib.sha256(b"".join(blocks)).digest()
            self._tell(node, key, route, ConfigUpdateReq.kind(tuple(blocks)), now)

    def _signed_kind(self, kind_id: int) -> SignedKind | None:
        if (learned := self.kinds.get(kind_id)) is not None:
            return learned.signed
        of_document = () if self.document is None else self.document.kinds
        return next((entry for entry in of_document if entry.kind.kind_id == kind_id), None)

    def _tell(self, node: NodeId, what: bytes, route: Sequence[Entry], body: ConfigUpdateReq, now: float) -> None:
        """Send it, unless it is on its way or has just been there; too many at once wait until they ask again."""
        told_at = self._told.get((node, what))
        if (told_at is not None and now < told_at + TELL_AGAIN_S) or self._open >= CONFIG_UPDATES_OPEN:
            return
        self._told[node, what] = now
        while len(self._told) > NODES_HEARD_MAX:
            self._told.popitem(last=False)
        # 6.3.2.1: "The one exception to this rule is that if the configuration_sequence field is equal to 65535 and the
        # message type is ConfigUpdate, then the message MUST be accepted".
        asked = OverlayRequest(
            route, MessageCode.CONFIG_UPDATE_REQ, body, configuration_sequence=CONFIGURATION_SEQUENCE_ANY
        )
        context = ConfigUpdateContext(node, self._exchange.configuration.sequence)
        if self._exchange.request(asked, context, now) is not None:
            self._open += 1


def check_sequence(request: Received, ours: int) -> None:
    """6.3.2.1: "it MUST check that the configuration_sequence field is equal to its own configuration sequence number.
    If they do not match, the node MUST generate an error, either Error_Config_Too_Old or Error_Config_Too_New."
    """
    theirs = request.message.header.configuration_sequence
    is_update = request.code is MessageCode.CONFIG_UPDATE_REQ and theirs == CONFIGURATION_SEQUENCE_ANY
    if theirs == ours or is_update:
        return
    error: type[Rejection] = ConfigTooOld if is_newer(ours, theirs) else ConfigTooNew
    raise error(f"configuration {theirs}, here it is {ours}")


def why_no_member(verifier: Verifier, exchange: Exchange, now: float) -> str | None:
    """Why we are no member under the configuration that there is now; None if we are."""
    wall = exchange.transport.wall
    chain = [entry.certificate for entry in exchange.identity.certificates]
    try:
        verifier.check(chain, wall.date(now), wall.is_trusted)
    except SecurityError as error:
        sequence = exchange.configuration.sequence
        return f"this peer's certificate is not valid in configuration {sequence}: {error}"
    return None
