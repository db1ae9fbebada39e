"""Zave's invariant, asked after every event of a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from p2psip.base.ids import NodeId
from p2psip.reload.node.node import Node
from p2psip.sim.invariants import chord_of, disorder, in_words, rings_of

Linked = Callable[[NodeId, NodeId], bool]
"""Whether there is a link between two that works, whatever they know of that."""


NOTICED_S = 45.0
"""By then links that work no more have been noticed."""


@dataclass
class _Island:
    nodes: Sequence[Node]
    lists: dict[NodeId, tuple[NodeId, ...]] = field(default_factory=dict)
    parts: int = 1
    """In how many it may be."""
    is_torn: bool = False
    """A fault has taken all successors from somebody."""
    torn_until: float = 0.0
    """At the least."""


class RingWatch:
    """Looks at the successor lists of the members of each island, and again at those that may be others by now.

    Who is reached over no link that works is no successor. An island is one ring that goes round once. It is in several
    parts (rings, and peers that serve alone) where a peer is new or the sea between them has gone, and then in never
    more than before. The invariant takes for granted that no fault takes all successors from somebody: where one has,
    or may have, that island is excused until it is one sound ring.
    """

    def __init__(self, linked: Linked, may_begin_alone: Collection[NodeId]) -> None:
        """Who may begin alone and is in no ring is a part by himself: he may be a ring a moment later."""
        self.checks = 0
        """How often a successor list was another, and the island was not excused."""
        self._linked = linked
        self._may_begin_alone = may_begin_alone
        self._islands: dict[int, _Island] = {}

    def begin_anew(
        self, islands: Mapping[int, Sequence[Node]], now: float, shaken: Collection[NodeId] = frozenset()
    ) -> None:
        """There was a fault, or it is over: all nodes that live, island by island. Which links of the shaken ones
        still work is not known.
        """
        until = dict.fromkeys(shaken, now + NOTICED_S)
        for before in self._islands.values():
            if before.is_torn:
                for node in before.nodes:
                    until[node.node_id] = max(before.torn_until, until.get(node.node_id, 0.0))
        self._islands = {}
        for number, nodes in islands.items():
            island = self._islands[number] = _Island(nodes)
            island.lists = {node.node_id: chord_of(node).table.successors for node in nodes if _is_member(node)}
            best = self._best(island)
            lost_all = any(listed and best[member] == member for member, listed in island.lists.items())
            torn = [until[node.node_id] for node in nodes if node.node_id in until]
            island.is_torn, island.torn_until = lost_all or bool(torn), max(torn, default=0.0)
            island.parts = max(1, len(self._parts(island, best)))

    def look(self, number: int, node: Node, now: float) -> list[str]:
        """What is wrong now that something has happened to this node."""
        island = self._islands[number]
        known = island.lists.get(node.node_id)
        listed = chord_of(node).table.successors if _is_member(node) else None
        if listed == known:
            return []
        if listed is None:
            del island.lists[node.node_id]
        else:
            island.lists[node.node_id] = listed
        best = self._best(island)
        parts = self._parts(island, best)
        wrong = [what for part in parts if part[0] in best for what in disorder(part, best)]
        if island.is_torn:
            has_none = len(best) > 1 and any(successor == member for member, successor in best.items())
            island.is_torn = bool(wrong) or len(parts) > 1 or has_none or now < island.torn_until
            return []
        self.checks += 1
        if len(parts) > island.parts:
            wrong.append(f"{len(parts)} parts, where there were {island.parts}: {in_words(parts)}")
        island.parts = max(1, len(parts))
        return wrong

    def _best(self, island: _Island) -> dict[NodeId, NodeId]:
        lists = island.lists
        return {
            member: next((node for node in listed if node in lists and self._linked(member, node)), member)
            for member, listed in lists.items()
        }

    def _parts(self, island: _Island, best: Mapping[NodeId, NodeId]) -> list[list[NodeId]]:
        return rings_of(best) + [[node.node_id] for node in island.nodes if self._is_apart(node)]

    def _is_apart(self, node: Node) -> bool:
        chord = chord_of(node)
        is_outside = not chord.joining.is_member and not chord.is_leaving
        return is_outside and (chord.is_serving or node.node_id in self._may_begin_alone)


def _is_member(node: Node) -> bool:
    chord = chord_of(node)
    # Who leaves has told everybody so, and is in nobody's ring.
    return chord.joining.is_member and not chord.is_leaving
