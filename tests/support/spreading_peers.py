"""Peers that compare their copies of what every peer has, and members who put something there."""

from __future__ import annotations

from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import DIRECTORY_KINDS, SIP_REGISTRATION_KIND
from p2psip.reload.node.spreading.spread_set import SpreadCopy
from p2psip.reload.node.spreading.spreading import Spreading
from p2psip.reload.security.roles import Identity
from p2psip.reload.usages.directory_usage import ENTRY_LIFETIME_S, sign_entry
from p2psip.reload.wire.kinds import DIRECTORY_ENTRY
from p2psip.reload.wire.usages.directory_values import DirectoryEntry
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import EPOCH_S, SimulatedOverlay

DATE_MS = int(EPOCH_S * 1000)
PEER = NodeId(b"\x07" * 16)


def line(number: int, user: str | None = None) -> SimulatedIdentity:
    """Somebody's line."""
    name = user or f"user{number}"
    return SimulatedIdentity(f"{name}@sim.example", NodeId(number.to_bytes(16, "big")), is_full_size=True)


def entry(name: str) -> DirectoryEntry:
    """What it says."""
    return DirectoryEntry(name.encode(), b"200", b"Hill", b"DL1ABC", PEER)


class FullSizeOverlay(SimulatedOverlay):
    """Its peers' certificates and signatures are as long as real ones, as those of lines here are."""

    def identity(self, number: int) -> Identity:
        """As of any simulated overlay."""
        small = super().identity(number)
        return SimulatedIdentity(small.user, small.node_id, is_full_size=True)


class SpreadingPeers:
    """A peer that may lie, and one that hears it."""

    def __init__(self, seed: str, count: int = 2, *, is_on: bool = True) -> None:
        kinds = (SIP_REGISTRATION_KIND, *DIRECTORY_KINDS)
        self.overlay = FullSizeOverlay(seed, required_kinds=kinds)
        for number in range(count):
            self.overlay.add_peer(number)
            self.overlay.world.run_for(3.0)
        self.hosts = list(self.overlay.alive())
        for host in self.hosts if is_on else ():
            self.overlay.world.call(host, self.overlay.node(host).spreading.joined)
        self.run(300.0)

    def spreading(self, number: int) -> Spreading:
        """That of one of them."""
        return self.overlay.node(self.hosts[number]).spreading

    @property
    def now_ms(self) -> int:
        """The date of the world."""
        return DATE_MS + int(1000 * self.overlay.world.now)

    def put(self, number: int, who: Identity, said: DirectoryEntry | None, time_ms: int | None = None) -> None:
        """A peer publishes what a line of its says."""
        resource, stored = sign_entry(who, said, time_ms or self.now_ms, self.overlay.node(self.hosts[0]).hash_name)
        self.overlay.world.call(
            self.hosts[number],
            lambda now: self.spreading(number).put(resource, DIRECTORY_ENTRY, stored, who.certificates, now),
        )

    def plant(self, copy: SpreadCopy) -> None:
        """The first peer has something, whatever its own rules say."""
        self.spreading(0).copies.put(copy)

    def copy(self, who: Identity, said: DirectoryEntry, time_ms: int | None = None) -> SpreadCopy:
        """What an honest peer would have."""
        resource, stored = sign_entry(who, said, time_ms or self.now_ms, self.overlay.node(self.hosts[0]).hash_name)
        ends_at = self.overlay.world.now + ENTRY_LIFETIME_S
        return SpreadCopy(resource, DIRECTORY_ENTRY, stored, who.user, who.node_id, who.certificates, ends_at)

    def run(self, seconds: float) -> None:
        """Let time go on."""
        self.overlay.world.run_for(seconds)

    def sent(self) -> int:
        """Bytes that all have sent."""
        return sum(host.bytes_sent for host in self.hosts)
