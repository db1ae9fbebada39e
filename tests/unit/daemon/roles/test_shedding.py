"""When a peer stores nothing for others for a while, and when again."""

from __future__ import annotations

import random

import pytest

from p2psip.daemon.roles.role_choice import STAY_MAX_S, STAY_MIN_S
from p2psip.daemon.roles.shedding import (
    AT_EASE_S,
    NEIGHBORS_MIN,
    STRAINED_S,
    TURN_MAX_S,
    KeptShedding,
    Shedding,
    SheddingTerms,
    Strain,
)

TERMS = SheddingTerms(disk_percent=5, load_percent=80)
EASY, FULL, BUSY = Strain(50.0, 10.0), Strain(4.9, 10.0), Strain(50.0, 80.0)
BETWEEN = (Strain(5.0, 10.0), Strain(9.9, 10.0), Strain(50.0, 41.0), Strain(50.0, 79.0))
LOOK_S = 2.0
SOON_S = STRAINED_S + TURN_MAX_S


def begun(kept: KeptShedding | None = None, terms: SheddingTerms = TERMS, seed: int = 0) -> Shedding:
    """At zero, as that."""
    return Shedding(terms, kept or KeptShedding(), random.Random(seed), 0.0)


def seen(
    shedding: Shedding,
    strain: Strain,
    began_at: float,
    seconds: float,
    *,
    is_busy: bool = False,
    has_room: bool = True,
    neighbors: int = NEIGHBORS_MIN,
) -> tuple[KeptShedding | None, float]:
    """It is like that for so long; what becomes of it, and when."""
    now = began_at
    while now <= began_at + seconds:
        shedding.look(strain, now)
        if (other := shedding.due(now, is_busy=is_busy, has_room=has_room, neighbors=neighbors)) is not None:
            return other, now
        now += LOOK_S
    return None, now


@pytest.mark.parametrize(
    ("strain", "why"),
    [(FULL, "4.9 % of the disk are free, less than 5 %"), (BUSY, "the load is 80 %, not below 80 %")],
    ids=["disk", "load"],
)
def test_who_is_strained_for_a_while_sheds(strain: Strain, why: str) -> None:
    other, now = seen(begun(), strain, 0.0, SOON_S + LOOK_S)
    assert other == KeptShedding(True, STAY_MIN_S, why)
    assert STRAINED_S <= now <= SOON_S + LOOK_S


@pytest.mark.parametrize("strain", [EASY, *BETWEEN, Strain()])
def test_who_is_not_strained_does_not(strain: Strain) -> None:
    assert seen(begun(), strain, 0.0, 3600.0)[0] is None


def test_a_moment_s_strain_is_none() -> None:
    shedding, now = begun(), 0.0
    for _ in range(20):
        for strain in (FULL, EASY):
            other, now = seen(shedding, strain, now, STRAINED_S - 2 * LOOK_S)
            assert other is None


def test_what_is_not_asked_for_is_no_strain() -> None:
    assert seen(begun(terms=SheddingTerms(0, 80)), Strain(0.0, 10.0), 0.0, 3600.0)[0] is None
    assert seen(begun(terms=SheddingTerms(5, 0)), Strain(50.0, 5000.0), 0.0, 3600.0)[0] is None


@pytest.mark.parametrize(
    ("is_busy", "has_room", "neighbors", "waits_for"),
    [
        (True, True, NEIGHBORS_MIN, "the end of the calls here"),
        (False, False, NEIGHBORS_MIN, "room on the disk to start anew"),
        (False, True, NEIGHBORS_MIN - 1, "3 neighbours that would keep its records, and has 2"),
    ],
    ids=["calls", "no room", "nobody remains"],
)
def test_what_it_waits_for(is_busy: bool, has_room: bool, neighbors: int, waits_for: str) -> None:
    shedding = begun()
    stays = seen(shedding, FULL, 0.0, 3600.0, is_busy=is_busy, has_room=has_room, neighbors=neighbors)
    assert stays[0] is None
    assert shedding.waits_for == waits_for
    assert seen(shedding, FULL, 3602.0, 0.0)[0] is not None


def test_who_is_strained_at_the_same_moment_goes_one_after_the_other() -> None:
    times = {seen(begun(seed=seed), FULL, 0.0, SOON_S + LOOK_S)[1] for seed in range(12)}
    assert len(times) > 6


def test_it_comes_back_when_there_is_twice_the_room_and_not_before() -> None:
    shed = KeptShedding(True, STAY_MIN_S, "no room")
    for strain in (FULL, BUSY, *BETWEEN, Strain()):
        assert seen(begun(shed), strain, 0.0, 2 * STAY_MIN_S)[0] is None, strain
    other, now = seen(begun(shed), EASY, 0.0, 2 * STAY_MIN_S)
    assert other == KeptShedding(False, STAY_MIN_S)
    assert now == STAY_MIN_S


@pytest.mark.parametrize(("is_busy", "has_room"), [(True, True), (False, False)], ids=["calls", "no room"])
def test_to_come_back_it_waits_as_well(is_busy: bool, has_room: bool) -> None:
    shedding = begun(KeptShedding(True, STAY_MIN_S, "no room"))
    assert seen(shedding, EASY, 0.0, 2 * STAY_MIN_S, is_busy=is_busy, has_room=has_room)[0] is None
    assert seen(shedding, EASY, 2 * STAY_MIN_S + LOOK_S, 0.0)[0] is not None


def test_it_has_to_be_at_ease_for_a_while() -> None:
    shedding = begun(KeptShedding(True, STAY_MIN_S, "no room"))
    assert seen(shedding, FULL, 0.0, STAY_MIN_S)[0] is None
    assert seen(shedding, EASY, STAY_MIN_S, AT_EASE_S - 2 * LOOK_S)[0] is None
    assert seen(shedding, BETWEEN[1], STAY_MIN_S + AT_EASE_S - LOOK_S, LOOK_S)[0] is None
    began_at = STAY_MIN_S + 2 * AT_EASE_S
    other, now = seen(shedding, EASY, began_at, 2 * AT_EASE_S)
    assert other is not None
    assert now == began_at + AT_EASE_S


def test_a_disk_that_fills_each_time_costs_a_few_changes_a_day_and_then_one() -> None:
    """As soon as it stores it is strained, as soon as it does not it is at ease."""
    now, kept, sheds = 0.0, KeptShedding(), []
    while now < 5 * STAY_MAX_S:
        shedding = Shedding(TERMS, kept, random.Random(0), now)
        began_at = now
        while (other := shedding.due(now, is_busy=False, has_room=True, neighbors=5)) is None:
            shedding.look(EASY if kept.is_shed else FULL, now)
            now += 30.0
        if kept.is_shed:
            sheds.append(now - began_at)
        kept = other
    assert sheds[0] == pytest.approx(STAY_MIN_S, abs=60.0)
    assert sheds[1:4] == pytest.approx([2 * STAY_MIN_S, 4 * STAY_MIN_S, 8 * STAY_MIN_S], abs=60.0)
    assert min(sheds[6:]) >= STAY_MAX_S
    assert len(sheds) < 12


def test_who_stored_for_a_day_begins_with_the_least_time_again() -> None:
    kept = KeptShedding(False, STAY_MAX_S)
    assert seen(begun(kept), FULL, 0.0, SOON_S)[0] == KeptShedding(True, STAY_MAX_S, TERMS.strained(FULL))
    other, _ = seen(begun(kept), FULL, STAY_MAX_S, SOON_S)
    assert other is not None
    assert other.stay_s == STAY_MIN_S


def test_what_cannot_be_written_down_is_not_tried_at_each_look() -> None:
    shedding = begun()
    assert seen(shedding, FULL, 0.0, SOON_S)[0] is not None
    shedding.hold()
    assert seen(shedding, FULL, SOON_S, STRAINED_S - LOOK_S)[0] is None
    assert seen(shedding, FULL, SOON_S + STRAINED_S, SOON_S)[0] is not None


def test_why_it_sheds_is_told_as_it_is_now() -> None:
    shedding = begun(KeptShedding(True, STAY_MIN_S, "no room"))
    assert shedding.why == "no room"
    shedding.look(FULL, 1.0)
    assert shedding.why == TERMS.strained(FULL)
    shedding.look(EASY, 2.0)
    assert shedding.why == TERMS.strained(FULL), "the last reason that there was"


@pytest.mark.parametrize("stay_s", [-1.0, STAY_MAX_S + 1.0, float("nan")])
def test_no_file_keeps_it_away_for_ever(stay_s: float) -> None:
    with pytest.raises(ValueError, match="stay_s"):
        KeptShedding(True, stay_s)
