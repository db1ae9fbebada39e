"""What must hold of a Chord ring (p2psip.sim.invariants)."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId
from p2psip.sim.invariants import best_successors, ring_members, violations
from p2psip.sim.registrations import grow
from p2psip.sim.topologies import CASES, Case, watch_whole


def nid(number: int) -> NodeId:
    """A small Node-ID."""
    return NodeId(number.to_bytes(16, "big"))


def lists(**successors: list[int]) -> dict[NodeId, list[NodeId]]:
    """Successor lists: `n1=[2, 3]`."""
    return {nid(int(name[1:])): [nid(node) for node in listed] for name, listed in successors.items()}


def test_a_sound_ring() -> None:
    """Each one's first successor is the next."""
    assert violations(lists(n1=[2, 3], n2=[3, 1], n3=[1, 2])) == []
    assert violations(lists(n1=[])) == []
    assert violations({}) == []


def test_the_best_successor_is_the_first_that_lives() -> None:
    """A dead one is skipped."""
    ring = lists(n1=[2, 3], n3=[1])
    assert best_successors(ring) == {nid(1): nid(3), nid(3): nid(1)}
    assert violations(ring) == []


def test_whoever_joins_may_hang_on_the_ring() -> None:
    """Nobody points at 2 yet."""
    ring = lists(n1=[3], n2=[3], n3=[1])
    assert violations(ring) == []
    assert ring_members(best_successors(ring)) == {nid(1), nid(3)}


def test_two_rings() -> None:
    """Both go around once; they do not know of each other."""
    (what,) = violations(lists(n1=[3], n3=[1], n2=[4], n4=[2]))
    assert what.startswith("2 rings: ")


def test_somebody_who_lost_all_successors_is_a_ring_of_its_own() -> None:
    """With others there, that is one ring too many."""
    assert violations(lists(n1=[9], n2=[3], n3=[2]))[0].startswith("2 rings")


def test_a_ring_that_goes_around_twice() -> None:
    """Zave: a "loopy" ring; following successors one comes to everybody, but in the wrong order."""
    assert violations(lists(n1=[3], n3=[5], n5=[2], n2=[4], n4=[1])) != []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_who_watches_an_overlay_sees_at_the_event_that_it_is_whole_no_more(case: Case) -> None:
    overlay = grow("watched", 4, **case.settings)
    is_still_whole = watch_whole(overlay)
    assert not overlay.world.run_for(10.0, stop=lambda: not is_still_whole())
    gone = overlay.world.hosts["p2"]
    overlay.world.crash(gone)
    left = overlay.alive()
    assert overlay.world.run_for(10.0, stop=lambda: not is_still_whole())
    assert any(not case.counts_on(overlay.node(host), overlay.node(gone).node_id) for host in left)
    assert any(case.counts_on(overlay.node(host), overlay.node(gone).node_id) for host in left), "the first to know"
