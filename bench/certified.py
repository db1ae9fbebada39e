"""An overlay of the simulator whose members have real keys and certificates."""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.base.wallclock import WallClock
from p2psip.reload.node.node import Node
from p2psip.reload.node.settings import NodeSettings
from p2psip.reload.paths.values import Purpose
from p2psip.reload.security.authority import DAY_S, TrustAnchor, Validity
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import generate_key
from p2psip.reload.security.verifier import CertificateVerifier
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.storing import Rules
from p2psip.reload.topology.chord.plugin import PLUGIN
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.simulated_overlay import EPOCH_S, SIP_PORT, SimulatedOverlay
from p2psip.sim.world import Host

OVERLAY = "sim.example"
LATENCY_S = 0.0001
"""As on loopback: while a request is under way the overlay has little time for its own upkeep."""


class CertifiedOverlay(SimulatedOverlay):
    """So many members, ECDSA P-256 with SHA-256; the links between them are the simulator's, without TLS."""

    def __init__(self, seed: str, members: int) -> None:
        self._rng = random.Random(seed)
        self._anchor = TrustAnchor.create(OVERLAY, self._rng, EPOCH_S - DAY_S)
        super().__init__(seed, latency_s=lambda _: LATENCY_S, root_certs=(self._anchor.der,))
        self.verifiers: dict[str, CertificateVerifier] = {}
        self._lines = 0
        for number in range(members):
            host = self.add_member(number)
            assert self.world.run_for(60.0, stop=lambda host=host: self.node(host).is_serving)  # type: ignore[misc]
        assert self.world.run_for(120.0, stop=self.is_ring)

    def add_member(self, number: int) -> Host:
        """Make a member and start it."""
        name, now = f"p{number}", self.world.now
        identity, wall, store = self._identity(f"peer-{name}"), WallClock(EPOCH_S), MemoryStore()
        verifier = self.verifiers[name] = CertificateVerifier(self.configuration)
        storage = Storage(store, Rules(self.configuration.kinds, verifier, PLUGIN.hash_name), wall, now)
        rng = random.Random(f"{self.seed}/{name}")
        address = self.address_of(number)
        addresses = {Purpose.RELOAD: (address,), Purpose.SIP: (Address(address.host, SIP_PORT),)}
        settings = NodeSettings(may_start_alone=number == 0, addresses=addresses)
        node = Node(identity, verifier, self.configuration, PLUGIN, storage, wall, settings, rng, now)
        self.nodes[name] = node
        host = self.world.add(name, address, identity.chain, node, store)
        self.world.call(host, node.start)
        return host

    def line(self, host: Host) -> CertifiedIdentity:
        """One more user, with a line at this member."""
        self._lines += 1
        identity = self._identity(f"user{self._lines}")
        self.world.call(host, lambda now: self.node(host).add_client(identity, now))
        return identity

    def _identity(self, name: str) -> CertifiedIdentity:
        key = generate_key(SignatureAlgorithm.ECDSA)
        validity = Validity.at(EPOCH_S, 365 * DAY_S)
        node_id = NodeId(self._rng.randbytes(16))
        certificate = self._anchor.issue(key.public_key(), f"{name}@{OVERLAY}", (node_id,), self._rng, validity)
        return CertifiedIdentity(key, [certificate])
