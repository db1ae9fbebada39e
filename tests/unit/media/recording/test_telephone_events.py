"""Digits in RTP, said as phones say them: often, in segments, with the first packet lost (RFC 4733)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.media.recording.telephone_events import SEGMENT_MAX, DigitListener, TelephoneEvent
from p2psip.media.rtp import MalformedRtp, RtpPacket


def packet(digit: int, timestamp: int, duration: int, *, is_end: bool = False, ssrc: int = 7) -> RtpPacket:
    return RtpPacket(101, 0, timestamp, ssrc, TelephoneEvent(digit, is_end, 10, duration).encode())


def heard(*packets: RtpPacket) -> str:
    listener = DigitListener()
    return "".join(listener.hear(each) for each in packets)


def test_a_digit_is_told_once_however_often_it_is_said() -> None:
    pressed = [packet(5, 100, duration) for duration in (160, 320, 480)]
    ended = [packet(5, 100, 640, is_end=True)] * 3
    assert heard(*pressed, *ended) == "5"
    assert heard(*ended) == "5"


def test_the_same_digit_twice_is_two() -> None:
    assert heard(packet(5, 100, 160), packet(5, 100, 320, is_end=True), packet(5, 2000, 160)) == "55"
    assert heard(packet(5, 100, 160), packet(5, 100, 160, ssrc=8)) == "55"


def test_a_long_event_in_segments_is_one_digit() -> None:
    """Section 2.5.1.3."""
    segments = [packet(11, 100, SEGMENT_MAX), packet(11, 100 + SEGMENT_MAX, 800), packet(11, 5, 160)]
    assert heard(*segments) == "##"
    assert heard(packet(1, 0xFFFFFFFF, SEGMENT_MAX), packet(1, SEGMENT_MAX - 1, 160)) == "1"


def test_a_sender_whose_packets_have_timestamps_of_their_own_presses_once() -> None:
    """As some do; with the mark of a new event it is another one."""
    said = [packet(5, 100 + 160 * number, 160 * (number + 1), is_end=number > 3) for number in range(7)]
    assert heard(*said) == "5"
    again = replace(packet(5, 100 + 160 * 7, 160), marker=True)
    assert heard(*said, again) == "55"
    assert heard(*said, packet(5, 100 + 160 * 6 + 481, 160)) == "55"


def test_all_digits_and_nothing_else() -> None:
    assert heard(*(packet(code, 1000 * code, 160) for code in range(20))) == "0123456789*#ABCD"


def test_2_3_5_what_lasts_for_no_time_is_ignored() -> None:
    """ "The receiver SHOULD ignore an event report with zero duration if the event is not a state." """
    assert heard(packet(5, 100, 0), packet(5, 100, 160)) == "5"


def test_what_is_cut_short_is_none() -> None:
    with pytest.raises(MalformedRtp):
        heard(RtpPacket(101, 0, 0, 7, b"\x05\x00\x01"))


def test_an_event_is_read_as_it_was_written() -> None:
    event = TelephoneEvent(10, True, 63, 0xFFFF)
    assert TelephoneEvent.decode(event.encode() + b"another") == event
    assert event.encode() == b"\x0a\xbf\xff\xff"
