"""Peers of the overlay that DNS-SD over mDNS shows on the same network (RFC 6762, 6763; docs/decisions/multicast.md).

Each peer that is in the overlay is a service instance there, whose name begins with a mark of the overlay: a hash of
its name and of its trust anchors, which tells several on one network apart and says nothing to others. What is found so
is dialled, and proves itself in the handshake, or does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from typing import Final

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.limits import HEARD_MAX
from p2psip.reload.paths.values import FoundByMdns, MdnsWanted
from p2psip.reload.topology.plugin import Topology

MARK_BYTES: Final = 10


def mark_of(configuration: OverlayConfiguration) -> str:
    """By which its peers are known on a network: another one for an overlay of the same name with other anchors."""
    digest = hashlib.sha256(b"p2psip mDNS\0" + configuration.instance_name.encode() + b"\0")
    for root in sorted(hashlib.sha256(root).digest() for root in configuration.root_certs):
        digest.update(root)
    return digest.digest()[:MARK_BYTES].hex()


class MdnsSearch:
    """What this node wants shown of it, and where others are; with `port` 0 neither."""

    def __init__(self, exchange: Exchange, topology: Topology, port: int, *, is_client: bool) -> None:
        """`port` is that of our links, which those who find us dial. Nobody finds a client."""
        self._exchange = exchange
        self._topology = topology
        self._port = port
        self._is_client = is_client
        self._wanted: MdnsWanted | None = None
        self._found: dict[NodeId, tuple[Address, ...]] = {}

    @property
    def is_on(self) -> bool:
        """True if it does anything."""
        return bool(self._port)

    @property
    def addresses(self) -> list[Address]:
        """Where peers are, as far as anybody says."""
        return [address for addresses in self._found.values() for address in addresses]

    def look(self) -> None:
        """Say what is wanted, if that is another now: of which overlay peers are sought, and whether we are found."""
        if not self._port:
            return
        is_member = self._topology.is_serving and not self._topology.is_leaving and not self._is_client
        mark, node = mark_of(self._exchange.configuration), self._exchange.identity.node_id
        wanted = MdnsWanted(mark, node, self._port, is_member)
        if wanted != self._wanted:
            self._wanted = wanted
            self._exchange.emit(wanted)

    def take(self, found: FoundByMdns, known: Container[NodeId]) -> list[Address]:
        """All that are there now; where those are that have come, or have moved, and are not known already."""
        before, own = self._found, self._exchange.identity.node_id
        peers = [peer for peer in found.peers if peer.node != own][:HEARD_MAX]
        self._found = {peer.node: peer.addresses for peer in peers}
        news = [node for node, addresses in self._found.items() if before.get(node) != addresses and node not in known]
        return [address for node in news for address in self._found[node]]
