"""p2psip.reload.paths.ice.consent: RFC 7675, and how little it costs who is silent."""

from __future__ import annotations

import itertools
import random

import pytest

from p2psip.reload.paths.ice.consent import CONSENT_S, Consent


def intervals(*, sends: bool, answers: bool = True, seconds: float = 600.0) -> list[float]:
    """Between questions of a path that is in use, or is not."""
    consent, now, asked = Consent(random.Random(1), 0.0), 0.0, [0.0]
    while now < seconds and not consent.is_over(now):
        if sends:
            consent.sent(now)
        if consent.next_at <= now:
            consent.asked(now)
            asked.append(now)
            if answers:
                consent.answered(now, now)
        now += 0.125
    return [later - earlier for earlier, later in itertools.pairwise(asked)]


def test_5_1_every_five_seconds_while_data_is_sent() -> None:
    """Between 4 and 6 s, never the same."""
    found = intervals(sends=True)
    assert min(found) >= 4.0
    assert max(found) <= 6.25
    assert len(set(found)) > 5


def test_seldom_while_nothing_is_sent() -> None:
    """Between 16 and 24 s."""
    found = intervals(sends=False)
    assert min(found) >= 16.0
    assert max(found) <= 24.25


def test_5_1_no_data_after_thirty_seconds_without_an_answer() -> None:
    """Until there is one."""
    consent = Consent(random.Random(1), 0.0)
    assert consent.may_send(CONSENT_S)
    assert not consent.may_send(CONSENT_S + 0.1)
    consent.asked(40.0)
    assert not consent.may_send(40.0)
    consent.answered(40.1, 40.1)
    assert consent.may_send(40.1)
    assert not consent.is_over(1000.0)


def test_it_ends_thirty_seconds_after_the_first_question_that_was_not_answered() -> None:
    """However long the machine slept before; and the questions come closer together meanwhile."""
    consent = Consent(random.Random(1), 0.0)
    for start in (20.0, 5000.0):
        consent.asked(start)
        assert 4.0 <= consent.next_at - start <= 6.0
        assert not consent.is_over(start + 29.9)
        consent.answered(start + 29.9, start + 29.9)
    consent.asked(6000.0)
    for later in (6005.0, 6010.0, 6026.0):
        consent.asked(later)
    assert consent.next_at == 6030.0
    assert consent.is_over(6030.0)
    assert not consent.is_over(6029.9)


def test_lost_answers_are_asked_for_again_soon() -> None:
    """Five questions or more before it is over."""
    assert len(intervals(sends=False, answers=False)) >= 5


def test_who_begins_to_send_asks_soon() -> None:
    """An idle path that is used again: the next question is not one that was put off."""
    consent = Consent(random.Random(1), 0.0)
    consent.sent(1.0)
    assert 4.0 <= consent.next_at <= 6.0
    late = Consent(random.Random(1), 0.0)
    late.sent(15.0)
    assert late.next_at == 15.0


def test_what_the_answers_say_of_the_round_trip_is_kept() -> None:
    """For who sends on the path seldom, and so measures little."""
    consent = Consent(random.Random(1), 0.0)
    for number in range(8):
        consent.answered(20.0 * number, 20.0 * number + 0.2)
    assert consent.round_trip.srtt_s == pytest.approx(0.2)
    assert consent.round_trip.rto_s < 0.35
