"""What a node asks of its topology (the Topology Plug-in of RFC 6940 section 1.2.3 and 6.4.1).

`Chord` is one; `ClientTopology` is what stands in its place in a node that is no peer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from p2psip.base.errors import P2psipError
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline
from p2psip.reload.topology.actions import Action
from p2psip.reload.topology.chord.replicas import ReplicaSet
from p2psip.reload.topology.chord.routing_table import RoutingTable


@dataclass(frozen=True, slots=True)
class NeighborView:
    """What an Update says: the sender's neighbours, and its fingers if it is a full one."""

    predecessors: tuple[NodeId, ...] = ()
    successors: tuple[NodeId, ...] = ()
    fingers: tuple[NodeId, ...] = ()

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """All whom it names, each once."""
        return tuple(dict.fromkeys(self.successors + self.predecessors + self.fingers))


class NotAdmitting(P2psipError):
    """We are not the peer that may let this node in; it must look again (section 10.5)."""


class TopologyPlugin(Protocol):
    """The topology of one node. Methods return nothing; what they want done is in `take_actions()`."""

    node_id: NodeId
    table: RoutingTable
    replicas: ReplicaSet

    # What others ask

    @property
    def is_serving(self) -> bool:
        """True if we are a peer."""

    @property
    def is_connected(self) -> bool:
        """True if the overlay can be reached."""

    @property
    def admitting_peer(self) -> NodeId | None:
        """Who is about to let us in."""

    @property
    def responsible_ppb(self) -> int:
        """How much of the ring we are responsible for, in billionths."""

    def is_responsible(self, target: bytes) -> bool:
        """True if a message for this identifier ends here."""

    def next_hop(self, target: bytes) -> NodeId | None:
        """Where to send a message for `target`."""

    def is_misrouted(self, sender: NodeId, target: bytes) -> bool:
        """True if `sender` disobeyed the routing rules when it sent us a message for `target` (RFC 7851 6.2)."""

    def is_close_enough(self, node: NodeId, resource: bytes) -> bool:
        """6.3.4: whether `node` may answer for a Resource-ID."""

    def may_hold(self, node: NodeId, resource: bytes) -> bool:
        """7.4.1.1: whether `node` is "a plausible node to" pass on values of a resource."""

    def is_from_responsible(self, sender: NodeId, resource: bytes) -> bool:
        """False if a value that `sender` passed on to us ought to go further."""

    def admitting_for(self, resource: bytes) -> list[NodeId]:
        """The joining nodes that must also get a value stored at `resource`."""

    def view(self, *, with_fingers: bool = False) -> NeighborView:
        """Our own tables, for an Update."""

    def take_actions(self) -> list[Action]:
        """What is to be done since the last call, in order."""

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""

    # Beginning and end

    def start_alone(self, now: float) -> None:
        """Be the first peer of an overlay."""

    def start_joining(self, now: float) -> None:
        """Look for the overlay."""

    def hurry(self, now: float) -> None:
        """Answers to us may have gone to another: try again at once."""

    def gateway_found(self, gateway: NodeId, now: float) -> None:
        """We are linked with a node of the overlay, through which we can look for our place."""

    def start_leaving(self) -> None:
        """We have told our neighbours that we go."""

    # Links

    def handle_linked(
        self,
        node: NodeId,
        now: float,
        *,
        wants_full: bool = False,
        is_stranger: bool = False,
        is_gateway: bool = False,
    ) -> None:
        """A link to `node` is up, whoever asked for it."""

    def handle_stranger_sought(self, node: NodeId, now: float) -> None:
        """We dialled `node` to look for another part of the overlay."""

    def handle_link_lost(self, node: NodeId, now: float) -> None:
        """The link to `node` failed."""

    def handle_attach_failed(self, node: NodeId, now: float) -> None:
        """A node that we wanted to be linked with could not be reached, or could not reach us."""

    def handle_sought(self, node: NodeId, now: float) -> None:
        """The Attach toward our place was answered by `node`; the link to it follows."""

    def handle_seek_failed(self, reason: str, now: float) -> None:
        """The Attach toward our place came to nothing."""

    def handle_finger_sought(self, node: NodeId) -> None:
        """The Attach toward a finger's place was answered by `node`; the link to it follows."""

    # Messages

    def handle_update(self, sender: NodeId, view: NeighborView | None, now: float) -> None:
        """A peer says what it sees; without a view, that it is ready."""

    def handle_join(self, node: NodeId, now: float) -> None:
        """A node asks to be let in. Raises NotAdmitting."""

    def handle_join_answer(self, node: NodeId, is_accepted: bool, now: float) -> None:
        """What the peer said that we asked to let us in."""

    def handle_handed_over(self, node: NodeId, now: float) -> None:
        """The joining node has all that becomes its own."""

    def handle_admission_failed(self, node: NodeId) -> None:
        """What becomes its own did not reach the joining node."""

    def handle_value_received(self, sender: NodeId, now: float) -> None:
        """A peer stored something here."""

    def handle_leave(self, node: NodeId, others: Iterable[NodeId], now: float) -> None:
        """A node says that it goes, and who comes next."""

    def handle_found(self, node: NodeId, via: NodeId | None, now: float) -> None:
        """A Ping to a place of the ring was answered by `node`."""
