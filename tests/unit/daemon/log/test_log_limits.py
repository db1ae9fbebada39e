"""How many lines of a kind go into the log, in virtual time."""

from __future__ import annotations

import pytest

from p2psip.daemon.log.limits import (
    KINDS_MAX,
    OF_ALL,
    OF_KIND,
    OF_SOURCE,
    PIECE,
    REPORT_S,
    SOURCES_MAX,
    LogLimits,
)

DAY_S = 86_400.0


def test_one_source_has_a_share() -> None:
    """It has so many lines at once, and one more now and then; that takes nothing from others."""
    limits = LogLimits()
    assert [limits.admits("refused", "a", 0.0) for _ in range(OF_SOURCE.burst + 5)].count(True) == OF_SOURCE.burst
    assert limits.admits("refused", "b", 0.0)
    assert limits.admits("another kind", "a", 0.0)
    assert not limits.admits("refused", "a", OF_SOURCE.refill_s / 2)
    assert limits.admits("refused", "a", 1.5 * OF_SOURCE.refill_s)


def test_a_kind_is_bounded_whoever_causes_it() -> None:
    limits = LogLimits()
    written = [limits.admits("refused", f"source {number}", 0.0) for number in range(10_000)]
    assert written == [True] * OF_KIND.burst + [False] * (10_000 - OF_KIND.burst)
    assert limits.admits("another", "", 0.0)


@pytest.mark.long
def test_a_day_of_it_is_a_few_lines() -> None:
    limits = LogLimits()
    seconds = range(int(DAY_S))
    assert sum(limits.admits("refused", "a", float(now)) for now in seconds for _ in range(3)) <= 9_000
    limits = LogLimits()
    assert sum(limits.admits("refused", str(now), float(now)) for now in seconds for _ in range(3)) <= 87_000


@pytest.mark.long
def test_all_kinds_from_all_sources_together_are_bounded_in_bytes() -> None:
    """Whoever causes whatever: under 100 MB a day, where a stranger once wrote 5 GB."""
    limits, size, written = LogLimits(), 1200, 0
    for second in range(0, int(DAY_S), 2):
        for kind in range(20):
            written += size * limits.admits(f"kind {kind}", f"source {second}", float(second), size)
    at_once, a_second = OF_ALL.burst * PIECE, PIECE / OF_ALL.refill_s
    assert 0.5 * a_second * DAY_S < written < at_once + a_second * DAY_S + 20 * 24 * size
    assert written < 100e6


def test_what_is_too_much_whoever_causes_it_is_counted_all_the_same() -> None:
    limits = LogLimits()
    assert not limits.leaves_out("refused", 0.0)
    for number in range(OF_KIND.burst):
        assert limits.admits("refused", f"source {number}", 0.0)
    assert [limits.leaves_out("refused", 0.0), limits.leaves_out("another", 0.0)] == [True, False]
    assert not limits.admits("refused", "another source", 0.0)
    assert limits.due(REPORT_S) == {"refused": 2}


def test_what_is_rare_is_written_whatever_else_is() -> None:
    """Once in an hour."""
    limits = LogLimits()
    for number in range(OF_ALL.burst):
        limits.admits(f"kind {number % 20}", f"source {number}", 0.0, PIECE)
    assert not limits.admits("kind 1", "another", 0.0)
    assert limits.admits("rare", "", 0.0)
    assert not limits.admits("rare", "", 0.0)


def test_what_is_left_out_is_told_once_a_minute_later() -> None:
    limits = LogLimits()
    for number in range(OF_KIND.burst + 7):
        limits.admits("refused", str(number), 100.0)
    assert limits.due(100.0 + REPORT_S - 1.0) == {}
    assert limits.due(100.0 + REPORT_S) == {"refused": 7}
    assert limits.due(1000.0) == limits.take() == {}


def test_what_is_remembered_is_bounded() -> None:
    limits = LogLimits()
    for number in range(10_000):
        limits.admits(f"kind {number}", f"source {number}", 0.0)
        limits.admits("refused", f"source {number}", 0.0)
    assert len(limits._kinds) == KINDS_MAX
    assert len(limits._sources) == SOURCES_MAX
    assert len(limits._left_out) <= KINDS_MAX
