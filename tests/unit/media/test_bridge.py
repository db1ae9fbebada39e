"""Two calls that hear each other."""

from __future__ import annotations

import random

from p2psip.media.engine import MediaEngine, Performance
from p2psip.media.g711 import PCMA, PCMU, AudioCodec
from p2psip.media.negotiation import Address, Agreement, Direction
from p2psip.media.rtp import RtpPacket
from p2psip.media.sounds import waiting
from p2psip.media.tone import ToneGenerator

ONE, TWO = ("192.0.2.1", 4000), ("192.0.2.1", 4002)
ALICE, BOB = ("198.51.100.1", 5000), ("198.51.100.2", 5000)


def agreed(
    remote: Address, codec: AudioCodec = PCMU, events: int | None = 101, direction: Direction = Direction.SENDRECV
) -> Agreement:
    return Agreement(remote, codec, codec.payload_type, direction, events, 20)


def joined(one: Agreement, two: Agreement) -> MediaEngine:
    engine = MediaEngine(Performance(bridges=True), random.Random(1))
    engine.start("one", ONE, one, 0.0)
    engine.start("two", TWO, two, 0.0)
    engine.join("one", "two")
    return engine


def heard(engine: MediaEngine, packet: RtpPacket, *, by: Address = ONE, of: Address = ALICE, now: float = 1.0) -> list:
    engine.handle_datagram(by, of, packet.encode(), now)
    return [(sent.remote, RtpPacket.decode(sent.data)) for sent in engine.drain()]


def speech(codec: AudioCodec, number: int = 7, *, ssrc: int = 99) -> RtpPacket:
    payload = codec.encode(ToneGenerator(500.0).frame(160))
    return RtpPacket(codec.payload_type, number, 160 * number, ssrc, payload, marker=False)


def test_each_hears_what_the_other_says() -> None:
    engine = joined(agreed(ALICE), agreed(BOB))
    said = speech(PCMU)
    ((remote, packet),) = heard(engine, said)
    assert (remote, packet.payload) == (BOB, said.payload)
    assert packet.ssrc != said.ssrc, "RFC 3550 section 8: each participant has its own"
    ((remote, packet),) = heard(engine, said, by=TWO, of=BOB)
    assert remote == ALICE


def test_in_the_codec_that_each_has_agreed_to() -> None:
    engine = joined(agreed(ALICE, PCMU), agreed(BOB, PCMA))
    ((_, packet),) = heard(engine, said := speech(PCMU))
    assert packet.payload_type == PCMA.payload_type
    assert packet.payload == PCMA.encode(PCMU.decode(said.payload))


def test_keys_by_the_number_of_who_hears_them() -> None:
    engine = joined(agreed(ALICE, events=101), agreed(BOB, events=96))
    key = RtpPacket(101, 7, 0, 99, b"\x05\x0a\x00\xa0", marker=True)
    ((_, packet),) = heard(engine, key)
    assert (packet.payload_type, packet.payload) == (96, key.payload)
    engine = joined(agreed(ALICE, events=101), agreed(BOB, events=None))
    assert heard(engine, key) == []


def test_what_was_lost_stays_lost() -> None:
    engine = joined(agreed(ALICE), agreed(BOB))
    ((_, first),) = heard(engine, speech(PCMU, 7))
    assert heard(engine, speech(PCMU, 9), now=1.04) == []
    engine.handle_timeout(3.0)
    ((_, second),) = [(sent.remote, RtpPacket.decode(sent.data)) for sent in engine.drain()]
    assert (second.sequence_number - first.sequence_number) % (1 << 16) == 2
    assert (second.timestamp - first.timestamp) % (1 << 32) == 320


def test_who_holds_hears_nothing_and_says_nothing() -> None:
    engine = joined(agreed(ALICE), agreed(BOB, direction=Direction.RECVONLY))
    assert heard(engine, speech(PCMU)) == []
    engine.start("two", TWO, agreed(BOB), 2.0)
    assert len(heard(engine, speech(PCMU, 8), now=2.0)) == 1


def test_who_is_alone_hears_what_there_is_to_wait_with_and_then_nothing() -> None:
    engine = MediaEngine(Performance(bridges=True), random.Random(1))
    engine.start("one", ONE, agreed(ALICE), 0.0, waiting())
    engine.handle_timeout(0.1)
    assert [sent.remote for sent in engine.drain()] == [ALICE] * 6
    engine.start("two", TWO, agreed(BOB), 0.2)
    engine.join("one", "two")
    engine.handle_timeout(0.3)
    assert engine.drain() == []
    engine.stop("two")
    assert engine.next_deadline() is None
    assert heard(engine, speech(PCMU)) == []


def test_who_is_not_there_yet_is_not_joined() -> None:
    engine = MediaEngine(Performance(bridges=True), random.Random(1))
    engine.start("one", ONE, agreed(ALICE), 0.0)
    engine.join("one", "two")
    assert heard(engine, speech(PCMU)) == []


def test_who_is_parted_hears_nothing_and_whoever_waits_hears_that_he_does() -> None:
    """And both hear each other again once they are joined: the stream goes on, as one."""
    engine = joined(agreed(ALICE), agreed(BOB))
    ((_, first),) = heard(engine, speech(PCMU, 1), of=BOB, by=TWO)
    engine.part("one")
    assert heard(engine, speech(PCMU, 2)) == []
    assert heard(engine, speech(PCMU, 2), of=BOB, by=TWO) == []
    engine.handle_timeout(2.0)
    assert engine.drain() == []
    engine.wait("one", waiting(), 3.0)
    deadline = engine.next_deadline()
    assert deadline is not None
    assert deadline.at == 3.0
    engine.handle_timeout(3.0)
    (beep,) = engine.drain()
    assert beep.remote == ALICE
    assert max(PCMU.decode(RtpPacket.decode(beep.data).payload)) > 1000
    engine.join("one", "two")
    ((remote, packet),) = heard(engine, speech(PCMU, 3, ssrc=5), of=BOB, by=TWO, now=3.1)
    assert (remote, packet.ssrc) == (ALICE, first.ssrc)
    engine.handle_timeout(4.0)
    assert engine.drain() == [], "who hears somebody waits no more"


def test_how_much_has_come_of_a_call() -> None:
    engine = joined(agreed(ALICE), agreed(BOB))
    assert (engine.heard("one"), engine.heard("nobody")) == (0, 0)
    heard(engine, speech(PCMU, 1)), heard(engine, speech(PCMU, 2))
    assert (engine.heard("one"), engine.heard("two")) == (2, 0)
