"""Receiving RTP in order (RFC 3550 appendix A)."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.reception import HELD_MAX, HOLD_S, Reception
from p2psip.media.rtp import RtpPacket


def packet(number: int, *, ssrc: int = 1, timestamp: int | None = None) -> RtpPacket:
    return RtpPacket(0, number % 65536, timestamp if timestamp is not None else number * 160, ssrc, b"x")


def put(reception: Reception, *numbers: int, now: float = 0.0) -> list[int]:
    return [p.sequence_number for n in numbers for p in reception.put(packet(n), now)]


def test_packets_in_order_come_out_at_once() -> None:
    reception = Reception()
    assert [put(reception, n) for n in (5, 6, 7)] == [[5], [6], [7]]
    assert (reception.received, reception.lost, reception.next_deadline()) == (3, 0, None)


def test_a_packet_that_overtook_waits() -> None:
    reception = Reception()
    assert [put(reception, n) for n in (1, 3, 4, 2)] == [[1], [], [], [2, 3, 4]]
    assert (reception.received, reception.lost, reception.next_deadline()) == (4, 0, None)


def test_a_gap_is_given_up_after_60_ms() -> None:
    reception = Reception()
    put(reception, 1, 3, 5, now=1.0)
    deadline = reception.next_deadline()
    assert deadline
    assert deadline.at == 1.0 + HOLD_S
    assert reception.handle_timeout(1.0 + HOLD_S - 0.001) == []
    assert [p.sequence_number for p in reception.handle_timeout(1.0 + HOLD_S)] == [3]
    assert [p.sequence_number for p in reception.handle_timeout(1.0 + 2 * HOLD_S)] == [5]
    assert (reception.received, reception.lost, reception.next_deadline()) == (3, 2, None)


def test_late_and_doubled_packets_are_counted_and_dropped() -> None:
    reception = Reception()
    assert put(reception, 1, 4, 4) == [1]
    assert [p.sequence_number for p in reception.flush()] == [4]
    assert put(reception, 2, 4, 5) == [5]
    assert (reception.received, reception.lost, reception.late, reception.duplicates) == (3, 2, 2, 1)


def test_sequence_numbers_wrap() -> None:
    reception = Reception()
    assert put(reception, 65534, 65536, 65535, 65537) == [65534, 65535, 0, 1]
    assert reception.lost == 0


def test_a_jump_is_believed_with_its_second_packet() -> None:
    """A.1: two packets in sequence after a large jump mean that the source has restarted."""
    reception = Reception()
    assert put(reception, 1, 2, 30000, 3) == [1, 2, 3]
    assert put(reception, 40000, 40001, 40002) == [40001, 40002]
    assert reception.lost == 0


def test_another_source_starts_anew() -> None:
    reception = Reception()
    put(reception, 1, 3)
    ready = reception.put(packet(900, ssrc=2), 0.0)
    assert [p.sequence_number for p in ready] == [3, 900]


def test_a_gap_is_given_up_when_too_much_waits_behind_it() -> None:
    reception = Reception()
    put(reception, 0)
    assert len(put(reception, *range(2, HELD_MAX + 3))) == HELD_MAX + 1
    assert reception.lost == 1


@pytest.mark.parametrize(("late_ms", "jitter_ms"), [(0, 0), (5, 9.3)])
def test_jitter(late_ms: float, jitter_ms: float) -> None:
    """A.8: every second packet late by d makes |D| = d each time; the estimate goes to d with gain 1/16."""
    reception = Reception()
    for n in range(200):
        reception.put(packet(n), n * 0.02 + (2 * late_ms / 1000 if n % 2 else 0))
    assert reception.jitter_ms == pytest.approx(jitter_ms, abs=1)


@pytest.mark.long
@given(st.randoms(use_true_random=False), st.integers(0, 65535))
def test_what_comes_out_is_in_order_and_counted(rng: random.Random, first: int) -> None:
    """Any loss, doubling and displacement: each packet comes out once at most, in order, and the sums agree."""
    sent = [n for n in range(60) if rng.random() > 0.1 for _ in range(rng.choice((1, 1, 1, 2)))]
    sent.sort(key=lambda n: n + rng.random() * 4)
    reception, out = Reception(), []
    for n in sent:
        out += [p.timestamp for p in reception.put(packet(first + n, timestamp=n), n * 0.02)]
        out += [p.timestamp for p in reception.handle_timeout(n * 0.02)]
    out += [p.timestamp for p in reception.flush()]
    assert out == sorted(set(out))
    assert reception.received == len(out)
    assert reception.lost == (out[-1] - out[0] + 1 - len(out) if out else 0)
    assert reception.received + reception.late + reception.duplicates == len(sent)
