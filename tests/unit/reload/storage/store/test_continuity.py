"""The store's clock over restarts: a lifetime once granted is never extended."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.reload.storage.store.continuity import DATE_STEP_MAX_S, BootClock, Continuity, Saved, resume
from p2psip.reload.storage.store.records import Age, Moment

BOOT = BootClock("this boot", 1000.0)


def test_a_restart_of_the_process_counts_the_time_between() -> None:
    clock = resume(Saved(50.0, BOOT), BootClock("this boot", 1300.0), now=7.0)
    assert clock.at(7.0) == 350.0
    assert clock.at(8.0) == 351.0
    assert not clock.withholds(50.0)
    assert clock.age(date=1.7e9, now=7.0) is None


def test_a_restart_in_no_time_still_advances_the_clock() -> None:
    clock = resume(Saved(50.0, BOOT), BOOT, now=0.0)
    assert clock.at(0.0) > 50.0


def test_a_reboot_withholds_what_was_stored_before_it() -> None:
    clock = resume(Saved(50.0, BOOT), BootClock("another boot", 3.0), now=0.0)
    assert clock.withholds(50.0)
    assert not clock.withholds(clock.at(0.0))


def test_a_trusted_date_tells_how_long_the_machine_was_off() -> None:
    saved = Saved(50.0, BOOT, dated=Moment(40.0, 1_000_000.0))
    clock = resume(saved, BootClock("another boot", 3.0), now=0.0)
    age = clock.age(date=1_000_100.0, now=30.0)
    # 60 s on the clock since that date (10 before, 20 + 30 after), a little less than 40 s on none.
    assert age == Age(50.0, pytest.approx(60.0, abs=0.01))


def test_several_reboots_before_the_date_is_known_add_up() -> None:
    first = resume(Saved(50.0, BOOT, Moment(50.0, 1_000_000.0)), BootClock("second", 3.0), now=0.0)
    saved = Saved(first.at(100.0), BootClock("second", 103.0), first.dated, first.withheld_until)
    second = resume(saved, BootClock("third", 5.0), now=0.0)
    assert second.withholds(first.at(99.0))
    age = second.age(date=1_000_900.0, now=0.0)
    assert age is not None
    assert age.by_s == pytest.approx(800.0, abs=0.01)


def test_a_restart_while_records_are_withheld_withholds_the_same() -> None:
    saved = Saved(90.0, BOOT, None, withheld_until=50.0)
    assert resume(saved, BootClock("this boot", 1010.0), now=0.0).withheld_until == 50.0


@pytest.mark.parametrize("dated", [None, Moment(0.0, 2_000_000.0)])
def test_without_a_date_to_compare_with_records_have_expired(dated: Moment | None) -> None:
    clock = Continuity(0.0, dated, withheld_until=50.0)
    assert clock.age(date=1_000_000.0, now=60.0) == Age(50.0, math.inf)


def test_a_date_may_have_been_corrected_a_little() -> None:
    clock = Continuity(0.0, Moment(0.0, 1_000_000.0), withheld_until=50.0)
    assert clock.age(date=1_000_060.0 - DATE_STEP_MAX_S / 2, now=60.0) == Age(50.0, 0.0)


@given(
    gaps=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.booleans(), st.booleans()), max_size=6),
    lifetime_s=st.floats(1, 1e6),
)
def test_no_life_is_extended_by_restarts_and_reboots(
    gaps: list[tuple[float, float, bool, bool]], lifetime_s: float
) -> None:
    """Runs of a process and pauses between them: what is shown has never outlived its lifetime in true time.

    Each gap: for how long the process ran, for how long it then did not, whether that was a reboot, whether the
    date was trusted afterwards.
    """
    true_s, boot, booted_s = 0.0, 0, 0.0
    clock = Continuity(0.0, Moment(0.0, 0.0), None)
    expires_at = clock.at(0.0) + lifetime_s
    dated = clock.dated
    for ran_s, paused_s, is_reboot, is_trusted in gaps:
        saved = Saved(clock.at(ran_s), BootClock(str(boot), true_s + ran_s - booted_s), dated, clock.withheld_until)
        true_s += ran_s + paused_s
        if is_reboot:
            boot, booted_s = boot + 1, true_s
        clock = resume(saved, BootClock(str(boot), true_s - booted_s), now=0.0)
        dated = clock.dated
        if is_trusted:
            age = clock.age(true_s, now=0.0)
            expires_at -= 0.0 if age is None else age.by_s
            clock = Continuity(clock.epoch, clock.dated)
            dated = Moment(clock.at(0.0), true_s)
        is_shown = expires_at > clock.at(0.0) and not clock.withholds(0.0)
        assert not is_shown or true_s <= lifetime_s + 0.01
