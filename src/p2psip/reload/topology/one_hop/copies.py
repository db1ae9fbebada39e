"""Who has copies of what this peer is responsible for, and who should (RFC 6940 section 7.4.1.1)."""

from __future__ import annotations

from itertools import pairwise, permutations

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.topology.actions import Replicate
from p2psip.reload.topology.one_hop.circle import clockwise, is_between, middle
from p2psip.reload.topology.one_hop.members import Members, around, closest

REPLICAS = 2
"""Beside the responsible peer the next two nearest have each value: the nearest that is left always has it."""

HOLD_DOWN_S = 30.0
"""How long after a loss new copies wait: many that are lost come back (10.7.1 has the same time)."""


HELD_DOWN = "replicas held down"

NEAR = 1 + REPLICAS + 1
"""Of so many on each side of it, itself among them, the order decides who has copies of what a peer answers for."""


class Copies:
    """Compares who was nearest when copies were last sent with who is now."""

    def __init__(self, members: Members, queue: TimerQueue | None = None) -> None:
        self._members = members
        self._before: list[NodeId] = [members.own]
        self._lacking: set[NodeId] = set()
        self._timers: Timers[None] = Timers(queue)

    def replicas_for(self, resource: bytes) -> tuple[NodeId, ...]:
        """Who has a copy of a value at `resource`, which is ours."""
        return tuple(self._members.closest(resource, 1 + REPLICAS)[1:])

    def entered(self, now: float) -> None:
        """We have become a member: those who were nearest before have what is ours now."""
        self._before = [node for node in self._members if node != self._members.own]
        self._lacking.clear()
        self._timers.set(None, now, HELD_DOWN)

    def alone(self) -> None:
        """There is nobody who could have copies."""
        self._before = [self._members.own]
        self._timers.cancel(None)
        self._lacking.clear()

    def came(self, now: float) -> None:
        """There is one more: copy at once."""
        self._timers.set(None, now, HELD_DOWN)

    def went(self, node: NodeId, now: float) -> None:
        """There is one less: copy after the hold-down, unless it is due sooner."""
        self._lacking.add(node)
        self._hold_down(now)

    def lacks(self, node: NodeId, now: float) -> None:
        """Something that this replica should have did not reach it: all is copied to it again."""
        if node in self._members:
            self._lacking.add(node)
            self._hold_down(now)

    def _hold_down(self, now: float) -> None:
        if None not in self._timers:
            self._timers.set(None, now + HOLD_DOWN_S, HELD_DOWN)

    def next_deadline(self) -> Deadline | None:
        """When copies are to be sent."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> list[Replicate]:
        """What to copy where, if it is time."""
        if not list(self._timers.pop_due(now)):
            return []
        near, before = (set(around(ring, self._members.own, NEAR)) for ring in (list(self._members), self._before))
        # Most who come and go are far away.
        copies = [] if near == before and near.isdisjoint(self._lacking) else self._copies(near | before)
        self._before = list(self._members)
        self._lacking.clear()
        return copies

    def _copies(self, near: set[NodeId]) -> list[Replicate]:
        copies: list[Replicate] = []
        last: dict[NodeId, int] = {}
        for low, high in self._pieces(near):
            had = set(closest(self._before, high, 1 + REPLICAS)) - self._lacking
            for number, node in enumerate(self.replicas_for(high), start=1):
                if node in had:
                    continue
                place = last.get(node)
                if place is not None and (copies[place].high, copies[place].number) == (low, number):
                    copies[place] = Replicate(node, number, copies[place].low, high)
                else:
                    last[node] = len(copies)
                    copies.append(Replicate(node, number, low, high))
        return copies

    def _pieces(self, near: set[NodeId]) -> list[tuple[bytes, bytes]]:
        """What we are responsible for, cut wherever the order of the nearest is, or was, another."""
        low, high = self._members.region
        cuts = {middle(first, second) for first, second in permutations(near, 2)}
        inside = sorted((cut for cut in cuts if is_between(cut, low, high)), key=lambda cut: clockwise(low, cut))
        edges = [low, *(cut for cut in inside if cut != high), high]
        return list(pairwise(edges))
