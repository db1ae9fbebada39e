"""Forming connections without ICE: Attach and AppAttach (RFC 6940 section 6.5.1, 6.5.2; RFC 7904 section 5).

Theory of operation. Who sends the request is the TLS server: it waits for the answer and for the connection, which
may come in either order. Who answers dials. An attempt ends when the link is up, or after its time.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from p2psip.base.address import Address
from p2psip.base.errors import Cause, RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.reload.forwarding.forwarder import response_route
from p2psip.reload.node.connecting.connections import Connections
from p2psip.reload.node.effects import AppLinkFailed
from p2psip.reload.node.exchange import Exchange, causes_of
from p2psip.reload.node.limits import (
    APP_ATTACHES_MAX,
    CONTACTS_MAX,
)
from p2psip.reload.paths.candidates import answering, dialable, offering
from p2psip.reload.paths.values import Candidate, Parameters, Purpose, Session
from p2psip.reload.topology.actions import Connect
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome, Refused
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import Destination, Entry
from p2psip.reload.wire.link_messages import (
    NO_ICE,
    AppAttachAns,
    AppAttachReq,
    AttachReqAns,
    OverlayLinkType,
)
from p2psip.reload.wire.rejections import InProgress, InvalidMessage, NotFound, RequestTimeout

LINK_WAIT_S = 15.0
"""How long after the answer the connection may take."""

LATE_S = 15.0
"""How long after an AppAttach was given up its connection may still come."""

ATTACH_TRANSMISSIONS = 3
"""A candidate that does not answer in 9 s is tried again when we are next told of it."""

APPLICATION_SIP = 5060
APPLICATION_SIPS = 5061
SIP_APPLICATIONS = frozenset({APPLICATION_SIP, APPLICATION_SIPS})

SIP_LINK_TYPES = (OverlayLinkType.TLS_TCP_FH_NO_ICE,)
"""What AppAttach offers: SIP between peers runs over TLS, whatever the links of the overlay run over."""


@dataclass(slots=True)
class _Pending:
    """An Attach or AppAttach of ours to one node; without a transaction, it is the link that we wait for.

    `has_yielded`: the other end said that its own Attach to us goes first. `hosts`: from where it may come, as it said.
    """

    transaction_id: int | None
    has_yielded: bool = False
    application: int = APPLICATION_SIP
    hosts: frozenset[str] = frozenset()
    has_stalled: bool = False


@dataclass(frozen=True, slots=True)
class AttachContext:
    """What an Attach request was for: the intent of the topology with this key; `node` is None if it was to a place."""

    key: Hashable
    node: NodeId | None


@dataclass(frozen=True, slots=True)
class AppAttachContext:
    """What an AppAttach request was for."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Answering:
    """A connection that we dial because `node` asked for it."""

    node: NodeId
    purpose: Purpose
    send_update: bool = False
    application: int = APPLICATION_SIP


class Attaching:
    """The attempts of one node to be connected with others.

    `addresses` are where our own listeners can be dialled, `contacts` where those of nodes that we know can be;
    `able_link_types` are the links that our sockets can make; `applications` are the Application-IDs (14.5) of which
    others may ask us for a connection.
    """

    def __init__(self, exchange: Exchange, connections: Connections, topology: Topology) -> None:
        self.addresses: dict[Purpose, tuple[Address, ...]] = {Purpose.RELOAD: (), Purpose.SIP: ()}
        self.able_link_types: tuple[OverlayLinkType, ...] = (OverlayLinkType.TLS_TCP_FH_NO_ICE,)
        self.contacts: dict[NodeId, Address] = {}
        self.applications = set(SIP_APPLICATIONS)
        self._exchange = exchange
        self._connections = connections
        self._topology = topology
        self._seeking: dict[Hashable, int] = {}
        """The open Attach requests to places, by the keys of their intents."""
        self._early: set[NodeId] = set()
        """Nodes that nobody has asked by name, whose link came while a place was sought: one may be who is there."""
        self._pending: dict[NodeId, _Pending] = {}
        self._app_pending: dict[NodeId, _Pending] = {}
        self._timers: Timers[tuple[Purpose, NodeId]] = exchange.queue.scope()
        self._late: dict[NodeId, int] = {}
        """For which application a connection of this node may still come that we have given up: no more of them than
        may be under way, as an attempt takes as long as we remember it."""
        self._held: dict[NodeId, tuple[tuple[Entry, ...], int]] = {}
        """What is asked of a node for another application when that is over."""
        self._late_timers: Timers[NodeId] = exchange.queue.scope()

    @property
    def link_types(self) -> tuple[OverlayLinkType, ...]:
        """The links that we make, of those that the overlay permits, in the order that it says."""
        permitted = self._exchange.configuration.link_types
        return tuple(link_type for link_type in permitted if link_type in self.able_link_types)

    # Our own

    def connect(self, intent: Connect, now: float) -> None:
        """Attach to a node or a place, source-routed through another if the topology says so (10.5, 10.6, 11.4)."""
        target, via = intent.target, intent.via
        if isinstance(target, NodeId):
            self._give_up(Purpose.RELOAD, target)
            via = via if via != target and via in self._connections else None
            destination = Destination.node(target)
        else:
            self._forget(intent.key)
            destination = Destination.resource(target)
        route = [destination] if via is None else [Destination.node(via), destination]
        asked = OverlayRequest(route, MessageCode.ATTACH_REQ, self.offer(), transmissions_max=ATTACH_TRANSMISSIONS)
        context = AttachContext(intent.key, target if isinstance(target, NodeId) else None)
        transaction_id = self._exchange.request(asked, context, now)
        if isinstance(target, NodeId):
            if transaction_id is None:
                self._topology.handle_unreachable(target, now)
            else:
                self._pending[target] = _Pending(transaction_id)
        elif transaction_id is None:
            self._topology.handle_unanswered(intent.key, "too many requests under way", now)
        else:
            self._seeking[intent.key] = transaction_id

    def _forget(self, key: Hashable) -> None:
        """Seek a place no more."""
        if (transaction_id := self._seeking.pop(key, None)) is not None:
            self._exchange.transport.cancel(transaction_id)
        if not self._seeking:
            self._early.clear()

    def came_round(self, transaction_id: int, now: float) -> None:
        """An Attach of ours has come back to us as a request: whoever is sought, it is nobody else."""
        self._exchange.transport.cancel(transaction_id)
        for key in [key for key, sought in self._seeking.items() if sought == transaction_id]:
            self._forget(key)
            self._topology.handle_unanswered(key, "the Attach came back to us", now)

    def app_attach(
        self, destination_list: Sequence[Entry], node: NodeId, now: float, application: int = APPLICATION_SIP
    ) -> None:
        """Ask `node`, the last of `destination_list`, for a connection for `application`: AppLinkUp or AppLinkFailed
        follows. One at a time to each node: nothing in a connection says for which application it is. For the same
        reason it waits while one that was given up for another application may still come.
        """
        if node in self._app_pending or node in self._held:
            return
        if self._late.get(node, application) != application:
            self._held[node] = (tuple(destination_list), application)
            return
        local = self._offering(Purpose.SIP)
        body = AppAttachReq(local.ufrag, local.password, application, local.role, local.candidates)
        transaction_id = None
        if len(self._app_pending) < APP_ATTACHES_MAX:
            asked = OverlayRequest(destination_list, MessageCode.APP_ATTACH_REQ, body)
            transaction_id = self._exchange.request(asked, AppAttachContext(node), now)
        if transaction_id is None:
            self._app_failed(node, "too many connections are being made", (), now)
        else:
            self._app_pending[node] = _Pending(transaction_id, application=application)

    def handle_outcome(self, context: AttachContext | AppAttachContext, outcome: Outcome, now: float) -> None:
        """An Attach or AppAttach of ours was answered, or not."""
        if isinstance(context, AppAttachContext):
            self._app_answered(context.node, outcome, now)
        else:
            self._answered(context, outcome, now)

    def _answered(self, context: AttachContext, outcome: Outcome, now: float) -> None:
        is_under_way = isinstance(outcome, Refused) and outcome.code is ErrorCode.IN_PROGRESS
        if isinstance(outcome, Answer) or (isinstance(outcome, Refused) and is_under_way):
            node = context.node or outcome.signer.node_id
            self._learn_offered(node, outcome.body if isinstance(outcome, Answer) else None)
            is_linked = node in self._connections
            has_come = context.node is None and is_linked and node in self._early
            if context.node is not None or (is_linked and is_under_way):
                self._await_link(Purpose.RELOAD, self._pending, node, outcome, now)
            elif not has_come:
                # It may be a peer that we are linked with: it dials all the same.
                self._pending[node] = _Pending(None, is_under_way, hosts=_hosts(outcome))
                self._timers.set((Purpose.RELOAD, node), now + LINK_WAIT_S, "connection awaited")
            self._topology.handle_answered(context.key, node, now)
            if has_come:
                # 6.5.1.14: the link came before the answer.
                self._topology.handle_linked(node, now)
        elif context.node is not None:
            self._pending.pop(context.node, None)
            self._exchange.note("attach failed", node=context.node, causes=causes_of(outcome))
            self._topology.handle_unreachable(context.node, now)
        else:
            reason = "; ".join(map(str, causes_of(outcome))) or "nobody answered the Attach"
            self._topology.handle_unanswered(context.key, reason, now)
        if context.node is None:
            self._seeking.pop(context.key, None)
            if not self._seeking:
                self._early.clear()

    def _app_answered(self, node: NodeId, outcome: Outcome, now: float) -> None:
        if isinstance(outcome, Answer):
            self._await_link(Purpose.SIP, self._app_pending, node, outcome, now)
        else:
            if not isinstance(outcome, Refused):
                self._may_come_late(node, now)
            self._app_pending.pop(node, None)
            self._app_failed(node, "AppAttach failed", causes_of(outcome), now)

    def _await_link(
        self, purpose: Purpose, pending: dict[NodeId, _Pending], node: NodeId, outcome: Answer | Refused, now: float
    ) -> None:
        if purpose is Purpose.RELOAD and node in self._connections:
            pending.pop(node, None)
        elif purpose is Purpose.RELOAD or node in pending:
            before = pending.get(node, _Pending(None))
            has_yielded = isinstance(outcome, Refused)
            pending[node] = replace(before, transaction_id=None, has_yielded=has_yielded, hosts=_hosts(outcome))
            self._timers.set((purpose, node), now + LINK_WAIT_S, "connection awaited")

    def _may_come_late(self, node: NodeId, now: float) -> None:
        if node in self._app_pending:
            self._late[node] = self._app_pending[node].application
            self._late_timers.set(node, now + LATE_S, "a connection that was given up may come")

    def handle_unawaited(self, node: NodeId, now: float) -> None:
        """A connection has come that is not taken: the one that was given up, if there was one."""
        self._late_timers.cancel(node)
        self._late_is_over(node, now)

    def _late_is_over(self, node: NodeId, now: float) -> None:
        self._late.pop(node, None)
        if (held := self._held.pop(node, None)) is not None:
            self.app_attach(held[0], node, now, held[1])

    def _app_failed(self, node: NodeId, what: str, causes: tuple[Cause, ...], now: float) -> None:
        self._exchange.emit(AppLinkFailed(node, RequestFailed(f"no connection to {node.short}: {what}", causes)))

    # Others'

    def handle_attach(self, request: Received, body: AttachReqAns, now: float) -> None:
        """6.5.1.2: what to do with an Attach request. Raises a Rejection."""
        node = request.signer.node_id
        session = self._require_session(request, Purpose.RELOAD, Parameters.of(body))
        self._break_tie(request, now)
        self._learn_offered(node, body)
        local = session.local
        self._exchange.answer(
            request, AttachReqAns(local.ufrag, local.password, local.role, local.candidates, send_update=False)
        )
        self._connections.dial(session, Answering(node, Purpose.RELOAD, body.send_update), now)

    def handle_app_attach(self, request: Received, body: AppAttachReq, now: float) -> None:
        """6.5.2.2: "If the Application ID is not supported, the peer MUST reply with an Error_Not_Found error"."""
        if body.application not in self.applications:
            raise NotFound(f"application {body.application} does not run here")
        node = request.signer.node_id
        session = self._require_session(request, Purpose.SIP, Parameters.of(body))
        local = session.local
        self._exchange.answer(
            request, AppAttachAns(local.ufrag, local.password, body.application, local.role, local.candidates)
        )
        self._connections.dial(session, Answering(node, Purpose.SIP, application=body.application), now)

    def _require_session(self, request: Received, purpose: Purpose, remote: Parameters) -> Session:
        """6.5.1.2: "If the peer is overloaded or detects some other kind of error, it MAY generate an error"."""
        if len({candidate.overlay_link in NO_ICE for candidate in remote.candidates}) > 1:
            # 6.5.1.1: "A single AttachReqAns MUST NOT include both candidates whose OverlayLinkType protocols use ICE
            # (the default) and candidates that specify "No-ICE"."
            raise InvalidMessage("candidates with ICE and without it")
        found = dialable(remote.candidates, self._link_types_for(purpose))
        if not found:
            raise InvalidMessage("no candidate that can be dialled from here")
        session = Session(purpose, found, self._answering(purpose), remote, request.signer.user)
        if not self._connections.can_dial(session):
            raise RequestTimeout("too many connections are being made")
        return session

    def _break_tie(self, request: Received, now: float) -> None:
        node = request.signer.node_id
        pending = self._pending.get(node)
        if pending is None or pending.has_yielded:
            return
        if pending.transaction_id is None:
            # "an ICE check and TLS connection are in progress, then it SHOULD generate an Error_In_Progress error".
            raise InProgress("a connection is being made already")
        if self._exchange.identity.node_id > node:
            # "If the peer's own Node-ID is larger [...], it MUST generate an Error_In_Progress error". Where our own
            # Attach was lost, the way that theirs came is one that works.
            self._send_back(pending.transaction_id, request, now)
            raise InProgress("our own Attach goes first")
        # "If the peer's own Node-ID is smaller [...], it MUST cancel retransmission of its own incomplete Attach".
        self._exchange.transport.cancel(pending.transaction_id)
        del self._pending[node]

    def _send_back(self, transaction_id: int, request: Received, now: float) -> None:
        route = response_route(request.message.header, request.previous_hop)
        if route[-1] == Destination.node(request.signer.node_id):
            self._exchange.transport.reroute(transaction_id, route, now)

    # Links

    def is_awaited(self, purpose: Purpose, node: NodeId) -> bool:
        """True if we asked `node` for a connection of this purpose."""
        return node in (self._pending if purpose is Purpose.RELOAD else self._app_pending)

    def purpose_of(self, nodes: Sequence[NodeId], local: Address) -> Purpose:
        """What a connection that was accepted is for: its other end answers an Attach of ours, or an AppAttach, where
        we said in it that we can be dialled. Whom we did not ask wants to be linked, except where no links are made.
        """
        for purpose, asked in ((Purpose.RELOAD, (self._pending,)), (Purpose.SIP, (self._app_pending, self._late))):
            if self._is_offered(purpose, local) and any(node in each for node in nodes for each in asked):
                return purpose
        is_for_sip_alone = self._is_offered(Purpose.SIP, local) and not self._is_offered(Purpose.RELOAD, local)
        return Purpose.SIP if is_for_sip_alone else Purpose.RELOAD

    def _is_offered(self, purpose: Purpose, local: Address) -> bool:
        # By the port: an address may be known to others by another name, and come and go.
        return local.port in {address.port for address in self.addresses[purpose]}

    def may_be_sought(self, node: NodeId) -> bool:
        """True for a link to a node that we know already, while a place is sought, where that one may be.

        A link to another node at that time is a stranger's until the answer says that it is not.
        """
        if not self._seeking:
            return False
        if node not in self._connections:
            self._early.add(node)
        return node in self._connections

    def is_expected_from(self, host: str) -> bool:
        """True if a node that we asked for a connection may come from there."""
        return any(host in each.hosts for pending in (self._pending, self._app_pending) for each in pending.values())

    def handle_stalled(self, host: str, now: float) -> None:
        """A connection came from there, and its handshake stood still.

        Who dialled may have got through it and not know: of a link it finds out by itself. For a connection of an
        application, which need not say anything, it is asked once more.
        """
        for node, pending in list(self._app_pending.items()):
            if host in pending.hosts and not pending.has_stalled:
                self._give_up(Purpose.SIP, node)
                self.app_attach([Destination.node(node)], node, now, pending.application)
                if node in self._app_pending:
                    self._app_pending[node].has_stalled = True

    def awaited_application(self, node: NodeId) -> int:
        """For which application we asked `node` for a connection."""
        return self._app_pending[node].application

    def handle_link_up(self, purpose: Purpose, node: NodeId) -> None:
        """A connection to `node` is up: what we wanted with it is done, even if the answer is still on its way."""
        self._give_up(purpose, node)

    def handle_link_lost(self, node: NodeId) -> None:
        """The link is gone beside which another was announced, by an answer for a place: whoever comes back asks anew,
        and is not to wait for that one.
        """
        if (pending := self._pending.get(node)) is not None and pending.transaction_id is None:
            self._give_up(Purpose.RELOAD, node)

    def _give_up(self, purpose: Purpose, node: NodeId) -> None:
        self._timers.cancel((purpose, node))
        pending = (self._pending if purpose is Purpose.RELOAD else self._app_pending).pop(node, None)
        if pending is not None and pending.transaction_id is not None:
            self._exchange.transport.cancel(pending.transaction_id)

    def handle_dial_failed(self, answering: Answering, reason: str, now: float) -> None:
        """We could not dial a node that asked us to."""
        self._exchange.note("dialling failed", node=answering.node, purpose=answering.purpose.value, reason=reason)
        if answering.purpose is Purpose.RELOAD and answering.node not in self._connections:
            self._topology.handle_unreachable(answering.node, now)

    def dial_again(self, node: NodeId, dialled: Address | None, now: float) -> None:
        """A link fell silent: try once more, in the way that is best by what was seen."""
        if (address := dialled or self.contacts.get(node)) is None:
            return
        candidates = tuple(Candidate(address, link_type) for link_type in self.link_types)
        self._connections.dial(Session(Purpose.RELOAD, candidates), Answering(node, Purpose.RELOAD), now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._timers.next_deadline(), self._late_timers.next_deadline()))

    def handle_timeout(self, now: float) -> None:
        """Give up on connections that did not come."""
        for node in list(self._late_timers.pop_due(now)):
            self._late_is_over(node, now)
        for purpose, node in self._timers.pop_due(now):
            if purpose is Purpose.RELOAD and node in self._connections:
                # It answered for a place, and we were linked already: that link is enough.
                self._pending.pop(node, None)
            elif purpose is Purpose.RELOAD:
                self._pending.pop(node, None)
                self._exchange.note("attach failed", node=node, reason="the connection did not come")
                self._topology.handle_unreachable(node, now)
            else:
                self._may_come_late(node, now)
                self._app_pending.pop(node, None)
                self._app_failed(node, "it answered, but its connection did not come", (), now)

    def learn_contact(self, node: NodeId, address: Address) -> None:
        """A node can be dialled there."""
        while len(self.contacts) >= CONTACTS_MAX:
            del self.contacts[next(iter(self.contacts))]
        self.contacts[node] = address

    def _learn_offered(self, node: NodeId, body: object) -> None:
        if isinstance(body, AttachReqAns) and (found := dialable(body.candidates, self.link_types)):
            self.learn_contact(node, found[0].address)

    def offer(self) -> AttachReqAns:
        """The body of an Attach of ours."""
        local = self._offering(Purpose.RELOAD)
        return AttachReqAns(local.ufrag, local.password, local.role, local.candidates, send_update=True)

    def _offering(self, purpose: Purpose) -> Parameters:
        return offering(self.addresses[purpose], self._link_types_for(purpose))

    def _answering(self, purpose: Purpose) -> Parameters:
        return answering(self.addresses[purpose], self._link_types_for(purpose))

    def _link_types_for(self, purpose: Purpose) -> tuple[OverlayLinkType, ...]:
        return self.link_types if purpose is Purpose.RELOAD else SIP_LINK_TYPES


def _hosts(outcome: Answer | Refused) -> frozenset[str]:
    """Where a node is that answered an Attach or AppAttach."""
    body = outcome.body if isinstance(outcome, Answer) else None
    candidates = body.candidates if isinstance(body, AttachReqAns | AppAttachAns) else ()
    found = (candidate.addr_port.host_port for candidate in candidates)
    return frozenset(host_port[0] for host_port in found if host_port is not None)
