"""The storage core beyond section 7: expiry, clocks that are wrong, storage times."""

from __future__ import annotations

import pytest
from storage_bench import (
    ALICE,
    ALICE_PLACE,
    BOB,
    NOTES,
    PEER,
    SINGLE,
    WALL,
    Bench,
    entry,
    single,
)

from p2psip.base.wallclock import WallClock
from p2psip.reload.storage.limits import Limits
from p2psip.reload.storage.store.continuity import BootClock, Continuity, Saved, resume
from p2psip.reload.storage.store.records import Age, Commit, Moment, SetStorageTime
from p2psip.reload.wire.storage_messages import StoreKindData, StoreReq

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
