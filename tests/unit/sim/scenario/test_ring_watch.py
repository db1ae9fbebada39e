"""Who looks at the ring after every event (p2psip.sim.scenario.ring_watch)."""

from __future__ import annotations

from p2psip.base.ids import NodeId
from p2psip.reload.node.node import Node
from p2psip.sim.invariants import chord_of
from p2psip.sim.registrations import grow
from p2psip.sim.scenario.ring_watch import NOTICED_S, RingWatch


def nodes_of(peers: int) -> list[Node]:
    """A ring in which nothing happens, in its order."""
    overlay = grow("watched", peers)
    return sorted((overlay.node(host) for host in overlay.alive()), key=lambda node: node.node_id)


def all_linked(_: NodeId, __: NodeId) -> bool:
    return True


def watching(nodes: list[Node]) -> RingWatch:
    """One who knows them, and believes that all links work."""
    watch = RingWatch(all_linked, set())
    watch.begin_anew({0: nodes}, 0.0)
    return watch


def watching_torn(nodes: list[Node]) -> RingWatch:
    """A fault had taken all successors from the first; their links work again."""
    cut = {frozenset((nodes[0].node_id, other)) for other in chord_of(nodes[0]).table.successors}
    watch = RingWatch(lambda node, other: frozenset((node, other)) not in cut, set())
    watch.begin_anew({0: nodes}, 0.0)
    cut.clear()
    return watch


def shorten(node: Node, count: int) -> None:
    """Its nearest successors are not in its list any more."""
    table = chord_of(node).table
    for successor in table.successors[:count]:
        table.remove(successor)


def keep_only(node: Node, kept: Node) -> None:
    """It has one successor."""
    table = chord_of(node).table
    for successor in table.successors:
        if successor != kept.node_id:
            table.remove(successor)
    assert table.successors == (kept.node_id,)


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


def test_a_ring_that_becomes_two_is_noticed() -> None:
    nodes = nodes_of(4)
    watch = watching(nodes)
    found = []
    for node, kept in ((0, 2), (2, 0), (1, 3), (3, 1)):
        keep_only(nodes[node], nodes[kept])
        found += watch.look(0, nodes[node], 1.0)
    assert len(found) == 1
    assert found[0].startswith("2 parts, where there were 1: ")
    assert all(node.node_id.short in found[0] for node in nodes)


def test_two_rings_whose_sea_has_gone_may_be_two_but_not_three() -> None:
    nodes = nodes_of(6)
    watch = RingWatch(all_linked, set())
    for node, kept in ((0, 1), (1, 0), (2, 3), (3, 4), (4, 5), (5, 2)):
        keep_only(nodes[node], nodes[kept])
    watch.begin_anew({0: nodes}, 0.0)
    keep_only_of_two = ((2, 3), (3, 2), (4, 5), (5, 4))
    found = []
    for node, kept in keep_only_of_two:
        table = chord_of(nodes[node]).table
        table.add(nodes[kept].node_id)
        keep_only(nodes[node], nodes[kept])
        found += watch.look(0, nodes[node], 1.0)
    assert [what.partition(",")[0] for what in found] == ["3 parts"]


def test_what_works_no_more_is_no_successor() -> None:
    """A link that a sea has cut looks alive to both for a while."""
    nodes = nodes_of(4)
    broken: set[NodeId] = set()
    watch = RingWatch(lambda node, other: not broken & {node, other}, set())
    watch.begin_anew({0: nodes}, 0.0)
    broken.add(nodes[0].node_id)
    # Nobody has said that there was a fault.
    shorten(nodes[1], 1)
    assert [what.partition(",")[0] for what in watch.look(0, nodes[1], 1.0)] == ["2 parts"]


def test_who_lost_all_successors_to_a_fault_is_excused_until_all_is_well() -> None:
    nodes = nodes_of(8)
    watch = RingWatch(all_linked, set())
    alone = [nodes[0], nodes[-1]]
    assert chord_of(nodes[0]).table.successors[0] != nodes[-1].node_id
    watch.begin_anew({0: alone}, 0.0)
    shorten(nodes[0], 2)
    assert watch.look(0, nodes[0], 1.0) == []
    assert watch.checks == 0


def test_who_was_excused_is_excused_on_another_island_as_well() -> None:
    nodes = nodes_of(8)
    watch = watching_torn(nodes)
    watch.begin_anew({0: nodes[4:], 1: nodes[:4]}, 0.0)
    for node in nodes[:4]:
        shorten(node, 3)
        assert watch.look(1, node, 1.0) == []
    assert watch.checks == 0


def test_a_ring_that_is_sound_again_is_not_excused_any_more() -> None:
    nodes = nodes_of(8)
    watch = watching_torn(nodes)
    shorten(nodes[0], 1)
    assert watch.look(0, nodes[0], 1.0) == []
    assert watch.checks == 0
    shorten(nodes[1], 1)
    assert watch.look(0, nodes[1], 1.0) == []
    assert watch.checks == 1


def test_whose_links_may_work_no_more_is_excused_for_a_while() -> None:
    nodes = nodes_of(8)
    watch = RingWatch(all_linked, set())
    watch.begin_anew({0: nodes}, 0.0, shaken={nodes[3].node_id})
    shorten(nodes[0], 1)
    assert watch.look(0, nodes[0], NOTICED_S - 1.0) == []
    shorten(nodes[1], 1)
    assert watch.look(0, nodes[1], NOTICED_S) == []
    assert watch.checks == 0
    shorten(nodes[4], 1)
    assert watch.look(0, nodes[4], NOTICED_S) == []
    assert watch.checks == 1
