"""What the owner of a line wants, and what it means for one call."""

from __future__ import annotations

import pytest

from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.handling.call_handling import (
    RING_S,
    CallHandling,
    CallMoment,
    Divert,
    Enough,
    QuietHours,
    RefuseCall,
    Ring,
    decide,
)
from p2psip.sip.entities.handling.handlings import Handlings

NIGHT = QuietHours.parse("22:00-07:00")
CARL = CallMoment("carl")


def at(minute: float | None, caller: str = "carl") -> CallMoment:
    return CallMoment(caller, minute)


def kind(handling: CallHandling, moment: CallMoment = CARL) -> object:
    """What is decided, without the words."""
    match decide(handling, "bob", moment):
        case RefuseCall(status, _):
            return status
        case Divert(to, _, reason):
            return to, reason
        case Ring(for_s, _):
            return f"{for_s} s"
        case Enough():
            return "enough"
    return None


@pytest.mark.parametrize(
    ("handling", "decided"),
    [
        (CallHandling(), None),
        (CallHandling(always="dora"), ("dora", "unconditional")),
        (CallHandling(busy="dora"), None),
        (CallHandling(no_answer="dora"), f"{RING_S} s"),
        (CallHandling(no_answer="dora", ring_s=40), "40 s"),
        (CallHandling(ring_s=40), "40 s"),
        (CallHandling(do_not_disturb=True), 486),
        (CallHandling(do_not_disturb=True, busy="dora"), ("dora", "do-not-disturb")),
        (CallHandling(do_not_disturb=True, allow=("carl",)), None),
        (CallHandling(do_not_disturb=True, allow=("zoe",)), 486),
        (CallHandling(do_not_disturb=True, always="dora"), ("dora", "unconditional")),
        (CallHandling(deny=("carl",)), 603),
        (CallHandling(deny=("carl",), always="dora"), 603),
        (CallHandling(deny=("zoe",)), None),
        (CallHandling(only_allowed=True), 603),
        (CallHandling(only_allowed=True, allow=("carl",)), None),
    ],
)
def test_when_a_call_comes(handling: CallHandling, decided: object) -> None:
    assert kind(handling) == decided


@pytest.mark.parametrize(
    ("handling", "status", "decided"),
    [
        (CallHandling(busy="dora"), 486, ("dora", "user-busy")),
        (CallHandling(busy="dora"), 480, None),
        (CallHandling(no_answer="dora"), 486, None),
        (CallHandling(no_answer="dora"), 408, ("dora", "no-answer")),
        (CallHandling(no_answer="dora"), 480, ("dora", "unavailable")),
        (CallHandling(no_answer="dora"), 603, None),
        (CallHandling(ring_s=30), 408, "enough"),
        (CallHandling(ring_s=30), 486, None),
        (CallHandling(), 408, None),
    ],
)
def test_when_it_has_failed(handling: CallHandling, status: int, decided: object) -> None:
    assert kind(handling, CallMoment("carl", status=status)) == decided


def test_emergencies_ring_whoever_is_to_be_kept_out() -> None:
    for handling in (
        CallHandling(do_not_disturb=True),
        CallHandling(do_not_disturb=True, busy="dora"),
        CallHandling(only_allowed=True),
        CallHandling(deny=("carl",)),
        CallHandling(quiet=(NIGHT,)),
    ):
        assert kind(handling, CallMoment("carl", 1.0, is_urgent=True)) is None
    # Who has gone home has said where he is to be found.
    assert kind(CallHandling(always="dora"), CallMoment("carl", is_urgent=True)) == ("dora", "unconditional")


@pytest.mark.parametrize(("minute", "is_quiet"), [(21 * 60 + 59.9, False), (22 * 60, True), (0, True), (7 * 60, False)])
def test_quiet_hours_go_over_midnight(minute: float, is_quiet: bool) -> None:
    assert (kind(CallHandling(quiet=(NIGHT,)), at(minute)) == 486) is is_quiet


def test_quiet_hours_in_the_middle_of_the_day() -> None:
    siesta = CallHandling(quiet=(QuietHours.parse("13:00-14:30"),), allow=("dora",))
    assert [kind(siesta, at(60 * hour)) for hour in (12.99, 13, 14.49, 14.5)] == [None, 486, 486, None]
    assert kind(siesta, at(13 * 60, "dora")) is None


def test_who_does_not_know_how_late_it_is_rings() -> None:
    assert kind(CallHandling(quiet=(NIGHT,)), at(None)) is None


def test_who_hides_can_be_named() -> None:
    assert kind(CallHandling(deny=("anonymous",)), CallMoment("")) == 603
    assert kind(CallHandling(only_allowed=True, allow=("anonymous",)), CallMoment("")) is None


@pytest.mark.parametrize("text", ["22-7", "25:00-01:00", "10:00", "08:00-08:00", "a:b-c:d"])
def test_hours_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"22:00-07:00|do not disturb"):
        QuietHours.parse(text)


def test_hours_are_written_as_they_are_read() -> None:
    assert str(QuietHours.parse("8:05-9:00")) == "08:05-09:00"


def test_only_what_asks_nobody_stands_in_the_record() -> None:
    """Who screens callers wants to be asked first."""
    assert CallHandling(always="dora").in_record == "dora"
    assert CallHandling(always="dora", deny=("carl",)).in_record == ""
    assert CallHandling(always="dora", only_allowed=True).in_record == ""
    assert CallHandling(busy="dora").in_record == ""


def test_the_time_of_day_is_that_on_the_wall() -> None:
    handlings = Handlings()
    assert handlings.minute(0.0) is None
    handlings.use_date(WallClock(23.5 * 3600))
    assert handlings.minute(60.0) == 23.5 * 60 + 1
    handlings.use_local_time(3600)
    assert handlings.minute(0.0) == 30
    handlings.use_date(WallClock(23.5 * 3600, is_trusted=False))
    assert handlings.minute(0.0) is None
