"""Keyed deadlines (p2psip.base.timers)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest, is_due


def test_due_keys_come_in_order_of_time_then_of_setting() -> None:
    """Whatever the order in which they were set."""
    timers: Timers[str] = Timers()
    for key, at in [("late", 3.0), ("second", 1.0), ("third", 1.0), ("first", 0.5)]:
        timers.set(key, at, key)
    assert list(timers.pop_due(1.0)) == ["first", "second", "third"]
    assert list(timers.pop_due(2.9)) == []
    assert list(timers.pop_due(3.0)) == ["late"]
    assert len(timers) == 0


def test_setting_a_key_again_moves_it() -> None:
    """Later as well as earlier; the old deadline is gone."""
    timers: Timers[str] = Timers()
    timers.set("key", 1.0, "was early")
    timers.set("key", 5.0, "is late")
    assert list(timers.pop_due(4.0)) == []
    assert timers.next_deadline() == Deadline(5.0, "is late")
    timers.set("key", 2.0, "is early again")
    assert list(timers.pop_due(10.0)) == ["key"]
    assert timers.next_deadline() is None


def test_cancelled_keys_are_forgotten() -> None:
    """Cancelling what is not set does no harm."""
    timers: Timers[str] = Timers()
    timers.set("key", 1.0, "")
    assert "key" in timers
    timers.cancel("key")
    timers.cancel("other")
    assert "key" not in timers
    assert timers.next_deadline() is None
    assert list(timers.pop_due(9.0)) == []


def test_moving_one_key_for_ever_takes_no_memory() -> None:
    """What is re-armed with each packet must not grow: the heap is cleaned of what no longer counts."""
    timers: Timers[int] = Timers()
    for serial in range(10_000):
        timers.set(serial % 3, float(serial), "")
    assert len(timers) == 3
    assert len(timers._heap) <= 65


@given(
    st.lists(st.tuples(st.sampled_from(["set", "cancel", "due"]), st.integers(0, 5), st.integers(0, 20)), max_size=60)
)
def test_like_a_dictionary_that_is_searched(operations: list[tuple[str, int, int]]) -> None:
    """Property: the same as a dictionary of deadlines that is sorted each time."""
    timers: Timers[int] = Timers()
    model: dict[int, tuple[float, int]] = {}
    for serial, (what, key, at) in enumerate(operations):
        if what == "set":
            timers.set(key, float(at), "")
            model[key] = (float(at), serial)
        elif what == "cancel":
            timers.cancel(key)
            model.pop(key, None)
        else:
            due = sorted((entry, each) for each, entry in model.items() if entry[0] <= at)
            assert list(timers.pop_due(float(at))) == [each for _, each in due]
            for _, each in due:
                del model[each]
        deadline = timers.next_deadline()
        assert (deadline and deadline.at) == (min(entry[0] for entry in model.values()) if model else None)


def test_the_earliest_of_several() -> None:
    """None counts as never."""
    assert earliest([None, Deadline(2.0, "b"), Deadline(1.0, "a"), None]) == Deadline(1.0, "a")
    assert earliest([None]) is None
    assert earliest([]) is None


def test_what_is_cancelled_by_one_that_came_does_not_come() -> None:
    """Of two that are due at once, as after a machine slept, the first may make the second superfluous."""
    timers: Timers[str] = Timers()
    for key in ("first", "second", "third"):
        timers.set(key, 1.0, key)
    came = []
    for key in timers.pop_due(3600.0):
        came.append(key)
        timers.cancel("second")
    assert came == ["first", "third"]


def test_what_is_set_by_one_that_came_comes_the_next_time() -> None:
    """However early: who always sets again does not keep everybody busy for ever."""
    timers: Timers[str] = Timers()
    for key in ("first", "second"):
        timers.set(key, 1.0, key)
    came = []
    for key in timers.pop_due(3600.0):
        came.append(key)
        timers.set("first", 0.0, "again")
    assert came == ["first", "second"]
    assert timers.next_deadline() == Deadline(0.0, "again")
    assert list(timers.pop_due(3600.0)) == ["first"]


OPERATIONS = st.tuples(
    st.sampled_from(["set", "cancel", "due"]), st.integers(0, 2), st.integers(0, 3), st.integers(0, 20)
)


@given(st.lists(OPERATIONS, max_size=60))
def test_a_queue_knows_the_earliest_of_its_scopes(operations: list[tuple[str, int, int, int]]) -> None:
    """Property: after whatever is done to them, the same as asking each; and each does as it does alone. Two are those
    of a part of the core, whose queue knows the earliest of the two.
    """
    queue = TimerQueue()
    part_queue = TimerQueue(queue)
    scopes: list[Timers[int]] = [queue.scope(), part_queue.scope(), part_queue.scope()]
    alone: list[Timers[int]] = [Timers() for _ in range(3)]
    for what, part, key, at in operations:
        for timers in (scopes[part], alone[part]):
            if what == "set":
                timers.set(key, float(at), f"{key}")
            elif what == "cancel":
                timers.cancel(key)
        if what == "due":
            assert list(scopes[part].pop_due(float(at))) == list(alone[part].pop_due(float(at)))
        # In either order: to ask the queue of the part changes nothing for that of the whole.
        for each, own in ((part_queue, alone[1:]), (queue, alone))[:: 1 if at % 2 else -1]:
            expected = earliest(timers.next_deadline() for timers in own)
            found = each.next_deadline()
            assert (found and found.at) == (expected and expected.at)
            assert is_due(each, 7.0) is (expected is not None and expected.at <= 7.0)


def test_a_queue_sees_what_is_set_and_put_off_while_timers_come_due() -> None:
    """Set for now while another is due: it comes at the next call, and the queue says so."""
    queue = TimerQueue()
    timers: Timers[str] = queue.scope()
    timers.set("first", 1.0, "first")
    for _ in timers.pop_due(5.0):
        timers.set("again", 2.0, "again")
    assert queue.next_deadline() == Deadline(2.0, "again")
    assert list(timers.pop_due(5.0)) == ["again"]
    assert queue.next_deadline() is None


def test_moving_one_scope_for_ever_takes_no_memory() -> None:
    """What is armed earlier and later with each packet must not grow in the queue either."""
    queue = TimerQueue()
    timers: Timers[int] = queue.scope()
    for serial in range(10_000):
        timers.set(0, serial + 100_000.0, "")
        timers.set(1, serial + 3.0, "")
        assert queue.next_deadline() == Deadline(serial + 3.0, "")
        timers.cancel(1)
        assert queue.next_deadline() == Deadline(serial + 100_000.0, "")
    assert len(queue._heap) <= 65


def test_what_is_cleared_does_not_come() -> None:
    """Nor does it while others of its time are being looked at."""
    queue = TimerQueue()
    timers: Timers[str] = queue.scope()
    for key in ("a", "b", "c"):
        timers.set(key, 1.0, key)
    came = []
    for key in timers.pop_due(1.0):
        came.append(key)
        timers.clear()
    assert came == ["a"]
    assert (len(timers), timers.next_deadline(), queue.next_deadline()) == (0, None, None)
    timers.set("d", 2.0, "d")
    assert queue.next_deadline() == Deadline(2.0, "d")


def test_what_was_set_before_it_joins_a_queue_comes_due_there() -> None:
    """A part that was made before its core."""
    queue, timers = TimerQueue(), Timers[str]()
    timers.set("a", 1.0, "a")
    timers.join(queue)
    assert queue.next_deadline() == Deadline(1.0, "a")
    timers.set("b", 0.5, "b")
    assert queue.next_deadline() == Deadline(0.5, "b")
