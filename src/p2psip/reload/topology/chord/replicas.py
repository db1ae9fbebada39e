"""Which successors hold a copy of what we are responsible for (RFC 6940 section 10.4, 10.7.3)."""

from __future__ import annotations

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.topology.actions import Replicate
from p2psip.reload.topology.chord.ring import distance
from p2psip.reload.topology.chord.routing_table import RoutingTable

REPLICAS = 2
"""10.4: a Store request "to its successor in the Neighbor Table and to that peer's successor"."""

HOLD_DOWN_S = 30.0
"""10.7.1: "SHOULD delay the creation of new replicas for the successor replacement hold-down time (30 seconds)"."""

HELD_DOWN = "replicas held down"


class ReplicaSet:
    """Compares who should hold copies with who does, and says what to send.

    `_holders` maps a replica to the low end of the range whose resources it got from us; new values reach it
    as they are stored, so the range is all there is to remember.
    """

    def __init__(self, table: RoutingTable, queue: TimerQueue | None = None) -> None:
        self._table = table
        self._holders: dict[NodeId, NodeId] = {}
        self._timers: Timers[None] = Timers(queue)

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """The replicas that a value stored now goes to, the first replica first."""
        return self._table.successors[:REPLICAS]

    def holds_already(self, node: NodeId) -> None:
        """`node` has all of our range: it was responsible for it until now."""
        self._holders[node] = self._table.range_low

    def peer_came(self, now: float) -> None:
        """The Neighbor Table grew: copy at once."""
        self._timers.set(None, now, HELD_DOWN)

    def peer_went(self, node: NodeId, now: float) -> None:
        """The Neighbor Table shrank: hold the copying down, unless it is due sooner (10.7.1)."""
        self._holders.pop(node, None)
        if None not in self._timers:
            self._timers.set(None, now + HOLD_DOWN_S, HELD_DOWN)

    def lacks(self, node: NodeId, now: float) -> None:
        """Something that this replica should have did not reach it: copy to it again after the hold-down."""
        if node in self.nodes:
            self.peer_went(node, now)

    def next_deadline(self) -> Deadline | None:
        """When copies are to be sent."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> list[Replicate]:
        """What to copy where, if it is time."""
        if not list(self._timers.pop_due(now)):
            return []
        low = self._table.range_low
        actions = [
            Replicate(node, number, low, high)
            for number, node in enumerate(self.nodes, start=1)
            if (high := self._missing_up_to(node)) is not None
        ]
        self._holders = dict.fromkeys(self.nodes, low)
        return actions

    def _missing_up_to(self, node: NodeId) -> NodeId | None:
        """The high end of what `node` lacks, the low end being that of our range; None if it lacks nothing."""
        held_from = self._holders.get(node)
        if held_from is None:
            return self._table.node_id
        own, low = self._table.node_id, self._table.range_low
        return held_from if distance(low, own) > distance(held_from, own) else None
