"""Counting what comes (RFC 3550 sections 6.4.1, A.1, A.3 and A.8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.relay.tally import Tally
from p2psip.media.rtp import RtpPacket


def packet(n: int, *, ssrc: int = 1, payload_type: int = 0, step: int = 160, first: int = 0) -> bytes:
    return RtpPacket(payload_type, (first + n) % 65536, n * step % (1 << 32), ssrc, bytes(step)).encode()


def test_loss_is_what_was_expected_and_did_not_come() -> None:
    tally = Tally({})
    for n in range(100):
        if n not in (10, 11, 50):
            tally.note(packet(n, first=65500), n * 0.02)
    assert (tally.packets, tally.lost) == (97, 3)
    assert tally.octets == 97 * 172
    assert tally.jitter_ms == pytest.approx(0.0, abs=0.01)


@given(st.permutations(range(20)), st.integers(0, 65535))
def test_order_is_no_loss(order: list[int], first: int) -> None:
    tally = Tally({})
    tally.note(packet(0, first=first), 0.0)
    for n in order:
        tally.note(packet(n + 1, first=first), 0.0)
    assert tally.lost == 0


def test_a_copy_does_not_hide_a_loss_below_nothing() -> None:
    tally = Tally({})
    for n in (0, 0, 0):
        tally.note(packet(n), 0.0)
    assert tally.lost == 0


def test_a_source_that_restarts_begins_anew() -> None:
    tally = Tally({})
    for n in (0, 1, 3):
        tally.note(packet(n), n * 0.02)
    for n in range(10):
        tally.note(packet(n, first=30000), 1 + n * 0.02)
    for n in range(10):
        tally.note(packet(n, ssrc=2, first=9), 2 + n * 0.02)
    assert tally.packets == 23
    assert tally.lost <= 1


def test_jitter_is_in_time_whatever_the_clock_rate() -> None:
    for rate, step in ((8000, 160), (90000, 1800), (48000, 960)):
        tally = Tally({96: rate})
        for n in range(400):
            tally.note(packet(n, payload_type=96, step=step), n * 0.02 + (0.004 if n % 2 else 0.0))
        assert tally.jitter_ms == pytest.approx(4.0, abs=0.1)


def test_events_with_time_stamps_of_their_own_are_no_jitter() -> None:
    tally = Tally({})
    for n in range(200):
        tally.note(packet(n, payload_type=0), n * 0.02)
        tally.note(RtpPacket(101, n, 0, 1, b"1234").encode(), n * 0.02)
        tally.note(packet(n, payload_type=0), n * 0.02)
    assert tally.jitter_ms == pytest.approx(0.0, abs=0.01)
