"""A room whose members hear each other: each hears the others who speak, and never himself.

Theory of operation. Every 20 ms one frame of each member who speaks is taken from what has come of him; they are added,
and each member is sent the sum without his own. Who does not speak hears what all hear who do not, which is written
once. So what a frame costs grows with those who speak, of whom there are four at most, and hardly with those who
listen.

What comes of a member waits a moment for what comes late (JITTER_SAMPLES), is dropped where it grows, as clocks differ,
and is silence where there is nothing.
"""

from __future__ import annotations

import random

from p2psip.base.timers import Deadline
from p2psip.media.g711 import CODECS, SAMPLE_RATE_HZ, AudioCodec
from p2psip.media.mixing.lanes import SPEAKERS_MAX, loudness, narrowed, widened
from p2psip.media.negotiation import Address, Agreement
from p2psip.media.rtp import RtpPacket
from p2psip.media.session import Pace, RtpEnd, SendRtp

FRAME_SAMPLES = 160
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ

JITTER_SAMPLES = 320
"""So much of a member has come before he is heard, at first and after each gap."""

BEHIND_SAMPLES_MAX = 960
"""What waits longer is dropped, down to JITTER_SAMPLES: nobody talks well with somebody who is far behind."""

SPEAKS = 1.0
"""Who is louder on average speaks: some 48 dB below the loudest."""

FALLS = 0.8
"""How the loudness of a member falls from frame to frame: a fifth of a second after a word he still speaks."""


class MixedSession:
    """One member: what comes of him, and what goes to him."""

    def __init__(self, local: Address, agreement: Agreement, rng: random.Random, *, speaks: bool = True) -> None:
        """One who does not speak hears, and is not heard whatever he says."""
        self.end = RtpEnd(local, agreement, rng)
        self.loudness = 0.0
        self._speaks = speaks
        self._lanes = bytearray()
        self._is_filling = True
        self._marker = True
        self._said = bytearray()
        self._skipped = 0

    @property
    def heard(self) -> int:
        """How many packets have come of him."""
        return self.end.reception.received

    @property
    def codec(self) -> AudioCodec:
        """In what he hears."""
        return self.end.agreement.codec

    def change(self, agreement: Agreement) -> None:
        """Go on as agreed anew."""
        self._marker = self._marker or not self.end.agreement.direction.sends
        self.end.change(agreement)

    def hear(self, remote: Address, data: bytes, now: float) -> None:
        """A datagram has come from him."""
        self._keep(self.end.receive(remote, data, now))

    def frame(self, now: float) -> int | None:
        """The next frame of him, if he speaks."""
        self._keep(self.end.reception.handle_timeout(now))
        self.loudness *= FALLS
        wanted = 2 * FRAME_SAMPLES
        if len(self._lanes) < (2 * JITTER_SAMPLES if self._is_filling else wanted):
            self._is_filling = True
            return None
        self._is_filling = False
        frame = bytes(self._lanes[:wanted])
        del self._lanes[:wanted]
        return int.from_bytes(frame, "little") if self.loudness >= SPEAKS else None

    def say(self, payload: bytes, skipped: int) -> list[SendRtp]:
        """Send him a frame, in packets as long as agreed; `skipped` are those that nobody has had before it."""
        agreement, sent = self.end.agreement, list[SendRtp]()
        self._skipped += skipped
        if not agreement.direction.sends:
            self._said.clear()
            self._skipped += 1
            return sent
        self._said += payload
        length = SAMPLE_RATE_HZ * agreement.ptime_ms // 1000
        while len(self._said) >= length:
            packet = RtpPacket(agreement.payload_type, 0, 0, 0, bytes(self._said[:length]), marker=self._marker)
            del self._said[:length]
            after, self._skipped, self._marker = length + self._skipped * FRAME_SAMPLES, 0, False
            sent.append(self.end.write(packet, after=after))
        return sent

    def _keep(self, packets: list[RtpPacket]) -> None:
        agreement = self.end.agreement
        for packet in packets:
            codec = _codec(packet.payload_type, agreement)
            if codec is None or not (self._speaks and agreement.direction.receives):
                continue
            self.loudness = max(self.loudness, loudness(packet.payload, codec))
            self._lanes += widened(packet.payload, codec)
            if len(self._lanes) > 2 * BEHIND_SAMPLES_MAX:
                del self._lanes[: -2 * JITTER_SAMPLES]


def _codec(payload_type: int, agreement: Agreement) -> AudioCodec | None:
    if payload_type == agreement.payload_type:
        return agreement.codec
    return next((codec for codec in CODECS if codec.payload_type == payload_type), None)


class MixedRoom:
    """All members of a room, and when their next frame is due."""

    def __init__(self, now: float) -> None:
        self.members: list[MixedSession] = []
        self._pace = Pace(now, FRAME_S)

    def next_deadline(self) -> Deadline:
        """When the next frame is due."""
        return Deadline(self._pace.at, "RTP frame of a room due")

    def mix(self, now: float) -> list[SendRtp]:
        """The frames that are due, for all members."""
        sent: list[SendRtp] = []
        for _ in range(self._pace.due(now)):
            skipped, self._pace.skipped = self._pace.skipped, 0
            sent += self._frame(skipped, now)
        return sent

    def _frame(self, skipped: int, now: float) -> list[SendRtp]:
        taken = [(member, frame) for member in self.members if (frame := member.frame(now)) is not None]
        if len(taken) > SPEAKERS_MAX:
            taken = sorted(taken, key=lambda each: -each[0].loudness)[:SPEAKERS_MAX]
        speaking = dict(taken)
        total = sum(speaking.values())
        for_all: dict[AudioCodec, bytes] = {}
        sent: list[SendRtp] = []
        for member in self.members:
            own, codec = speaking.get(member), member.codec
            if own is not None:
                payload = narrowed(total - own, len(speaking) - 1, FRAME_SAMPLES, codec)
            elif codec in for_all:
                payload = for_all[codec]
            else:
                payload = for_all[codec] = narrowed(total, len(speaking), FRAME_SAMPLES, codec)
            sent += member.say(payload, skipped)
        return sent
