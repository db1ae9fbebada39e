"""The parts of a node, made and joined: on one ground, in three rooms (connecting, data, keeping)."""

from __future__ import annotations

import random

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue
from p2psip.base.waiting_room import WaitingRoom
from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.forwarding.forwarder import Forwarder
from p2psip.reload.forwarding.return_path import ReturnPaths
from p2psip.reload.node.connecting.applications import Applications
from p2psip.reload.node.connecting.attach import Attaching
from p2psip.reload.node.connecting.attempts import FailedAttempts
from p2psip.reload.node.connecting.bootstrap import Bootstrap
from p2psip.reload.node.connecting.coming_in.mdns_search import MdnsSearch
from p2psip.reload.node.connecting.connection_table import ConnectionTable
from p2psip.reload.node.connecting.contacts import Contacts
from p2psip.reload.node.connecting.doubted_links import DoubtedLinks
from p2psip.reload.node.connecting.intents import Intents
from p2psip.reload.node.connecting.lan_search import LanSearch
from p2psip.reload.node.connecting.linked_members import LinkedMembers
from p2psip.reload.node.connecting.nat.datagram_watch import DatagramWatch
from p2psip.reload.node.connecting.nat.port_mapping import PortMapping
from p2psip.reload.node.connecting.nat.surveying import Surveying
from p2psip.reload.node.connecting.response_routes import ResponseRoutes
from p2psip.reload.node.connecting.twins import Twins
from p2psip.reload.node.data.commits import Commits
from p2psip.reload.node.data.home_table import HomeTable
from p2psip.reload.node.data.lending.borrowing import Borrowing
from p2psip.reload.node.data.lending.lending import Lending
from p2psip.reload.node.data.moving import Moving
from p2psip.reload.node.data.own_data import Data
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.keeping.certificate_keeper import CertificateKeeper
from p2psip.reload.node.keeping.config_updates import ConfigUpdates
from p2psip.reload.node.keeping.diagnostics import Diagnostics
from p2psip.reload.node.keeping.traffic import Traffic
from p2psip.reload.node.limits import HELD_BYTES_MAX, HELD_COST
from p2psip.reload.node.settings import NodeSettings
from p2psip.reload.node.spreading.spreading import Spreading
from p2psip.reload.node.tunnelling.tunnels import Tunnels
from p2psip.reload.node.upkeep import Upkeep
from p2psip.reload.paths.paths import Paths
from p2psip.reload.security.roles import Identity, Verifier
from p2psip.reload.storage.storage import Storage
from p2psip.reload.topology.plugin import Topology, TopologyPlugin
from p2psip.reload.transport.transport import Originate, Transport


class Ground:
    """What every room of a node stands on: its topology, the Connection Table, forwarding and the exchange."""

    def __init__(
        self,
        identity: Identity,
        verifier: Verifier,
        configuration: OverlayConfiguration,
        plugin: TopologyPlugin,
        wall: WallClock,
        settings: NodeSettings,
        rng: random.Random,
        now: float,
    ) -> None:
        self.queue = TimerQueue()
        self.topology = make_topology(
            plugin,
            identity.node_id,
            configuration,
            rng,
            now,
            is_client=settings.is_client,
            queue=self.queue,
            is_router=settings.is_router,
        )
        self.paths = Paths(rng, self.queue, configuration.link_types)
        timer_s = configuration.overlay_reliability_timer_ms / 1000
        size_max = configuration.max_message_size
        self.connections = ConnectionTable(identity.node_id, size_max, self.paths, timer_s, self.queue)
        self.admission = LinkedMembers(verifier, wall, self.queue)
        self.forwarder = _forwarder(identity, configuration, self.topology, self.connections, settings, rng)
        transport = _transport(configuration, verifier, self.topology, plugin, rng, wall, self.queue)
        self.exchange = Exchange(identity, configuration, transport, self.queue)
        self.upkeep = Upkeep(self.exchange, self.connections, self.topology, now)


class ConnectingRoom:
    """How a node comes to be linked with others."""

    def __init__(self, ground: Ground, settings: NodeSettings, rng: random.Random) -> None:
        exchange, connections, topology = ground.exchange, ground.connections, ground.topology
        paths, whereabouts = ground.paths, ground.paths.whereabouts
        whereabouts.addresses |= settings.addresses
        whereabouts.hosts = settings.hosts
        whereabouts.able = tuple(settings.link_types)
        contacts = Contacts()
        self.attempts = FailedAttempts()
        self.attaching = Attaching(exchange, connections, paths)
        self.intents = Intents(exchange, connections, paths, self.attaching, contacts, topology)
        self.applications = Applications(exchange, paths, self.attaching)
        self.applications.served |= settings.applications
        self.routes = ResponseRoutes(exchange, connections, whereabouts, contacts)
        self.tunnels = Tunnels(exchange, self.applications.served, rng)
        self.twins = Twins(exchange, connections, whereabouts, self.intents, topology)
        self.surveying = Surveying(exchange, connections, paths, contacts, rng)
        self.port_mapping = PortMapping(exchange, whereabouts, self.surveying, settings.port_mapping_secret, rng)
        self.bootstrap = Bootstrap(
            exchange,
            connections,
            whereabouts,
            contacts,
            self.intents,
            topology,
            self.attempts,
            rng,
            may_start_alone=settings.may_start_alone,
            is_client=settings.is_client,
            remembered=settings.contacts,
            asks_dns=settings.asks_dns,
            lan=LanSearch(exchange, ground.admission, topology, rng, settings.lan_port),
            mdns=MdnsSearch(exchange, topology, settings.mdns_port, is_client=settings.is_client),
        )
        self.doubted_links = DoubtedLinks(exchange, connections, paths, self.intents, self.bootstrap, rng)
        self.datagrams = DatagramWatch(exchange, paths, self.intents, self.surveying, rng)


class DataRoom:
    """The values of a node, its own and those that it keeps for the overlay."""

    def __init__(self, ground: Ground, storage: Storage, settings: NodeSettings) -> None:
        self.gate: WaitingRoom[Originate] = WaitingRoom(_held_size, HELD_BYTES_MAX)
        exchange, topology = ground.exchange, ground.topology
        commits = Commits(exchange, storage, self.gate)
        self.moving = Moving(exchange, topology, commits)
        self.borrowing = Borrowing(exchange, ground.connections, topology, commits, settings.lent.borrow_bytes)
        self.lending = Lending(exchange, topology, commits, self.moving, settings.lend_bytes)
        self.data = Data(exchange, topology, commits, self.moving, self.borrowing)
        self.homes = HomeTable(exchange)


class KeepingRoom:
    """What a node keeps in order: its certificates, the configuration, what every peer has, figures of itself."""

    def __init__(
        self, ground: Ground, data: Data, verifier: Verifier, settings: NodeSettings, rng: random.Random, now: float
    ) -> None:
        exchange = ground.exchange
        self.spreading = Spreading(exchange, data, ground.connections, ground.topology, rng)
        self.certificates = CertificateKeeper(exchange, data, ground.topology)
        self.config_updates = ConfigUpdates(exchange, ground.connections, verifier, settings.document)
        self.traffic = Traffic(now)
        self.diagnostics = Diagnostics(exchange, ground.topology, ground.upkeep, data, self.traffic)


def _held_size(message: Originate) -> int:
    return HELD_COST + len(message.payload)


def _forwarder(
    identity: Identity,
    configuration: OverlayConfiguration,
    topology: Topology,
    connections: ConnectionTable,
    settings: NodeSettings,
    rng: random.Random,
) -> Forwarder:
    paths = ReturnPaths(
        settings.return_path,
        rng,
        reliability_timer_s=configuration.overlay_reliability_timer_ms / 1000,
        node_id_length=configuration.node_id_length,
    )
    forwarder = Forwarder(
        identity.node_id,
        configuration.overlay_hash,
        topology,
        connections,
        paths,
        passes_on=settings.is_router or not settings.is_client,
        ttl_max=configuration.initial_ttl,
    )
    forwarder.aliases = frozenset(identity.node_ids) - {identity.node_id}
    return forwarder


def _transport(
    configuration: OverlayConfiguration,
    verifier: Verifier,
    topology: Topology,
    plugin: TopologyPlugin,
    rng: random.Random,
    wall: WallClock,
    queue: TimerQueue,
) -> Transport:
    return Transport(
        configuration.overlay_hash,
        verifier,
        topology,
        rng,
        wall,
        configuration_sequence=configuration.sequence,
        reliability_timer_s=configuration.overlay_reliability_timer_ms / 1000,
        ttl=configuration.initial_ttl,
        models=configuration.models,
        message_bytes_max=configuration.max_message_size,
        node_id_length=configuration.node_id_length,
        queue=queue,
        topology_bodies=plugin.bodies,
    )


def make_topology(
    plugin: TopologyPlugin,
    node_id: NodeId,
    configuration: OverlayConfiguration,
    rng: random.Random,
    now: float,
    *,
    is_client: bool,
    queue: TimerQueue,
    is_router: bool = False,
) -> Topology:
    """That of a peer, or of a client. Raises LocalMisuse where no clients are permitted, or routers."""
    if is_client and not configuration.clients_permitted:
        raise LocalMisuse(f"{configuration.instance_name} permits no clients: only peers may be members")
    return plugin.topology(node_id, configuration, rng, now, is_client=is_client, queue=queue, is_router=is_router)
