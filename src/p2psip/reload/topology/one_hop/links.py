"""Which links a peer wants: a few that hold the overlay together, and those that are used.

With few members everybody is linked with everybody. With more a peer keeps links with its neighbours on both sides,
which watch each other, and with one peer each from the places 4 to 7, 8 to 15, 16 to 31 ... further on: by these any
peer is reached over a few others, and a link with it can be made. To whom more goes than now and then one is made,
and kept while it is used.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Container, Iterable

from p2psip.base.ids import NodeId
from p2psip.reload.topology.one_hop.circle import distance
from p2psip.reload.topology.one_hop.members import Members

MESH_MAX = 12
"""With so many others everybody is linked with everybody."""

WATCHED = 3
"""Neighbours on each side. When all links of a peer to them fail, it is taken for dead."""

KEPT = WATCHED + 2
"""Neighbours on each side to which a link is not closed: one or two may come or go at any moment."""

DEMAND = 3
"""So many messages that went to a peer by others, within a turn of the clock, are a reason for a link with it."""

DEMANDED_MAX = 32
"""Links for no other reason; the one that was not used for the longest time makes room."""

IDLE_TURNS = 20
"""A link for no other reason goes when it was not used for so many turns of the clock."""


class WantedLinks:
    """Whom one peer wants to be linked with. `turn` is called every now and then; it is all the clock there is."""

    def __init__(self, members: Members, rng: random.Random) -> None:
        self._members = members
        self._rng = rng
        self._fingers: dict[int, NodeId] = {}
        self._detours: Counter[NodeId] = Counter()
        self._demanded: dict[NodeId, int] = {}
        self._turn = 0
        self._chosen: tuple[NodeId, ...] | None = None
        self._chosen_of = -1

    def used(self, node: NodeId) -> None:
        """A message went straight to `node`."""
        if node in self._demanded:
            del self._demanded[node]
            self._demanded[node] = self._turn
            self._chosen = None

    def detoured(self, node: NodeId) -> None:
        """A message for `node` went by others, as there is no link."""
        self._detours[node] += 1
        if self._detours[node] < DEMAND or node in self._demanded:
            return
        while len(self._demanded) >= DEMANDED_MAX:
            del self._demanded[next(iter(self._demanded))]
        self._demanded[node] = self._turn
        self._chosen = None

    def turn(self) -> None:
        """Some time has gone by."""
        self._turn += 1
        self._detours.clear()
        self._demanded = {
            node: turn
            for node, turn in self._demanded.items()
            if turn + IDLE_TURNS > self._turn and node in self._members
        }
        self._chosen = None

    def wanted(self, linked: Container[NodeId]) -> tuple[NodeId, ...]:
        """With whom, the most urgent first; of those that would do equally well one that is linked already.

        Asked after every message: they are chosen anew only when the members, or the demand, have changed.
        """
        if self._chosen is None or self._chosen_of != self._members.changes:
            self._chosen, self._chosen_of = self._choose(linked), self._members.changes
        return self._chosen

    def _choose(self, linked: Container[NodeId]) -> tuple[NodeId, ...]:
        if len(self._members) <= MESH_MAX + 1:
            return self._members.beside(MESH_MAX)
        fingers = [self._finger(steps, linked) for steps in self._distances()]
        demanded = [node for node in self._demanded if node in self._members]
        return tuple(dict.fromkeys([*self._members.beside(WATCHED), *fingers, *demanded]))

    def worth_keeping(self) -> set[NodeId]:
        """With whom a link is not closed, be it wanted or not."""
        return set(self._members.beside(KEPT))

    def next_hop(self, goal: NodeId, linked: Iterable[NodeId]) -> NodeId | None:
        """Of those that we are linked with who is nearest to a member that we are not linked with, if it is nearer to
        it than we are: so every message arrives, or comes to an end.
        """
        nearest = min(linked, key=lambda node: distance(goal, node), default=None)
        if nearest is None or distance(goal, nearest) >= distance(goal, self._members.own):
            return None
        return nearest

    def _distances(self) -> list[int]:
        steps, found = WATCHED + 1, []
        while steps <= len(self._members) // 2:
            found.append(steps)
            steps *= 2
        return found

    def _finger(self, steps: int, linked: Container[NodeId]) -> NodeId:
        """Somebody at least so many places further on, and less than twice as many."""
        beyond = min(2 * steps, len(self._members))
        known = self._fingers.get(steps)
        if known is None or known not in self._members or not steps <= self._members.steps_to(known) < beyond:
            there = [self._members.at(place) for place in range(steps, beyond)]
            known = self._rng.choice([node for node in there if node in linked] or there)
            self._fingers[steps] = known
        return known
