"""The topology plug-ins that simulated overlays run, and what is true of each, told without its code.

What a topology may choose is who is responsible for what, and whom it knows; `Case` says what is right there. All else
is asked of every plug-in alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.node import Node
from p2psip.sim.invariants import chord_of, one_hop_of
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host

COPIES = 2
"""Of what a peer is responsible for, beside its own."""

PLACES = 24
"""Identifiers of which it is looked at who answers for them, besides those beside each member."""


@dataclass(frozen=True, eq=False)
class Case:
    """A topology plug-in, by the name that it has in a configuration."""

    name: str
    holders: Callable[[Sequence[NodeId], bytes], list[NodeId]]
    """All members, who is responsible for an identifier first, who would be next after it."""
    knows: Callable[[Node, Sequence[NodeId]], bool]
    """True if a member knows those of the others that it should know."""
    counts_on: Callable[[Node, NodeId], bool]
    """True if a member takes a node for a member."""
    is_at_rest: Callable[[Node], bool]
    """True if a member has nothing under way."""
    violations: Callable[[SimulatedOverlay], list[str]]
    """What is wrong that may never be, not for a moment, joins and deaths under way or not."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What makes a configuration one of an overlay with this topology."""
    terms: tuple[str, ...] = ()
    """The same as options of `overlay create`."""

    def __str__(self) -> str:
        return self.name


def _first_at_or_beyond(members: Sequence[NodeId], target: bytes) -> list[NodeId]:
    """RFC 6940 section 10.1: "a peer, n, is responsible for a particular Resource-ID k if k is less than or equal to n
    and k is greater than p".
    """
    ring = sorted(members)
    return [node for node in ring if node >= target] + [node for node in ring if node < target]


def _knows_ring_neighbors(node: Node, members: Sequence[NodeId]) -> bool:
    """10.7: as many successors and predecessors as there should be, and the true ones."""
    ring = sorted(members)
    place = ring.index(node.node_id)
    others = ring[place + 1 :] + ring[:place]
    count = min(node.configuration.successors, len(others))
    table = chord_of(node).table
    return table.successors == tuple(others[:count]) and table.predecessors == tuple(others[::-1][:count])


CHORD = Case(
    "CHORD-RELOAD",
    holders=_first_at_or_beyond,
    knows=_knows_ring_neighbors,
    counts_on=lambda node, other: other in node.topology.routes,
    is_at_rest=lambda node: not chord_of(node)._candidates.under_way and not chord_of(node)._admitting,
    violations=SimulatedOverlay.violations,
)


def _nearest(members: Sequence[NodeId], target: bytes) -> list[NodeId]:
    """docs/decisions/one-hop.md: the nearest on either side, where the first 16 bytes count; just between two the one
    that lies before.
    """
    size = 1 << 128

    def far(node: NodeId) -> tuple[int, bool]:
        before = (int.from_bytes(target[:16], "big") - int.from_bytes(node[:16], "big")) % size
        return min(before, size - before), before > size - before

    return sorted(members, key=far)


ONE_HOP = Case(
    "one-hop",
    holders=_nearest,
    knows=lambda node, members: set(one_hop_of(node).members) == set(members),
    counts_on=lambda node, other: other in one_hop_of(node).members,
    is_at_rest=lambda node: one_hop_of(node).is_at_rest,
    violations=lambda _: [],
    settings={"topology_plugin": "one-hop"},
    terms=("--topology", "one-hop", "--node-id-length", "20"),
)

CASES = {case.name: case for case in (CHORD, ONE_HOP)}


def case_of(overlay: SimulatedOverlay) -> Case:
    """That of an overlay's configuration."""
    return CASES[overlay.configuration.topology_plugin]


def is_whole(overlay: SimulatedOverlay, hosts: Sequence[Host] | None = None) -> bool:
    """True if these peers, or all that live, are one overlay: each a member who knows whom it should know, each
    identifier with the one peer that is responsible for it, and copies of it where they belong.
    """
    return are_whole(case_of(overlay), [overlay.node(host) for host in (overlay.alive() if hosts is None else hosts)])


def are_whole(case: Case, nodes: Sequence[Node]) -> bool:
    """The same of nodes, however they are driven."""
    return _are_whole(case, nodes, tuple(node.node_id for node in nodes))


def watch_whole(overlay: SimulatedOverlay) -> Callable[[], bool]:
    """What says whether an overlay that is whole still is, while nobody comes or goes: to be asked after every event.

    Only those to whom something has happened are looked at again, as what a peer knows depends on nothing else.
    """
    assert is_whole(overlay), "it is whole to begin with"
    case, world = case_of(overlay), overlay.world
    members = tuple(overlay.node(host).node_id for host in overlay.alive())
    world.woken.clear()

    def is_still_whole() -> bool:
        woken = [overlay.node(host) for host in world.woken]
        world.woken.clear()
        return _are_whole(case, woken, members)

    return is_still_whole


def _are_whole(case: Case, nodes: Sequence[Node], members: tuple[NodeId, ...]) -> bool:
    if not all(node.is_serving and case.knows(node, members) for node in nodes):
        return False
    return all(_is_held(nodes, holders, place) for place, holders in _held(case, members))


@lru_cache(maxsize=16)
def _held(case: Case, members: tuple[NodeId, ...]) -> Sequence[tuple[ResourceId, Sequence[NodeId]]]:
    """Who holds what; the same as long as the members are, and asked after every event of an overlay."""
    return [(place, case.holders(members, place)[: 1 + COPIES]) for place in _places(members)]


def _places(members: Sequence[NodeId]) -> list[ResourceId]:
    """Some by chance, some where chance does not come: on a member and one beside it."""
    rng, length = random.Random(1), len(members[0])
    last = (1 << 8 * length) - 1
    beside = [int.from_bytes(node, "big") + step & last for node in members[:PLACES] for step in (-1, 0, 1)]
    chosen = [*beside, *(rng.getrandbits(8 * length) for _ in range(PLACES))]
    return [ResourceId(place.to_bytes(length, "big")) for place in chosen]


def _is_held(nodes: Sequence[Node], holders: Sequence[NodeId], place: ResourceId) -> bool:
    return all(
        node.is_responsible(place) == (node.node_id == holders[0])
        and (node.node_id != holders[0] or replicas_for(node, place) == tuple(holders[1:]))
        for node in nodes
    )


def is_member(node: Node) -> bool:
    """True if a peer is part of an overlay with others."""
    return node.is_serving and bool(neighbors(node))


def neighbors(node: Node) -> tuple[NodeId, ...]:
    """Whom a peer watches, the nearest first."""
    return node.neighbors


def replicas_for(node: Node, place: ResourceId) -> tuple[NodeId, ...]:
    """To whom a peer sends copies of what it is responsible for."""
    return node.topology.replicas_for(place)
