"""CHORD-RELOAD of one node (p2psip.reload.topology.chord.chord): the way into a ring, its own and that of others."""

from __future__ import annotations

import pytest
from chord_bench import ME, Bench, alone, member, nid, view

from p2psip.reload.topology.actions import (
    Connect,
    FindPeer,
    HandOver,
    Joined,
    JoinFailed,
    NeighborsChanged,
    Replicate,
    SeekBootstrap,
)
from p2psip.reload.topology.chord.chord import (
    ANNOUNCE_DELAY_S,
    CROSSING_S,
    DOUBT_S,
    PLACE,
    NotAdmitting,
)
from p2psip.reload.topology.chord.neighbor_candidates import UPDATE_WAIT_S
from p2psip.reload.topology.chord.ring import advance
from p2psip.reload.topology.chord.sayings import AskForUpdate, SendJoin, SendUpdate
from p2psip.reload.topology.joining import LET_IN_PAUSE_S, JoinState

# Joining


def test_the_way_in_step_by_step() -> None:
    """10.5: bootstrap node, Attach toward n+1, the neighbours, Join, Stores, the Update that names us."""
    bench = Bench()
    bench.chord.start_joining(0.0)
    assert bench.run_for(0.0) == [(0.0, SeekBootstrap())]
    bench.link(7, is_stranger=True)
    bench.chord.handle_gateway(nid(7), bench.now)
    (toward,) = bench.of(Connect)
    assert toward.via == nid(7)
    assert int.from_bytes(toward.target, "big") == int.from_bytes(nid(ME), "big") + 1
    assert bench.state is JoinState.SEEKING
    bench.chord.handle_answered(PLACE, nid(120), bench.now)
    bench.link(120)
    bench.hear(120, view(predecessors=(90, 80), successors=(130, 140)))
    assert bench.state is JoinState.MEETING
    assert {action.target: action.via for action in bench.of(Connect)} == {
        nid(place): nid(120) for place in (90, 80, 130, 140)
    }
    for place in (90, 80, 130):
        bench.link(place)
        bench.hear(place)
    assert bench.actions() == []
    bench.chord.handle_unreachable(nid(140), bench.now)
    assert bench.actions() == [SendJoin(nid(120))]
    bench.chord.handle_join_answer(nid(120), True, bench.now)
    assert bench.state is JoinState.RECEIVING
    bench.hear(120, view(predecessors=(ME, 90, 80), successors=(130,)))
    actions = bench.actions()
    assert actions[0] == Joined(nid(7), (nid(120),))
    assert [action.node for action in actions if isinstance(action, SendUpdate)] == [
        nid(place) for place in (7, 80, 90, 120, 130)
    ]
    assert bench.chord.joining.is_member


def test_nobody_is_told_of_us_before_we_are_a_member() -> None:
    """10.5: "The Joining Node MUST NOT send any Update message placing itself in the overlay until" then."""
    bench = joining_at_asking()
    assert bench.of(SendUpdate) == []
    bench.link(140, wants_full=True)
    assert bench.actions() == []


def joining_at_asking() -> Bench:
    """Has met its only neighbour, 120, and asked it to be let in."""
    bench = Bench()
    bench.chord.start_joining(0.0)
    bench.run_for(0.0)
    bench.link(120, is_stranger=True)
    bench.chord.handle_gateway(nid(120), 0.0)
    bench.chord.handle_answered(PLACE, nid(120), 0.0)
    bench.hear(120)
    assert bench.of(SendJoin) == [SendJoin(nid(120))]
    return bench


def test_we_join_at_the_closest_successor_that_we_met() -> None:
    """Another may have come between us and the peer that answered."""
    bench = Bench()
    bench.chord.start_joining(0.0)
    bench.run_for(0.0)
    bench.link(7)
    bench.chord.handle_gateway(nid(7), 0.0)
    bench.chord.handle_answered(PLACE, nid(120), 0.0)
    bench.link(120)
    bench.hear(120, view(predecessors=(110, 90), successors=(130,)))
    for place in (110, 90, 130):
        bench.link(place)
        bench.hear(place)
    assert bench.of(SendJoin) == [SendJoin(nid(110))]


def test_a_gateway_that_speaks_first_does_not_make_us_attach_to_its_neighbors() -> None:
    """They are far from us, most likely."""
    bench = Bench()
    bench.chord.start_joining(0.0)
    bench.run_for(0.0)
    bench.link(7)
    bench.chord.handle_gateway(nid(7), 0.0)
    bench.actions()
    bench.hear(7, view(predecessors=(5, 6), successors=(8, 9)))
    assert bench.actions() == []


def test_a_refused_join_is_tried_again() -> None:
    """Somebody came between; there is a ring all the same."""
    bench = joining_at_asking()
    bench.chord.handle_join_answer(nid(120), False, bench.now)
    (failed,) = bench.of(JoinFailed)
    assert failed.has_found_overlay
    assert (bench.now, SeekBootstrap()) not in bench.run_for(0.1)
    assert SeekBootstrap() in [action for _, action in bench.run_for(1.0)]


def test_a_gateway_that_knows_no_way_is_no_ring() -> None:
    """It is outside like us: after 12 s we look further, and may begin if we are allowed to."""
    bench = Bench()
    bench.chord.start_joining(0.0)
    bench.run_for(0.0)
    bench.link(7)
    bench.chord.handle_gateway(nid(7), 0.0)
    failures = [(at, action) for at, action in bench.run_for(12.0) if isinstance(action, JoinFailed)]
    assert [(at, action.has_found_overlay) for at, action in failures] == [(12.0, False)]


@pytest.mark.parametrize("lost", [120])
def test_losing_the_admitting_peer_is_a_failure_at_once(lost: int) -> None:
    """Whatever the step."""
    bench = joining_at_asking()
    bench.lose(lost)
    assert bench.state is JoinState.OUTSIDE
    assert len(bench.of(JoinFailed)) == 1


def test_losing_the_gateway_matters_only_while_we_seek() -> None:
    """Later it has done what it was for."""
    bench = Bench()
    bench.chord.start_joining(0.0)
    bench.run_for(0.0)
    bench.link(7)
    bench.chord.handle_gateway(nid(7), 0.0)
    bench.lose(7)
    assert bench.state is JoinState.OUTSIDE
    bench = Bench()
    bench.chord.start_joining(0.0)
    bench.run_for(0.0)
    bench.link(7)
    bench.link(120)
    bench.chord.handle_gateway(nid(7), 0.0)
    bench.chord.handle_answered(PLACE, nid(120), 0.0)
    bench.hear(120)
    bench.lose(7)
    assert bench.state is JoinState.ASKING


def test_the_admitting_peer_has_time_as_long_as_it_stores() -> None:
    """However much there is to hand over."""
    bench = joining_at_asking()
    bench.chord.handle_join_answer(nid(120), True, 0.0)
    for _ in range(5):
        bench.run_for(50.0)
        bench.chord.handle_value_received(nid(120), bench.now)
    assert bench.state is JoinState.RECEIVING
    bench.chord.handle_value_received(nid(7), bench.now)
    bench.run_for(61.0)
    assert bench.state is not JoinState.RECEIVING


def test_only_the_admitting_peer_says_that_we_are_in() -> None:
    """10.5 step 7; others may know us from before we were started again."""
    bench = joining_at_asking()
    bench.link(130)
    bench.hear(120, view(predecessors=(ME,)))
    assert bench.state is JoinState.ASKING
    bench.chord.handle_join_answer(nid(120), True, 0.0)
    bench.hear(130, view(predecessors=(120, ME)))
    assert bench.state is JoinState.RECEIVING
    bench.hear(120, view(predecessors=(ME,)))
    assert bench.state is JoinState.MEMBER


def test_who_is_told_of_others_while_it_is_let_in_gets_to_know_them_at_once() -> None:
    """Two that one peer lets in at the same moment are named to each other before either is a member; nothing would
    name them again before the next update interval."""
    bench = joining_at_asking()
    bench.chord.handle_join_answer(nid(120), True, 0.0)
    bench.hear(120, view(predecessors=(110, ME)))
    (connect,) = bench.of(Connect)
    assert (connect.target, connect.via) == (nid(110), nid(120))
    bench = joining_at_asking()
    bench.hear(120, view(predecessors=(110,)))
    bench.chord.handle_join_answer(nid(120), True, 0.0)
    assert bench.of(Connect) == []
    bench.hear(120, view(predecessors=(ME,)))
    assert bench.of(Connect) == []
    bench = joining_at_asking()
    bench.hear(120, view(predecessors=(110, ME)))
    bench.chord.handle_join_answer(nid(120), True, 0.0)
    assert nid(110) in [
        action.target for _, action in bench.run_for(LET_IN_PAUSE_S + 0.1) if isinstance(action, Connect)
    ]


def test_who_is_let_in_before_the_answer_to_its_join_asks_whether_it_is() -> None:
    """It need not wait for the pause."""
    bench = joining_at_asking()
    bench.hear(120, view(predecessors=(ME,)))
    bench.chord.handle_join_answer(nid(120), True, 0.0)
    assert bench.of(AskForUpdate) == [AskForUpdate(nid(120))]
    bench.hear(120, view(predecessors=(ME,)))
    assert bench.state is JoinState.MEMBER


def test_who_is_let_in_before_the_answer_to_its_join_waits_for_a_pause_only() -> None:
    """Links over DTLS keep no order; but it may also be an Update from before we were started again."""
    bench = joining_at_asking()
    bench.hear(120, view(predecessors=(ME,)))
    bench.chord.handle_join_answer(nid(120), True, 0.0)
    for _ in range(5):
        bench.run_for(2.0)
        assert bench.state is JoinState.RECEIVING
        bench.chord.handle_value_received(nid(120), bench.now)
    bench.run_for(LET_IN_PAUSE_S + 0.1)
    assert bench.state is JoinState.MEMBER


def test_a_joining_node_is_responsible_for_nothing() -> None:
    """Not even when it knows its neighbours."""
    bench = joining_at_asking()
    assert not any(bench.chord.is_responsible(nid(place)) for place in range(256))
    assert bench.chord.next_hop(nid(5)) == nid(120)


def test_who_takes_a_joining_node_for_a_member_gets_nothing_back() -> None:
    """It has let us in, and we do not know that yet: it would send the message here again and again."""
    bench = joining_at_asking()
    assert bench.chord.next_hop(nid(5), nid(120)) is None
    assert bench.chord.next_hop(nid(5), nid(7)) == nid(120)


def test_candidates_that_never_speak_hold_the_join_up_for_a_while_only() -> None:
    """A node that we are linked with and that is no peer is none of our neighbours."""
    bench = Bench()
    bench.chord.start_joining(0.0)
    bench.run_for(0.0)
    bench.link(120)
    bench.chord.handle_gateway(nid(120), 0.0)
    bench.chord.handle_answered(PLACE, nid(120), 0.0)
    bench.hear(120, view(successors=(130,)))
    bench.link(130)
    bench.actions()
    assert (UPDATE_WAIT_S, SendJoin(nid(120))) in bench.run_for(10.0)


# Admitting


def test_admitting_a_node() -> None:
    """10.5 steps 6 to 8: first the data, then an Update to it before anything else, then to all."""
    bench = member(90, 120)
    bench.link(95)
    bench.chord.handle_join(nid(95), bench.now)
    assert bench.of(HandOver) == [HandOver(nid(95), nid(90), nid(95), is_admission=True)]
    assert nid(95) not in bench.chord.table
    assert bench.chord.admitting_for(nid(93)) == [nid(95)]
    assert bench.chord.admitting_for(nid(97)) == []
    bench.chord.handle_handed_over(nid(95), bench.now)
    assert bench.of(SendUpdate) == [SendUpdate(nid(95))]
    assert bench.chord.table.range_low == nid(95)
    assert bench.chord.admitting_for(nid(93)) == []
    announced = [action.node for _, action in bench.run_for(ANNOUNCE_DELAY_S) if isinstance(action, SendUpdate)]
    assert announced == [nid(90), nid(120)]


@pytest.mark.parametrize("place", [80, 90, 110, ME])
def test_only_a_node_in_our_range_is_admitted(place: int) -> None:
    """It must look again."""
    bench = member(90, 120)
    bench.link(place)
    if place == 90:
        bench.hear(80)
        bench.link(80)
        bench.hear(80)
        bench.lose(90)
        bench.link(90)
        bench.hear(90)
        place = 80
    with pytest.raises(NotAdmitting):
        bench.chord.handle_join(nid(place), bench.now)


def test_a_predecessor_that_asks_to_be_let_in_was_started_again() -> None:
    """Whatever our table says: who asks is outside. It is let in anew, and told so."""
    bench = member(90, 120)
    bench.chord.handle_join(nid(90), bench.now)
    assert bench.of(HandOver) == [HandOver(nid(90), nid(120), nid(90), is_admission=True)]
    bench.chord.handle_handed_over(nid(90), bench.now)
    assert SendUpdate(nid(90)) in bench.actions()


def test_two_that_join_at_the_same_time() -> None:
    """Each gets what lies before it; whoever is done second hears of the first."""
    bench = member(80, 120)
    for place in (90, 95):
        bench.link(place)
        bench.chord.handle_join(nid(place), bench.now)
    assert [(action.low, action.high) for action in bench.of(HandOver)] == [(nid(80), nid(90)), (nid(80), nid(95))]
    bench.chord.handle_handed_over(nid(95), bench.now)
    bench.chord.handle_handed_over(nid(90), bench.now)
    assert bench.chord.table.predecessors == (nid(95), nid(90), nid(80))
    assert bench.chord.table.range_low == nid(95)
    told = [action.node for action in bench.of(SendUpdate)]
    assert told == [nid(95), nid(90)]


def test_a_joining_node_that_is_lost_or_could_not_be_given_its_data_is_not_admitted() -> None:
    """It looks again by itself."""
    bench = member(80, 120)
    for place in (90, 95):
        bench.link(place)
        bench.chord.handle_join(nid(place), bench.now)
    bench.lose(90)
    bench.chord.handle_handed_over(nid(90), bench.now)
    bench.chord.handle_admission_failed(nid(95))
    bench.chord.handle_handed_over(nid(95), bench.now)
    assert bench.chord.table.predecessors == (nid(80), nid(120))


def test_a_peer_that_comes_as_a_stranger_was_started_again() -> None:
    """It is a peer again when it says so, not before: messages for its neighbours would end there."""
    bench = member(90, 120)
    bench.run_for(CROSSING_S)
    bench.link(90, is_stranger=True)
    assert nid(90) not in bench.chord.table
    bench.hear(90)
    assert nid(90) in bench.chord.table


@pytest.mark.parametrize("is_in_the_ring", [True, False])
def test_who_dialled_us_before_our_link_came_up_is_doubted_and_not_dropped(is_in_the_ring: bool) -> None:
    """Two rings that meet look for each other with many dials at once: they were torn apart again by them."""
    bench = member(120)
    bench.link(90)
    bench.hear(90)
    bench.run_for(CROSSING_S - 1.0)
    bench.link(90, is_stranger=True)
    assert bench.of(AskForUpdate) == [AskForUpdate(nid(90))]
    if is_in_the_ring:
        bench.hear(90)
    bench.run_for(DOUBT_S)
    assert (nid(90) in bench.chord.table) == is_in_the_ring


def in_doubt() -> Bench:
    """The only other peer dials us, with which we are linked."""
    bench = member(120)
    bench.link(120, is_stranger=True)
    assert bench.of(AskForUpdate) == [AskForUpdate(nid(120))]
    assert nid(120) in bench.chord.table
    assert bench.chord.joining.is_member
    return bench


def test_a_ring_of_two_does_not_end_because_one_dials_the_other_anew() -> None:
    """Its link fell silent for it and not for us. Whoever is in the ring says so when it is asked."""
    bench = in_doubt()
    bench.hear(120)
    bench.run_for(DOUBT_S)
    assert nid(120) in bench.chord.table
    assert bench.chord.joining.is_member


def test_a_ring_of_two_of_which_one_was_started_again_ends_when_it_says_nothing_or_joins() -> None:
    bench = in_doubt()
    bench.run_for(DOUBT_S)
    assert nid(120) not in bench.chord.table
    assert not bench.chord.joining.is_member
    bench = in_doubt()
    bench.chord.handle_join(nid(120), bench.now)
    assert nid(120) not in bench.chord.table


def test_who_was_letting_us_in_and_dials_us_anew_has_forgotten_it() -> None:
    """It has lost the link over which it did, and we have not noticed: we would wait for a minute."""
    for is_receiving in (False, True):
        bench = joining_at_asking()
        if is_receiving:
            bench.chord.handle_join_answer(nid(120), True, bench.now)
        bench.link(120, is_stranger=True)
        (failed,) = bench.of(JoinFailed)
        assert failed.reason == f"{nid(120).short} has dialled us anew"
        assert [type(action) for _, action in bench.run_for(1.0)] == [SeekBootstrap]


# Serving alone


def test_alone_we_answer_for_everything_and_tell_nobody_unasked() -> None:
    """Nobody may route through a ring of one that is none of theirs."""
    bench = alone()
    assert bench.chord.is_serving
    assert all(bench.chord.is_responsible(nid(place)) for place in range(256))
    bench.link(7, is_stranger=True)
    bench.link(8)
    assert bench.actions() == []
    bench.link(9, wants_full=True)
    assert bench.actions() == [SendUpdate(nid(9), is_full=True)]


def test_alone_we_go_on_looking() -> None:
    """With pauses."""
    bench = alone()
    bench.chord.joining.retry_now(0.0)
    seeks = [at for at, action in bench.run_for(100.0) if isinstance(action, SeekBootstrap)]
    assert len(seeks) >= 5


def test_alone_we_seek_through_whoever_turns_out_to_be_a_peer() -> None:
    """And answer for no more than what lies between us from then on."""
    bench = alone()
    bench.run_for(0.0)
    bench.link(7)
    bench.hear(7)
    assert bench.of(FindPeer) == [FindPeer(advance(nid(ME), 1), nid(7))]
    assert not bench.chord.is_responsible(nid(5))
    assert bench.chord.is_responsible(nid(50))


def test_what_we_held_for_others_goes_to_them_when_we_are_let_in() -> None:
    """Each value to whoever is responsible for it."""
    bench = joining_at_asking()
    bench.chord.start_alone(bench.now)
    bench.chord.handle_gateway(nid(120), bench.now)
    bench.chord.handle_answered(PLACE, nid(120), bench.now)
    bench.chord.handle_join_answer(nid(120), True, bench.now)
    bench.actions()
    bench.hear(120, view(predecessors=(ME,)))
    assert HandOver(None, nid(ME), nid(120)) in bench.actions()


def test_the_first_peer_lets_the_second_in() -> None:
    """It is a ring of two then, and each has a copy of what the other answers for."""
    bench = alone()
    bench.link(120)
    bench.chord.handle_join(nid(120), 0.0)
    assert bench.of(HandOver) == [HandOver(nid(120), nid(ME), nid(120), is_admission=True)]
    bench.chord.handle_handed_over(nid(120), 0.0)
    assert bench.chord.joining.is_member
    done = [action for _, action in bench.run_for(1.0)]
    assert SendUpdate(nid(120)) in done
    assert Replicate(nid(120), 1, nid(120), nid(ME)) in done


def test_a_member_that_loses_everybody_serves_alone_and_looks_for_them() -> None:
    """10.7.1: "this peer SHOULD behave as if it is joining the network"."""
    bench = member(90)
    bench.lose(90)
    assert NeighborsChanged() in bench.actions()
    assert bench.chord.is_serving
    assert not bench.chord.joining.is_member
    assert bench.chord.is_responsible(nid(90))
    assert SeekBootstrap() in [action for _, action in bench.run_for(0.0)]
