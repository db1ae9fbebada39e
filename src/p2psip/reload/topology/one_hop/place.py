"""The place of one peer in a one-hop overlay, and the questions that the rest of the node has about it."""

from __future__ import annotations

import random
from collections.abc import Collection

from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import TimerQueue
from p2psip.reload.topology.joining import Joining
from p2psip.reload.topology.one_hop.circle import SIZE, clockwise, distance, is_between
from p2psip.reload.topology.one_hop.copies import REPLICAS, Copies
from p2psip.reload.topology.one_hop.links import WATCHED, WantedLinks
from p2psip.reload.topology.one_hop.members import Members

PPB = 1_000_000_000


class OneHopPlace:
    """Whom a peer knows, and what follows from that."""

    def __init__(self, node_id: NodeId, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self.node_id = node_id
        self.members = Members(node_id)
        self._queue = TimerQueue(queue)
        self.joining = Joining(rng, self._queue)
        self._copies = Copies(self.members, self._queue)
        self._wanted = WantedLinks(self.members, rng)
        self._links: set[NodeId] = set()
        self._heard: set[NodeId] = set()
        """Those of them that have said that they are members: through others nothing is routed."""
        self._admitting: set[NodeId] = set()
        self._admitters: dict[NodeId, bool] = {}
        """Whom we have asked to let us in, and whether they have."""
        self._serves_alone = False

    @property
    def is_serving(self) -> bool:
        """True if we are a peer: a member among others, or alone."""
        return self.joining.is_member or self._serves_alone

    @property
    def is_connected(self) -> bool:
        """A peer reaches the overlay as a part of it."""
        return self.is_serving

    @property
    def routes(self) -> Collection[NodeId]:
        """The members that we are linked with."""
        return self._heard

    @property
    def neighbors(self) -> tuple[NodeId, ...]:
        """Those on both sides that we watch."""
        return tuple(node for node in self.members.beside(WATCHED) if node in self._heard)

    @property
    def responsible_ppb(self) -> int:
        """6.4.2.5.2: "the fraction of the overlay for which the peer is responsible, in parts per billion"."""
        if not self.is_serving:
            return 0
        low, high = self.members.region
        return (clockwise(low, high) or SIZE) * PPB // SIZE

    def facts(self) -> dict[str, object]:
        """Our place among the members."""
        low, high = self.members.region
        return {
            "state": "in the overlay" if self.is_serving else self.joining.state.value,
            "members": len(self.members),
            "responsible_from": low.hex(),
            "responsible_to": high.hex(),
            "neighbors": [str(each) for each in self.members.beside(WATCHED)],
        }

    def is_responsible(self, target: bytes) -> bool:
        """True if a message for this identifier ends here."""
        return self.is_serving and is_between(target, *self.members.region)

    def next_hop(self, target: bytes, chosen_by: NodeId | None = None, without: NodeId | None = None) -> NodeId | None:
        """The member itself, or whoever of those that we are linked with is nearest to it.

        It does not go back to who has sent it to us, and knows of a member that we have not heard of, or the other way
        round: each would send it to the other until the TTL ends.
        """
        if target in self._links:
            return NodeId(target)
        if not self.is_serving:
            return self._way_in(target)
        if target in self.members:
            # Attaches and questions mostly, which lead to a link if one is wanted.
            return self._wanted.next_hop(NodeId(target), self._heard - {chosen_by, without})
        goal = self.members.closest(target, 1)[0]
        if goal == chosen_by:
            return None
        if goal in self._heard and goal != without:
            self._wanted.used(goal)
            return goal
        self._wanted.detoured(goal)
        return self._wanted.next_hop(goal, self._heard - {chosen_by, without})

    def way_round(self, node: NodeId) -> NodeId | None:
        """Over whom a member is reached that is next to us, but not linked: none of those that are is nearer to it, and
        each of them would send it back to us, unless it is linked with it.
        """
        if node not in self.members or self.next_hop(node) is not None:
            return None
        return min(self._heard, key=lambda other: distance(node, other), default=None)

    def _way_in(self, target: bytes) -> NodeId | None:
        """Who may lead to the overlay while we are outside."""
        gateway = self.joining.gateway
        nearest = min(self._heard, key=lambda node: distance(target, node), default=None)
        return nearest or (gateway if gateway in self._links else None)

    def next_peer(self, target: bytes) -> NodeId:
        """Where a message for `target` goes from here: ourselves, if it ends here or knows no way."""
        if target in self._links:
            return NodeId(target)
        return self.node_id if self.is_responsible(target) else self.next_hop(target) or self.node_id

    def is_misrouted(self, sender: NodeId, target: bytes) -> bool:
        """Never: who is not linked with a member sends what is for it to any other that is nearer."""
        return False

    def is_close_enough(self, node: NodeId, resource: bytes) -> bool:
        """6.3.4: "at least as close to the target Resource-ID as any node in the requesting node's Neighbor Table".

        Of neighbours we know ourselves that they are there; of the death of others we may not have heard.
        """
        nearest = min((distance(resource, neighbor) for neighbor in self.neighbors), default=None)
        return nearest is None or distance(resource, node) <= nearest

    def replicas_for(self, resource: bytes) -> tuple[NodeId, ...]:
        """The two that are nearest after us."""
        return self._copies.replicas_for(resource)

    def place_of_copy(self, resource: bytes, holder: NodeId, number: int) -> ResourceId | None:
        """That of whoever is the next nearest: it answers for where it lies itself."""
        nearest = self.members.closest(resource, 1 + REPLICAS)
        return ResourceId(nearest[number]) if number < len(nearest) else None

    def admitting_for(self, resource: bytes) -> list[NodeId]:
        """The joining nodes that will be nearer than we are."""
        ours = distance(resource, self.node_id)
        return [node for node in sorted(self._admitting) if distance(resource, node) < ours]

    def may_hold(self, node: NodeId, resource: bytes) -> bool:
        """7.4.1.1: whether a node is in "the known replica set" of a resource; so is whoever is about to let us in, of
        what becomes ours.
        """
        if node in self._admitters:
            return True
        return node in self.members and node in self.members.closest(resource, 2 + REPLICAS)

    def is_from_responsible(self, sender: NodeId, resource: bytes) -> bool:
        """False if a value that `sender` passed on to us ought to go further: another is responsible for it."""
        return not self.joining.is_member or self.members.closest(resource, 1)[0] in (sender, self.node_id)
