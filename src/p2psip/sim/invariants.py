"""What must hold of a Chord ring at every moment (Zave, "How to make Chord correct", TSE 2017).

Each member's best successor is the first of its successor list that is a member and reachable. Along best successors
every member comes to a ring, if the members are finitely many; the invariant says that there is one ring and no
more, that it goes around the identifiers once, and that whoever is not in it yet hangs on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from p2psip.base.ids import NodeId
from p2psip.reload.node.node import Node
from p2psip.reload.topology.chord.ring import is_between
from p2psip.reload.topology.chord.topology import ChordTopology
from p2psip.reload.topology.one_hop.topology import OneHop


def chord_of(node: Node) -> ChordTopology:
    """The topology of a peer of an overlay that has CHORD-RELOAD, for who looks into its tables."""
    assert isinstance(node.topology, ChordTopology), "no peer of a Chord ring"
    return node.topology


def one_hop_of(node: Node) -> OneHop:
    """The same of an overlay that has one-hop."""
    assert isinstance(node.topology, OneHop), "no peer of a one-hop overlay"
    return node.topology


def best_successors(successors: Mapping[NodeId, Sequence[NodeId]]) -> dict[NodeId, NodeId]:
    """Of each member the first successor that is a member; without any, itself."""
    return {
        member: next((node for node in listed if node in successors), member) for member, listed in successors.items()
    }


def ring_members(best: Mapping[NodeId, NodeId]) -> set[NodeId]:
    """Those who come back to themselves along best successors."""
    return {node for ring in rings_of(best) for node in ring}


def violations(successors: Mapping[NodeId, Sequence[NodeId]]) -> list[str]:
    """What is wrong with the ring of these members, who all reach each other; nothing, if it is sound."""
    best = best_successors(successors)
    rings = rings_of(best)
    found = []
    if len(rings) > 1:
        found.append(f"{len(rings)} rings: " + in_words(rings))
    for ring in rings:
        found += disorder(ring, best)
    return found


def in_words(rings: Iterable[Sequence[NodeId]]) -> str:
    """Who is in which."""
    return " and ".join(", ".join(node.short for node in ring) for ring in rings)


def rings_of(best: Mapping[NodeId, NodeId]) -> list[list[NodeId]]:
    """Those to which members come along best successors: one, where all is sound."""
    rings: list[list[NodeId]] = []
    seen: set[NodeId] = set()
    for start in sorted(best):
        path: list[NodeId] = []
        node = start
        while node not in seen:
            seen.add(node)
            path.append(node)
            node = best[node]
        if node in path:
            rings.append(path[path.index(node) :])
    return rings


def disorder(ring: Sequence[NodeId], best: Mapping[NodeId, NodeId]) -> Iterable[str]:
    """A ring that skips one of its own members goes around more than once."""
    if sum(best[node] <= node for node in ring) == 1:
        return
    for node in ring:
        skipped = [other for other in ring if other not in (node, best[node]) and is_between(other, node, best[node])]
        if skipped and best[node] != node:
            yield f"{node.short} skips {skipped[0].short}"
