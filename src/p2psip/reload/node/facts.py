"""What a node tells of itself to those who look: values, made when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.reload.link.link import LinkState
from p2psip.reload.node.connecting.connection_table import Connection
from p2psip.reload.paths.ice.values import PairReport
from p2psip.reload.wire.link_messages import OverlayLinkType


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """One overlay link: who is at its other end, over what it runs, and how it does."""

    number: int
    node: NodeId
    user: str
    """The user name in the other end's certificate."""
    remote: Address
    kind: OverlayLinkType
    state: LinkState
    rtt_s: float | None
    """None before the first acknowledgement."""
    came_up_at: float
    pair: PairReport | None = None
    """Between which addresses, of which types, it goes: as ICE has found it, else None."""

    @classmethod
    def of(cls, link: Connection, user: str, pair: PairReport | None = None) -> LinkFacts:
        """What there is to tell of a link in the Connection Table."""
        state, rtt_s = link.link.state, link.link.round_trip.srtt_s
        remote = link.remote if pair is None else pair.remote
        return cls(link.number, link.node, user, remote, link.kind, state, rtt_s, link.came_up_at, pair)


@dataclass(frozen=True, slots=True)
class RelayFacts:
    """The relay that a node is, and those that it could use."""

    is_offered: bool
    allocations: int
    """How many others have something from it now."""
    known: tuple[tuple[NodeId, float | None], ...]
    """The nearest first, and how far away each is, in seconds, if that was measured."""
    lending: tuple[Address, ...]
    """Those that lend this node addresses."""


@dataclass(frozen=True, slots=True)
class LendingFacts:
    """The storage that a client lends."""

    room_bytes: int
    """0 for a node that lends none."""
    borrower: NodeId | None
    """The peer that has accepted."""
    count: int
    size_bytes: int
    reads: int
    """How often that peer has read here."""


@dataclass(frozen=True, slots=True)
class LenderFacts:
    """A client that lends a peer storage, and what is there."""

    node: NodeId
    room_bytes: int
    count: int
    size_bytes: int
    answered: int
    """How many Fetches were answered with what it gave back."""
    failed: int
    """How often it did not serve."""
    is_asked: bool
    """False while it is left alone, or not linked with us."""


@dataclass(frozen=True, slots=True)
class RecordsHeld:
    """How much is kept here, for others and for ourselves."""

    count: int
    size_bytes: int
