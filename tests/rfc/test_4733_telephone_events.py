"""Telephone events as a receiver has to take them (RFC 4733), by the numbers of its sections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.recording.telephone_events import DIGITS, DigitListener, TelephoneEvent
from p2psip.media.rtp import MalformedRtp, RtpPacket


@given(st.binary(max_size=64), st.integers(0, 2**32 - 1))
def test_2_3_whatever_comes_is_a_digit_or_none(payload: bytes, timestamp: int) -> None:
    packet = RtpPacket(101, 0, timestamp, 7, payload)
    if len(payload) < 4:
        with pytest.raises(MalformedRtp):
            DigitListener().hear(packet)
    else:
        assert DigitListener().hear(packet) in ("", *DIGITS)


def test_2_3_3_the_reserved_bit_is_ignored() -> None:
    """ "The sender MUST set it to zero, and the receiver MUST ignore it." """
    plain, reserved = (TelephoneEvent.decode(bytes([5, flags, 0, 160])) for flags in (0x8A, 0xCA))
    assert plain == reserved == TelephoneEvent(5, True, 10, 160)
    assert reserved.encode()[1] == 0x8A


def test_2_5_1_4_retransmissions_of_the_end_are_one_digit() -> None:
    """ "The final packet for each event [...] SHOULD be sent a total of three times"."""
    listener = DigitListener()
    end = RtpPacket(101, 0, 1000, 7, TelephoneEvent(9, True, 10, 800).encode())
    assert [listener.hear(end) for _ in range(3)] == ["9", "", ""]
