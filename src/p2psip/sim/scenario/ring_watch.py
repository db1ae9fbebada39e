"""Zave's invariant, asked after every event of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2psip.base.ids import NodeId
from p2psip.reload.node.node import Node
from p2psip.sim.invariants import chord_of, violations

NOTICED_S = 45.0
"""Links that a sea has cut are dead when it is gone, and look alive until then."""


class RingWatch:
    """Looks at the successor lists of the members of each island, and again at those that may be others by now.

    What the invariant takes for granted is that no member loses all its successors between two stabilisations. Where
    deaths or a sea take them all from somebody, that island is excused until all who are there are one sound ring.
    """

    def __init__(self) -> None:
        self.checks = 0
        self._lists: dict[int, dict[NodeId, tuple[NodeId, ...]]] = {}
        self._sizes: dict[int, int] = {}
        self._excused: dict[int, float] = {}
        """Until when at least; then until the ring is sound."""

    def begin_anew(
        self, islands: Iterable[tuple[int, Sequence[Node]]], now: float, *, is_excused: bool = False
    ) -> None:
        """Who is there, and where, is another: all nodes that live, island by island. They are excused where two rings
        have come together, or somebody has begun who begins alone if he reaches nobody.
        """
        islands = list(islands)
        self._sizes = {island: len(nodes) for island, nodes in islands}
        self._lists = {
            island: {node.node_id: chord_of(node).table.successors for node in nodes if _is_member(node)}
            for island, nodes in islands
        }
        for island, lists in self._lists.items():
            if is_excused or any(
                successors and not any(node in lists for node in successors) for successors in lists.values()
            ):
                self._excused[island] = now + NOTICED_S

    def look(self, island: int, node: Node, now: float) -> list[str]:
        """What is wrong now that something has happened to this node."""
        lists = self._lists.setdefault(island, {})
        known = lists.get(node.node_id)
        listed = chord_of(node).table.successors if _is_member(node) else None
        if listed == known:
            return []
        if listed is None:
            del lists[node.node_id]
        else:
            lists[node.node_id] = listed
        self.checks += 1
        wrong = violations(lists)
        if island in self._excused:
            # Whoever is outside yet may have begun a ring with others before the two meet.
            if not wrong and len(lists) == self._sizes.get(island) and now >= self._excused[island]:
                del self._excused[island]
            return []
        return wrong


def _is_member(node: Node) -> bool:
    chord = chord_of(node)
    # Who leaves has told everybody so, and is in nobody's ring.
    return chord.joining.is_member and not chord.is_leaving
