"""How many lines of a kind go into the log, in virtual time."""

from __future__ import annotations

from p2psip.daemon.line_limits import (
    KIND_BURST,
    KINDS_MAX,
    REPORT_S,
    SOURCE_BURST,
    SOURCE_SPACING_S,
    SOURCES_MAX,
    LineLimits,
)

DAY_S = 86_400.0


def test_one_source_has_a_share() -> None:
    """It has so many lines at once, and one more now and then; that takes nothing from others."""
    limits = LineLimits()
    assert [limits.admits("refused", "a", 0.0) for _ in range(SOURCE_BURST + 5)].count(True) == SOURCE_BURST
    assert limits.admits("refused", "b", 0.0)
    assert limits.admits("another kind", "a", 0.0)
    assert not limits.admits("refused", "a", SOURCE_SPACING_S / 2)
    assert limits.admits("refused", "a", 1.5 * SOURCE_SPACING_S)


def test_a_kind_is_bounded_whoever_causes_it() -> None:
    limits = LineLimits()
    written = [limits.admits("refused", f"source {number}", 0.0) for number in range(10_000)]
    assert written == [True] * KIND_BURST + [False] * (10_000 - KIND_BURST)
    assert limits.admits("another", "", 0.0)


def test_a_day_of_it_is_a_few_lines() -> None:
    limits = LineLimits()
    seconds = range(int(DAY_S))
    assert sum(limits.admits("refused", "a", float(now)) for now in seconds for _ in range(3)) <= 9_000
    limits = LineLimits()
    assert sum(limits.admits("refused", str(now), float(now)) for now in seconds for _ in range(3)) <= 87_000


def test_what_is_left_out_is_told_once_a_minute_later() -> None:
    limits = LineLimits()
    for number in range(KIND_BURST + 7):
        limits.admits("refused", str(number), 100.0)
    assert limits.due(100.0 + REPORT_S - 1.0) == {}
    assert limits.due(100.0 + REPORT_S) == {"refused": 7}
    assert limits.due(1000.0) == limits.take() == {}


def test_what_is_remembered_is_bounded() -> None:
    limits = LineLimits()
    for number in range(10_000):
        limits.admits(f"kind {number}", f"source {number}", 0.0)
        limits.admits("refused", f"source {number}", 0.0)
    assert len(limits._kinds) == KINDS_MAX
    assert len(limits._sources) == SOURCES_MAX
    assert len(limits._left_out) <= KINDS_MAX
