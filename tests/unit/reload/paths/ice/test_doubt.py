"""p2psip.reload.paths.ice.doubt: when a path is in doubt, and what is due then."""

from __future__ import annotations

import math

from p2psip.reload.paths.ice.doubt import (
    AGAIN_S,
    GRACE_S,
    SILENCE_S,
    STREAM_GAP_S,
    STREAM_SILENCE_S,
    TELL_S,
    WIDEN_S,
    Doubt,
    DoubtStep,
    Silence,
)


def test_an_echo_ends_a_silence() -> None:
    """Whatever comes; nothing is looked at as long as nothing is sent."""
    silence = Silence()
    assert silence.look_at() == math.inf
    assert silence.sent(10.0)
    assert not silence.sent(10.1), "it is watched"
    silence.heard(10.2)
    assert silence.look_at() == math.inf
    assert silence.sent(50.0), "and has to be watched again"


def test_a_silence_counts_from_the_first_that_had_no_echo() -> None:
    silence = Silence()
    silence.sent(10.0)
    silence.heard(10.5)
    silence.sent(10.6)
    silence.sent(10.9)
    assert silence.look_at() == 10.6 + SILENCE_S
    silence.begin_anew(11.6)
    assert silence.sent(12.0)
    assert silence.look_at() == 12.0 + SILENCE_S


def test_a_stream_is_missed_sooner() -> None:
    """Audio that comes every 20 ms; but once only: what has ended in silence is no stream any more."""
    silence = Silence()
    for packet in range(5):
        silence.heard(10.0 + packet * STREAM_GAP_S / 2)
    silence.sent(11.0)
    assert silence.limit_s == STREAM_SILENCE_S
    assert silence.look_at() == 11.0 + STREAM_SILENCE_S
    silence.begin_anew(11.5)
    silence.sent(11.52)
    assert silence.look_at() == 11.52 + SILENCE_S
    silence.heard(20.0)
    silence.heard(21.0)
    assert silence.limit_s == SILENCE_S, "questions and answers are no stream"


def steps(doubt: Doubt, count: int) -> list[tuple[float, DoubtStep]]:
    """What is done when."""
    found, at = [], 0.0
    for _ in range(count):
        step, next_s = doubt.step()
        found.append((round(at, 6), step))
        at += next_s
    return found


def test_the_path_then_all_pairs_then_who_can_attach() -> None:
    """And the path again every second."""
    doubt = Doubt(0.2, 100.0)
    assert doubt.move_from == 100.0 + 0.2 + GRACE_S
    assert steps(doubt, 3) == [(0.0, DoubtStep.NOTHING), (WIDEN_S, DoubtStep.WIDEN), (TELL_S, DoubtStep.TELL)]
    assert steps(doubt, 2) == [(0.0, DoubtStep.NOTHING), (AGAIN_S, DoubtStep.NOTHING)]


def test_without_an_end_here_all_pairs_are_checked_at_once() -> None:
    """Nothing is to be waited for."""
    doubt = Doubt(0.2, 100.0, is_certain=True)
    assert doubt.move_from == 100.0
    assert steps(doubt, 2) == [(0.0, DoubtStep.WIDEN), (round(TELL_S - WIDEN_S, 6), DoubtStep.TELL)]
