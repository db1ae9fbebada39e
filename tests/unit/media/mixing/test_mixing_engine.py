"""Rooms of calls: who hears whom, what comes late, and what a frame may cost."""

from __future__ import annotations

import math
import random
from array import array
from dataclasses import dataclass, replace

import pytest

from p2psip.base.address import Address
from p2psip.media.g711 import PCMA, PCMU, AudioCodec
from p2psip.media.mixing.lanes import SPEAKERS_MAX
from p2psip.media.mixing.mixed_room import BEHIND_SAMPLES_MAX, FRAME_S
from p2psip.media.mixing.mixing_engine import MixingEngine
from p2psip.media.negotiation import Agreement, Direction
from p2psip.media.rtp import RtpPacket
from p2psip.media.session import BACKLOG_MAX_S
from p2psip.media.tone import ToneDetector, ToneGenerator

ROOM = "3001"


@dataclass
class Member:
    """A phone in a room: what it says, and what it has heard."""

    number: int
    hz: float | None
    codec: AudioCodec
    agreement: Agreement
    tone: ToneGenerator
    heard: list[RtpPacket]
    said: int = 0

    @property
    def local(self) -> Address:
        return Address("192.0.2.1", 40_000 + 2 * self.number)

    @property
    def remote(self) -> Address:
        return Address("192.0.2.9", 50_000 + 2 * self.number)

    def packet(self) -> bytes:
        """The next 20 ms of it."""
        self.said += 1
        payload = self.codec.encode(self.tone.frame(160))
        return RtpPacket(self.codec.payload_type, self.said, 160 * self.said, 7 + self.number, payload).encode()

    def hears(self, hz: float) -> bool:
        """True if there is this tone in what has come of late."""
        samples: array[int] = array("h")
        for packet in self.heard[-40:]:
            samples.extend(self.agreement.codec.decode(packet.payload))
        return power(samples, hz) > 1e-3


def power(samples: array[int], hz: float) -> float:
    """How much of a tone there is (Goertzel)."""
    w = 2 * math.cos(2 * math.pi * hz / 8000)
    newer = older = 0.0
    for x in samples:
        newer, older = x / 32768 + w * newer - older, newer
    n = max(1, len(samples))
    return (newer * newer + older * older - w * newer * older) * 4 / (n * n)


class World:
    """An engine, its members, and time."""

    def __init__(self) -> None:
        self.engine = MixingEngine(random.Random(1))
        self.members: list[Member] = []
        self.now = 100.0

    def come(self, hz: float | None, codec: AudioCodec = PCMU, *, ptime_ms: int = 20, room: str = ROOM) -> Member:
        number = len(self.members)
        agreement = Agreement(
            Address("192.0.2.9", 50_000 + 2 * number), codec, codec.payload_type, Direction.SENDRECV, ptime_ms=ptime_ms
        )
        member = Member(number, hz, codec, agreement, ToneGenerator(hz or 1.0, -18.0), [])
        self.members.append(member)
        self.engine.seat(number, room)
        self.engine.start(number, member.local, agreement, self.now)
        return member

    def run(self, seconds: float, *, says: bool = True) -> None:
        """Everybody says something each 20 ms, and hears."""
        for _ in range(round(seconds / FRAME_S)):
            self.now += FRAME_S
            for member in self.members:
                if says and member.hz is not None:
                    self.engine.handle_datagram(member.local, member.remote, member.packet(), self.now)
            self.step()

    def step(self) -> None:
        deadline = self.engine.next_deadline()
        if deadline is not None and deadline.at <= self.now:
            self.engine.handle_timeout(self.now)
        for sent in self.engine.drain():
            member = next(each for each in self.members if each.local == sent.local)
            assert sent.remote == member.remote
            member.heard.append(RtpPacket.decode(sent.data))


def test_each_hears_the_others_and_not_himself() -> None:
    world = World()
    a, b, c = world.come(500.0), world.come(700.0, PCMA), world.come(1100.0)
    world.run(1.5)
    for member, others in ((a, (b, c)), (b, (a, c)), (c, (a, b))):
        assert member.hz is not None
        assert not member.hears(member.hz)
        assert all(member.hears(other.hz or 0.0) for other in others)


def test_rooms_are_apart() -> None:
    world = World()
    a, b = world.come(500.0), world.come(700.0, room="3002")
    world.run(1.0)
    assert not a.hears(700.0)
    assert not b.hears(500.0)
    assert len(b.heard) > 40, "who is alone is sent silence, by which he knows that the mixer is there"


def test_who_listens_hears_all_and_his_packets_are_as_long_as_agreed() -> None:
    world = World()
    world.come(500.0)
    listener = world.come(None, ptime_ms=40)
    world.run(1.5)
    assert listener.hears(500.0)
    assert {len(packet.payload) for packet in listener.heard} == {320}
    steps = {
        ((b.sequence_number - a.sequence_number) % 2**16, (b.timestamp - a.timestamp) % 2**32)
        for a, b in zip(listener.heard, listener.heard[1:], strict=False)
    }
    assert steps == {(1, 320)}


def test_four_are_heard_at_once_the_loudest() -> None:
    world = World()
    speakers = [world.come(400.0 + 150.0 * n) for n in range(SPEAKERS_MAX + 1)]
    speakers[2].tone = ToneGenerator(speakers[2].hz or 0.0, -30.0)
    listener = world.come(None)
    world.run(1.5)
    heard = [listener.hears(speaker.hz or 0.0) for speaker in speakers]
    assert heard == [True, True, False, True, True]


def test_who_was_seated_to_listen_is_not_heard_and_places_without_a_call_hear_as_well() -> None:
    """A page: one speaks, others listen, and so does a multicast address."""
    world = World()
    speaker, group = world.come(500.0), Address("239.255.70.1", 5004)
    listener = world.come(700.0)
    world.engine.stop(listener.number)
    world.engine.seat(listener.number, ROOM, speaks=False)
    world.engine.start(listener.number, listener.local, listener.agreement, world.now)
    world.engine.send_as_well(speaker.number, [(group, speaker.local)])
    world.engine.send_as_well(speaker.number, [(group, speaker.local)])
    to_group = []
    for _ in range(60):
        world.now += FRAME_S
        for member in (speaker, listener):
            world.engine.handle_datagram(member.local, member.remote, member.packet(), world.now)
        world.engine.handle_timeout(world.now)
        for sent in world.engine.drain():
            packet = RtpPacket.decode(sent.data)
            if sent.remote == group:
                to_group.append(packet)
            else:
                next(m for m in (speaker, listener) if m.local == sent.local).heard.append(packet)
    assert listener.hears(500.0)
    assert not speaker.hears(700.0)
    assert 55 <= len(to_group) <= 61, "once, however often it is said"
    assert len({packet.ssrc for packet in to_group}) == 1
    world.engine.stop(speaker.number)
    world.engine.stop(listener.number)
    assert world.engine.next_deadline() is None


def test_who_is_on_hold_hears_nothing_and_says_nothing() -> None:
    world = World()
    a, b = world.come(500.0), world.come(700.0)
    world.run(0.5)
    held = replace(b.agreement, direction=Direction.INACTIVE)
    world.engine.start(b.number, b.local, held, world.now)
    count = len(b.heard)
    world.run(1.5)
    assert len(b.heard) == count
    assert not a.hears(700.0)
    world.engine.start(b.number, b.local, b.agreement, world.now)
    world.run(1.5)
    assert b.hears(500.0)
    assert a.hears(700.0)
    # For who hears again it goes on where the time is, and not where it was.
    after = (b.heard[count].timestamp - b.heard[count - 1].timestamp) % 2**32
    assert after == pytest.approx(8000 * 1.5, abs=400)


def test_who_is_behind_is_heard_without_delay_again() -> None:
    """A burst, as of a phone that was suspended: what is old is dropped."""
    world = World()
    a, _ = world.come(500.0), world.come(None)
    for _ in range(90):
        world.engine.handle_datagram(a.local, a.remote, a.packet(), world.now)
        world.now += 0.006
    assert len(world.engine._members[a.number]._lanes) <= 2 * BEHIND_SAMPLES_MAX


def test_a_driver_that_has_slept_does_not_send_what_was_due_meanwhile() -> None:
    world = World()
    a = world.come(None)
    world.run(0.2)
    count, world.now = len(a.heard), world.now + 3600.0
    world.step()
    assert len(a.heard) - count <= BACKLOG_MAX_S / FRAME_S + 1
    first, second = a.heard[count - 1], a.heard[count]
    assert (second.timestamp - first.timestamp) % 2**32 == pytest.approx(8000 * 3600, rel=0.01)
    assert (second.sequence_number - first.sequence_number) % 2**16 == 1


def test_who_goes_is_gone() -> None:
    world = World()
    a, b = world.come(500.0), world.come(700.0)
    world.run(0.5)
    report = world.engine.stop(b.number)
    assert report is not None
    assert report.received > 20
    assert (world.engine.heard(a.number) > 20, world.engine.heard(b.number)) == (True, 0)
    world.engine.handle_datagram(b.local, b.remote, b.packet(), world.now)
    world.run(1.5, says=True)
    assert not a.hears(700.0)
    assert world.engine.stop(a.number) is not None
    assert (world.engine.next_deadline(), world.engine.stop(a.number)) == (None, None)


def test_garbage_and_strangers_are_not_heard() -> None:
    world = World()
    a, b = world.come(None), world.come(700.0)
    world.run(0.2)
    for data in (b"", b"\x80", b"\x00" * 12, b"\x80\x00" + bytes(10), b"\x80\x60" + bytes(300)):
        world.engine.handle_datagram(a.local, a.remote, data, world.now)
    assert world.engine.heard(a.number) == 0
    count = world.engine.heard(b.number)
    world.engine.handle_datagram(b.local, Address("198.51.100.66", 9), b.packet(), world.now)
    assert world.engine.heard(b.number) == count > 0


def test_detectors_agree() -> None:
    """What is mixed is a clean tone to an ear that is not this test's."""
    world = World()
    world.come(500.0)
    listener = world.come(None)
    world.run(2.0)
    ear = ToneDetector()
    for packet in listener.heard[10:]:
        ear.feed(PCMU.decode(packet.payload))
    tone = ear.tone()
    assert tone is not None
    assert tone.frequency_hz == pytest.approx(500.0, abs=20.0)
