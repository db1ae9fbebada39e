"""What is recorded is what was said, with silence for what did not come, and no longer than it may be."""

from __future__ import annotations

from p2psip.media.g711 import PCMA, PCMU
from p2psip.media.recording.recording import SILENCE, Recording, Replay
from p2psip.media.rtp import RtpPacket
from p2psip.media.tone import ToneGenerator


def said(timestamp: int, data: bytes, ssrc: int = 7) -> RtpPacket:
    return RtpPacket(0, 0, timestamp, ssrc, data)


def test_packets_one_after_the_other() -> None:
    recording = Recording(10.0)
    for number in range(3):
        recording.hear(said(160 * number, bytes([number]) * 160), PCMU)
    assert recording.data == bytes(160) + b"\1" * 160 + b"\2" * 160
    assert recording.duration_s == 0.06


def test_what_is_lost_or_was_not_said_is_silence() -> None:
    recording = Recording(10.0)
    recording.hear(said(0xFFFFFFFF - 159, b"\1" * 160), PCMU)
    recording.hear(said(320, b"\2" * 160), PCMU)
    assert recording.data == b"\1" * 160 + SILENCE * 320 + b"\2" * 160


def test_another_source_and_one_that_begins_anew_leave_no_gap() -> None:
    recording = Recording(10.0)
    for packet in (said(0, b"\1"), said(90_000, b"\2", ssrc=8), said(80_000_000, b"\3", ssrc=8)):
        recording.hear(packet, PCMU)
    assert recording.data == b"\1\2\3"


def test_it_ends_when_it_is_full() -> None:
    recording = Recording(0.02)
    recording.hear(said(0, bytes(100)), PCMU)
    assert not recording.is_full
    recording.hear(said(100, bytes(100)), PCMU)
    assert recording.is_full
    assert len(recording.data) == 160


def test_the_other_codec_is_kept_as_mu_law() -> None:
    tone = ToneGenerator(700).frame(160)
    recording = Recording(1.0)
    recording.hear(said(0, PCMA.encode(tone)), PCMA)
    heard, meant = PCMU.decode(recording.data), list(tone)
    assert max(abs(one - other) for one, other in zip(heard, meant, strict=True)) < 600


def test_it_is_played_and_then_silent() -> None:
    replay = Replay(b"\1\2\3")
    assert replay.duration_s == 3 / 8000
    assert replay.frame(2) == PCMU.decode(b"\1\2")
    assert replay.frame(2) == PCMU.decode(b"\3" + SILENCE)
    assert set(replay.frame(160)) == {0}
