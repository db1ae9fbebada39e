"""RTP sessions, two of them back to back in virtual time."""

import heapq
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.engine import MediaEngine, Performance
from p2psip.media.g711 import PCMA, PCMU
from p2psip.media.negotiation import Address, Agreement, Direction
from p2psip.media.rtp import RtpPacket
from p2psip.media.session import PACKETS_BURST_MAX, MediaReport

ALICE: Address = ("192.0.2.1", 4000)
BOB: Address = ("192.0.2.2", 5000)
STRANGER: Address = ("198.51.100.9", 666)
TO_BOB = Agreement(BOB, PCMU, 0, Direction.SENDRECV, 101)
TO_ALICE = Agreement(ALICE, PCMU, 0, Direction.SENDRECV, 101)


class Wire:
    """Two engines with a wire of 30 ms between them that may lose, double and displace."""

    def __init__(self, alice: Performance, bob: Performance, *, loss: float = 0.0, displacement_s: float = 0.0) -> None:
        self.rng = random.Random(11)
        self.loss, self.displacement_s = loss, displacement_s
        self.ends = {ALICE: MediaEngine(alice, self.rng), BOB: MediaEngine(bob, self.rng)}
        self.now = 0.0
        self.log: list[tuple[float, Address, RtpPacket]] = []
        self._flying: list[tuple[float, int, Address, Address, bytes]] = []

    def start(self) -> None:
        self.ends[ALICE].start("call", ALICE, TO_BOB, self.now)
        self.ends[BOB].start("call", BOB, TO_ALICE, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._collect()
            deadlines = [d.at for engine in self.ends.values() if (d := engine.next_deadline())]
            arrivals = [self._flying[0][0]] if self._flying else []
            now = min(deadlines + arrivals, default=end)
            if now >= end:
                break
            self.now = max(self.now, now)
            while self._flying and self._flying[0][0] <= self.now:
                _, _, local, remote, data = heapq.heappop(self._flying)
                self.ends[local].handle_datagram(local, remote, data, self.now)
            for engine in self.ends.values():
                engine.handle_timeout(self.now)
        self.now = end

    def finish(self) -> tuple[MediaReport, MediaReport]:
        reports = [self.ends[end].stop("call") for end in (ALICE, BOB)]
        assert reports[0]
        assert reports[1]
        return reports[0], reports[1]

    def _collect(self) -> None:
        for engine in self.ends.values():
            for send in engine.drain():
                self.log.append((self.now, send.local, RtpPacket.decode(send.data)))
                if self.rng.random() >= self.loss:
                    at = self.now + 0.03 + self.rng.random() * self.displacement_s
                    heapq.heappush(self._flying, (at, len(self.log), send.remote, send.local, send.data))


def test_both_hear_the_others_tone() -> None:
    wire = Wire(Performance(440), Performance(550))
    wire.start()
    wire.run(2.0)
    alice, bob = wire.finish()
    assert str(alice.tone) == "550 Hz at -12 dBFS for 1980 ms"
    assert str(bob.tone) == "440 Hz at -12 dBFS for 1980 ms"
    assert (alice.sent, alice.received, alice.lost, alice.jitter_ms < 0.01) == (100, 99, 0, True)


def test_a_frame_every_20_ms_from_one_source() -> None:
    """RFC 3550 section 5.1: number and timestamp start at random and rise by one and by 160; one marker, the first."""
    wire = Wire(Performance(440), Performance())
    wire.start()
    wire.run(1.0)
    times, packets = zip(*[(t, p) for t, local, p in wire.log if local == ALICE], strict=True)
    assert times == pytest.approx([n * 0.02 for n in range(50)])
    first = packets[0]
    for n, packet in enumerate(packets):
        assert packet.sequence_number == (first.sequence_number + n) % 65536
        assert packet.timestamp == (first.timestamp + 160 * n) % 2**32
        assert (packet.ssrc, packet.marker, len(packet.payload)) == (first.ssrc, n == 0, 160)


def test_one_without_a_tone_is_silent_and_still_listens() -> None:
    wire = Wire(Performance(440), Performance())
    wire.start()
    wire.run(1.0)
    alice, bob = wire.finish()
    assert (alice.received, alice.tone, bob.sent) == (0, None, 0)
    assert bob.tone
    assert round(bob.tone.frequency_hz) == 440


def test_an_echo_brings_ones_own_tone_back() -> None:
    wire = Wire(Performance(440), Performance(echo=True))
    wire.start()
    wire.run(1.0)
    alice, bob = wire.finish()
    assert str(alice.tone) == "440 Hz at -12 dBFS for 940 ms"
    assert (bob.received, bob.sent) == (49, 49)
    assert len({packet.ssrc for _, _, packet in wire.log}) == 2


def test_loss_and_displacement_are_measured_and_survived() -> None:
    wire = Wire(Performance(440), Performance(echo=True), loss=0.1, displacement_s=0.05)
    wire.start()
    wire.run(10.0)
    alice, bob = wire.finish()
    assert 30 <= bob.lost <= 70
    assert 60 <= alice.lost <= 130
    assert 5 < bob.jitter_ms < 40
    assert alice.tone
    assert round(alice.tone.frequency_hz) == 440
    assert alice.tone.duration_ms > 7000


def test_on_hold_nobody_speaks_and_after_it_a_marker_comes() -> None:
    wire = Wire(Performance(440), Performance())
    wire.start()
    wire.run(0.5)
    wire.ends[ALICE].start("call", ALICE, replace(TO_BOB, direction=Direction.INACTIVE), wire.now)
    wire.run(0.5)
    assert len(wire.log) == 25
    wire.ends[ALICE].start("call", ALICE, TO_BOB, wire.now)
    wire.run(0.5)
    assert [n for n, (_, _, packet) in enumerate(wire.log) if packet.marker] == [0, 25]
    gap = (wire.log[25][2].timestamp - wire.log[24][2].timestamp) % 2**32
    assert gap == pytest.approx(25 * 160, abs=2 * 160)


def test_another_codec_and_ptime() -> None:
    wire = Wire(Performance(440), Performance())
    wire.ends[ALICE].start("call", ALICE, Agreement(BOB, PCMA, 98, Direction.SENDRECV, None, 30), 0.0)
    wire.ends[BOB].start("call", BOB, Agreement(ALICE, PCMA, 98, Direction.SENDRECV), 0.0)
    wire.run(3.0)
    bob = wire.finish()[1]
    assert {(p.payload_type, len(p.payload)) for _, _, p in wire.log} == {(98, 240)}
    assert bob.tone
    assert (round(bob.tone.frequency_hz), bob.tone.duration_ms) == (440, 3000)


def test_a_driver_that_slept_goes_on_with_the_present() -> None:
    engine = MediaEngine(Performance(440), random.Random(1))
    engine.start("call", ALICE, TO_BOB, 0.0)
    engine.handle_timeout(0.0)
    first = RtpPacket.decode(engine.drain()[0].data)
    engine.handle_timeout(60.0)
    after = [RtpPacket.decode(send.data) for send in engine.drain()]
    assert len(after) <= 2
    assert (after[0].timestamp - first.timestamp) % 2**32 == pytest.approx(60 * 8000, abs=320)


def engine_of_bob() -> MediaEngine:
    engine = MediaEngine(Performance(echo=True), random.Random(1))
    engine.start("call", BOB, TO_ALICE, 0.0)
    return engine


def voice(number: int = 0, payload_type: int = 0, size: int = 160) -> bytes:
    return RtpPacket(payload_type, number % 65536, number * 160 % 2**32, 9, b"\x55" * size).encode()


def test_dtmf_is_echoed() -> None:
    engine = engine_of_bob()
    engine.handle_datagram(BOB, ALICE, voice(1, 101, 4), 0.0)
    assert [RtpPacket.decode(send.data).payload_type for send in engine.drain()] == [101]


@pytest.mark.parametrize("data", [b"", b"\x80\xc8\0\6" + bytes(24), voice(1, 0, 961), voice(1, 0, 0), voice(1, 77)])
def test_what_is_no_voice_is_dropped(data: bytes) -> None:
    """RTCP's sender report, for one, looks like RTP of payload type 72 (RFC 5761 section 4)."""
    engine = engine_of_bob()
    engine.handle_datagram(BOB, ALICE, data, 0.0)
    assert engine.drain() == []
    report = engine.stop("call")
    assert report
    assert (report.received, report.dropped) == (0, 1)


def test_a_flood_is_not_echoed() -> None:
    engine = engine_of_bob()
    for n in range(10_000):
        engine.handle_datagram(BOB, ALICE, voice(n), n / 10_000)
    assert len(engine.drain()) <= PACKETS_BURST_MAX + 200


def test_a_datagram_for_nobody_is_dropped() -> None:
    engine = engine_of_bob()
    engine.handle_datagram(ALICE, BOB, voice(), 0.0)
    assert engine.drain() == []
    assert engine.stop("other call") is None


@given(st.lists(st.binary(max_size=60)))
def test_any_bytes_are_survived(datagrams: list[bytes]) -> None:
    engine = engine_of_bob()
    for n, data in enumerate(datagrams):
        engine.handle_datagram(BOB, ALICE, data, n * 0.02)
        engine.handle_timeout(n * 0.02)
    assert len(engine.drain()) <= len(datagrams)
