"""CHORD-RELOAD of one node (p2psip.reload.topology.chord.chord): what it asks for, event by event."""

from __future__ import annotations

import itertools
import random
from typing import TypeVar

import pytest

from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue
from p2psip.reload.link.link import LinkLost
from p2psip.reload.topology.actions import (
    Action,
    Connect,
    Detach,
    FindPeer,
    Forget,
    HandOver,
    Joined,
    JoinFailed,
    NeighborsChanged,
    ProbePartition,
    Replicate,
    SeekBootstrap,
)
from p2psip.reload.topology.chord.chord import (
    ANNOUNCE_DELAY_S,
    CANDIDATE_PAUSE_S,
    DOUBT_S,
    LOST_PAUSE_S,
    PLACE,
    NotAdmitting,
)
from p2psip.reload.topology.chord.messages import NeighborView
from p2psip.reload.topology.chord.neighbor_candidates import CANDIDATES_MAX, UPDATE_WAIT_S
from p2psip.reload.topology.chord.ring import RING_SIZE, advance
from p2psip.reload.topology.chord.sayings import AskForUpdate, SendJoin, SendUpdate
from p2psip.reload.topology.chord.settings import ChordSettings
from p2psip.reload.topology.chord.topology import ChordTopology
from p2psip.reload.topology.joining import LET_IN_PAUSE_S, JoinState

A = TypeVar("A", bound=Action)
SCALE = RING_SIZE // 256
ME = 100


def nid(place: int) -> NodeId:
    """A Node-ID at one of 256 places around the ring."""
    return NodeId((place % 256 * SCALE).to_bytes(16, "big"))


def view(predecessors: tuple[int, ...] = (), successors: tuple[int, ...] = ()) -> NeighborView:
    """What an Update says."""
    return NeighborView(tuple(map(nid, predecessors)), tuple(map(nid, successors)))


class Bench:
    """A Chord and the time."""

    def __init__(self, *, is_reactive: bool = True, neighbors: int = 3) -> None:
        settings = ChordSettings(is_reactive=is_reactive, neighbors=neighbors)
        self.queue = TimerQueue()
        self.chord = ChordTopology(nid(ME), settings, random.Random(1), 0.0, self.queue)
        self.now = 0.0

    def actions(self) -> list[Action]:
        """What is to be done since the last look, before it is put into messages."""
        return self.chord.take_actions()

    def of(self, kind: type[A]) -> list[A]:
        """The same, of one kind."""
        return [action for action in self.actions() if isinstance(action, kind)]

    def run_for(self, seconds: float) -> list[tuple[float, Action]]:
        """Let time go on; what is asked for when."""
        end, done = self.now + seconds, [(self.now, action) for action in self.actions()]
        while (deadline := self.queue.next_deadline()) is not None and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            self.chord.handle_timeout(self.now)
            done += [(self.now, action) for action in self.actions()]
        self.now = end
        return done

    def link(self, place: int, **how: bool) -> None:
        """A link is up."""
        self.chord.handle_linked(nid(place), self.now, **how)

    def hear(self, place: int, says: NeighborView | None = None) -> None:
        """A linked node sends an Update."""
        self.chord.handle_update(nid(place), says or NeighborView(), self.now)

    def lose(self, place: int) -> None:
        """A link is down."""
        self.chord.handle_link_lost(LinkLost(nid(place), "reset"), self.now)

    @property
    def state(self) -> JoinState:
        """Where in the join it stands."""
        return self.chord.joining.state


def alone() -> Bench:
    """The first peer of an overlay."""
    bench = Bench()
    bench.chord.start_alone(0.0)
    bench.actions()
    return bench


def member(*others: int, neighbors: int = 3, is_reactive: bool = True) -> Bench:
    """A member of a ring whose other members it knows."""
    bench = Bench(neighbors=neighbors, is_reactive=is_reactive)
    bench.chord.start_alone(0.0)
    first = others[0]
    bench.link(first)
    bench.chord.handle_join(nid(first), 0.0)
    bench.chord.handle_handed_over(nid(first), 0.0)
    for other in others[1:]:
        bench.link(other)
        bench.hear(other)
    bench.run_for(1.0)
    assert bench.chord.joining.is_member
    return bench


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
    assert actions[0] == Joined()
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
    bench.link(90, is_stranger=True)
    assert nid(90) not in bench.chord.table
    bench.hear(90)
    assert nid(90) in bench.chord.table


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
