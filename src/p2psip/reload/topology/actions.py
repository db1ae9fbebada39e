"""What a topology plug-in asks the node to do: it returns values, the node does them."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.ids import NodeId, ResourceId


class Action:
    """Work that a topology plug-in wants done."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class AttachTo(Action):
    """Form a link to `node`, with the Attach source-routed through `via` if given (RFC 6940 section 10.6)."""

    node: NodeId
    via: NodeId | None


@dataclass(frozen=True, slots=True)
class AttachToward(Action):
    """Form a link to whichever peer is responsible for `resource`, through `via` if given (section 10.5, 11.4)."""

    resource: ResourceId
    via: NodeId | None


@dataclass(frozen=True, slots=True)
class AttachFinger(Action):
    """Form a link to whichever peer is responsible for `resource`, a place in the Finger Table (section 10.5)."""

    resource: ResourceId


@dataclass(frozen=True, slots=True)
class DialPeer(Action):
    """Dial `node`, which answered an Attach of ours and could not reach us; `handle_attach_failed` if that fails too.

    Then `gateway_found`: without an Attach of its own the link is such as one with a bootstrap node (section 4.2.1).
    """

    node: NodeId


@dataclass(frozen=True, slots=True)
class AskForUpdate(Action):
    """Ask `node`, which we are linked with, to send its Update (RouteQuery with send_update, section 6.4.2.4)."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Detach(Action):
    """Close the link to `node`: neither of us needs it."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class FindPeer(Action):
    """Ping `resource` to learn which peer is there; answered with `handle_found` (section 10.7.4.2)."""

    resource: ResourceId
    via: NodeId | None = None


@dataclass(frozen=True, slots=True)
class SendUpdate(Action):
    """Tell `node` our view of the ring; with `is_full`, the fingers too (section 10.7)."""

    node: NodeId
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class SendJoin(Action):
    """Ask `node`, the Admitting Peer, to let us in (section 10.5 step 5)."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class HandOver(Action):
    """Store at `node`, which becomes responsible for them, all resources in (low, high] that we hold.

    Where `node` is None each goes to whoever is responsible for it now (section 6.4.2.3).
    With `is_admission` the node waits for the result: `handle_handed_over` (section 10.5 step 6).
    """

    node: NodeId | None
    low: bytes
    high: bytes
    is_admission: bool = False


@dataclass(frozen=True, slots=True)
class Replicate(Action):
    """Store at `node` as replica `number` all resources in (low, high] (section 10.4, 10.7.3)."""

    node: NodeId
    number: int
    low: bytes
    high: bytes


@dataclass(frozen=True, slots=True)
class Forget(Action):
    """We are in the replica set of no resource in (low, high] any more (section 10.7.3)."""

    low: bytes
    high: bytes


@dataclass(frozen=True, slots=True)
class SeekBootstrap(Action):
    """We are outside of the ring, or alone in it: find a node of the overlay (section 11.4)."""


@dataclass(frozen=True, slots=True)
class ProbePartition(Action):
    """Ping our own Node-ID through a bootstrap node: does the overlay have another part? (section 10.7.4.4)."""


@dataclass(frozen=True, slots=True)
class Joined(Action):
    """We are a member of the ring now."""


@dataclass(frozen=True, slots=True)
class JoinFailed(Action):
    """This attempt to join came to nothing; another one follows by itself.

    `has_found_ring`: there is a ring, though it did not let us in.
    """

    reason: str
    has_found_ring: bool


@dataclass(frozen=True, slots=True)
class NeighborsChanged(Action):
    """The Neighbor Table, and perhaps the range we are responsible for, is another."""
