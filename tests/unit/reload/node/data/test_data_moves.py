"""Values on their way between peers (p2psip.reload.node.data.moving): hand-overs and replicas."""

from __future__ import annotations

import pytest
from data_bench import (
    KIND,
    LIFETIME_S,
    MANY,
    NOW_MS,
    WHO,
    Bench,
    keys_of,
    resource_of,
    users_between,
    value_of,
)
from node_bench import Heard, nid

from p2psip.base.ids import ResourceId
from p2psip.reload.node.data.moving import OFFER_AGAIN_S, OFFERS_MAX
from p2psip.reload.node.limits import HANDOVER_WINDOW
from p2psip.reload.topology.chord.replicas import HOLD_DOWN_S
from p2psip.reload.topology.chord.ring import is_between
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.storage_messages import (
    FetchAns,
    FetchKindResponse,
    FetchReq,
    StoreAns,
    StoredData,
    StoreKindData,
    StoreKindResponse,
    StoreReq,
)
from p2psip.reload.wire.topology_messages import JoinReq
from p2psip.sim.invariants import chord_of
from p2psip.sim.signer import SimulatedIdentity

# Handing over


@pytest.mark.must("6.4.2.1/4", "10.5/5", "10.5/6")
def test_a_joining_node_gets_what_becomes_its_own_and_then_the_update() -> None:
    """10.5 steps 6 and 7, a window of Stores at a time."""
    bench = Bench(max_message_size=5000)
    for who in MANY:
        bench.store_as(who)
    lower = [who for who in MANY if is_between(resource_of(who), nid(50), nid(75))]
    assert len(lower) > HANDOVER_WINDOW
    bench.link(75)
    bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(75)))
    given: set[ResourceId] = set()
    while stores := bench.stores_heard(75):
        assert len(stores) <= HANDOVER_WINDOW
        assert nid(75) not in chord_of(bench.node).table
        for store in stores:
            given.update(resource for resource, _ in keys_of(store))
            bench.accept(75, store)
    assert given == {resource_of(who) for who in lower}
    assert nid(75) in chord_of(bench.node).table
    assert [message.code for message in bench.heard(75)][-1] is MessageCode.UPDATE_REQ


def test_what_is_stored_meanwhile_reaches_the_joining_node_too() -> None:
    """It will be asked for it in a moment."""
    bench = Bench()
    lower = [who for who in MANY if is_between(resource_of(who), nid(50), nid(75))]
    bench.store_as(lower[0])
    bench.link(75)
    bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(75)))
    assert len(bench.stores_heard(75)) == 1
    bench.store_as(lower[1])
    (store,) = bench.stores_heard(75)
    assert keys_of(store) == [(resource_of(lower[1]), 1)]


def test_a_joining_node_that_does_not_answer_its_stores_is_not_let_in() -> None:
    """What it should answer for would be lost."""
    bench = Bench()
    lower = next(who for who in MANY if is_between(resource_of(who), nid(50), nid(75)))
    bench.store_as(lower)
    bench.link(75)
    bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(75)))
    bench.run_for(16.0)
    assert nid(75) not in chord_of(bench.node).table
    assert bench.notes("hand-over incomplete")


def test_a_joining_node_that_has_newer_values_is_let_in() -> None:
    """7.4.1.1: "the peer MUST fetch the newer data from the peer generating the error"."""
    bench = Bench()
    lower = next(who for who in MANY if is_between(resource_of(who), nid(50), nid(75)))
    bench.store_as(lower)
    bench.link(75)
    bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(75)))
    (store,) = bench.stores_heard(75)
    bench.refuse(75, store, ErrorCode.DATA_TOO_OLD)
    assert nid(75) in chord_of(bench.node).table
    fetch = bench.hear_one(75, MessageCode.FETCH_REQ)
    assert isinstance(fetch.body, FetchReq)
    assert fetch.body.resource == resource_of(lower)


def test_who_asks_over_and_over_to_be_let_in_has_no_more_under_way_at_once() -> None:
    """With a window for each Join all requests that may be open would be for one who answers none of them."""
    bench = Bench(max_message_size=5000)
    for who in MANY:
        bench.store_as(who)
    bench.link(75)
    given: set[ResourceId] = set()
    waiting: list[Heard] = []
    for _ in range(5):
        bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(75)))
        waiting += bench.stores_heard(75)
        assert len(waiting) <= HANDOVER_WINDOW
        bench.accept(75, waiting.pop(0))
        waiting += bench.stores_heard(75)
    while waiting:
        given.update(resource for resource, _ in keys_of(waiting[0]))
        assert nid(75) not in chord_of(bench.node).table
        bench.accept(75, waiting.pop(0))
        waiting += bench.stores_heard(75)
    assert given == {resource_of(who) for who in MANY if is_between(resource_of(who), nid(50), nid(75))}
    assert nid(75) in chord_of(bench.node).table


def test_what_is_lost_with_a_link_does_not_shut_out_who_comes_again() -> None:
    """Its Stores fail a quarter of a minute later, in the midst of the next attempt."""
    bench = Bench(max_message_size=5000)
    for who in MANY:
        bench.store_as(who)
    bench.link(75)
    bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(75)))
    bench.drop(75)
    bench.run_for(10.0)
    bench.link(75)
    bench.heard(75)
    bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(75)))
    waiting = bench.stores_heard(75)
    bench.run_for(6.0)
    while waiting:
        for store in waiting:
            bench.accept(75, store)
        waiting = bench.stores_heard(75)
    assert nid(75) in chord_of(bench.node).table


@pytest.mark.must("7.4.1.1/21")
@pytest.mark.parametrize("why", [ErrorCode.DATA_TOO_OLD, ErrorCode.GENERATION_COUNTER_TOO_LOW])
def test_newer_values_are_taken_over_and_ours_that_are_newer_offered_again(why: ErrorCode) -> None:
    """A Store is taken as a whole or not at all."""
    bench = Bench()
    bench.store_as(WHO)
    (store,) = bench.stores_heard(150)
    bench.refuse(150, store, why)
    fetch = bench.hear_one(150, MessageCode.FETCH_REQ)
    newer = value_of(WHO, NOW_MS + 5)
    answer = FetchAns((FetchKindResponse(KIND, 7, (newer,)),))
    bench.answer(150, fetch, MessageCode.FETCH_ANS, answer, certificates=WHO.certificates)
    (record,) = bench.store.records(resource_of(WHO), KIND)
    assert StoredData.decode(record.data, model=bench.configuration.kinds[KIND].data_model) == newer
    assert all(keys_of(store)[0][0] == resource_of(WHO) for store in bench.stores_heard(150))
    assert keys_of(bench.stores_heard(160)[-1]) == [(resource_of(WHO), 2)]


def test_newer_values_without_their_certificates_are_not_taken_over() -> None:
    """Whoever sends them."""
    bench = Bench()
    bench.store_as(WHO)
    (store,) = bench.stores_heard(150)
    bench.refuse(150, store, ErrorCode.DATA_TOO_OLD)
    fetch = bench.hear_one(150, MessageCode.FETCH_REQ)
    answer = FetchAns((FetchKindResponse(KIND, 7, (value_of(WHO, NOW_MS + 5),)),))
    bench.answer(150, fetch, MessageCode.FETCH_ANS, answer)
    (record,) = bench.store.records(resource_of(WHO), KIND)
    assert StoredData.decode(record.data, model=bench.configuration.kinds[KIND].data_model) == value_of(WHO)


def test_a_hand_over_ends_with_its_link() -> None:
    """Not a quarter of a minute for every sixteen values."""
    bench = Bench()
    for who in MANY:
        bench.store_as(who)
    bench.link(75)
    bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(75)))
    assert bench.stores_heard(75)
    bench.drop(75)
    bench.run_for(16.0)
    assert not bench.node._moving.is_handing_over


def test_10_9_who_leaves_hands_its_values_to_its_successor() -> None:
    """Though it is their first replica: now it must be sure."""
    bench = Bench()
    bench.store_as(WHO)
    bench.stores_heard(150)
    bench.node.leave(bench.now)
    bench.settle()
    leave, store = bench.heard(150)
    assert leave.code is MessageCode.LEAVE_REQ
    assert keys_of(store) == [(resource_of(WHO), 1)]
    assert not bench.node.has_left
    bench.accept(150, store)
    assert bench.node.has_left


# Replicas


@pytest.mark.must("10.7.3/5")
def test_a_new_successor_gets_copies_at_once() -> None:
    """10.7.3: "it MUST send a Store for any data associated with R to any new node in the replica set"."""
    bench = Bench()
    bench.store_as(WHO)
    bench.link(120)
    bench.update(120)
    bench.run_for(0.0)
    (store,) = bench.stores_heard(120)
    assert keys_of(store) == [(resource_of(WHO), 1)]


def test_when_a_replica_fails_another_gets_copies_after_the_hold_down() -> None:
    """10.7.1: 30 seconds."""
    bench = Bench()
    bench.store_as(WHO)
    for place in (150, 160):
        for store in bench.stores_heard(place):
            bench.accept(place, store)
    bench.drop(150)
    bench.run_for(HOLD_DOWN_S - 1.0)
    assert bench.stores_heard(170) == []
    bench.run_for(2.0)
    (store,) = bench.stores_heard(170)
    assert keys_of(store) == [(resource_of(WHO), 2)]


def test_who_is_to_have_the_same_copies_over_and_over_has_no_more_under_way_at_once() -> None:
    """As one that comes and goes, and answers no Store."""
    bench = Bench(max_message_size=5000)
    for who in MANY:
        bench.store_as(who)
    bench.stores_heard(150)
    waiting: list[Heard] = []
    for _ in range(4):
        bench.node._moving.replicate(nid(150), 1, nid(1), nid(99), bench.now)
        bench.node._settle(bench.now)
        bench.settle()
        waiting += bench.stores_heard(150)
    assert len(waiting) == HANDOVER_WINDOW
    while waiting:
        bench.accept(150, waiting.pop())
        waiting += bench.stores_heard(150)
    assert not bench.node._moving.is_handing_over


@pytest.mark.parametrize("code", [None, ErrorCode.REQUEST_TIMEOUT])
def test_a_replica_that_was_too_busy_gets_its_copy_later(code: ErrorCode | None) -> None:
    """It did not answer in 15 s, or said so."""
    bench = Bench()
    bench.store_as(WHO)
    (store,) = bench.stores_heard(150)
    if code is not None:
        bench.refuse(150, store, code)
    bench.run_for(15.1)
    bench.stores_heard(150)
    bench.run_for(HOLD_DOWN_S)
    assert keys_of(bench.stores_heard(150)[0]) == [(resource_of(WHO), 1)]


def test_a_replica_that_may_not_is_not_asked_again() -> None:
    """Its quota, or its rules, will be the same in half a minute."""
    bench = Bench()
    bench.store_as(WHO)
    (store,) = bench.stores_heard(150)
    bench.refuse(150, store, ErrorCode.DATA_TOO_LARGE)
    bench.run_for(100.0)
    assert bench.stores_heard(150) == []


def values_in(store: Heard) -> int:
    """How many values a Store has."""
    assert isinstance(store.body, StoreReq)
    return sum(len(data.values) for data in store.body.kind_data if isinstance(data, StoreKindData))


TWO_LINES = [SimulatedIdentity(WHO.user, who.node_id) for who in MANY[:2]]


@pytest.mark.parametrize("code", [ErrorCode.FORBIDDEN, ErrorCode.DATA_TOO_LARGE])
def test_a_value_that_is_refused_does_not_keep_others_from_being_copied(code: ErrorCode) -> None:
    """A Store of several values that is refused for one of them goes again value by value, once."""
    bench = Bench()
    for who in TWO_LINES:
        bench.store_as(who)
    bench.link(120)
    bench.update(120)
    bench.run_for(0.0)
    (both,) = bench.stores_heard(120)
    assert values_in(both) == 2
    bench.refuse(120, both, code)
    first, second = bench.stores_heard(120)
    assert [values_in(first), values_in(second)] == [1, 1]
    assert {keys_of(store)[0] for store in (first, second)} == {(resource_of(WHO), 1)}
    bench.refuse(120, first, code)
    bench.accept(120, second)
    bench.run_for(HOLD_DOWN_S + 1.0)
    # Who may not pass on one of them may be another for that peer when it knows the ring.
    assert bool(bench.stores_heard(120)) == (code is ErrorCode.FORBIDDEN)


def offered_to_a_new_predecessor(**settings: object) -> tuple[Bench, SimulatedIdentity, Heard]:
    """A user's value is node 80's, which has just come; the Store that hands it over."""
    bench = Bench(**settings)
    (theirs,) = users_between(50, 75, 1)
    bench.store_as(theirs)
    for place in (150, 160):
        for store in bench.stores_heard(place):
            bench.accept(place, store)
    for place in (80, 85, 90):
        bench.link(place)
        bench.update(place)
    (store,) = bench.stores_heard(80)
    return bench, theirs, store


@pytest.mark.must("6.4.2.3/2")
def test_what_a_new_predecessor_refuses_goes_to_whoever_is_responsible_when_the_ring_has_settled() -> None:
    """It knew a nearer one, of the other part of the overlay, that we had not heard of yet."""
    bench, theirs, store = offered_to_a_new_predecessor()
    bench.refuse(80, store, ErrorCode.FORBIDDEN)
    assert bench.stores_heard(50) == []
    bench.run_for(OFFER_AGAIN_S)
    (again,) = bench.stores_heard(50)
    assert again.header.destination_list == (Destination.resource(resource_of(theirs)),)
    assert keys_of(again) == [(resource_of(theirs), 1)]
    bench.answer(50, again, MessageCode.STORE_ANS, StoreAns((StoreKindResponse(KIND, 1, ()),)), signer=80)
    bench.run_for(100.0)
    assert bench.stores_heard(50) == bench.stores_heard(80) == []


def test_what_is_always_refused_is_not_offered_for_ever() -> None:
    bench, _, store = offered_to_a_new_predecessor()
    bench.refuse(80, store, ErrorCode.FORBIDDEN)
    offers = 1
    for _ in range(2 * OFFERS_MAX):
        bench.run_for(OFFER_AGAIN_S)
        for again in bench.stores_heard(50):
            bench.answer(50, again, MessageCode.ERROR, ErrorResponse.of(ErrorCode.FORBIDDEN, ""), signer=80)
            offers += 1
    assert offers == OFFERS_MAX


def test_a_replica_that_did_not_know_us_yet_gets_its_copy_when_it_does() -> None:
    bench = Bench()
    bench.store_as(WHO)
    (store,) = bench.stores_heard(160)
    bench.refuse(160, store, ErrorCode.FORBIDDEN)
    bench.run_for(OFFER_AGAIN_S)
    (again,) = bench.stores_heard(160)
    assert keys_of(again) == [(resource_of(WHO), 2)]


def test_nothing_is_forgotten_while_it_may_be_what_others_lack() -> None:
    """Three predecessors may have come between before the value has found its place."""
    bench, theirs, store = offered_to_a_new_predecessor(chord_update_interval_s=1)
    bench.run_for(2.0)
    assert bench.holds(theirs)
    bench.refuse(80, store, ErrorCode.FORBIDDEN)
    bench.run_for(3.0)
    assert bench.holds(theirs)
    bench.run_for(2.0)
    (again,) = bench.stores_heard(50)
    bench.answer(50, again, MessageCode.STORE_ANS, StoreAns((StoreKindResponse(KIND, 1, ()),)), signer=80)
    bench.run_for(3.0)
    assert not bench.holds(theirs)


def test_nor_does_one_that_is_too_old_for_whom_there_is_nothing_newer() -> None:
    """Who says so and then cannot show what is newer has something against one of the values: the others go singly."""
    bench = Bench()
    for who in TWO_LINES:
        bench.store_as(who)
    bench.link(120)
    bench.update(120)
    bench.run_for(0.0)
    (both,) = bench.stores_heard(120)
    bench.refuse(120, both, ErrorCode.DATA_TOO_OLD)
    fetch = bench.hear_one(120, MessageCode.FETCH_REQ)
    bench.answer(120, fetch, MessageCode.FETCH_ANS, FetchAns((FetchKindResponse(KIND, 1, ()),)))
    first, second = bench.stores_heard(120)
    assert [values_in(first), values_in(second)] == [1, 1]
    bench.refuse(120, first, ErrorCode.DATA_TOO_OLD)
    bench.accept(120, second)
    fetch = bench.hear_one(120, MessageCode.FETCH_REQ)
    bench.answer(120, fetch, MessageCode.FETCH_ANS, FetchAns((FetchKindResponse(KIND, 1, ()),)))
    assert bench.stores_heard(120) == []


def test_nor_from_being_passed_on() -> None:
    """Values that landed here and are another's, where no hand-over is under way."""
    (theirs,) = users_between(100, 150, 1)
    lines = [SimulatedIdentity(theirs.user, who.node_id) for who in MANY[:2]]
    bench = Bench()
    request = StoreReq(resource_of(theirs), 1, (StoreKindData(KIND, 1, tuple(map(value_of, lines))),))
    certificates = [certificate for who in lines for certificate in who.certificates]
    bench.send(170, MessageCode.STORE_REQ, request, certificates=certificates)
    (both,) = bench.stores_heard(150)
    bench.refuse(150, both, ErrorCode.DATA_TOO_LARGE)
    assert [values_in(store) for store in bench.stores_heard(150)] == [1, 1]


@pytest.mark.must("7.4.1.1/20")
def test_lifetimes_are_lowered_by_the_time_spent_here() -> None:
    """7.4.1.1: "it MUST adjust the lifetime value downward to reflect the amount of time the value was stored"."""
    bench = Bench()
    bench.store_as(WHO)
    for place in (50, 150, 160, 170):
        bench.remotes[place].heard.clear()
    bench.run_for(1000.0)
    bench.link(120)
    bench.update(120)
    bench.run_for(0.0)
    (store,) = bench.stores_heard(120)
    assert isinstance(store.body, StoreReq)
    (value,) = store.body.kind_data[0].values
    assert value.lifetime in (LIFETIME_S - 1000, LIFETIME_S - 1001)
    assert value.storage_time == NOW_MS


def test_10_7_3_what_is_no_longer_ours_is_forgotten() -> None:
    """ "there are three predecessors between x and R": "it SHOULD delete all data associated with R"."""
    bench = Bench(150, 50, 40, 30, 20)
    (near,) = users_between(30, 40, 1)
    (far,) = users_between(150, 20, 1)
    bench.pass_on(near, 40)
    bench.pass_on(far, 20)
    assert bench.holds(near)
    assert bench.holds(far)
    bench.run_for(800.0)
    assert bench.holds(near)
    assert not bench.holds(far)
