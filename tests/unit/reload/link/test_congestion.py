"""The congestion window (p2psip.reload.link.congestion) by the rules of RFC 5681."""

from __future__ import annotations

import pytest

from p2psip.reload.link.congestion import WINDOW_INITIAL, WINDOW_MAX, Window


def test_it_doubles_each_round_trip_at_first() -> None:
    """Slow start: one more for each that came through."""
    window = Window()
    for _ in range(int(WINDOW_INITIAL)):
        window.acknowledged()
    assert window.size == 2 * WINDOW_INITIAL


@pytest.mark.must("6.6.3/1")
def test_after_a_loss_it_is_half_and_grows_by_one_each_round_trip() -> None:
    """Congestion avoidance."""
    window = Window()
    for _ in range(17):
        window.acknowledged()
    window.lost()
    assert window.size == 10.0
    for _ in range(10):
        window.acknowledged()
    assert window.size == pytest.approx(11.0, abs=0.06)


@pytest.mark.must("6.6.3/1")
def test_after_a_timeout_it_is_one_and_doubles_up_to_half_of_what_it_was() -> None:
    """And a second timeout does not forget what that half was."""
    window = Window()
    for _ in range(17):
        window.acknowledged()
    for _ in range(3):
        window.timed_out()
    assert window.size == 1.0
    for _ in range(9):
        window.acknowledged()
    assert window.size == 10.0
    window.acknowledged()
    assert window.size == pytest.approx(10.1)


def test_it_is_never_below_two_after_a_loss() -> None:
    """Equation 4 of RFC 5681."""
    window = Window()
    for _ in range(5):
        window.lost()
    assert window.size == 2.0


def test_it_has_a_bound() -> None:
    """Whatever a fast network would bear."""
    window = Window()
    for _ in range(1000):
        window.acknowledged()
    assert window.size == WINDOW_MAX


def test_what_was_learned_goes_stale() -> None:
    """After a rest it starts as at first, but not wider than it was."""
    window = Window()
    for _ in range(100):
        window.acknowledged()
    window.rested()
    assert window.size == WINDOW_INITIAL
    window.timed_out()
    window.rested()
    assert window.size == 1.0
