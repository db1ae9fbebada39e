"""A whole overlay in virtual time: peers that join, store, crash."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from p2psip import plugins
from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import SIP_REGISTRATION_KIND, BootstrapNode, OverlayConfiguration
from p2psip.reload.config.document import Document, parse
from p2psip.reload.config.sequence import next_sequence
from p2psip.reload.config.write import build
from p2psip.reload.forwarding.return_path import ReturnPath
from p2psip.reload.node.effects import ConfigurationChanged, Done
from p2psip.reload.node.node import Node
from p2psip.reload.node.settings import LentTerms, NodeSettings
from p2psip.reload.paths.values import Purpose
from p2psip.reload.security.roles import Identity, Verifier
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.usages.rules import rules_of
from p2psip.reload.wire.link_messages import NO_ICE, OverlayLinkType
from p2psip.sim.invariants import chord_of, violations
from p2psip.sim.signer import SimulatedIdentity, SimulatedVerifier
from p2psip.sim.world import Host, World

EPOCH_S = 1_800_000_000.0
"""The date at which every simulation begins, in seconds since 1970."""

PORT = 6084
SIP_PORT = 6085

ADMIN = SimulatedIdentity("admin@sim.example", NodeId(hashlib.sha256(b"admin").digest()[:16]))
"""Who signs the configurations and Kinds of simulated overlays."""


def simulated_configuration(bootstrap: Sequence[Address], **settings: object) -> OverlayConfiguration:
    """The configuration of a simulated overlay; `settings` replace fields of it."""
    fields: dict[str, object] = {
        "instance_name": "sim.example",
        "sequence": 1,
        "no_ice": True,
        "bootstrap_nodes": tuple(BootstrapNode(address.host, address.port) for address in bootstrap),
        "required_kinds": (SIP_REGISTRATION_KIND,),
        "max_message_size": 65536,
        "configuration_signers": frozenset({ADMIN.node_id}),
        "kind_signers": frozenset({ADMIN.node_id}),
    }
    return OverlayConfiguration(**(fields | settings))  # type: ignore[arg-type]


def _reached_at(address: Address) -> dict[Purpose, tuple[Address, ...]]:
    return {Purpose.RELOAD: (address,), Purpose.SIP: (Address(address.host, SIP_PORT),)}


class Command:
    """A command of a simulated node: the context by which its end is known."""

    def __repr__(self) -> str:
        # The same in each run of a seed, unlike an address.
        return "Command"


class SimulatedOverlay:
    """Peers p0, p1, ... and clients c0, c1, ... in one world; p0 is the bootstrap node and the first peer.

    `latency_s` says how long a packet takes, by chance if it will; the world's own choice if it is None.
    Peers take turns with `return_paths`. With `is_direct` streams are direct links, without frames: it is cheaper.
    """

    def __init__(
        self,
        seed: int | str,
        *,
        latency_s: Callable[[random.Random], float] | None = None,
        return_paths: Sequence[ReturnPath] = (ReturnPath.VIA_LIST,),
        is_direct: bool = False,
        **settings: object,
    ) -> None:
        self.seed = seed
        self.world = World(seed, latency_s, is_direct=is_direct)
        self.nodes: dict[str, Node] = {}
        self.clients: dict[str, Node] = {}
        self._return_paths = return_paths
        self._starts: Counter[str] = Counter()
        self._looked_at: tuple[dict[int, dict[NodeId, tuple[NodeId, ...]]], list[str]] = ({}, [])
        self.document = parse(build(simulated_configuration([self.address_of(0)], **settings), ADMIN))
        self._kept: dict[str, tuple[Document, tuple[bytes, ...]]] = {}

    @property
    def configuration(self) -> OverlayConfiguration:
        """The newest configuration that the overlay's administrator has signed."""
        return self.document.configuration

    def revise(self, **changes: object) -> Document:
        """The administrator signs the next configuration; no peer knows of it yet."""
        sequence = next_sequence(self.configuration.sequence)
        revised = replace(self.configuration, **{"sequence": sequence, **changes})  # type: ignore[arg-type]
        self.document = parse(build(revised, ADMIN))
        return self.document

    @staticmethod
    def address_of(number: int) -> Address:
        """Where peer `number` can be dialled."""
        return Address(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", PORT)

    def add_peer(
        self,
        number: int,
        link_types: Sequence[OverlayLinkType] = NO_ICE,
        *,
        contacts: Sequence[Address] = (),
        is_client: bool = False,
    ) -> Host:
        """Make a peer and start it: it goes and joins. The same number again is the same peer, started again, as a
        client for a while if it `is_client`.

        It makes the links that the overlay permits, or of them those of `link_types`, and remembers `contacts`.
        """
        name, address, identity = f"p{number}", self.address_of(number), self.identity(number)
        settings = NodeSettings(
            is_client=is_client,
            may_start_alone=number == 0,
            contacts=contacts,
            addresses=_reached_at(address),
            link_types=link_types,
        )
        node, store = self._make(name, identity, settings)
        here, elsewhere = (self.clients, self.nodes) if is_client else (self.nodes, self.clients)
        here[name] = node
        elsewhere.pop(name, None)
        return self._start(name, identity, address, node, store)

    def add_client(
        self, number: int, *, is_reachable: bool = True, is_router: bool = False, lend_bytes: int = 0
    ) -> Host:
        """Make a client and start it. One that is not reachable can only dial; a router passes messages on; with
        `lend_bytes` it lends its peer storage.
        """
        name, address = f"c{number}", Address(f"172.16.{number >> 8 & 255}.{number & 255}", PORT)
        identity = self.client_identity(number)
        advertised = address if is_reachable else Address("192.0.2.1", PORT)
        addresses = _reached_at(advertised)
        settings = NodeSettings(is_client=True, is_router=is_router, addresses=addresses, lent=LentTerms(lend_bytes))
        self.clients[name], store = self._make(name, identity, settings)
        return self._start(name, identity, address, self.clients[name], store)

    def _make(self, name: str, identity: Identity, settings: NodeSettings) -> tuple[Node, MemoryStore]:
        self._starts[name] += 1
        document, kind_blocks = self._on_disk(name)
        configuration = document.configuration
        rng = random.Random(f"{self.seed}/{name}/{self._starts[name]}")
        verifier, wall = self.verifier(), WallClock(EPOCH_S)
        store = MemoryStore()
        plugin = plugins.topology(configuration.topology_plugin)
        storage = Storage(store, rules_of(configuration, verifier, plugin.hash_name), wall, self.world.now)
        return_path = self._return_paths[int(name[1:]) % len(self._return_paths)]
        settings = replace(settings, return_path=return_path, document=document, kind_blocks=kind_blocks)
        return Node(identity, verifier, configuration, plugin, storage, wall, settings, rng, self.world.now), store

    def _start(self, name: str, identity: Identity, address: Address, node: Node, store: MemoryStore) -> Host:
        host = self.world.add(name, address, tuple(entry.certificate for entry in identity.certificates), node, store)
        host.link_types = node.link_types
        self.world.call(host, node.start)
        return host

    def identity(self, number: int) -> Identity:
        """Who peer `number` is: always the same."""
        node_id = NodeId(random.Random(f"{self.seed}/p{number}/node").randbytes(16))
        return SimulatedIdentity(f"peer-p{number}@sim.example", node_id)

    def client_identity(self, number: int) -> Identity:
        """Who client `number` is: always the same."""
        node_id = NodeId(random.Random(f"{self.seed}/c{number}/node").randbytes(16))
        return SimulatedIdentity(f"c{number}@sim.example", node_id)

    def verifier(self) -> Verifier:
        """A node's own, that knows nobody yet."""
        return SimulatedVerifier()

    def _on_disk(self, name: str) -> tuple[Document, tuple[bytes, ...]]:
        """The configuration that a peer kept when it ran last; the newest for one that never did."""
        kept = self._kept.setdefault(name, (self.document, ()))
        if name in self.world.hosts:
            changes = [event for event in self.world.hosts[name].events if isinstance(event, ConfigurationChanged)]
            if changes:
                kept = self._kept[name] = (changes[-1].document, changes[-1].kind_blocks)
        return kept

    def alive(self) -> list[Host]:
        """The hosts of peers that have not crashed."""
        return [host for host in self.world.hosts.values() if host.is_alive and host.name in self.nodes]

    def node(self, host: Host) -> Node:
        """The node that runs on a host."""
        return self.nodes.get(host.name) or self.clients[host.name]

    def is_ring(self) -> bool:
        """True if every living peer is a member and has its true neighbours, as many as it should."""
        members = sorted(self.node(host).node_id for host in self.alive())
        return all(self._is_placed(self.node(host), members) for host in self.alive())

    def _is_placed(self, node: Node, members: list[NodeId]) -> bool:
        place = members.index(node.node_id)
        others = members[place + 1 :] + members[:place]
        count = min(self.configuration.successors, len(others))
        table = chord_of(node).table
        return (
            node.is_serving
            and table.successors == tuple(others[:count])
            and table.predecessors == tuple(reversed(others))[:count]
        )

    def violations(self) -> list[str]:
        """What is wrong with the ring, island by island; nothing may ever be, joins under way or not.

        Cheap enough to be asked after every event: it looks again only if a successor list is another.
        """
        lists: dict[int, dict[NodeId, tuple[NodeId, ...]]] = {}
        for host in self.alive():
            chord = chord_of(self.node(host))
            if chord.joining.is_member:
                lists.setdefault(host.island, {})[chord.node_id] = chord.table.successors
        if lists != self._looked_at[0]:
            self._looked_at = (lists, [what for island in sorted(lists) for what in violations(lists[island])])
        return self._looked_at[1]

    def responsible_for(self, resource: bytes) -> list[Host]:
        """The living peers that think themselves responsible: one, in a sound ring."""
        return [host for host in self.alive() if self.node(host).is_responsible(resource)]

    def command(self, host: Host, begin: Callable[[object, float], None]) -> Command:
        """Give the node on `host` a command, with a context of its own."""
        command = Command()
        self.world.call(host, lambda now: begin(command, now))
        return command

    def done(self, host: Host, command: Command) -> Done | None:
        """What became of a command given to the node on `host`."""
        return next((e for e in host.events if isinstance(e, Done) and e.context is command), None)

    def wait_done(self, host: Host, command: Command, limit_s: float = 30.0) -> Done:
        """Let time go on until a command is over."""
        self.world.run_for(limit_s, stop=lambda: self.done(host, command) is not None)
        done = self.done(host, command)
        assert done is not None, f"a command of {host.name} is not over after {limit_s} s"
        return done
