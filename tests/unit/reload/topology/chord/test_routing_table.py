"""The Routing Table (p2psip.reload.topology.chord.routing_table) against naive models."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import pytest
from effort import times
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2psip.base.ids import NodeId
from p2psip.reload.topology.chord.ring import RING_SIZE, distance
from p2psip.reload.topology.chord.routing_table import FINGERS, RoutingTable

SCALE = RING_SIZE // 256
NEIGHBORS = 3


def nid(place: int) -> NodeId:
    """A Node-ID at one of 256 places around the ring."""
    return NodeId((place % 256 * SCALE + place).to_bytes(16, "big"))


def table(me: int, *others: int, neighbors: int = NEIGHBORS) -> RoutingTable:
    """The table of a node that knows others."""
    made = RoutingTable(nid(me), neighbors)
    for other in others:
        made.add(nid(other))
    return made


def places(*numbers: int) -> tuple[NodeId, ...]:
    """Node-IDs."""
    return tuple(map(nid, numbers))


@pytest.mark.must("10.7.3/2")
def test_neighbors_are_in_ring_order_nearest_first() -> None:
    """10.1: "the three peers before and after this peer in the DHT ring"."""
    here = table(100, 90, 200, 110, 10, 120, 95, 130)
    assert here.successors == places(110, 120, 130)
    assert here.predecessors == places(95, 90, 10)
    assert here.neighbors == places(110, 120, 130, 95, 90, 10)


def test_in_a_small_ring_successors_are_predecessors_too() -> None:
    """ "There may not be three entries in all cases"; with at most r others everybody holds all."""
    here = table(100, 90, 110)
    assert here.successors == places(110, 90)
    assert here.predecessors == places(90, 110)
    assert here.neighbors == places(110, 90)


def test_who_does_not_take_it_is_gone_round() -> None:
    """By the next one back, as if it were not in the table; where none is before the target by the first beyond it."""
    here = table(100, 110, 130, 150, 200)
    assert here.next_hop(nid(140)) == nid(130)
    assert here.next_hop(nid(140), None, nid(130)) == nid(110)
    assert here.next_hop(nid(140), None, nid(150)) == nid(130)
    assert here.next_hop(nid(120), None, nid(110)) == nid(130)
    assert here.next_hop(nid(105), None, nid(110)) == nid(130)
    assert table(100, 110).next_hop(nid(120), None, nid(110)) is None


@pytest.mark.must("10.7.3/4")
def test_10_7_3_a_peer_is_not_in_its_own_table() -> None:
    """ "A peer MUST NOT enter itself in its successor or predecessor table"."""
    with pytest.raises(AssertionError, match="MUST NOT enter itself"):
        table(100, 100)


def test_alone_it_is_responsible_for_everything() -> None:
    """(x, x] is the whole ring."""
    here = table(100)
    assert here.range_low == nid(100)
    assert all(here.is_in_range(nid(place)) for place in range(256))
    assert here.next_hop(nid(5)) is None


def test_10_1_the_range_begins_after_the_predecessor() -> None:
    """ "k is less than or equal to x and k is greater than p"."""
    here = table(100, 90, 110)
    assert here.range_low == nid(90)
    assert [place for place in range(256) if here.is_in_range(nid(place))] == list(range(91, 101))


@pytest.mark.must("10.3/2", "10.3/3")
def test_10_3_the_next_hop_is_the_last_peer_before_the_target() -> None:
    """ "the largest Node-ID that is in the interval between the peer and k. If no such node is found, the peer finds
    the smallest Node-ID that is greater than k"."""
    here = table(100, 120, 150, 200, 90)
    assert here.next_hop(nid(160)) == nid(150)
    assert here.next_hop(nid(110)) == nid(120)
    assert here.next_hop(nid(120)) == nid(120)
    assert here.next_hop(nid(150)) in places(120, 150)
    assert here.next_hop(nid(30)) == nid(200)


def test_what_a_peer_has_sent_past_its_target_goes_back_towards_it() -> None:
    """By the rule it would go to the last peer before the target, who sent it; it does not know the one between."""
    here = table(100, 60, 80, 90, 120)
    assert here.next_hop(nid(70)) == nid(60)
    assert here.next_hop(nid(70), nid(60)) == here.next_hop(nid(70), nid(120)) == nid(80)
    assert here.next_hop(nid(80), nid(60)) == nid(80)
    # Who is no peer of ours follows no rule, and who lies behind us has not sent it past the target.
    assert here.next_hop(nid(70), nid(50)) == nid(60)
    assert here.next_hop(nid(130), nid(90)) == nid(120)


@pytest.mark.long
@given(st.sets(st.integers(0, 255), min_size=2, max_size=12), st.integers(0, 255), st.randoms())
@settings(max_examples=times(200), deadline=None)
def test_no_message_goes_in_a_circle(places: set[int], target: int, rng: random.Random) -> None:
    """Property: whoever knows whom, if each of two knows the other, it ends where the range of a peer is as that sees
    it, and no peer has it more often than twice: once on its way towards the target, and once from beyond it.
    """
    tables = {place: table(place) for place in places}
    for one, other in combinations(sorted(places), 2):
        if rng.random() < 0.5:
            tables[one].add(nid(other))
            tables[other].add(nid(one))
    by_id = {nid(place): each for place, each in tables.items()}
    for first in by_id:
        seen: Counter[NodeId] = Counter()
        here, came_from = first, None
        while not by_id[here].is_in_range(nid(target)):
            seen[here] += 1
            assert seen[here] <= 2
            onward = by_id[here].next_hop(nid(target), came_from)
            assert onward is not None
            here, came_from = onward, here


def test_a_change_is_one_of_the_neighbor_table_only() -> None:
    """A peer further away changes nothing that others need to hear of."""
    here = table(100, 90, 95, 98, 110, 120, 130)
    assert not here.add(nid(200))
    assert not here.remove(nid(200))
    assert not here.remove(nid(201))
    assert here.remove(nid(110))
    assert here.add(nid(110))
    assert not here.add(nid(110))


def test_wanted_are_those_who_would_be_neighbors_all_together() -> None:
    """Not each by itself: who is told of twenty names needs no link with the far ones."""
    here = table(100)
    names = places(*range(101, 121), *range(80, 100))
    assert set(here.wanted_among(names)) == set(places(101, 102, 103, 99, 98, 97))
    assert here.wanted_among(places(100)) == []
    here = table(100, 101, 102, 103, 99, 98, 97)
    assert here.wanted_among(places(104, 96, 101)) == []


def test_fingers_are_valid_in_their_range_only() -> None:
    """10.7.4.2: "valid if it is in the range [ x+2^( 128-i ), x+2^( 128-(i-1) )-1 ]"."""
    here = table(0, 128, 200, 64, 40, 16)
    assert here.finger(1) == nid(128)
    assert here.finger(2) == nid(64)
    assert here.finger(3) == nid(40)
    assert here.finger(4) == nid(16)
    assert here.finger(5) is None
    assert here.fingers == places(16, 40, 64, 128)
    assert here.finger_index(nid(128)) == 1
    assert here.finger_index(nid(200)) is None
    assert here.is_missing_finger(nid(8))
    assert not here.is_missing_finger(nid(17))


def test_invalid_fingers_are_those_beyond_the_successors() -> None:
    """In a ring whose members are all neighbours there is nothing to look for."""
    assert table(0, 50, 100).invalid_fingers() == []
    here = table(0, 1, 2, 3, 200)
    assert here.invalid_fingers() == [2, 3, 4, 5, 6]
    assert here.finger(1) == nid(200)


@given(st.integers(1, FINGERS), st.integers(0, RING_SIZE))
def test_places_for_fingers_lie_in_their_range(index: int, offset: int) -> None:
    """Property: whoever sits at that place would be a valid entry."""
    here = table(77)
    place = NodeId(here.finger_place(index, offset))
    here.add(place)
    assert here.finger(index) == place
    assert here.finger_index(place) == index


class NaiveTable(RuleBasedStateMachine):
    """Property: the same as sorting all known peers by distance each time one looks."""

    def __init__(self) -> None:
        super().__init__()
        self.me = 100
        self.table = table(self.me)
        self.known: set[int] = set()

    def ring(self) -> list[NodeId]:
        return sorted(map(nid, self.known), key=lambda node: distance(nid(self.me), node))

    @rule(place=st.integers(0, 255).filter(lambda place: place != 100))
    def add(self, place: int) -> None:
        before = (self.table.successors, self.table.predecessors)
        self.known.add(place)
        assert self.table.add(nid(place)) == (before != (self.table.successors, self.table.predecessors))

    @rule(place=st.integers(0, 255))
    def remove(self, place: int) -> None:
        before = (self.table.successors, self.table.predecessors)
        self.known.discard(place)
        assert self.table.remove(nid(place)) == (before != (self.table.successors, self.table.predecessors))

    @rule(towards=st.integers(0, 255))
    def route(self, towards: int) -> None:
        target = nid(towards)
        ring, away = self.ring(), distance(nid(self.me), target)
        before = [node for node in ring if distance(nid(self.me), node) < away]
        assert self.table.next_hop(target) == (before[-1:] or ring[:1] or [None])[0]
        owners = sorted([*ring, nid(self.me)], key=lambda node: distance(target, node))
        assert self.table.responsible_for(target) == owners[0]
        assert self.table.is_in_range(target) == (owners[0] == nid(self.me))

    @rule(names=st.lists(st.integers(0, 255), max_size=12))
    def want(self, names: list[int]) -> None:
        everybody = table(self.me, *(self.known | set(names)) - {self.me})
        wanted = {node for node in everybody.neighbors if node not in self.table}
        assert set(self.table.wanted_among(map(nid, names))) == wanted

    @invariant()
    def neighbors_are_the_nearest(self) -> None:
        ring = self.ring()
        assert self.table.successors == tuple(ring[:NEIGHBORS])
        assert self.table.predecessors == tuple(ring[::-1][:NEIGHBORS])
        assert len(self.table) == len(ring)
        assert all(node in self.table for node in ring)

    @invariant()
    def fingers_are_the_first_in_their_range(self) -> None:
        for index in range(1, FINGERS + 1):
            low, high = 1 << (128 - index), 1 << (129 - index)
            found = [node for node in self.ring() if low <= distance(nid(self.me), node) < high]
            assert self.table.finger(index) == (found[0] if found else None)


TestNaiveTable = NaiveTable.TestCase
TestNaiveTable.settings = settings(max_examples=times(30), stateful_step_count=30)


@pytest.mark.must("10.7.2/1")
def test_10_7_2_a_failed_finger_gives_way_to_the_closest_before_it() -> None:
    """ "all references to the failed peer MUST be removed from the Finger Table and replaced with the closest preceding
    peer from the Finger Table or Neighbor Table"."""
    here = table(0, 1, 2, 3, 40, 128)
    assert here.next_hop(nid(130)) == nid(128)
    here.remove(nid(128))
    assert nid(128) not in here.fingers
    assert here.finger(1) is None
    assert here.next_hop(nid(130)) == nid(40)
    here.remove(nid(40))
    assert here.next_hop(nid(130)) == nid(3)
