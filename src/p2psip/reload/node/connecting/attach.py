"""Forming connections: Attach and AppAttach (RFC 6940 section 6.5.1, 6.5.2; RFC 7904 section 5).

Theory of operation. Both are one exchange of what two ends say of themselves, with two purposes: an Attach is for a
link that the topology wants (`intents`), an AppAttach for a connection that an application wants (`applications`). Both
ask here, and answer here who asks them. Who asks makes an offer, which waits in `paths` until its connection is up;
who answers has `paths` dial.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from p2psip.base.ids import NodeId
from p2psip.reload.forwarding.forwarder import response_route
from p2psip.reload.node.connecting.connection_table import ConnectionTable
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import NOTHING_SAID, Parameters, Purpose, Session
from p2psip.reload.transport.outcome import Answer, Refused
from p2psip.reload.transport.request import TRANSMISSIONS_MAX, OverlayRequest
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination, Entry
from p2psip.reload.wire.link_messages import NO_ICE, AppAttachAns, AppAttachReq, AttachReqAns
from p2psip.reload.wire.rejections import InProgress, InvalidMessage, RequestTimeout

ATTACH_TRANSMISSIONS = 3
"""A candidate that does not answer in 9 s is tried again when we are next told of it."""

APPLICATION_SIP = 5060
APPLICATION_SIPS = 5061
SIP_APPLICATIONS = frozenset({APPLICATION_SIP, APPLICATION_SIPS})


@dataclass(frozen=True, slots=True)
class AttachContext:
    """What an Attach or AppAttach of ours is for.

    `key` is that of the topology's intent; an AppAttach is for an `application`, and a second attempt if the connection
    of the first stood still. It is anew where one of the other end was answered already, of which nothing will come.
    """

    session: Session
    key: Hashable = None
    application: int = APPLICATION_SIP
    is_second: bool = False
    is_anew: bool = False

    @property
    def purpose(self) -> Purpose:
        """Which of the two it is."""
        return self.session.purpose

    @property
    def node(self) -> NodeId | None:
        """Whom it goes to; None if it is to a place."""
        return self.session.peer


@dataclass(frozen=True, slots=True)
class Offered:
    """What is kept with an offer of ours; without a transaction, it was answered, and it is the connection that we wait
    for. `has_yielded`: the other end said that its own Attach to us goes first.
    """

    wanted: AttachContext
    transaction_id: int | None = None
    has_yielded: bool = False


@dataclass(frozen=True, slots=True)
class Answering:
    """A connection that we dial because `node` asked for it."""

    node: NodeId
    purpose: Purpose
    send_update: bool = False
    application: int = APPLICATION_SIP


class Attaching:
    """Asks other nodes to be connected with us, and answers those that ask."""

    def __init__(self, exchange: Exchange, connections: ConnectionTable, paths: Paths) -> None:
        self._exchange = exchange
        self._connections = connections
        self._whereabouts, self._offers, self._punching = paths.whereabouts, paths.offers, paths.punching

    # Our own

    def ask(self, wanted: AttachContext, route: Sequence[Entry], now: float) -> int | None:
        """Send an offer to the last of `route`: the transaction; None if too many requests are under way."""
        local = wanted.session.local
        if wanted.purpose is Purpose.RELOAD:
            body = attach_body(local, send_update=True)
            asked = OverlayRequest(route, MessageCode.ATTACH_REQ, body, transmissions_max=ATTACH_TRANSMISSIONS)
        else:
            if len(route) == 1 and wanted.node is not None and self._connections.is_doubted(wanted.node):
                # What the link there has to bring over may wait until that is made anew.
                route = [*map(Destination.node, self._connections.ways_round(wanted.node)[:1]), *route]
            app_body = AppAttachReq(local.ufrag, local.password, wanted.application, local.role, local.candidates)
            asked = OverlayRequest(route, MessageCode.APP_ATTACH_REQ, app_body, transmissions_max=TRANSMISSIONS_MAX)
        transaction_id = self._exchange.request(asked, wanted, now)
        if transaction_id is not None and wanted.node is not None:
            self._offers.make(wanted.session, Offered(wanted, transaction_id))
        return transaction_id

    def offered(self, purpose: Purpose, node: NodeId) -> Offered | None:
        """The offer to `node` that is under way."""
        return _offered(self._offers.get(purpose, node))

    def answered(self, wanted: AttachContext, node: NodeId, outcome: Answer | Refused, now: float) -> None:
        """`node` will connect: it says so, or refused because it wants that itself."""
        body = outcome.body if isinstance(outcome, Answer) else None
        remote = Parameters.of(body) if isinstance(body, AttachReqAns | AppAttachAns) else NOTHING_SAID
        # Whose connection it is to be its certificate has to say, also where it was sought at a place.
        session = replace(wanted.session, peer=node, took_s=self._took_s(outcome))
        offered = Offered(replace(wanted, session=session), has_yielded=isinstance(outcome, Refused))
        self._offers.answered(session, node, remote, offered, now)

    def _took_s(self, outcome: Answer | Refused) -> float:
        """How long it was until an Attach was answered; 0 where nobody knows which of its repetitions was."""
        took_s = outcome.rtt_s if isinstance(outcome, Answer) else 0.0
        return took_s if took_s * 1000 < self._exchange.configuration.overlay_reliability_timer_ms else 0.0

    def give_up(self, purpose: Purpose, node: NodeId) -> None:
        """A connection to `node` is up, or not wanted any more: what is under way is done, answered or not."""
        offered = _offered(self._offers.withdraw(purpose, node))
        if offered is not None and offered.transaction_id is not None:
            self._exchange.transport.cancel(offered.transaction_id)

    def give_all_up(self, purpose: Purpose) -> tuple[list[AttachContext], list[Answering]]:
        """Everything that is under way for a purpose is done: what we had asked for, and what we had answered."""
        asked: list[AttachContext] = []
        for offered in map(_offered, self._offers.under_way(purpose)):
            assert offered is not None, "it is under way"
            assert offered.wanted.node is not None, "what is under way is with a node"
            asked.append(offered.wanted)
            self.give_up(purpose, offered.wanted.node)
            self._punching.close(offered.wanted.session)
        peers = dict.fromkeys(each.peer for each in self._punching if each.purpose is purpose)
        contexts = [self._punching.end_search(purpose, (peer,)) for peer in peers]
        return asked, [each for each in contexts if isinstance(each, Answering)]

    # Others'

    def require_session(self, request: Received, purpose: Purpose, body: AttachReqAns | AppAttachReq) -> Session:
        """What is to be done about an offer of another. Raises a Rejection if that is nothing.

        6.5.1.2: "If the peer is overloaded or detects some other kind of error, it MAY generate an error".
        """
        remote = Parameters.of(body)
        if len({candidate.overlay_link in NO_ICE for candidate in remote.candidates}) > 1:
            # 6.5.1.1: "A single AttachReqAns MUST NOT include both candidates whose OverlayLinkType protocols use ICE
            # (the default) and candidates that specify "No-ICE"."
            raise InvalidMessage("candidates with ICE and without it")
        found = self._whereabouts.dialable(purpose, remote)
        if not found:
            raise InvalidMessage("no candidate that can be dialled from here")
        signer, local = request.signer, self._whereabouts.answering(purpose, remote)
        session = Session(purpose, found, local, remote, signer.user, signer.node_id)
        if not self._connections.can_dial(session):
            raise RequestTimeout("too many connections are being made")
        return session

    def break_tie(self, purpose: Purpose, request: Received, remote: Parameters, now: float) -> None:
        """6.5.1.2: an offer of another crosses ours, and says this. Raises InProgress if ours goes first; ours is given
        up if not.
        """
        node = request.signer.node_id
        offered = self.offered(purpose, node)
        if offered is None or offered.has_yielded:
            return
        if offered.transaction_id is None:
            if not remote.takes_back(self._offers.remote(purpose, node)):
                # "an ICE check and TLS connection are in progress, then it SHOULD generate an Error_In_Progress error".
                raise InProgress("a connection is being made already")
        elif self._exchange.identity.node_id > node:
            # "If the peer's own Node-ID is larger [...], it MUST generate an Error_In_Progress error". Where our own
            # Attach was lost, the way that theirs came is one that works.
            self._send_back(offered.transaction_id, request, now)
            raise InProgress("our own Attach goes first")
        # "If the peer's own Node-ID is smaller [...], it MUST cancel retransmission of its own incomplete Attach". One
        # that was answered goes as well where the other end is no more where it has said, and begins anew.
        self._punching.close(offered.wanted.session)
        self.give_up(purpose, node)

    def _send_back(self, transaction_id: int, request: Received, now: float) -> None:
        route = response_route(request.message.header, request.previous_hop)
        if route[-1] == Destination.node(request.signer.node_id):
            self._exchange.transport.reroute(transaction_id, route, now)

    def answer(self, request: Received, session: Session, answering: Answering, now: float) -> None:
        """Say what we are, and dial who has asked."""
        local = session.local
        if session.purpose is Purpose.RELOAD:
            self._exchange.answer(request, attach_body(local, send_update=False))
        else:
            application = answering.application
            body = AppAttachAns(local.ufrag, local.password, application, local.role, local.candidates)
            self._exchange.answer(request, body)
        self._connections.dial(session, answering, now)


def attach_body(local: Parameters, *, send_update: bool) -> AttachReqAns:
    """What we say of ourselves in an Attach, or in the answer to one."""
    return AttachReqAns(local.ufrag, local.password, local.role, local.candidates, send_update=send_update)


def _offered(context: object | None) -> Offered | None:
    assert context is None or isinstance(context, Offered), "offers are made here"
    return context
