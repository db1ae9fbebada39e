"""CHORD-RELOAD of one node (p2psip.reload.topology.chord.chord): whom it hears of and loses."""

from __future__ import annotations

import itertools
import random

import pytest
from chord_bench import ME, Bench, member, nid, view

from p2psip.base.ids import NodeId
from p2psip.reload.topology.actions import (
    Connect,
    Detach,
    FindPeer,
    Forget,
    HandOver,
    ProbePartition,
    SeekBootstrap,
)
from p2psip.reload.topology.chord.chord import (
    CANDIDATE_PAUSE_S,
    LOST_PAUSE_S,
    NotAdmitting,
)
from p2psip.reload.topology.chord.messages import NeighborView
from p2psip.reload.topology.chord.neighbor_candidates import CANDIDATES_MAX
from p2psip.reload.topology.chord.ring import advance
from p2psip.reload.topology.chord.sayings import SendUpdate

# Updates


@pytest.mark.must("6.5.1/1")
def test_a_linked_node_is_no_peer_before_it_says_so() -> None:
    """6.5.1: "it MUST NOT route messages through B to other peers via that channel"."""
    bench = member(90, 120)
    bench.link(110)
    assert nid(110) not in bench.chord.table
    bench.hear(110)
    assert bench.chord.table.successors[0] == nid(110)


def test_an_update_without_a_link_is_ignored() -> None:
    """Names enter by links only."""
    bench = member(90, 120)
    bench.chord.handle_update(nid(110), view(), bench.now)
    assert nid(110) not in bench.chord.table


@pytest.mark.must("10.7.3/1", "10.7.3/4")
def test_10_7_3_unknown_peers_that_are_closer_are_attached_to() -> None:
    """ "x MUST attempt to Attach to the new peers", by way of whoever named them; the far ones are left alone."""
    bench = member(90, 120, 130, 140, 80, 70)
    bench.hear(120, view(predecessors=(ME, 95), successors=(125, 150, 160)))
    assert bench.of(Connect) == [Connect(nid(125), nid(125), nid(120)), Connect(nid(95), nid(95), nid(120))]


def test_candidates_are_attached_to_once_at_a_time() -> None:
    """However many name them."""
    bench = member(90, 120)
    bench.hear(120, view(successors=(125,)))
    bench.hear(90, view(successors=(125,)))
    assert len(bench.of(Connect)) == 1


def test_a_candidate_that_failed_is_left_alone_for_a_while() -> None:
    """Then it is tried again if it is still named."""
    bench = member(90, 120)
    bench.hear(120, view(successors=(125,)))
    bench.chord.handle_unreachable(nid(125), bench.now)
    bench.actions()
    bench.hear(120, view(successors=(125,)))
    assert bench.of(Connect) == []
    began = bench.now
    again = [at for at, action in bench.run_for(20.0) if isinstance(action, Connect)]
    assert again[0] == began + CANDIDATE_PAUSE_S


def test_a_candidate_that_nobody_names_any_more_gives_its_place_to_the_next() -> None:
    """It died meanwhile, say those who saw it; the attempt to reach it goes on for seconds."""
    bench = member(90, 80, 70, 120, neighbors=3)
    bench.hear(120, view(successors=(125, 130, 135)))
    assert {action.target for action in bench.of(Connect)} == {nid(125), nid(130)}
    bench.hear(120, view(successors=(130, 135)))
    assert [action.target for action in bench.of(Connect)] == [nid(135)]


def test_when_a_candidate_fails_the_next_best_is_taken() -> None:
    """Of those that were named."""
    bench = member(90, 80, 70, 120, neighbors=3)
    bench.hear(120, view(successors=(125, 130, 135)))
    assert {action.target for action in bench.of(Connect)} == {nid(125), nid(130)}
    bench.chord.handle_unreachable(nid(125), bench.now)
    assert [action.target for action in bench.of(Connect)] == [nid(135)]


@pytest.mark.must("6.4.2.3/2")
def test_a_peer_that_comes_between_gets_what_it_is_responsible_for() -> None:
    """6.4.2.3: "it MUST attempt to Store a copy to the correct node"."""
    bench = member(80, 120)
    bench.link(90)
    bench.hear(90)
    assert bench.of(HandOver) == [HandOver(nid(90), nid(80), nid(90))]


@pytest.mark.must("10.7.3/3")
def test_10_7_3_all_links_hear_of_a_change_once() -> None:
    """ "the peer MUST send an Update request to each member of its Connection Table", clients as well."""
    bench = member(90, 120)
    bench.link(7, is_stranger=True)
    bench.actions()
    for place in (110, 111):
        bench.link(place)
        bench.hear(place)
    bench.actions()
    told = [action.node for _, action in bench.run_for(5.0) if isinstance(action, SendUpdate)]
    assert sorted(told) == [nid(place) for place in (7, 90, 110, 111, 120)]


def test_what_was_told_already_is_not_told_again() -> None:
    """An Update that says nothing new costs two messages and two signatures."""
    bench = member(90, 120)
    bench.hear(90)
    bench.hear(120)
    assert [action for _, action in bench.run_for(5.0) if isinstance(action, SendUpdate)] == []
    bench.lose(7)
    bench.link(90)
    assert bench.actions() == []


def test_a_link_that_is_back_is_told_again() -> None:
    """The other end may have forgotten us."""
    bench = member(90, 120)
    bench.lose(90)
    bench.actions()
    bench.link(90)
    assert bench.actions() == [SendUpdate(nid(90))]


@pytest.mark.must("10.7.3/6", "6.4.1/2")
@pytest.mark.parametrize(("place", "is_told"), [(95, True), (110, False)])
def test_without_reactive_recovery_only_a_change_of_our_range_is_told_at_once(place: int, is_told: bool) -> None:
    """10.7.3: "When a peer discovers that its range of responsible IDs has changed, it MUST send an Update to all"."""
    bench = member(90, 120, is_reactive=False)
    bench.link(place)
    bench.hear(place)
    bench.actions()
    assert bool([action for _, action in bench.run_for(5.0) if isinstance(action, SendUpdate)]) == is_told


def test_an_update_that_says_ready_names_nobody_and_forgets_nobody() -> None:
    """10.7: peer_ready: "a node which has Attached is a peer and can be routed through"."""
    bench = member(90, 120)
    bench.link(110)
    bench.chord.handle_update(nid(110), None, bench.now)
    assert nid(110) in bench.chord.table


# Failures and leaves


@pytest.mark.must("10.7.1/1", "10.7.1/2")
def test_10_7_1_a_lost_neighbor_is_replaced_and_all_are_told() -> None:
    """By the best of those that we know, at once."""
    bench = member(90, 80, 120, 130, 140, 150)
    bench.lose(120)
    assert bench.chord.table.successors == (nid(130), nid(140), nid(150))
    bench.actions()
    told = [action.node for _, action in bench.run_for(1.0) if isinstance(action, SendUpdate)]
    assert nid(120) not in told
    assert sorted(told) == [nid(place) for place in (80, 90, 130, 140, 150)]


def test_a_lost_neighbor_is_not_sought_while_others_still_name_it() -> None:
    """They will have noticed in a moment; who names it after that sees it still."""
    bench = member(90, 120, 130)
    bench.hear(90, view(successors=(ME, 120)))
    bench.actions()
    began = bench.now
    bench.lose(120)
    attempts = [at for at, action in bench.run_for(10.0) if isinstance(action, Connect)]
    assert attempts[0] == began + LOST_PAUSE_S


def test_who_lost_its_successor_asks_who_comes_next() -> None:
    """If others were lost with it, what is left are peers far away, who may know better."""
    bench = member(90, 80, 70, 120, 130, 140, 200)
    bench.lose(130)
    assert bench.of(FindPeer) == []
    bench.lose(120)
    (find,) = bench.of(FindPeer)
    assert int.from_bytes(find.resource, "big") == int.from_bytes(nid(ME), "big") + 1
    bench.chord.handle_found(nid(110), None, bench.now)
    assert bench.of(Connect) == [Connect(nid(110), nid(110), None)]


@pytest.mark.must("10.9/2")
def test_10_9_who_leaves_is_gone_at_once_and_not_sought() -> None:
    """ "as if it had detected a peer failure"; whom it names is attached to; what it still says does not count."""
    bench = member(90, 120, 130)
    bench.chord.handle_leave(nid(120), [nid(125)], bench.now)
    assert bench.chord.table.successors[0] == nid(130)
    assert bench.of(Connect) == [Connect(nid(125), nid(125), None)]
    bench.hear(120)
    bench.hear(130, view(predecessors=(120,)))
    assert nid(120) not in bench.chord.table
    assert bench.of(Connect) == []


def test_who_left_may_come_back_over_a_new_link() -> None:
    """Started again, or having thought better of it."""
    bench = member(90, 120)
    bench.chord.handle_leave(nid(120), [], bench.now)
    bench.link(120)
    bench.hear(120)
    assert nid(120) in bench.chord.table


def test_who_leaves_tells_nobody_that_it_is_here_and_lets_nobody_in() -> None:
    """Else it would be entered again."""
    bench = member(90, 120)
    bench.chord.start_leaving()
    bench.link(95, wants_full=True)
    with pytest.raises(NotAdmitting):
        bench.chord.handle_join(nid(95), bench.now)
    assert [action for _, action in bench.run_for(1000.0) if isinstance(action, SendUpdate | ProbePartition)] == []


def test_who_leaves_looks_for_the_overlay_no_more() -> None:
    """Not even where the links go before it does."""
    bench = member(90)
    bench.chord.start_leaving()
    bench.lose(90)
    assert [action for _, action in bench.run_for(100.0) if isinstance(action, SeekBootstrap)] == []


def test_a_candidate_whose_link_was_lost_is_tried_again() -> None:
    """It may have been another with its Node-ID; nobody has to name it anew for that."""
    bench = member(90, 120)
    bench.hear(90, view(successors=(ME, 110)))
    assert bench.of(Connect) == [Connect(nid(110), nid(110), nid(90))]
    bench.link(110)
    began = bench.now
    bench.lose(110)
    attempts = [(at, action) for at, action in bench.run_for(10.0) if isinstance(action, Connect)]
    assert attempts == [(began + CANDIDATE_PAUSE_S, Connect(nid(110), nid(110), nid(90)))]


def test_in_a_hurry_candidates_are_asked_again() -> None:
    """Those whose answer may have gone to another, and those that were left alone."""
    bench = member(90, 120)
    bench.hear(90, view(successors=(ME, 110, 115)))
    bench.chord.handle_unreachable(nid(115), bench.now)
    bench.actions()
    bench.chord.hurry(bench.now)
    assert {action.target for action in bench.of(Connect)} == {nid(110), nid(115)}


# Time


@pytest.mark.must("10.7.4.1/1", "10.7.4.4/1")
def test_10_7_4_stabilization() -> None:
    """Every update interval or so: Updates to all neighbours, who comes next, is there another part of the overlay."""
    bench = member(90, 80, 70, 120, 130)
    done = bench.run_for(600.0 * 1.3)
    probes = [at for at, action in done if isinstance(action, ProbePartition)]
    assert 1 <= len(probes) <= 3
    at_once = [action for at, action in done if at == probes[0]]
    assert [action.node for action in at_once if isinstance(action, SendUpdate)] == list(bench.chord.table.neighbors)
    assert FindPeer(bench.chord._find_successor().resource) in at_once
    assert Forget(nid(ME), nid(70)) in at_once


def test_a_ring_of_four_forgets_nothing() -> None:
    """With fewer than three predecessors we are a replica of everything."""
    bench = member(90, 120)
    assert [action for _, action in bench.run_for(2000.0) if isinstance(action, Forget)] == []


@pytest.mark.must("10.7.4.2/1")
def test_10_7_4_2_invalid_fingers_are_searched_for_again_and_again() -> None:
    """ "A peer MUST periodically search for new peers to replace invalid entries in the Finger Table." With a Ping to
    a place in the range of one of them, and no more often than chord-ping-interval.
    """
    bench = member(99, 98, 97, 101, 102, 103)
    bench.run_for(1.0)
    finds = [(at, action) for at, action in bench.run_for(3600.0 * 10) if isinstance(action, FindPeer)]
    beyond = advance(nid(ME), 1)
    searches = [(at, action.resource) for at, action in finds if action.resource != beyond]
    assert len(searches) >= 8
    assert all(bench.chord.table.is_missing_finger(NodeId(place)) for _, place in searches)
    times = [at for at, _ in searches]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 3600.0


@pytest.mark.must("10.7.2/2")
def test_fingers_are_sought_at_random_and_enter_if_they_fill_a_gap() -> None:
    """10.7.4.2."""
    bench = member(99, 98, 97, 101, 102, 103)
    bench.run_for(3600.0)
    bench.chord.handle_found(nid(ME + 70), None, bench.now)
    assert bench.of(Connect) == [Connect(nid(ME + 70), nid(ME + 70), None)]
    bench.link(ME + 70)
    bench.hear(ME + 70)
    bench.actions()
    bench.chord.handle_found(nid(ME + 80), None, bench.now)
    assert bench.of(Connect) == []
    bench.lose(ME + 70)
    (find,) = bench.of(FindPeer)
    assert bench.chord.table.is_missing_finger(NodeId(find.resource))


def test_another_part_of_the_overlay_is_attached_to_through_its_gateway() -> None:
    """10.7.4.4: "an Attach to S' routed through B"; our own answer says that there is none."""
    bench = member(90, 120)
    bench.chord.handle_found(nid(ME), nid(7), bench.now)
    assert bench.of(Connect) == []
    bench.chord.handle_found(nid(110), nid(7), bench.now)
    assert bench.of(Connect) == [Connect(nid(110), nid(110), nid(7))]


def test_links_that_we_sought_and_need_no_more_are_let_go() -> None:
    """Not those that others sought, and not those whose other end has us as a neighbour."""
    bench = member(90, 80, 70, 120, 130, 140)
    for place, says in [(20, view()), (21, view(successors=(ME,))), (22, view())]:
        if place != 22:
            bench.chord._attach(bench.chord._candidates.add(nid(place), None, bench.now))
        bench.link(place)
        bench.hear(place, says)
    bench.chord.handle_probe_linked(nid(22), bench.now)
    bench.link(23, is_stranger=True)
    fingers = bench.chord.table.fingers
    detached = [action.node for _, action in bench.run_for(30.0) if isinstance(action, Detach)]
    assert detached == [node for node in (nid(20), nid(22)) if node not in fingers]
    assert detached


def test_what_remotes_can_make_grow_is_bounded() -> None:
    """Names in Updates, however many."""
    bench = Bench(neighbors=1000)
    bench.chord.start_alone(0.0)
    bench.link(90)
    bench.chord.handle_join(nid(90), 0.0)
    bench.chord.handle_handed_over(nid(90), 0.0)
    names = tuple(NodeId(random.Random(number).randbytes(16)) for number in range(2 * CANDIDATES_MAX))
    bench.chord.handle_update(nid(90), NeighborView(successors=names), 0.0)
    assert len(bench.of(Connect)) == CANDIDATES_MAX
    for name in names:
        bench.chord.handle_unreachable(name, 0.0)
    assert len(bench.chord._candidates._shunned) == CANDIDATES_MAX
    assert len(bench.chord._candidates.under_way) <= CANDIDATES_MAX
