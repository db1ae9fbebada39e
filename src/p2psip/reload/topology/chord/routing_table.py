"""The Routing Table: Neighbor Table and Finger Table over one set of peers (RFC 6940 section 10.1, 10.3).

Every entry is a peer that we are linked with and that has sent us an Update, so the tables are views of that one
set: successors and predecessors are always in ring order, never skip a member that we know, and never name ourselves.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.topology.chord.ring import advance, distance, is_between

FINGERS = 16
"""10.7.4.3: "If the Finger Table has fewer than 16 entries, the node SHOULD attempt to discover more fingers"."""


class RoutingTable:
    """The peers that a node routes through, seen from that node, kept in ring order."""

    def __init__(self, node_id: NodeId, neighbors_max: int) -> None:
        self.node_id = node_id
        self.successors: tuple[NodeId, ...] = ()
        self.predecessors: tuple[NodeId, ...] = ()
        self.routers: set[NodeId] = set()
        """Nodes that we are linked with and that pass messages on, but are no peers: they are in no table."""
        self._neighbors_max = neighbors_max
        self._ring: list[tuple[int, NodeId]] = []
        self._peers: set[NodeId] = set()

    def __contains__(self, node: object) -> bool:
        return node in self._peers

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def peers(self) -> Collection[NodeId]:
        """All of them."""
        return self._peers

    @property
    def neighbors(self) -> tuple[NodeId, ...]:
        """The Neighbor Table: successors, then the predecessors that are not successors as well."""
        return self.successors + tuple(node for node in self.predecessors if node not in self.successors)

    @property
    def range_low(self) -> NodeId:
        """We are responsible for (range_low, node_id]; our own Node-ID where we know no other peer."""
        return self._ring[-1][1] if self._ring else self.node_id

    def add(self, node: NodeId) -> bool:
        """Enter a peer; True if that changes the Neighbor Table."""
        assert node != self.node_id, "10.7.3: A peer MUST NOT enter itself in its successor or predecessor table"
        if node not in self._peers:
            self._peers.add(node)
            insort(self._ring, (distance(self.node_id, node), node))
        return self._refresh()

    def use_neighbors_max(self, count: int) -> bool:
        """Make the successor and predecessor lists this long; True if that changes the Neighbor Table."""
        self._neighbors_max = count
        return self._refresh()

    def remove(self, node: NodeId) -> bool:
        """Remove a peer, if it is there; True if that changes the Neighbor Table."""
        if node in self._peers:
            self._peers.remove(node)
            del self._ring[self._first_from(distance(self.node_id, node))]
        return self._refresh()

    def wanted_among(self, names: Iterable[NodeId]) -> list[NodeId]:
        """Those of `names` that would be in the Neighbor Table, were all of them peers that we are linked with."""
        unknown = {name for name in names if name not in self._peers and name != self.node_id}
        if not unknown:
            return []
        places = [(distance(self.node_id, name), name) for name in unknown]
        count = self._neighbors_max
        if len(self._ring) + len(places) <= 2 * count:
            return [name for _, name in sorted(places)]
        if len(self._ring) >= count:
            # Behind as many as there are places on either side nobody can have one; mostly that is everybody.
            low, high = self._ring[count - 1][0], self._ring[-count][0]
            places = [place for place in places if place[0] < low or place[0] > high]
            if not places:
                return []
        ring = sorted([*self._ring, *places])
        return [name for _, name in ring[:count] + ring[-count:] if name in unknown]

    def is_in_range(self, target: bytes) -> bool:
        """10.1: responsible "if k is less than or equal to x and k is greater than p"."""
        return is_between(target, self.range_low, self.node_id)

    def responsible_for(self, target: bytes) -> NodeId:
        """Who of us and the peers that we know is responsible for an identifier: the first at or beyond it."""
        away = distance(self.node_id, target)
        place = self._first_from(away)
        return self._ring[place][1] if away and place < len(self._ring) else self.node_id

    def holders_of(self, target: bytes, count: int) -> list[NodeId]:
        """The first `count` at or beyond an identifier, of us and the peers that we know."""
        nodes = [self.node_id, *(node for _, node in self._ring)]
        place = bisect_left([0, *(away for away, _ in self._ring)], distance(self.node_id, target))
        return (nodes[place:] + nodes[:place])[:count]

    def next_hop(self, target: bytes, chosen_by: NodeId | None = None, without: NodeId | None = None) -> NodeId | None:
        """The peer to pass a message for `target` on to; None if there is no other peer.

        10.3: "it MUST route the request to the peer in the Routing Table that has the largest Node-ID that is in
        the interval between the peer and k. If no such node is found, the peer finds the smallest Node-ID that is
        greater than k and MUST route the message to that node."
        """
        if not self._ring:
            return None
        place = self._first_from(distance(self.node_id, target))
        is_by_rule = chosen_by in self._peers or chosen_by in self.routers
        if (
            chosen_by is not None
            and is_by_rule
            and place < len(self._ring)
            and is_between(target, chosen_by, self.node_id)
        ):
            # A peer took us for its successor, and we know one between: it would get the message back by the rule, and
            # we from it, until the TTL ends. Towards the target from beyond it, each hop is nearer as well.
            return self._ring[place][1]
        # The entry before the first at or beyond the target; where there is none, that first one.
        before = self._ring[max(0, place - 1)][1]
        if before == without:
            ahead, beyond = self._ring[: max(0, place - 1)], self._ring[max(1, place) :]
            return ahead[-1][1] if ahead else beyond[0][1] if beyond else None
        if not self.routers or not place or chosen_by is not None:
            # Only who begins a message sends it by a router: with one such hop none can go round by routers.
            return before
        nearer = [node for node in self.routers if is_between(node, before, target)]
        return min(nearer, key=lambda node: distance(node, target), default=before)

    def finger(self, index: int) -> NodeId | None:
        """The valid entry i of the Finger Table, i counting from 1.

        10.7.4.2: "the i'th Finger Table entry is valid if it is in the range [x+2^(128-i), x+2^(128-(i-1))-1]".
        """
        start = 1 << (128 - index)
        place = self._first_from(start)
        return self._ring[place][1] if place < len(self._ring) and self._ring[place][0] < 2 * start else None

    def finger_index(self, node: NodeId) -> int | None:
        """Which entry of the Finger Table this node is, if it is a valid one."""
        index = self._index_of(node)
        return index if index is not None and self.finger(index) == node else None

    def is_missing_finger(self, node: NodeId) -> bool:
        """True if this node would make a valid entry where there is none."""
        index = self._index_of(node)
        return index is not None and self.finger(index) is None

    @property
    def fingers(self) -> tuple[NodeId, ...]:
        """The Finger Table "in numerically ascending order" (10.7)."""
        found = {node for index in range(1, FINGERS + 1) if (node := self.finger(index)) is not None}
        return tuple(sorted(found))

    def invalid_fingers(self) -> list[int]:
        """The entries without a valid peer that could have one: those beyond what the successors cover."""
        if len(self._ring) < self._neighbors_max:
            return []
        covered = self._ring[self._neighbors_max - 1][0]
        return [i for i in range(1, FINGERS + 1) if (2 << (128 - i)) > covered and self.finger(i) is None]

    def finger_place(self, index: int, offset: int) -> ResourceId:
        """An identifier in the range of finger `index`; `offset` is taken modulo the range's size."""
        start = 1 << (128 - index)
        return advance(self.node_id, start + offset % start)

    def _index_of(self, node: NodeId) -> int | None:
        """The entry of the Finger Table in whose range this node lies."""
        index = 129 - distance(self.node_id, node).bit_length()
        return index if index <= FINGERS else None

    def _first_from(self, away: int) -> int:
        """The place in ring order of the first peer at this distance from us or further."""
        return bisect_left(self._ring, (away,))

    def _refresh(self) -> bool:
        before = (self.successors, self.predecessors)
        self.successors = tuple(node for _, node in self._ring[: self._neighbors_max])
        self.predecessors = tuple(node for _, node in self._ring[: -self._neighbors_max - 1 : -1])
        return before != (self.successors, self.predecessors)
