"""Persist before you answer (p2psip.base.waiting_room), and the date (p2psip.base.wallclock)."""

from __future__ import annotations

from p2psip.base.waiting_room import WaitingRoom
from p2psip.base.wallclock import WallClock


def test_what_waits_for_a_token_is_held_until_it_is_answered() -> None:
    """In order; everything else passes meanwhile."""
    gate: WaitingRoom[str] = WaitingRoom(len, 100)
    gate.expect(1)
    gate.expect(2)
    assert not gate.passes("a", after=1)
    assert not gate.passes("b", after=2)
    assert not gate.passes("c", after=1)
    assert gate.passes("d", after=None)
    assert gate.release(1) == ["a", "c"]
    assert gate.release(2) == ["b"]


def test_what_waits_for_an_answered_token_passes() -> None:
    """The answer came first, or the token was never one of this gate's."""
    gate: WaitingRoom[str] = WaitingRoom(len, 100)
    gate.expect(1)
    assert gate.release(1) == []
    assert gate.passes("late", after=1)
    assert gate.passes("other", after=99)
    assert gate.release(1) == []


def test_what_is_held_is_bounded() -> None:
    """All tokens together; what goes makes room."""
    gate: WaitingRoom[str] = WaitingRoom(len, 10)
    gate.expect(1)
    gate.expect(2)
    assert not gate.passes("six...", after=1)
    assert not gate.passes("five.", after=2)
    assert not gate.passes("four", after=2)
    assert not gate.passes("1", after=1)
    assert gate.release(2) == ["four"]
    assert not gate.passes("4...", after=1)
    assert gate.release(1) == ["six...", "4..."]


def test_the_date_is_the_clock_and_an_offset() -> None:
    """In seconds, and in RELOAD's milliseconds."""
    wall = WallClock(1_800_000_000.0)
    assert wall.date(12.5) == 1_800_000_012.5
    assert wall.date_ms(12.5) == 1_800_000_012_500
    assert not WallClock(0.0, is_trusted=False).is_trusted
