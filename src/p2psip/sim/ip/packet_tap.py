"""What leaves for where, as a tap on the cables between networks would show it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from p2psip.sim.ip.machine import Interface
from p2psip.sim.ip.network import Internet
from p2psip.sim.ip.packet import Packet


class Passage(NamedTuple):
    """Packets of one host to another: in which network they set out."""

    network: str
    source: str
    destination: str


class PacketTap:
    """Counts, from now on, each packet that sets out in a public network: of a box, it is what the box makes of it."""

    def __init__(self, internet: Internet) -> None:
        self.seen: Counter[Passage] = Counter()
        self._carry = internet.carry
        internet.carry = self._watch  # type: ignore[method-assign]

    @property
    def destinations(self) -> frozenset[str]:
        """All hosts to which something was sent."""
        return frozenset(passage.destination for passage in self.seen)

    def _watch(self, sender: Interface, packet: Packet, next_hop: str) -> None:
        if sender.network.is_public:
            self.seen[Passage(sender.network.name, packet.source.host, packet.destination.host)] += 1
        self._carry(sender, packet, next_hop)
