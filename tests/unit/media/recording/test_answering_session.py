"""A machine that answers: what it plays, what it records, and the keys that it hears."""

from __future__ import annotations

import random

from p2psip.media.g711 import PCMU
from p2psip.media.negotiation import Agreement, Direction
from p2psip.media.recording.answering_session import DIGITS_MAX, AnsweringSession
from p2psip.media.recording.recording import Recording
from p2psip.media.recording.telephone_events import TelephoneEvent
from p2psip.media.rtp import RtpPacket
from p2psip.media.sounds import Beeps
from p2psip.media.tone import ToneDetector

HERE, THERE = ("192.0.2.1", 4000), ("192.0.2.2", 5000)


def session() -> AnsweringSession:
    agreed = Agreement(THERE, PCMU, 0, Direction.SENDRECV, 101)
    return AnsweringSession(HERE, agreed, random.Random(1), 0.0, tone=None)


def send(one: AnsweringSession, number: int, payload: bytes, kind: int = 0, timestamp: int | None = None) -> None:
    packet = RtpPacket(kind, number, 160 * number if timestamp is None else timestamp, 7, payload)
    one.handle_datagram(THERE, packet.encode(), 0.02 * number)


def test_it_is_silent_until_it_is_to_play_something_and_then_in_time() -> None:
    one = session()
    one.handle_timeout(5.0)
    assert (one.drain(), one.next_deadline()) == ([], None)
    one.play(Beeps((1000,), hz=700), 5.0)
    ear = ToneDetector()
    for step in range(50):
        one.handle_timeout(5.0 + 0.02 * step)
        for sent in one.drain():
            ear.feed(PCMU.decode(RtpPacket.decode(sent.data).payload))
    heard = ear.tone()
    assert heard is not None
    assert (round(heard.frequency_hz), heard.duration_ms) == (700, 1000)


def test_it_records_only_when_it_is_told_to_and_no_keys() -> None:
    one = session()
    send(one, 0, b"\1" * 160)
    one.recording = recording = Recording(1.0)
    send(one, 1, b"\2" * 160)
    send(one, 2, TelephoneEvent(7, False, 10, 160).encode(), 101, 320)
    send(one, 3, b"\3" * 160, timestamp=320)
    one.recording = None
    send(one, 4, b"\4" * 160)
    one.finish()
    assert recording.data == b"\2" * 160 + b"\3" * 160
    assert one.take_digits() == ["7"]
    assert one.take_digits() == []


def test_keys_and_malformed_ones_do_not_pile_up() -> None:
    one = session()
    for number in range(2 * DIGITS_MAX):
        send(one, number, TelephoneEvent(1, True, 10, 160).encode(), 101, 1000 * number)
    send(one, 2 * DIGITS_MAX, b"\1", 101)
    assert one.take_digits() == ["1"] * DIGITS_MAX
    assert one.end.dropped == 1
