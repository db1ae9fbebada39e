"""Who looks at the ring after every event (p2psip.sim.scenario.ring_watch)."""

from __future__ import annotations

from p2psip.reload.node.node import Node
from p2psip.sim.invariants import chord_of
from p2psip.sim.registrations import grow
from p2psip.sim.scenario.ring_watch import RingWatch


def nodes_of(peers: int) -> list[Node]:
    """A ring in which nothing happens."""
    overlay = grow("watched", peers)
    return [overlay.node(host) for host in overlay.alive()]


def watching(nodes: list[Node]) -> RingWatch:
    """One who knows them."""
    watch = RingWatch()
    watch.begin_anew([(0, nodes)], 0.0)
    return watch


def shorten(node: Node, count: int) -> None:
    """Its nearest successors are not in its list any more."""
    table = chord_of(node).table
    for successor in table.successors[:count]:
        table.remove(successor)


def test_a_sound_ring_is_not_looked_at_again() -> None:
    nodes = nodes_of(8)
    watch = watching(nodes)
    assert [wrong for node in nodes for wrong in watch.look(0, node, 1.0)] == []
    assert watch.checks == 0


def test_who_skips_a_member_is_noticed_at_once() -> None:
    nodes = nodes_of(8)
    watch = watching(nodes)
    shorten(nodes[0], 1)
    # It is one ring still, and whoever was skipped hangs on it: that is what Zave calls an appendage.
    assert watch.look(0, nodes[0], 1.0) == []
    assert watch.checks == 1
    for node in nodes[1:]:
        shorten(node, 1)
    assert [wrong for node in nodes for wrong in watch.look(0, node, 1.0)]


def test_who_lost_all_successors_is_excused_until_all_is_well() -> None:
    nodes = nodes_of(8)
    watch = RingWatch()
    order = sorted(nodes, key=lambda node: node.node_id)
    alone = [order[0], order[-1]]
    assert chord_of(order[0]).table.successors[0] != order[-1].node_id
    watch.begin_anew([(0, alone)], 0.0)
    shorten(order[0], 2)
    assert watch.look(0, order[0], 1.0) == []
