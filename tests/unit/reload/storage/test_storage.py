"""The storage core beyond section 7: commits, clocks, quotas, the ring."""

from __future__ import annotations

from dataclasses import replace

import pytest
from storage_bench import (
    ALICE,
    ALICE_ELSEWHERE,
    ALICE_PLACE,
    BOB,
    BOB_PLACE,
    BY_NODE,
    DICTIONARY,
    KINDS,
    NOTES,
    PEER,
    SINGLE,
    WALL,
    Bench,
    entry,
    everything,
    single,
)

from p2psip.base.effects import Ask
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import AccessControl, Kind
from p2psip.reload.security.roles import Signer
from p2psip.reload.storage.access import WantedWrite
from p2psip.reload.storage.limits import Limits
from p2psip.reload.storage.store.continuity import BootClock, Continuity, Saved, resume
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import Age, Commit, Committed, Moment, SetStorageTime, Usage
from p2psip.reload.topology.chord.ring import hash_name, is_between
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.rejections import DataTooLarge, Forbidden, RequestTimeout, UnknownKind
from p2psip.reload.wire.storage_messages import StoredData, StoreKindData, StoreReq
from p2psip.sim.signer import SimulatedIdentity


def place_of(number: int) -> ResourceId:
    return ResourceId(number.to_bytes(16, "big"))


def anywhere(bench: Bench, *resources: ResourceId) -> None:
    """Store a value of alice's at each resource, wherever that is: nobody's hash function stands in the way."""
    for resource in resources:
        bench.storage.use_rules(replace(bench.rules, hash_name=lambda name, resource=resource: resource), bench.now)
        bench.put(SINGLE, single(b"x"), resource=resource)


# --- Commits.


def test_an_answer_waits_for_its_commit() -> None:
    bench = Bench(is_slow=True)
    stored = bench.put(SINGLE, single(b"x"))
    (ask,) = bench.asked
    assert stored.after == ask.token
    assert ask.deadline == Limits().commit_patience_s
    assert bench.store.records(ALICE_PLACE, SINGLE.kind_id) == []
    bench.answer(ask)
    assert bench.store.records(ALICE_PLACE, SINGLE.kind_id)[0].user == ALICE.user


def test_what_is_read_from_uncommitted_state_waits_for_its_commit() -> None:
    bench = Bench(is_slow=True)
    bench.put(SINGLE, single(b"1"))
    bench.put(NOTES, entry(b"k", b"2"))
    first, second = bench.asked
    assert bench.read(SINGLE) == [b"1"]
    assert bench.fetch(everything(SINGLE)).after == first.token
    assert bench.fetch(everything(SINGLE), everything(NOTES)).after == second.token
    assert bench.fetch(everything(NOTES), resource=BOB_PLACE).after is None
    bench.answer(first)
    assert bench.fetch(everything(SINGLE)).after is None
    assert bench.fetch(everything(NOTES)).after == second.token


def test_a_store_that_changes_nothing_waits_for_what_it_saw() -> None:
    bench = Bench(is_slow=True)
    stored = bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"x"))
    request = StoreReq(ALICE_PLACE, 0, (StoreKindData(SINGLE.kind_id, 0, (stored,)),))
    assert bench.send(request).after == bench.send(request).after == bench.asked[0].token
    assert len(bench.asked) == 1


def test_a_commit_that_fails_takes_its_changes_back() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"old"))
    bench.is_slow = True
    bench.put(SINGLE, single(b"new"))
    assert bench.read(SINGLE) == [b"new"]
    bench.fail(bench.asked[0])
    assert bench.read(SINGLE) == [b"old"]
    fetched = bench.fetch(everything(SINGLE))
    assert (fetched.after, fetched.answer.kind_responses[0].generation) == (None, 1)
    assert bench.storage.value_count == 1


def test_a_later_commit_stands_when_an_earlier_one_fails() -> None:
    bench = Bench(is_slow=True)
    bench.put(SINGLE, single(b"first"))
    bench.put(SINGLE, single(b"second"))
    first, second = bench.asked
    bench.fail(first)
    assert bench.read(SINGLE) == [b"second"]
    bench.answer(second)
    fetched = bench.fetch(everything(SINGLE))
    assert (fetched.after, len(fetched.certificates)) == (None, 1)
    assert bench.read(SINGLE) == [b"second"]


def test_a_commit_that_nobody_answers_counts_as_failed() -> None:
    bench = Bench(is_slow=True)
    bench.put(SINGLE, single(b"x"))
    (ask,) = bench.asked
    bench.advance(59.9)
    assert bench.read(SINGLE) == [b"x"]
    bench.advance(60.0)
    assert bench.read(SINGLE) == [None]
    assert bench.storage.value_count == 0
    bench.answer(ask)
    assert bench.read(SINGLE) == [b"x"], "it was made after all"
    assert bench.storage.value_count == 1


def test_no_more_commits_than_the_limit_wait() -> None:
    bench = Bench(limits=Limits(commits_max=2), is_slow=True)
    bench.put(SINGLE, single(b"1"))
    bench.put(SINGLE, single(b"2"))
    with pytest.raises(RequestTimeout, match="wait for this peer's disk"):
        bench.put(SINGLE, single(b"3"))
    with pytest.raises(RequestTimeout):
        bench.storage.issue_storage_time(ALICE.node_id, 0.0)
    with pytest.raises(RequestTimeout):
        bench.storage.drop(ALICE_PLACE, 0.0)
    assert bench.read(SINGLE) == [b"2"]
    bench.answer(bench.asked[0])
    bench.put(SINGLE, single(b"3"))


def test_an_answer_to_nothing_is_ignored() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    bench.storage.handle_answer(999, Committed(), 0.0)
    assert (bench.read(SINGLE), bench.storage.value_count) == ([b"x"], 1)


def test_a_new_core_goes_on_where_the_old_one_stopped() -> None:
    before = Bench()
    before.put(DICTIONARY, entry(ALICE.node_id, b"x"))
    after = Bench(store=before.store, now=100.0)
    assert after.read(DICTIONARY) == [b"x"]
    assert after.storage.value_count == 1
    after.advance(600.0)
    assert after.read(DICTIONARY) == []
    assert after.store.usage(None) == Usage(0, 0)


def test_each_commit_has_the_counter_of_its_values_for_an_earlier_one_may_fail() -> None:
    bench = Bench(is_slow=True)
    for key in (b"a", b"b"):
        bench.put(NOTES, entry(key, b""), replica_number=1, generation=7, requester=PEER)
    first, second = bench.asked
    bench.fail(first)
    bench.answer(second)
    (response,) = bench.fetch(everything(NOTES)).answer.kind_responses
    assert response.generation == 7
    assert bench.read(NOTES) == [b""]


# --- Expiry.


def test_a_value_is_gone_when_its_lifetime_ends_and_swept_soon_after() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"), lifetime_s=10)
    deadline = bench.storage.next_deadline()
    assert deadline is not None
    assert (deadline.at, deadline.reason) == (10.0, "a record expires")
    bench.now = 10.0
    assert bench.read(SINGLE) == [None], "shown although it has expired"
    bench.advance(10.0)
    assert bench.store.records(ALICE_PLACE, SINGLE.kind_id) == []
    assert bench.store.generation(ALICE_PLACE, SINGLE.kind_id) == 0
    assert (bench.storage.value_count, bench.storage.size) == (0, 0)
    assert bench.storage.next_deadline() is None


def test_what_has_expired_keeps_nothing_out_swept_or_not() -> None:
    bench = Bench()
    bench.put(NOTES, *(entry(bytes([n]), b"") for n in range(4)), storage_time_ms=5000, lifetime_s=10)
    bench.now = 10.0
    bench.put(NOTES, entry(b"\x00", b"older"), storage_time_ms=4000)
    bench.put(NOTES, entry(b"another", b""))
    bench.advance(20.0)
    assert bench.read(NOTES) == [b"older", b""]


def test_a_sweep_leaves_the_generation_counter_of_what_remains() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"a", b""), lifetime_s=10)
    bench.put(NOTES, entry(b"b", b""))
    bench.advance(10.0)
    assert bench.store.generation(ALICE_PLACE, NOTES.kind_id) == 2
    assert [record.place.key for record in bench.store.records(ALICE_PLACE, NOTES.kind_id)] == [b"b"]


def test_a_sweep_spares_what_is_being_replaced() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"old"), lifetime_s=10)
    bench.is_slow = True
    bench.now = 10.0
    bench.put(SINGLE, single(b"new"))
    bench.storage.handle_timeout(10.0)
    bench.settle()
    assert len(bench.asked) == 1
    bench.answer(bench.asked[0])
    bench.advance(20.0)
    assert bench.read(SINGLE) == [b"new"]


def test_expired_values_go_in_portions() -> None:
    bench = Bench(limits=Limits(sweep_max=2))
    bench.put(NOTES, *(entry(bytes([n]), b"") for n in range(4)), lifetime_s=10)
    bench.put(SINGLE, single(b""), lifetime_s=10)
    counts = []
    for at in (9.9, 10.0, 10.9, 11.0, 12.0):
        bench.advance(at)
        counts.append(bench.storage.value_count)
    assert counts == [5, 3, 3, 1, 0]


def test_a_sweep_that_fails_is_tried_again() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"), lifetime_s=10)
    bench.is_slow = True
    bench.advance(10.0)
    assert bench.storage.next_deadline() is not None
    bench.fail(bench.asked[0])
    bench.is_slow = False
    bench.advance(19.9)
    assert bench.storage.value_count == 1
    bench.advance(20.0)
    assert bench.storage.value_count == 0


def test_a_value_with_no_lifetime_left_replaces_and_is_gone() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    bench.put(SINGLE, single(b"y"), lifetime_s=0)
    assert bench.read(SINGLE) == [None]


# --- Clocks.


DATED = Moment(0.0, WALL.offset)


def rebooted(dated: Moment | None = DATED) -> Continuity:
    """How the store's clock, last seen at 50, goes on in a process that starts at 0 after a reboot."""
    return resume(Saved(50.0, BootClock("before", 1e6), dated), BootClock("after", 3.0), 0.0)


def test_after_a_reboot_values_are_withheld_until_the_date_is_trusted() -> None:
    before = Bench()
    before.put(SINGLE, single(b"x"), storage_time_ms=5000, lifetime_s=600)
    after = Bench(store=before.store, wall=WallClock(0.0, is_trusted=False), continuity=rebooted())
    assert after.read(SINGLE) == [None]
    assert list(after.storage.resources_in(b"", b"", 0.0)) == []
    assert after.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000) == []
    after.now = 20.0
    # 70 s on the store's clock, and a date that says 200: the machine was off for 130.
    after.storage.handle_wall_clock(WallClock(WALL.offset + 180.0), 20.0)
    after.settle()
    assert after.read(SINGLE) == [b"x"]
    after.advance(419.8)
    assert after.read(SINGLE) == [b"x"]
    after.advance(420.0)
    assert after.read(SINGLE) == [None]


def test_withheld_values_still_keep_older_ones_out() -> None:
    before = Bench()
    old = before.signed(ALICE, ALICE_PLACE, SINGLE, single(b"old"))
    before.put(SINGLE, single(b"x"))
    after = Bench(store=before.store, wall=WallClock(0.0, is_trusted=False), continuity=rebooted())
    with pytest.raises(Exception, match="there is a value with storage_time 1002"):
        after.send(StoreReq(ALICE_PLACE, 0, (StoreKindData(SINGLE.kind_id, 0, (old,)),)))


def test_a_withheld_value_that_another_peer_sends_again_is_shown() -> None:
    before = Bench()
    before.put(SINGLE, single(b"x"))
    (transfer,) = before.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    after = Bench(store=before.store, wall=WallClock(0.0, is_trusted=False), continuity=rebooted())
    after.send(transfer.request, requester=PEER, certificates=transfer.certificates)
    assert after.read(SINGLE) == [b"x"]


@pytest.mark.parametrize("dated", [None, Moment(0.0, WALL.offset + 1e6)], ids=["no date before", "a date before it"])
def test_values_of_unknowable_age_have_expired(dated: Moment | None) -> None:
    before = Bench()
    before.put(SINGLE, single(b"x"))
    after = Bench(store=before.store, continuity=rebooted(dated))
    assert after.read(SINGLE) == [None]
    after.advance(1.0)
    assert after.storage.value_count == 0


def test_ageing_that_fails_is_tried_again() -> None:
    before = Bench()
    before.put(SINGLE, single(b"x"))
    after = Bench(store=before.store, continuity=rebooted(), is_slow=True)
    (ask,) = after.asked
    assert isinstance(ask.question, Commit)
    assert isinstance(ask.question.changes[0], Age)
    after.storage.handle_wall_clock(WALL, 0.0)
    after.settle()
    assert len(after.asked) == 1, "asked twice at once"
    after.fail(ask)
    assert after.read(SINGLE) == [None]
    after.is_slow = False
    after.advance(10.0)
    assert after.read(SINGLE) == [b"x"]


def test_each_commit_tells_the_moment_and_its_date_if_that_is_trusted() -> None:
    bench = Bench(is_slow=True, now=5.0, continuity=Continuity(epoch=100.0))
    bench.put(SINGLE, single(b"1"))
    bench.storage.handle_wall_clock(WallClock(0.0, is_trusted=False), 5.0)
    bench.put(SINGLE, single(b"2"))
    moments = [ask.question.moment for ask in bench.asked if isinstance(ask.question, Commit)]
    assert moments == [Moment(105.0, WALL.offset + 5.0), Moment(105.0, None)]


def test_a_storage_time_is_the_date_or_one_more_than_the_last() -> None:
    bench = Bench()
    issue = bench.storage.issue_storage_time
    date_ms = WALL.date_ms(0.0)
    assert issue(ALICE.node_id, 0.0).storage_time_ms == date_ms
    assert issue(ALICE.node_id, 0.0).storage_time_ms == date_ms + 1
    assert issue(BOB.node_id, 0.0).storage_time_ms == date_ms
    assert issue(ALICE.node_id, 0.0, above_ms=date_ms + 500).storage_time_ms == date_ms + 501
    assert issue(ALICE.node_id, 7.0).storage_time_ms == date_ms + 7000


def test_a_storage_time_outlives_clock_and_process() -> None:
    bench = Bench()
    issued = bench.storage.issue_storage_time(ALICE.node_id, 0.0)
    bench.settle()
    reborn = Bench(store=bench.store, wall=WallClock(0.0, is_trusted=False), is_slow=True)
    again = reborn.storage.issue_storage_time(ALICE.node_id, 0.0)
    reborn.settle()
    assert again.storage_time_ms == issued.storage_time_ms + 1
    (ask,) = reborn.asked
    assert again.after == ask.token
    assert isinstance(ask.question, Commit)
    assert ask.question.changes == (SetStorageTime(ALICE.node_id, again.storage_time_ms),)


# --- Quotas.


def test_a_users_values_are_limited_in_number() -> None:
    bench = Bench(limits=Limits(records_per_user_max=2))
    bench.put(NOTES, entry(b"a", b""), entry(b"b", b""))
    with pytest.raises(DataTooLarge, match=r"at most 2 values of alice@example\.org"):
        bench.put(NOTES, entry(b"c", b""))
    bench.put(NOTES, entry(b"a", b"again"))
    bench.put(NOTES, entry(b"a", b""), identity=BOB, resource=BOB_PLACE)
    assert bench.storage.value_count == 3


def test_a_users_bytes_are_limited() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"a", b"12345"))
    bench = Bench(limits=Limits(bytes_per_user_max=bench.storage.size))
    bench.put(NOTES, entry(b"a", b"12345"))
    with pytest.raises(DataTooLarge, match="bytes of alice"):
        bench.put(NOTES, entry(b"a", b"123456"))
    bench.put(NOTES, entry(b"a", b"123"))


@pytest.mark.parametrize("limits", [Limits(records_max=1), Limits(bytes_max=150)])
def test_all_values_together_are_limited(limits: Limits) -> None:
    bench = Bench(limits=limits)
    bench.put(SINGLE, single(b"x"))
    with pytest.raises(DataTooLarge, match=r"at most \d+ (values|bytes)$"):
        bench.put(SINGLE, single(b"x"), identity=BOB, resource=BOB_PLACE)
    bench.put(SINGLE, single(b"y"))


def test_who_has_too_much_may_still_have_less() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"a", b"12345"), entry(b"b", b""))
    strict = Bench(store=bench.store, limits=Limits(records_per_user_max=1, bytes_per_user_max=100), clock_ms=5000)
    strict.put(NOTES, entry(b"a", b"123"))
    strict.put(NOTES, entry(b"a", None))
    with pytest.raises(DataTooLarge):
        strict.put(NOTES, entry(b"a", b"1"))


def test_a_usage_may_refuse_names() -> None:
    class OnlyBob:
        def ends_ms(self, stored: StoredData, signer: Signer) -> int:
            return 1 << 62

        def permits(self, write: WantedWrite, signer: Signer) -> bool:
            return signer.user == BOB.user

    bench = Bench(usage_rules={SINGLE.kind_id: OnlyBob()})
    bench.put(SINGLE, single(b"x"), identity=BOB, resource=BOB_PLACE)
    bench.put(NOTES, entry(b"", b""))
    with pytest.raises(Forbidden, match=r"takes no values of Kind 0xf0000001 for alice@example\.org"):
        bench.put(SINGLE, single(b"x"))


def test_nobody_writes_under_a_policy_that_is_not_known() -> None:
    kind = Kind(0xF0000009, DataModel.SINGLE, AccessControl.NODE_ID_MATCH, max_count=1, max_size=9)
    with pytest.raises(Forbidden, match="NODE-ID-MATCH"):
        Bench(kinds={kind.kind_id: kind}).put(kind, single(b"x"))


# --- The ring.


@pytest.mark.parametrize("is_slow", [False, True], ids=["committed", "uncommitted"])
def test_resources_come_clockwise_from_the_low_end(is_slow: bool) -> None:
    bench = Bench()
    numbers = [0, 1, 5, 9, 2**127, 2**128 - 1]
    bench.is_slow = is_slow
    anywhere(bench, *map(place_of, reversed(numbers)))
    for low in (0, 1, 4, 5, 2**127, 2**128 - 1):
        for high in (0, 1, 4, 5, 2**127, 2**128 - 1):
            found = list(bench.storage.resources_in(place_of(low), place_of(high), 0.0))
            expected = [number for number in numbers if is_between(place_of(number), place_of(low), place_of(high))]
            expected.sort(key=lambda number: (number - low - 1) % 2**128)
            assert found == list(map(place_of, expected)), (low, high)


def test_a_range_is_looked_up_page_by_page_while_it_changes() -> None:
    bench = Bench()
    anywhere(bench, *map(place_of, range(1, 251)))
    found = bench.storage.resources_in(place_of(0), place_of(1000), 0.0)
    head = [next(found) for _ in range(50)]
    for number in (120, 230):
        bench.storage.drop(place_of(number), 0.0)
        bench.settle()
    bench.is_slow = True
    anywhere(bench, place_of(300))
    tail = list(found)
    assert len(set(head + tail)) == len(head + tail) == 249
    assert not {place_of(120), place_of(230)}.intersection(tail)
    assert tail[-1] == place_of(300)


def test_a_resource_with_nothing_to_show_is_not_in_the_range() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"), lifetime_s=10)
    bench.is_slow = True
    bench.put(SINGLE, single(b"x"), identity=BOB, resource=BOB_PLACE)
    assert set(bench.storage.resources_in(b"", b"", 0.0)) == {ALICE_PLACE, BOB_PLACE}
    bench.storage.drop(BOB_PLACE, 0.0)
    assert list(bench.storage.resources_in(b"", b"", 0.0)) == [ALICE_PLACE]
    assert list(bench.storage.resources_in(b"", b"", 10.0)) == []


def test_dropping_forgets_values_certificates_and_counters() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    bench.put(NOTES, entry(b"a", b""), entry(b"b", b""))
    bench.storage.drop(ALICE_PLACE, 0.0)
    assert bench.fetch(everything(SINGLE)).answer.kind_responses[0].generation == 0
    assert (bench.read(SINGLE), bench.read(NOTES)) == ([None], [])
    bench.settle()
    assert bench.store.kinds(ALICE_PLACE) == []
    assert bench.store.generation(ALICE_PLACE, SINGLE.kind_id) == 0
    assert bench.storage.value_count == 0
    bench.storage.drop(ALICE_PLACE, 0.0)
    assert bench.storage.drain() == []


def test_a_transfer_is_cut_into_messages() -> None:
    bench = Bench()
    for identity in (ALICE, ALICE_ELSEWHERE):
        bench.put(DICTIONARY, entry(identity.node_id, bytes(100)), identity=identity)
    bench.put(NOTES, *(entry(bytes([n]), bytes(100)) for n in range(4)))
    for size_max in (100, 400, 700, 5000):
        pieces = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=size_max)
        sizes = [len(p.request.encode()) + sum(len(c.encode()) for c in p.certificates) for p in pieces]
        values = [sum(len(data.values) for data in p.request.kind_data) for p in pieces]  # type: ignore[union-attr]
        assert sum(values) == 6
        assert all(size <= size_max + 30 or count == 1 for size, count in zip(sizes, values, strict=True))
        replica = Bench()
        for piece in pieces:
            replica.send(piece.request, requester=PEER, certificates=piece.certificates)
        for kind in (DICTIONARY, NOTES):
            assert replica.fetch(everything(kind)).answer == bench.fetch(everything(kind)).answer
    assert len(pieces) == 1


def test_a_certificate_counts_once_in_a_transfer() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"a", b""), entry(b"b", b""))
    (whole,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    values = [value.encode() for data in whole.request.kind_data for value in data.values]  # type: ignore[union-attr]
    size = 16 + sum(map(len, values)) + len(ALICE.certificates[0].encode())
    assert len(bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=size)) == 1
    assert len(bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=size - 1)) == 2


def test_a_transfer_of_some_places_only() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"a", b""), entry(b"b", b""))
    stored = bench.put(NOTES, entry(b"b", b"new"))
    (transfer,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000, places=stored.places)
    (data,) = transfer.request.kind_data
    assert isinstance(data, StoreKindData)
    assert [value.value for value in data.values] == [entry(b"b", b"new")]
    assert data.generation_counter == 2


def test_a_kind_that_the_overlay_has_given_up_is_not_handed_on() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    bench.put(NOTES, entry(b"k", b""))
    kinds = {kind_id: kind for kind_id, kind in KINDS.items() if kind is not SINGLE}
    bench.storage.use_rules(replace(bench.rules, kinds=kinds), bench.now)
    (transfer,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    assert [data.kind for data in transfer.request.kind_data] == [NOTES.kind_id]
    with pytest.raises(UnknownKind):
        bench.read(SINGLE)


def test_11_1_values_of_a_kind_that_the_overlay_has_given_up_are_discarded() -> None:
    """Some at a time, those included whose commit was under way, and the generation counters with them."""
    bench = Bench(limits=Limits(sweep_max=2))
    bench.put(NOTES, *(entry(bytes([n]), b"x") for n in range(4)))
    bench.put(SINGLE, single(b"stays"))
    bench.is_slow = True
    bench.put(NOTES, entry(b"\0", b"newer"))
    kinds = {kind_id: kind for kind_id, kind in KINDS.items() if kind is not NOTES}
    bench.storage.use_rules(replace(bench.rules, kinds=kinds), bench.now)
    bench.answer(bench.asked[0])
    bench.is_slow = False
    commits = bench.store.commit
    sizes: list[int] = []
    bench.store.commit = lambda commit: (sizes.append(len(commit.changes)), commits(commit))[1]  # type: ignore[method-assign]
    bench.advance(bench.now + 1)
    assert sizes == [2, 3]
    assert bench.store.stored_kinds() == [SINGLE.kind_id]
    assert bench.store.generation(ALICE_PLACE, NOTES.kind_id) == 0
    assert bench.storage.value_count == 1
    assert bench.read(SINGLE) == [b"stays"]


def test_11_1_they_are_discarded_after_a_restart_as_well_and_after_a_disk_that_failed() -> None:
    before = Bench()
    before.put(NOTES, entry(b"k", b"x"))
    kinds = {kind_id: kind for kind_id, kind in KINDS.items() if kind is not NOTES}
    after = Bench(store=before.store, kinds=kinds, is_slow=True)
    after.advance(0.0)
    after.fail(after.asked[0])
    after.advance(9.0)
    assert after.asked == []
    after.is_slow = False
    after.advance(10.0)
    assert before.store.stored_kinds() == []


def test_values_of_a_kind_that_has_another_data_model_now_are_discarded() -> None:
    before = Bench()
    before.put(NOTES, entry(b"k", b"x"))
    after = Bench(store=before.store, kinds=KINDS | {NOTES.kind_id: replace(NOTES, data_model=DataModel.ARRAY)})
    after.advance(0.0)
    assert before.store.stored_kinds() == []


# --- Quotas.


def test_13_5_2_a_user_with_many_keys_has_one_quota() -> None:
    bench = Bench(limits=Limits(records_per_user_max=2))
    bench.put(DICTIONARY, entry(ALICE.node_id, b"x"))
    bench.put(DICTIONARY, entry(ALICE_ELSEWHERE.node_id, b"x"), identity=ALICE_ELSEWHERE)
    with pytest.raises(DataTooLarge, match=r"at most 2 values of alice@example\.org"):
        bench.put(SINGLE, single(b"x"))
    bench.put(BY_NODE, single(b"x"), identity=BOB, resource=hash_name(BOB.node_id))


def test_13_5_2_a_key_with_many_user_names_has_one_quota() -> None:
    """Where certificates are self-signed, a key chooses what names it has."""
    bench = Bench(limits=Limits(records_per_node_max=2))
    names = [SimulatedIdentity(f"name{number}@example.org", ALICE.node_id) for number in range(3)]
    for who in names[:2]:
        bench.put(SINGLE, single(b"x"), identity=who, resource=hash_name(who.user.encode()))
    with pytest.raises(DataTooLarge, match=f"at most 2 values signed by {ALICE.node_id.short}"):
        bench.put(SINGLE, single(b"x"), identity=names[2], resource=hash_name(names[2].user.encode()))


def test_what_a_failed_commit_had_booked_is_given_back() -> None:
    """And what followed it is booked anew: it replaces something else than had been thought."""
    bench = Bench(is_slow=True, limits=Limits(records_per_user_max=2))
    bench.put(NOTES, entry(b"a", b"12345"))
    bench.put(NOTES, entry(b"a", b"1234567"), entry(b"b", b""))
    with pytest.raises(DataTooLarge):
        bench.put(NOTES, entry(b"c", b""))
    bench.fail(bench.asked[0])
    assert bench.storage.value_count == 2
    bench.fail(bench.asked[0])
    assert (bench.storage.value_count, bench.storage.size) == (0, 0)
    bench.put(NOTES, entry(b"c", b""), entry(b"d", b""))


# --- Adopting.


def test_adopting_takes_only_what_is_valid_and_newer() -> None:
    ours, theirs = Bench(), Bench()
    ours.put(NOTES, entry(b"a", b"ours"), storage_time_ms=9000)
    theirs.put(NOTES, entry(b"a", b"theirs"), entry(b"b", b"good"), storage_time_ms=2000)
    fetched = theirs.fetch(everything(NOTES))
    stray = theirs.signed(BOB, ALICE_PLACE, NOTES, entry(b"c", b"bad"))
    (response,) = fetched.answer.kind_responses
    forged = type(response)(NOTES.kind_id, 2**64 - 1, (*response.values, stray))  # type: ignore[union-attr,call-arg]
    answer = type(fetched.answer)((forged,))
    bucket = (*fetched.certificates, *BOB.certificates)
    adopted = ours.storage.adopt(ALICE_PLACE, answer, bucket, 0.0)
    ours.settle()
    assert [place.key for place in adopted.places] == [b"b"]
    assert [text.split(" ")[0] for text in adopted.refused] == ["there", "USER-MATCH"]
    assert ours.read(NOTES) == [b"ours", b"good"]
    assert ours.fetch(everything(NOTES)).answer.kind_responses[0].generation == 2


def test_adopting_nothing_changes_nothing() -> None:
    ours = Bench()
    adopted = ours.storage.adopt(ALICE_PLACE, Bench().fetch(everything(SINGLE)).answer, (), 0.0)
    assert (adopted.places, adopted.refused, adopted.after) == ((), (), None)
    assert ours.storage.drain() == []


def test_tokens_keep_clear_of_other_cores() -> None:
    bench = Bench()
    storage = type(bench.storage)(MemoryStore(), bench.rules, WALL, 0.0, first_token=2, token_step=3)
    tokens = [storage.issue_storage_time(NodeId(bytes(16)), 0.0).after for _ in range(3)]
    assert tokens == [2, 5, 8]
    assert all(isinstance(effect, Ask) for effect in storage.drain())
