"""What a topology plug-in asks the node to do: it returns values, the node does them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.transport.request import TRANSMISSIONS_MAX
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Entry
from p2psip.reload.wire.language.codec import Struct


class Action:
    """Work that a topology plug-in wants done."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Connect(Action):
    """Form a link to `target`: a node, or whoever is responsible for a Resource-ID (RFC 6940 section 10.5, 10.6).

    The Attach is source-routed through `via` if that is given. `key` is the topology's own name for what it wants: an
    earlier intent with the same key, if nobody has answered it yet, is forgotten. `handle_answered` says with it who it
    is, and then the link comes: `handle_linked`, or where it fails, `handle_unreachable`. If nobody answers,
    `handle_unanswered` for a place, `handle_unreachable` for a node.
    """

    key: Hashable
    target: NodeId | ResourceId
    via: NodeId | None = None


@frozen
class Tell(Action):
    """Send a request of the topology's own to `node`, which we are linked with; nothing if that link has gone by then.

    What becomes of it goes to `handle_outcome`, with `context`.
    """

    node: NodeId
    code: MessageCode
    body: Struct
    context: object = None
    transmissions_max: int = TRANSMISSIONS_MAX


@dataclass(frozen=True, slots=True)
class AskNode(Action):
    """Send a request of the topology's own to `node`, wherever it is, source-routed along `via`.

    What becomes of it goes to `handle_outcome`, with `context`.
    """

    node: NodeId
    code: MessageCode
    body: Struct
    context: object
    via: tuple[Entry, ...] = ()
    transmissions_max: int = TRANSMISSIONS_MAX


@dataclass(frozen=True, slots=True)
class DialPeer(Action):
    """Dial `node`, which answered an Attach of ours and could not reach us; `handle_unreachable` if that fails too.

    Then `handle_gateway`: without an Attach of its own the link is such as one with a bootstrap node (section 4.2.1).
    """

    node: NodeId


@dataclass(frozen=True, slots=True)
class Detach(Action):
    """Close the link to `node`: neither of us needs it."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class FindPeer(Action):
    """Ping `resource` to learn which peer is there, through `via` if given; `handle_found` says who answered."""

    resource: ResourceId
    via: NodeId | None = None


@dataclass(frozen=True, slots=True)
class HandOver(Action):
    """Store at `node`, which becomes responsible for them, all resources in (low, high] that we hold: identifiers in
    ascending order and beyond the last again from the first; (x, x] is all of them.

    Where `node` is None each goes to whoever is responsible for it now (section 6.4.2.3).
    With `is_admission` the node waits for the result: `handle_handed_over` (section 10.5 step 6).
    """

    node: NodeId | None
    low: bytes
    high: bytes
    is_admission: bool = False


@dataclass(frozen=True, slots=True)
class Replicate(Action):
    """Store at `node` as replica `number` all resources in (low, high] that we hold (section 10.4, 10.7.3)."""

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
    """We are outside of the overlay, or alone in it: find a node of it; `handle_gateway` follows (section 11.4)."""


@dataclass(frozen=True, slots=True)
class ProbePartition(Action):
    """Dial a bootstrap node: does the overlay have another part? `handle_probe_linked` follows (section 10.7.4.4)."""


@dataclass(frozen=True, slots=True)
class Joined(Action):
    """We are a member of the overlay now: through which node we found our place, and who let us in, if that is so."""

    gateway: NodeId | None = None
    admitted_by: tuple[NodeId, ...] = ()


@dataclass(frozen=True, slots=True)
class LetIn(Action):
    """We have let `node` in: it has all that becomes its own, and has been told so (RFC 6940 section 10.5)."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class JoinFailed(Action):
    """This attempt to join came to nothing; another one follows by itself.

    `has_found_overlay`: there is an overlay, though it did not let us in.
    """

    reason: str
    has_found_overlay: bool


@dataclass(frozen=True, slots=True)
class NeighborsChanged(Action):
    """Our neighbours, and perhaps what we are responsible for, are others."""
