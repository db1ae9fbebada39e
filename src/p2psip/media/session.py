"""RTP sessions of a telephone without people: one plays a tone and listens, one sends back what it hears.

Sans-I/O, as every core: datagrams and timeouts in, `SendRtp` out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen
from p2psip.base.timers import Deadline, earliest
from p2psip.media.g711 import CODECS, SAMPLE_RATE_HZ
from p2psip.media.latch import Latch
from p2psip.media.negotiation import Address, Agreement
from p2psip.media.reception import Reception
from p2psip.media.rtp import MalformedRtp, RtpPacket
from p2psip.media.sounds import Sound
from p2psip.media.tone import Tone, ToneDetector, ToneGenerator

PAYLOAD_MAX = 960
PACKETS_PER_S_MAX = 200
PACKETS_BURST_MAX = 100
BACKLOG_MAX_S = 0.2
"""A driver that is later than this has slept: what was due meanwhile is not sent."""


@frozen
class SendRtp(Effect):
    """Send this datagram from our media address `local`."""

    local: Address
    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class MediaReport:
    """What became of a stream: packets sent and received, `dropped` for being foreign, malformed or too many."""

    sent: int
    received: int
    lost: int
    late: int
    dropped: int
    jitter_ms: float
    tone: Tone | None = None


class MediaSession(Protocol):
    """What every kind of session can do."""

    def change(self, agreement: Agreement, now: float) -> None:
        """Go on as agreed anew."""

    def handle_datagram(self, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to our media address."""

    def handle_timeout(self, now: float) -> None:
        """The deadline has come."""

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""

    def drain(self) -> list[SendRtp]:
        """What is to be sent."""

    def finish(self) -> MediaReport:
        """The stream has ended; what became of it."""

    @property
    def heard(self) -> int:
        """How many packets of the other side have come so far."""


class RtpEnd:
    """Our end of an RTP stream: what we write carries our own SSRC, what we take is valid and from the right place."""

    def __init__(self, local: Address, agreement: Agreement, rng: random.Random) -> None:
        self.agreement = agreement
        self.reception = Reception()
        self.sent = self.dropped = 0
        self._local = local
        self._latch = Latch(agreement.remote)
        self._ssrc = rng.getrandbits(32)
        self._sequence_number = rng.getrandbits(16)
        self._timestamp = rng.getrandbits(32)
        self._allowance, self._allowance_at = float(PACKETS_BURST_MAX), 0.0

    def change(self, agreement: Agreement) -> None:
        """Send to where, and as, SDP says now."""
        self.agreement = agreement
        self._latch.name(agreement.remote)

    def receive(self, remote: Address, data: bytes, now: float) -> list[RtpPacket]:
        """The packets that are in order now."""
        try:
            packet = RtpPacket.decode(data)
        except MalformedRtp:
            self.dropped += 1
            return []
        if not self._is_ours(packet) or not self._latch.accepts(remote) or not self._is_allowed(now):
            self.dropped += 1
            return []
        return self.reception.put(packet, now)

    def write(self, packet: RtpPacket, *, after: int, steps: int = 1) -> SendRtp:
        """Send this packet as ours, `after` samples and `steps` sequence numbers after the last."""
        self.sent += 1
        self._sequence_number = (self._sequence_number + steps) % (1 << 16)
        self._timestamp = (self._timestamp + after) % (1 << 32)
        ours = RtpPacket(
            packet.payload_type, self._sequence_number, self._timestamp, self._ssrc, packet.payload, packet.marker
        )
        remote = self._latch.remote
        assert remote is not None, "an agreement names an address"
        return SendRtp(self._local, remote, ours.encode())

    def report(self, tone: Tone | None = None) -> MediaReport:
        """The counters."""
        r = self.reception
        return MediaReport(self.sent, r.received, r.lost, r.late, self.dropped, r.jitter_ms, tone)

    def _is_ours(self, packet: RtpPacket) -> bool:
        known = {self.agreement.payload_type, self.agreement.event_payload_type, *(c.payload_type for c in CODECS)}
        return packet.payload_type in known and 0 < len(packet.payload) <= PAYLOAD_MAX

    def _is_allowed(self, now: float) -> bool:
        """A telephone sends 50 packets a second; a flood is not worth reading."""
        gained = (now - self._allowance_at) * PACKETS_PER_S_MAX
        self._allowance, self._allowance_at = min(PACKETS_BURST_MAX, self._allowance + gained), now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


@dataclass(slots=True)
class Pace:
    """When the next frame is due: one every `period_s`, whatever the jitter of the driver."""

    at: float
    period_s: float
    skipped: int = 0

    def due(self, now: float) -> int:
        """How many frames to send now; those missed while the driver slept count as skipped."""
        if now > self.at + BACKLOG_MAX_S:
            self.skipped = int((now - self.at) / self.period_s) - 1
            self.at += self.skipped * self.period_s
        frames = 0
        while self.at <= now:
            frames += 1
            self.at += self.period_s
        return frames


class ToneSession:
    """Plays a tone in frames of the agreed length, and listens for one."""

    def __init__(
        self,
        local: Address,
        agreement: Agreement,
        rng: random.Random,
        now: float,
        *,
        tone: Sound | ToneGenerator | None,
    ) -> None:
        self.end = RtpEnd(local, agreement, rng)
        self._tone = tone
        self._ear = ToneDetector()
        self._pace = Pace(now, agreement.ptime_ms / 1000)
        self._marker = True
        self._outbox: list[SendRtp] = []

    def change(self, agreement: Agreement, now: float) -> None:
        """Go on as agreed anew."""
        self._marker = self._marker or not self._speaks
        self.end.change(agreement)
        self._pace.period_s = agreement.ptime_ms / 1000

    def fall_silent(self) -> None:
        """Play nothing more."""
        self._tone = None

    def play(self, tone: Sound, now: float) -> None:
        """Play this from now on."""
        self._tone, self._pace.at, self._marker = tone, now, True

    def handle_datagram(self, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to our media address."""
        self._hear(self.end.receive(remote, data, now))

    def handle_timeout(self, now: float) -> None:
        """Play what is due, and hear what has waited for a lost packet."""
        self._hear(self.end.reception.handle_timeout(now))
        if self._speaks:
            for _ in range(self._pace.due(now)):
                self._speak()

    def next_deadline(self) -> Deadline | None:
        """When the next frame is due."""
        frame = Deadline(self._pace.at, "RTP frame due") if self._speaks else None
        return earliest([frame, self.end.reception.next_deadline()])

    def drain(self) -> list[SendRtp]:
        """What is to be sent."""
        outbox, self._outbox = self._outbox, []
        return outbox

    @property
    def heard(self) -> int:
        """How many packets have come so far."""
        return self.end.reception.received

    def finish(self) -> MediaReport:
        """The stream has ended; what became of it."""
        self._hear(self.end.reception.flush())
        return self.end.report(self._ear.tone())

    @property
    def _speaks(self) -> bool:
        return self._tone is not None and self.end.agreement.direction.sends

    def _speak(self) -> None:
        assert self._tone is not None, "only a session with a tone is due"
        agreement = self.end.agreement
        samples = SAMPLE_RATE_HZ * agreement.ptime_ms // 1000
        payload = agreement.codec.encode(self._tone.frame(samples))
        after, self._pace.skipped = samples * (1 + self._pace.skipped), 0
        packet = RtpPacket(agreement.payload_type, 0, 0, 0, payload, marker=self._marker)
        self._marker = False
        self._outbox.append(self.end.write(packet, after=after))

    def _hear(self, packets: list[RtpPacket]) -> None:
        agreement = self.end.agreement
        codecs = {codec.payload_type: codec for codec in CODECS} | {agreement.payload_type: agreement.codec}
        for packet in packets:
            codec = codecs.get(packet.payload_type)
            if codec is not None and agreement.direction.receives:
                self._ear.feed(codec.decode(packet.payload))


class EchoSession:
    """Sends back what it hears, telephone-events too; what was lost on the way stays lost."""

    def __init__(self, local: Address, agreement: Agreement, rng: random.Random) -> None:
        self._end = RtpEnd(local, agreement, rng)
        self._last: RtpPacket | None = None
        self._outbox: list[SendRtp] = []

    def change(self, agreement: Agreement, now: float) -> None:
        """Go on as agreed anew."""
        self._end.change(agreement)

    def handle_datagram(self, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to our media address."""
        self._echo(self._end.receive(remote, data, now))

    def handle_timeout(self, now: float) -> None:
        """Go on after a lost packet."""
        self._echo(self._end.reception.handle_timeout(now))

    def next_deadline(self) -> Deadline | None:
        """When a lost packet is given up."""
        return self._end.reception.next_deadline()

    def drain(self) -> list[SendRtp]:
        """What is to be sent."""
        outbox, self._outbox = self._outbox, []
        return outbox

    @property
    def heard(self) -> int:
        """How many packets have come so far."""
        return self._end.reception.received

    def finish(self) -> MediaReport:
        """The stream has ended; what became of it."""
        return self._end.report()

    def _echo(self, packets: list[RtpPacket]) -> None:
        if not self._end.agreement.direction.sends:
            return
        for packet in packets:
            last = self._last if self._last and self._last.ssrc == packet.ssrc else None
            steps = (packet.sequence_number - last.sequence_number) % (1 << 16) if last else 1
            after = (packet.timestamp - last.timestamp) % (1 << 32) if last else len(packet.payload)
            self._last = packet
            self._outbox.append(self._end.write(packet, after=after, steps=steps))
