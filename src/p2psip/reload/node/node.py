"""A node: links, forwarding, transport, topology and storage as one core (RFC 6940 section 1.2).

Its topology is one of its overlay's `plugin`: that of a peer, which takes on the duties of one, or that of a client
(section 4.2), which knows the peers that it is linked with. All else is the same.

Theory of operation. Calls go down, values come up: after each input `_settle` passes the values around until none is
left: what the transport wants sent goes through forwarding to a link or back to ourselves; what the topology
wants done is done; what is over goes to the part that began it. What remains are effects for the driver.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, is_due
from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.document import Document
from p2psip.reload.config.kind_blocks import kind_block
from p2psip.reload.link.framing import FramingError, MessageTooLarge
from p2psip.reload.node.connecting.attach import APPLICATION_SIP
from p2psip.reload.node.connecting.attempts import FailedAttempt
from p2psip.reload.node.connecting.coming_in.roles_played import RolePlayed, RolesPlayed
from p2psip.reload.node.connecting.coming_in.ways_in import WayTried
from p2psip.reload.node.connecting.connection_table import LinkGone
from p2psip.reload.node.connecting.link_changes import LinkChanges
from p2psip.reload.node.connecting.nat.port_mapping import PortMappingFacts
from p2psip.reload.node.effects import ConfigurationChanged, LinkUp, Write
from p2psip.reload.node.facts import LenderFacts, LendingFacts, LinkFacts, RecordsHeld, RelayFacts
from p2psip.reload.node.keeping.config_updates import NewConfiguration, NewKinds, effective
from p2psip.reload.node.keeping.diagnostics import MachineFigures
from p2psip.reload.node.keeping.reconfigure import Reconfiguring
from p2psip.reload.node.message_passing import Messages
from p2psip.reload.node.outcomes import Outcomes
from p2psip.reload.node.parts import ConnectingRoom, DataRoom, Ground, KeepingRoom
from p2psip.reload.node.performing import Performing
from p2psip.reload.node.relays.relaying import Relaying
from p2psip.reload.node.serving import Serving
from p2psip.reload.node.settings import NodeSettings
from p2psip.reload.node.tunnelling.tunnel_commands import TunnelCommand
from p2psip.reload.paths.nat.reach import Reach
from p2psip.reload.paths.relays.own_relay import OwnRelay
from p2psip.reload.paths.values import Ended, LinkNews, PathEvent, Purpose
from p2psip.reload.security.errors import SecurityError
from p2psip.reload.security.roles import Identity, TrustSettings, Verifier
from p2psip.reload.storage.storage import Storage, StorageTime
from p2psip.reload.storage.store.records import CommitFailed, Committed
from p2psip.reload.storage.verified import Believer
from p2psip.reload.topology.actions import Action
from p2psip.reload.topology.plugin import TopologyPlugin
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Finished, Mismatch, Originate
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination, Entry
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.reload.wire.storage_messages import FetchReq, StoreReq


class Node:
    """One node of an overlay: a peer once it has joined, or with `is_client` a client of its peers."""

    def __init__(
        self,
        identity: Identity,
        verifier: Verifier,
        configuration: OverlayConfiguration,
        plugin: TopologyPlugin,
        storage: Storage,
        wall: WallClock,
        settings: NodeSettings,
        rng: random.Random,
        now: float,
    ) -> None:
        """Raises LocalMisuse for a client where no clients are permitted."""
        self.node_id, self.user = identity.node_id, identity.user
        self.wall = wall
        self._plugin = plugin
        self._verifier = verifier
        ground = Ground(identity, verifier, configuration, plugin, wall, settings, rng, now)
        self._queue, self._exchange, self._upkeep = ground.queue, ground.exchange, ground.upkeep
        self.topology, self._connections, self._paths = ground.topology, ground.connections, ground.paths
        self._admission, self._forwarder = ground.admission, ground.forwarder
        connecting = ConnectingRoom(ground, settings, rng)
        self._intents, self._applications = connecting.intents, connecting.applications
        self._bootstrap, self._twins, self._tunnels = connecting.bootstrap, connecting.twins, connecting.tunnels
        self._attempts, self._surveying = connecting.attempts, connecting.surveying
        self._port_mapping = connecting.port_mapping
        room = DataRoom(ground, storage, settings)
        self._data, self._moving, self._homes = room.data, room.moving, room.homes
        self._borrowing, self._lending = room.borrowing, room.lending
        keeping = KeepingRoom(ground, room.data, verifier, settings, rng, now)
        self._certificates, self._config_updates = keeping.certificates, keeping.config_updates
        self._diagnostics, self.spreading = keeping.diagnostics, keeping.spreading
        below = (ground.exchange, ground.connections, ground.admission, ground.forwarder, room.gate)
        self._messages = Messages(*below, self._config_updates, keeping.traffic, self._diagnostics, connecting.routes)
        self._serving = Serving(ground, connecting, room, keeping, rng, settings)
        self._relaying = Relaying(ground, connecting, room.data, settings.relay, rng)
        self._serving.private |= self._relaying.private
        self._roles = RolesPlayed(ground.exchange)
        self._links = LinkChanges(ground, connecting, room, self._messages, self._serving, self._roles)
        self._outcomes = Outcomes(ground, connecting, room, keeping, self._relaying)
        self._performing = Performing(ground, connecting, self._moving, self._links, self._roles)
        self._reconfiguring = Reconfiguring(
            ground, self._messages, plugin, self._data, verifier, is_client=settings.is_client
        )
        # In this order, where several are due.
        first = (self._messages, self._exchange.transport, self._twins, self._tunnels, self._bootstrap)
        last = (self.topology, self._moving, self._data, self._certificates, self._relaying, self.spreading)
        lent = (self._borrowing, self._lending)
        self._parts = (*first, self._surveying, self._port_mapping, *last, *lent)
        self._has_started = False
        self._effects: list[Effect] = []
        self._use_kept(settings.document, settings.kind_blocks, now)

    # Commands

    def start(self, now: float) -> None:
        """Go and join the overlay; for ever."""
        self._has_started = True
        self.topology.start_joining(now)
        self._settle(now)

    def leave(self, now: float) -> None:
        """Say goodbye to whom we are linked with, and hand our data to who comes next (6.4.2.2)."""
        if not self.topology.is_leaving:
            self.topology.leave(now)
            self._port_mapping.withdraw(now)
            self._bootstrap.withdraw()
            self._settle(now)

    @property
    def configuration(self) -> OverlayConfiguration:
        """The overlay's configuration as it is now."""
        return self._exchange.configuration

    @property
    def has_left(self) -> bool:
        """True when what `leave` began is done."""
        return self.topology.is_leaving and not (self._moving.is_handing_over or self._port_mapping.is_withdrawing)

    def add_client(self, identity: Identity, now: float) -> None:
        """Let a client live in this process (a line): it signs its own requests and is reached through us."""
        self._exchange.clients[identity.node_id] = identity
        self._forwarder.clients.add(identity.node_id)
        self._certificates.add(identity.node_id)
        self._settle(now)

    def retire_client(self, node: NodeId, now: float) -> None:
        """Forget an in-process client as soon as its certificates are out of the overlay."""
        self._certificates.withdraw(node, now)
        self._settle(now)

    def remove_client(self, node: NodeId) -> None:
        """Forget an in-process client, which may come again: its certificates stay as long as they live."""
        self._exchange.clients.pop(node, None)
        self._forwarder.clients.discard(node)
        self._certificates.remove(node)
        self._forwarder.paths.forget(node)

    @property
    def clients(self) -> frozenset[NodeId]:
        """Those that live in this process."""
        return frozenset(self._exchange.clients)

    @property
    def identity(self) -> Identity:
        """As whom we sign."""
        return self._exchange.identity

    def use_identity(self, identity: Identity, now: float) -> None:
        """Sign with a renewed certificate from now on."""
        assert identity.node_id == self.node_id, "a renewal keeps the key, and the key the Node-ID"
        self._exchange.identity = identity
        self._certificates.add(identity.node_id)
        self._settle(now)

    @property
    def reader(self) -> Believer:
        """By what answers to a Fetch are believed."""
        return self._data.reader

    def issue_storage_time(self, signer: NodeId, now: float, *, above_ms: int = 0) -> StorageTime:
        """A storage_time for one of our own identities, greater than all that it has used and than `above_ms`."""
        return self._data.issue_storage_time(signer, now, above_ms=above_ms)

    def store(
        self, identity: Identity, request: StoreReq, context: object, now: float, *, after: int | None = None
    ) -> None:
        """Store as one of our own identities, once `after` is committed; `Done(context, ...)` follows."""
        route = [Destination.resource(request.resource)]
        self.request(OverlayRequest(route, MessageCode.STORE_REQ, request, identity, after=after), context, now)

    def fetch(self, request: FetchReq, context: object, now: float) -> None:
        """Fetch from whoever is responsible; `Done(context, ...)` follows."""
        self._data.fetch(request, context, now)
        self._settle(now)

    def request(self, asked: OverlayRequest, context: object, now: float) -> None:
        """Any request of the layer above; `Done(context, ...)` follows."""
        self._data.request(asked, context, now)
        self._settle(now)

    def app_attach(
        self,
        destination_list: Sequence[Entry],
        node: NodeId,
        now: float,
        application: int = APPLICATION_SIP,
        *,
        kind: Purpose = Purpose.SIP,
    ) -> None:
        """Ask for a connection to `node`: AppLinkUp or AppLinkFailed follows (6.5.2; RFC 7904 section 5.1)."""
        self._applications.attach(destination_list, node, now, application, kind=kind)
        self._settle(now)

    @property
    def has_call_paths(self) -> bool:
        """True if connections by ICE can be had, for SIP and media in records."""
        return bool(self._paths.whereabouts.link_types(Purpose.CALLS))

    def app_link_may_send(self, number: int, now: float) -> bool:
        """Data is to be sent on a connection made by AppAttach; False if its other end has not lately consented."""
        return self._paths.may_send(number, now)

    def app_link_heard(self, number: int, now: float) -> None:
        """Data has come on a connection made by AppAttach."""
        self._paths.heard(number, now)

    def tunnel(self, command: TunnelCommand, now: float) -> None:
        """Open, use or close a tunnel: bytes inside overlay messages."""
        self._tunnels.command(command, now)
        self._settle(now)

    def use_addresses(
        self, addresses: Mapping[Purpose, tuple[Address, ...]], now: float, hosts: tuple[str, ...] = ()
    ) -> None:
        """Our listeners can be dialled at these from now on; `hosts` are the addresses of this machine, if they are not
        all its own. What kept us outside may have been the lack of them.
        """
        self._paths.use_addresses(addresses, hosts, now)
        self._surveying.addresses_changed(now)
        self._links.refresh_routes()
        if self._has_started and not self.topology.is_connected:
            self.topology.start_joining(now)
        self._settle(now)

    def set_wall_clock(self, wall: WallClock, now: float) -> None:
        """The date has jumped, or is trusted now."""
        self.wall = self._exchange.transport.wall = self._admission.wall = wall
        self._data.set_wall_clock(wall, now)
        self._links.expel(self._admission.review(now), now)
        self._settle(now)

    def accept_configuration(self, raw: bytes, now: float) -> None:
        """A document from our operator or a configuration server. Raises a Rejection if it is not to be followed."""
        self._config_updates.accept(raw, now)
        self._settle(now)

    def accept_proven(self, document: Document, now: float) -> None:
        """A document proven by the trust anchor's fingerprint, as at the first time. Raises a Rejection."""
        self._config_updates.accept_proven(document, now)
        self._settle(now)

    def accept_kinds(self, blocks: Sequence[bytes], now: float) -> None:
        """Kind-blocks from our operator. Raises a Rejection."""
        self._config_updates.accept_kinds(blocks, now)
        self._settle(now)

    def use_trust(self, settings: TrustSettings, now: float) -> None:
        """Judge certificates by this configuration from now on: whom it revokes is cut off at once.

        Raises UntrustedCertificate for a trust anchor that is none, and then nothing has changed.
        """
        self._verifier.use_configuration(settings)
        self._links.expel(self._admission.review(now), now)
        self._settle(now)

    def app_link_down(self, number: int) -> None:
        """A SIP connection is down, or was hung up by the layer above."""
        self._admission.forget(number)
        self._paths.forget(number)

    def app_link_silent(self, host: str, now: float) -> None:
        """A SIP connection to this host fell silent: nobody is there, or large packets vanish on the way."""
        self._paths.stream_silent(host, now)
        self._settle(now)

    def offer_application(self, application: int) -> None:
        """Others may ask us for connections of this application from now on (14.5)."""
        self._applications.served.add(application)

    def withdraw_application(self, application: int) -> None:
        """They may not any more."""
        self._applications.served.discard(application)

    def use_machine(self, machine: MachineFigures) -> None:
        """What the driver knows of the machine, for those who may ask for diagnostics (RFC 7851)."""
        self._diagnostics.machine = machine

    def survey(self, now: float) -> None:
        """Find out what we are behind, and whether we can be reached: ReachSurveyed follows."""
        self._surveying.begin(now)
        self._settle(now)

    # What can be seen from outside

    @property
    def reach(self) -> Reach:
        """What is known of what we are behind, and whether we can be reached."""
        return self._surveying.reach

    @property
    def port_mapping(self) -> PortMappingFacts:
        """What the router has given us, and if nothing, why."""
        return self._port_mapping.facts

    @property
    def is_serving(self) -> bool:
        """True for a peer that is a member of the overlay."""
        return self.topology.is_serving

    @property
    def is_connected(self) -> bool:
        """True if the overlay can be reached."""
        return self.topology.is_connected

    @property
    def neighbors(self) -> tuple[NodeId, ...]:
        """The peers that we watch, the nearest first."""
        return self.topology.neighbors

    def place_of_copy(self, resource: ResourceId, holder: NodeId, number: int) -> ResourceId | None:
        """Where to ask for copy `number` of a resource, `holder` having the one before it; None for no more."""
        return self.topology.place_of_copy(resource, holder, number)

    def topology_facts(self) -> dict[str, object]:
        """What an operator is shown of our place in the overlay, as JSON has it."""
        return self.topology.facts()

    def is_responsible(self, target: bytes) -> bool:
        """True if what is for this place ends here."""
        return self.topology.is_responsible(target)

    def at_home(self, user: str, now: float) -> tuple[NodeId, ...]:
        """The peers where the phones of a user are who has this node for a home, the latest word first."""
        return self._homes.of(user, now)

    @property
    def linked(self) -> tuple[NodeId, ...]:
        """The nodes to which a link works."""
        return tuple(self._connections)

    def is_linked(self, node: NodeId) -> bool:
        """True if a link to `node` works."""
        return node in self._connections

    def links(self, node: NodeId | None = None) -> tuple[LinkFacts, ...]:
        """Every overlay link, or all to `node`, whether they work or not."""
        links = self._connections.all() if node is None else self._connections.to(node)
        return tuple(LinkFacts.of(link, self.name_of(link.node), self._paths.pair_of(link.number)) for link in links)

    @property
    def failed_attempts(self) -> tuple[FailedAttempt, ...]:
        """With whom no connection came about when it was last tried, and why; the newest last."""
        return tuple(self._attempts)

    @property
    def link_types(self) -> tuple[OverlayLinkType, ...]:
        """The links that we make, in the order of the overlay's configuration."""
        return self._paths.whereabouts.link_types(Purpose.RELOAD)

    @property
    def trouble(self) -> str:
        """Why we are in no overlay, or alone, as far as we know; empty while another node speaks with us."""
        return self._bootstrap.trouble

    @property
    def ways_in(self) -> tuple[WayTried, ...]:
        """By which ways the overlay, or another part of it, was sought last, and what came of each."""
        return tuple(self._bootstrap.ways)

    @property
    def roles_played(self) -> tuple[RolePlayed, ...]:
        """What this node was to others that came in, and they to it; the newest last."""
        return tuple(self._roles)

    @property
    def is_found_on_lan(self) -> bool:
        """True if we search the links of this machine by multicast, and can be found there."""
        return self._bootstrap.is_on_lan

    def same_node_id_at(self, now: float) -> str:
        """Where another machine with our Node-ID is, or was until a moment ago; empty if there is none."""
        return self._twins.at(now)

    def configuration_of(self, node: NodeId) -> int | None:
        """Which configuration `node` has shown to have, by its sequence number."""
        return self._config_updates.sequences.get(node)

    @property
    def records_held(self) -> RecordsHeld:
        """How much is kept here."""
        return RecordsHeld(self._data.storage.value_count, self._data.storage.size)

    @property
    def lending(self) -> LendingFacts:
        """The storage that this node lends to its peer."""
        return self._lending.facts

    def lenders(self, now: float) -> tuple[LenderFacts, ...]:
        """The clients that lend this node storage."""
        return self._borrowing.facts(now)

    @property
    def own_relay(self) -> OwnRelay:
        """The relay that this node may be, for a driver that takes what is relayed past the rest."""
        return self._paths.own_relay

    @property
    def relays(self) -> RelayFacts:
        """The relay that this node is, and those that it could use."""
        return self._relaying.facts

    def next_peer(self, target: NodeId | ResourceId) -> NodeId:
        """Where a message for `target` would go next from here; ourselves, if it ends here or knows no way."""
        return self.topology.next_peer(target)

    def hash_name(self, name: bytes) -> ResourceId:
        """The Resource-ID of a Resource Name."""
        return self._plugin.hash_name(name)

    def next_peer_in(self, answer: Answer) -> NodeId:
        """Which peer the answer to a RouteQuery of ours names."""
        return self._plugin.next_peer_in(answer.body)

    def name_of(self, node: NodeId) -> str:
        """The user name in the certificate of a node that we have been linked with; empty for others."""
        return self._links.name_of(node)

    # Links, from the driver

    def handle_path(self, event: PathEvent, now: float) -> None:
        """Something has happened to a connection, beside that it is up or down."""
        self._links.handle_path(event, now)
        self._settle(now)

    def handle_link_up(self, link: LinkUp, now: float) -> None:
        """A connection is up, dialled or accepted."""
        self._links.up(link, now)
        self._settle(now)

    def handle_link_data(self, number: int, data: bytes, now: float) -> None:
        """Bytes came over an overlay link."""
        try:
            received = self._connections.receive(number, data, now)
        except FramingError as error:
            if (connection := self._connections.by_number(number)) is not None:
                self._exchange.note("link closed", node=connection.node, reason=str(error))
            if isinstance(error, MessageTooLarge):
                self._messages.refuse_unread(number, error)
                self._settle(now)
            self._links.events(self._connections.close(number, str(error)), now)
            return self._settle(now)
        self._paths.heard(number, now)
        if received is not None:
            connection, messages, events = received
            self._links.heard(connection)
            self._links.events(events, now)
            for message in messages:
                self._links.recognise(number, message, now)
                request = self._messages.receive(message, connection.node, now)
                if request is not None:
                    self._admission.heard(number, request.signer, now, attaches=request.code is MessageCode.ATTACH_REQ)
                self._serving.serve(request, now)
                # An answer may decide what the request behind it means: a JoinAns, and the Update that lets us in.
                self._settle(now)
            if events:
                self._settle(now)
            elif not messages:
                # An acknowledgement: only its link has something to say, if that.
                self._drain_links(now)
        return None

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        """A connection is down, or never came up."""
        self._links.down(number, reason, now)
        self._settle(now)

    # Time, answers, and the pump

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._links.look_after_links(now)
        # All parts have their timers in one queue: most often that of a link was the only one.
        if is_due(self._queue, now):
            self._links.expel(self._reconfiguring.overstayed(now), now)
            for part in self._parts:
                if is_due(part, now):
                    part.handle_timeout(now)
        self._settle(now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to an Ask: a commit to disk."""
        assert isinstance(answer, Committed | CommitFailed), "a node asks for nothing but commits"
        for originate in self._data.handle_answer(token, answer, now):
            self._serving.serve(self._messages.originate(originate, now), now)
        self._settle(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._queue.next_deadline()

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def _settle(self, now: float) -> None:
        """Pass values around inside until all is quiet."""
        self._certificates.begin(now)
        self._lending.settle(now)
        if self._paths.whereabouts.has_ice:
            self._relaying.settle(self._surveying.reach, now)
        while values := [
            *self._exchange.transport.drain(),
            *self.topology.drain(now),
            *self._config_updates.drain(),
            *self._paths.news(now),
        ]:
            for value in values:
                if isinstance(value, Originate):
                    self._serving.serve(self._messages.originate(value, now), now)
                elif isinstance(value, Finished):
                    self._outcomes.handle(value, now)
                elif isinstance(value, Mismatch):
                    self._config_updates.handle_mismatch(value, now)
                elif isinstance(value, (NewConfiguration, NewKinds)):
                    self._use_news(value, now)
                elif isinstance(value, Ended | LinkNews):
                    self._links.ended(value, now)
                else:
                    assert isinstance(value, Action)
                    self._performing.perform(value, now)
        # After the answers: it may be one of them that has taken out the last entry of a client that goes.
        for gone in self._certificates.drain():
            self.remove_client(gone)
        self._effects += self._exchange.drain()
        self._drain_links(now)
        self._reconfiguring.watch()

    def _drain_links(self, now: float) -> None:
        for effect in self._connections.drain():
            if isinstance(effect, LinkGone):
                self._admission.forget(effect.number)
                self._paths.let_go(effect.number)
            elif not isinstance(effect, Write) or self._paths.may_send(effect.link, now):
                self._effects.append(effect)
        self._effects += self._paths.drain()

    def _use_kept(self, document: Document | None, kind_blocks: Sequence[bytes], now: float) -> None:
        """Know the Kinds that were learned before a restart, as far as they still hold."""
        if document is not None and kind_blocks:
            kinds = self._config_updates.still_good(document, kind_blocks, now)
            self._config_updates.use(document, kinds)
            self._use_configuration(effective(document, kinds), now)

    def _use_news(self, news: NewConfiguration | NewKinds, now: float) -> None:
        """11.1: "When a node receives a new configuration file, it MUST change its configuration to meet the new
        requirements."
        """
        document, kinds = self._config_updates.adopt(news)
        configuration = effective(document, kinds)
        reasons = self._use_configuration(configuration, now)
        self._config_updates.push(news, now)
        blocks = tuple(kind_block(learned.signed) for learned in kinds)
        self._exchange.note("configuration changed", sequence=configuration.sequence, source=news.source)
        self._effects.append(ConfigurationChanged(document, blocks, reasons))
        if reasons:
            # "If a node is not capable of supporting the new requirements, it MUST exit the overlay."
            self._exchange.warn("leaving the overlay", reason="; ".join(reasons))
            self.leave(now)

    def _use_configuration(self, configuration: OverlayConfiguration, now: float) -> tuple[str, ...]:
        """Change every part to this configuration; returns why we can be no member under it."""
        self._exchange.configuration = configuration
        self._links.refresh_routes()
        try:
            self.use_trust(configuration, now)
        except SecurityError as error:
            return (str(error),)
        return self._reconfiguring.use(configuration, now)
