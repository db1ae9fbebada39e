"""Links that come up, go down and fall silent: who may enter, what becomes of the rest (RFC 6940 section 6.5.1).

The driver has the connections, `ConnectionTable` their health, `LinkedMembers` their certificates; here it is decided
what each link is: one that we dialled for an Attach, one that a node we asked has dialled, a gateway, or a stranger's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from p2psip.base.ids import NodeId
from p2psip.base.timers import is_due
from p2psip.reload.link.link import LinkLost
from p2psip.reload.node.connecting.attach import APPLICATION_SIP, SIP_APPLICATIONS, Answering, Offered
from p2psip.reload.node.connecting.attempts import FailedAttempt, in_words
from p2psip.reload.node.connecting.bootstrap import Bootstrapping
from p2psip.reload.node.connecting.coming_in.roles_played import RolesPlayed
from p2psip.reload.node.connecting.connection_table import (
    Connection,
    LinkBack,
    LinkEvent,
    LinkIdle,
    LinkSilent,
    NotTaken,
    NotTakenYet,
)
from p2psip.reload.node.connecting.response_routes import ResponseLink
from p2psip.reload.node.effects import AppLinkDoubted, AppLinkDown, AppLinkUp, LinkUp, PeerLost
from p2psip.reload.node.limits import APP_LINKS_MAX, APP_LINKS_PER_NODE_MAX, NAMES_MAX, STRANGERS_MAX
from p2psip.reload.node.message_passing import Messages
from p2psip.reload.node.parts import ConnectingRoom, DataRoom, Ground
from p2psip.reload.node.serving import Serving
from p2psip.reload.paths.ice.values import PairReport
from p2psip.reload.paths.values import (
    CALL_RECORDS,
    ROUTER_SPARE,
    STREAM_RECORD_BYTES,
    Candidate,
    Ended,
    FoundByMdns,
    FoundByName,
    LanArrived,
    Lapsed,
    LinkDoubted,
    LinkHolds,
    LinkMoved,
    LinkNews,
    LinkOver,
    PathEvent,
    Purpose,
    Refusal,
    Returned,
    RouterFound,
    SpareArrived,
    SpareOpened,
    Stalled,
    StreamAnswered,
    StunArrived,
)
from p2psip.reload.security.errors import SecurityError
from p2psip.reload.security.roles import Member


class _Concerned(Protocol):
    """A part of the node that has to do with whom it is linked with."""

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """No link to a node works any more."""


class LinkChanges:
    """The links of one node, as the rest of it sees them come and go."""

    def __init__(
        self,
        ground: Ground,
        connecting: ConnectingRoom,
        room: DataRoom,
        messages: Messages,
        serving: Serving,
        roles: RolesPlayed,
    ) -> None:
        self._exchange, self._upkeep, self._topology = ground.exchange, ground.upkeep, ground.topology
        self._made, self._connections, self._admission = ground.paths, ground.connections, ground.admission
        self._offers = ground.paths.offers
        self._attaching, self._intents, self._applications = (
            connecting.attaching,
            connecting.intents,
            connecting.applications,
        )
        self._bootstrap, self._twins, self._routes = connecting.bootstrap, connecting.twins, connecting.routes
        self._doubted_links, self._datagrams = connecting.doubted_links, connecting.datagrams
        self._attempts = connecting.attempts
        self._surveying, self._port_mapping = connecting.surveying, connecting.port_mapping
        self._messages = messages
        self._serving = serving
        self._roles = roles
        self._node_id = self._exchange.identity.node_id
        self._concerned: tuple[_Concerned, ...] = (
            # Before the topology forgets whether it was a neighbour.
            self._bootstrap,
            self._intents,
            ground.forwarder.paths,
            messages,
            self._routes,
            room.moving,
            room.borrowing,
            self._topology,
            # Last, as what goes out again goes another way.
            self._exchange.transport,
        )
        self._names: dict[NodeId, str] = {self._node_id: self._exchange.identity.user}

    def look_after_links(self, now: float) -> None:
        """Do what is due about links that are made, are up, or may not be any more."""
        if is_due(self._made, now):
            for ended in self._made.handle_timeout(now):
                self.ended(ended, now)
        if is_due(self._connections, now):
            self.events(self._connections.handle_timeout(now), now)
        if not is_due(self._exchange.queue, now):
            return
        if is_due(self._admission, now):
            self.expel(self._admission.handle_timeout(now), now)
        if is_due(self._doubted_links, now):
            self._doubted_links.handle_timeout(now)
        if is_due(self._datagrams, now):
            self._datagrams.handle_timeout(now)
        if is_due(self._routes, now):
            self.events(self._routes.handle_timeout(now), now)

    def refresh_routes(self) -> None:
        """The configuration, or where we can be dialled, is another."""
        self._routes.refresh()

    def name_of(self, node: NodeId) -> str:
        """The user name in the certificate of a node that we have been linked with; empty for others."""
        return self._names.get(node, "")

    def up(self, link: LinkUp, now: float) -> None:
        """A connection is up, dialled or accepted."""
        refusals, context = self._made.refusals(link.number), self._made.up(link.number)
        if isinstance(context, Bootstrapping):
            context = replace(context, refusals=refusals)
        if link.datagram_bytes is not None:
            self._made.claim(link.number, link.local, link.remote, now)
        try:
            member = self._admission.check(link.certificates, now)
        except SecurityError as error:
            self._refuse(link, context, str(error), now)
            return
        purpose = self._purpose_of(context, member, link)
        if purpose is not Purpose.SIP and link.datagram_bytes is None:
            sought = self._made.end_search(purpose, member.node_ids, link.number)
            context = sought if context is None else context
        awaited = (node for node in member.node_ids if self._offers.is_awaited(purpose, node))
        known = (node for node in member.node_ids if node in self._connections)
        node = next(awaited, next(known, member.node_ids[0]))
        if isinstance(context, Answering):
            if context.node not in member.node_ids:
                # 6.5.1.11: "The certificate exchanged during the TLS or DTLS handshake MUST match the node which sent
                # the AttachReqAns, and if it does not, the connection MUST be closed."
                self._refuse(link, context, f"{link.remote} is {member.user}, not {context.node.short}", now)
                return
            node = context.node
        elif isinstance(context, Offered) and context.wanted.node is not None:
            node = context.wanted.node
            if node not in member.node_ids:
                self._refuse(link, context, f"{link.remote} is {member.user}, not {node.short}", now)
                return
        self._learn_name(node, member.user)
        self._enter(link, purpose, node, member, context, now)

    def _purpose_of(self, context: object, member: Member, link: LinkUp) -> Purpose:
        if link.protocol == CALL_RECORDS:
            return Purpose.CALLS
        if context is None:
            is_stream = link.datagram_bytes is None
            return self._offers.purpose_of(member.node_ids, link.local, is_stream=is_stream)
        return context.purpose if isinstance(context, Answering) else Purpose.RELOAD

    def down(self, number: int, reason: str, now: float) -> None:
        """A connection is down, or never came up."""
        self.ended(self._made.down(number, reason, now), now)
        connection = self._connections.by_number(number)
        # Who has dialled us may close it as well because it has a better one; and who has another link is not shut out.
        is_only_one = number % 2 == 0 and len(self._connections) == 1
        if connection is not None and is_only_one and not connection.has_spoken:
            self._bootstrap.shut_out(connection, reason)
        # Whose newer link with that node is up knows which one took the place of this.
        lost = (
            connection.node
            if connection is not None
            and connection.node in self._topology.routes
            and self._connections.to(connection.node) == [connection]
            else None
        )
        if lost is not None:
            self._twins.look(lost, now)
        self.events(self._connections.remove(number, reason), now)
        if lost is not None and self._topology.next_hop(lost) is None:
            # This link was the only way there, and the question has gone with it.
            self._twins.look(lost, now)

    def handle_path(self, event: PathEvent, now: float) -> None:
        """Something has happened to a connection, beside that it is up or down."""
        if isinstance(event, StunArrived):
            self._datagrams.handle_stun(event, now)
        if isinstance(event, Stalled):
            self._stalled(event, now)
        elif isinstance(event, LanArrived):
            self._bootstrap.handle_lan(event, now)
        elif isinstance(event, FoundByMdns):
            self._bootstrap.handle_mdns(event, now)
        elif isinstance(event, FoundByName):
            self._bootstrap.handle_named(event, now)
        elif isinstance(event, RouterFound):
            self._port_mapping.use_router(event.router, now)
        elif isinstance(event, StreamAnswered):
            self._port_mapping.handle_stream(event, now)
        elif isinstance(event, SpareOpened | SpareArrived) and event.spare == ROUTER_SPARE:
            self._port_mapping.handle_spare(event, now)
        elif isinstance(event, SpareOpened | SpareArrived):
            self._surveying.handle_spare(event, now)
        elif isinstance(event, StunArrived) and self._surveying.handle_stun(event, now):
            return
        elif isinstance(event, Returned):
            self._connections.handle_returned(event.path, event.message, now)
        else:
            self._handle_made(event, now)

    def _handle_made(self, event: PathEvent, now: float) -> None:
        for news in self._made.handle(event, now):
            self.ended(news, now)

    def ended(self, ended: Ended | Lapsed | LinkNews | None, now: float) -> None:
        """We are not connected, or a link is not what it was, for this reason; nothing if None."""
        if isinstance(ended, LinkDoubted):
            self._datagrams.doubted(now)
        if isinstance(ended, LinkOver) and self._connections.by_number(ended.link) is None:
            self._close_app(ended.link, ended.reason)
        elif isinstance(ended, LinkOver):
            self.events(self._connections.close(ended.link, ended.reason), now)
        elif isinstance(ended, LinkMoved):
            self._connections.moved(ended.link, ended.remote, now)
        elif isinstance(ended, LinkHolds):
            self._connections.holds(ended.link, now)
        elif isinstance(ended, LinkDoubted) and self._connections.by_number(ended.link) is None:
            self._exchange.emit(AppLinkDoubted(ended.link))
        elif isinstance(ended, LinkDoubted):
            if (node := self._doubted_links.doubted(ended, now)) is not None:
                # The link is to notice as well, be it idle: it fails soon after this if it does not answer either.
                self._upkeep.probe(node, now)
        elif isinstance(ended, Lapsed):
            self._applications.handle_lapsed(ended, now)
        elif ended is not None and isinstance(ended.context, Offered):
            wanted = ended.context.wanted
            self._remember(ended.session.peer, ended, now)
            if wanted.purpose is Purpose.RELOAD:
                self._intents.handle_ended(ended, now)
            else:
                self._applications.handle_ended(ended, wanted, now)
        elif ended is not None:
            self._remember(ended.session.peer, ended, now)
            context = ended.context
            if isinstance(context, Bootstrapping):
                context = replace(context, refusals=ended.refusals)
            self._not_linked(context, ended.reason, now, ended.tried)

    def _remember(self, node: NodeId | None, ended: Ended, now: float) -> None:
        """Why there is no connection, for whoever asks; a link that there is says that it does not matter."""
        purpose = ended.session.purpose
        if node is not None and not (purpose is Purpose.RELOAD and node in self._connections):
            self._attempts.failed(FailedAttempt(node, purpose, now, ended.reason, ended.tried))

    def _not_linked(self, context: object, reason: str, now: float, tried: tuple[PairReport, ...] = ()) -> None:
        if isinstance(context, Answering):
            facts = {"node": context.node, "purpose": context.purpose.value, "reason": reason}
            self._exchange.note("dialling failed", **facts, **in_words(tried))
            if context.purpose is Purpose.RELOAD:
                self._intents.handle_dial_failed(context, now)
            else:
                self._applications.handle_dial_failed(context, reason)
        elif isinstance(context, Bootstrapping):
            self._bootstrap.dial_failed(context, reason, now)
        elif isinstance(context, ResponseLink):
            self._routes.dial_failed(context, now)

    def _stalled(self, stalled: Stalled, now: float) -> None:
        """A connection stood still in its handshake, which we dialled or accepted, or one of an application later."""
        host = stalled.remote.host
        self._exchange.note("connection stalled", remote=str(stalled.remote))
        if self._admission.member(stalled.path) is not None:
            self._made.stream_silent(host, now)
        elif stalled.path % 2 == 0:
            self._handle_made(stalled, now)
        elif self._offers.expected_from(host):
            # Nothing is remembered of anybody else who connects and says no more.
            self._made.large_vanish(host, stalled.link_type, now)
            self._applications.handle_stalled(host, now)

    def heard(self, connection: Connection) -> None:
        """Its other end has said something, so it has let us in."""
        if not connection.has_spoken:
            connection.has_spoken = True
            self._bootstrap.admitted()

    def recognise(self, number: int, message: bytes, now: float) -> None:
        """The other end of a link may be one of several Node-IDs; what it signs itself says which."""
        node = self._admission.recognise(number, message)
        if node is not None:
            self.events(self._connections.rename(number, node), now)
            # Numbers that are ours are even: those we dialled, without an Attach, to find the overlay.
            is_gateway = number % 2 == 0
            self._topology.handle_linked(node, now, is_stranger=not is_gateway, is_gateway=is_gateway)

    def _learn_name(self, node: NodeId, user: str) -> None:
        while len(self._names) >= NAMES_MAX:
            del self._names[next(name for name in self._names if name != self._node_id)]
        self._names[node] = user

    def _enter(self, link: LinkUp, purpose: Purpose, node: NodeId, member: Member, context: object, now: float) -> None:
        if node == self._node_id:
            if context is None:
                self._twins.handle_dialled(link.remote, now)
            elif isinstance(context, Bootstrapping):
                self._twins.handle_reached(now)
            self._refuse(link, context, "that is ourselves", now)
        elif purpose is not Purpose.RELOAD:
            self._enter_app(link, purpose, node, member, context, now)
        elif not self._connections.has_room_for(node) or (
            context is None and not self._make_room_for_stranger(node, member, now)
        ):
            self._refuse(link, context, "too many links", now)
        else:
            is_unasked = context is None and not self._offers.is_awaited(Purpose.RELOAD, node)
            is_for_responses = isinstance(context, ResponseLink)
            is_stranger = (is_unasked or is_for_responses) and not self._intents.may_be_sought(node)
            is_gateway = isinstance(context, Bootstrapping)
            self._admission.enter(link.number, node, member, now, has_attached=not (is_stranger or is_gateway))
            is_new = self._connections.add(
                link.number, node, link.remote, now, datagram_bytes=link.datagram_bytes, is_direct=link.is_direct
            )
            self._attaching.give_up(Purpose.RELOAD, node)
            self._attempts.succeeded(node, Purpose.RELOAD)
            if is_new:
                self._exchange.note("link up", node=node, remote=str(link.remote))
            if is_new and is_unasked and is_stranger and not is_for_responses:
                self._roles.led_in(node, member.user, str(link.remote), now)
            send_update = isinstance(context, Answering) and context.send_update
            self._topology.handle_linked(
                node, now, wants_full=send_update, is_stranger=is_stranger, is_gateway=is_gateway
            )
            if isinstance(context, Bootstrapping):
                self._bootstrap.linked(context, node, now)
            elif isinstance(context, ResponseLink):
                self._routes.linked(context, node, link.number, now)
            self._routes.refresh()
            self._bootstrap.remember_contacts()
            self._surveying.links_changed(now)
            if link.datagram_bytes is None and link.number % 2 == 0:
                self._datagrams.stream_up(now)

    def _enter_app(
        self, link: LinkUp, purpose: Purpose, node: NodeId, member: Member, context: object, now: float
    ) -> None:
        if isinstance(context, Answering) and self._are_app_links_many(node):
            self._refuse(link, context, "too many connections of applications", now)
            return
        is_on_stream = link.protocol == CALL_RECORDS
        if isinstance(context, Answering):
            application = context.application
        elif isinstance(context, Offered):
            application = context.wanted.application
        elif (awaited := self._applications.awaited(purpose, node)) is not None:
            application = awaited
        elif is_on_stream and self._made.has_stream_of_calls(node):
            # Theirs, where ours was faster here, and may have been slower there.
            application = APPLICATION_SIP
        else:
            self._refuse(link, context, "no AppAttach goes before it", now)
            if purpose is Purpose.SIP:
                self._applications.handle_unawaited(node, now)
            return
        if context is None or application in SIP_APPLICATIONS:
            # Between two peers one connection of a kind is enough, whoever asked for it.
            self._attaching.give_up(purpose, node)
        self._attempts.succeeded(node, purpose)
        self._admission.enter(link.number, node, member, now)
        is_relayed, record_bytes = self._made.is_relayed(link.number), link.datagram_bytes
        if is_on_stream:
            self._made.carries_calls(link.number, node)
            record_bytes = STREAM_RECORD_BYTES
        elif purpose is Purpose.CALLS:
            self._made.dials_no_streams(purpose, node)
        ends = link.remote, link.local
        self._exchange.emit(
            AppLinkUp(link.number, node, *ends, application, record_bytes, is_relayed, is_on_stream=is_on_stream)
        )

    def _refuse(self, link: LinkUp, context: object, reason: str, now: float) -> None:
        self._exchange.warn("link refused", remote=str(link.remote), reason=reason)
        if isinstance(context, Bootstrapping):
            refused = Refusal(Candidate(link.remote, link.kind), reason)
            context = replace(context, refusals=(*context.refusals, refused))
        is_beside_ice = self._made.refuse(link.number, reason, now)
        self._connections.hang_up(link.number, reason)
        if not is_beside_ice:
            self._not_linked(context, reason, now)

    def expel(self, links: Sequence[tuple[int, str]], now: float) -> None:
        """11.1: "the certificate with this Node-ID MUST NOT be considered valid"; nor is one that has run out."""
        if not links:
            return
        ends = dict(self._admission.ends())
        for number, reason in links:
            self._exchange.warn("link closed", node=ends[number], reason=reason)
            if self._connections.by_number(number) is not None:
                self.events(self._connections.close(number, reason), now)
            else:
                self._close_app(number, reason)

    def _close_app(self, number: int, reason: str) -> None:
        self._admission.forget(number)
        self._made.forget(number)
        self._connections.hang_up(number, reason)
        self._exchange.emit(AppLinkDown(number, reason))

    def _make_room_for_stranger(self, node: NodeId, member: Member, now: float) -> bool:
        """True if there is room, or now is: a user who has many of the links has one less, for who has none."""
        strangers = [
            (number, known.user)
            for number, end in self._admission.ends()
            if end not in self._topology.routes
            and self._connections.by_number(number) is not None
            and (known := self._admission.member(number)) is not None
        ]
        if node in self._connections or len(strangers) < STRANGERS_MAX:
            return True
        crowd = Counter(user for _, user in strangers)
        ((most, count),) = crowd.most_common(1)
        if count <= crowd[member.user] + 1:
            return False
        oldest = next(number for number, user in strangers if user == most)
        self.expel([(oldest, "others want to be linked as well")], now)
        return True

    def _are_app_links_many(self, node: NodeId) -> bool:
        ends = [end for number, end in self._admission.ends() if self._connections.by_number(number) is None]
        return len(ends) >= APP_LINKS_MAX or ends.count(node) >= APP_LINKS_PER_NODE_MAX

    def events(self, events: Sequence[LinkEvent], now: float) -> None:
        """Act upon what the links have shown of themselves."""
        for event in events:
            match event:
                case LinkLost(node, reason):
                    self._exchange.warn("link lost", node=node, reason=reason)
                    for part in self._concerned:
                        part.handle_link_lost(event, now)
                    self._exchange.emit(PeerLost(node))
                case NotTaken(node, messages):
                    for message in messages:
                        request = self._messages.send_again(node, message, now)
                        if request is not None:
                            self._serving.serve(request, now)
                case NotTakenYet(node, late):
                    for each in late:
                        self._messages.send_round(node, each, now)
                case LinkBack(node):
                    self._exchange.note("link answers again", node=node)
                    self._topology.handle_linked(node, now)
                case LinkIdle(node):
                    self._upkeep.probe(node, now)
                case LinkSilent(node, dialled):
                    self._intents.dial_again(node, dialled, now)
                    self._datagrams.doubted(now)
