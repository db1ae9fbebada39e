"""Two calls that hear each other: what one end hears the other says, in the codec that was agreed with each."""

from __future__ import annotations

import random

from p2psip.base.timers import Deadline
from p2psip.media.g711 import CODECS, AudioCodec
from p2psip.media.negotiation import Address, Agreement
from p2psip.media.rtp import RtpPacket
from p2psip.media.session import MediaReport, RtpEnd, SendRtp, ToneSession
from p2psip.media.sounds import Sound
from p2psip.media.tone import ToneGenerator


class BridgedSession:
    """One of the two. As long as it is alone it plays what there is to wait with."""

    def __init__(
        self,
        local: Address,
        agreement: Agreement,
        rng: random.Random,
        now: float,
        *,
        tone: Sound | ToneGenerator | None,
    ) -> None:
        self._alone = ToneSession(local, agreement, rng, now, tone=tone)
        self._end: RtpEnd = self._alone.end
        self._other: BridgedSession | None = None
        self._last: RtpPacket | None = None
        self._outbox: list[SendRtp] = []

    def join(self, other: BridgedSession) -> None:
        """From now on they hear each other."""
        self._other, other._other = other, self

    def part(self) -> None:
        """They hear each other no more; both are silent until they are joined again, with whomever."""
        for one in (self, self._other):
            if one is not None:
                one._other = None
                one._alone.fall_silent()

    def wait(self, sound: Sound, now: float) -> None:
        """Hear this as long as one is alone."""
        self._alone.play(sound, now)

    def change(self, agreement: Agreement, now: float) -> None:
        """Go on as agreed anew."""
        self._alone.change(agreement, now)

    def handle_datagram(self, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to our media address."""
        self._pass(self._end.receive(remote, data, now))

    def handle_timeout(self, now: float) -> None:
        """Go on after a lost packet, or play what is due."""
        if self._other is None:
            self._alone.handle_timeout(now)
        else:
            self._pass(self._end.reception.handle_timeout(now))

    def next_deadline(self) -> Deadline | None:
        """When something is due."""
        return self._alone.next_deadline() if self._other is None else self._end.reception.next_deadline()

    def drain(self) -> list[SendRtp]:
        """What is to be sent."""
        outbox, self._outbox = self._outbox, []
        return [*self._alone.drain(), *outbox]

    @property
    def heard(self) -> int:
        """How many packets have come so far."""
        return self._end.reception.received

    def finish(self) -> MediaReport:
        """The stream has ended; what became of it. The other one is alone again, and silent."""
        self.part()
        return self._end.report()

    def _pass(self, packets: list[RtpPacket]) -> None:
        if self._other is not None and self._end.agreement.direction.receives:
            for packet in packets:
                self._other._say(packet, self._end.agreement)

    def _say(self, packet: RtpPacket, heard_as: Agreement) -> None:
        mine = self._end.agreement
        said = _translated(packet, heard_as, mine) if mine.direction.sends else None
        if said is None:
            return
        # What was lost on the way stays lost, so that who hears it knows.
        last = self._last if self._last and self._last.ssrc == packet.ssrc else None
        steps = (packet.sequence_number - last.sequence_number) % (1 << 16) if last else 1
        after = (packet.timestamp - last.timestamp) % (1 << 32) if last else len(packet.payload)
        self._last = packet
        self._outbox.append(self._end.write(said, after=after, steps=steps))


def _translated(packet: RtpPacket, heard_as: Agreement, mine: Agreement) -> RtpPacket | None:
    """A packet in what was agreed with who is to hear it; None if he cannot."""
    if packet.payload_type == heard_as.event_payload_type:
        kind = mine.event_payload_type
        return None if kind is None else _with(packet, kind, packet.payload)
    codec = _codec(packet.payload_type, heard_as)
    if codec is None:
        return None
    is_same = codec is mine.codec
    return _with(
        packet, mine.payload_type, packet.payload if is_same else mine.codec.encode(codec.decode(packet.payload))
    )


def _codec(payload_type: int, agreement: Agreement) -> AudioCodec | None:
    if payload_type == agreement.payload_type:
        return agreement.codec
    return next((codec for codec in CODECS if codec.payload_type == payload_type), None)


def _with(packet: RtpPacket, payload_type: int, payload: bytes) -> RtpPacket:
    return RtpPacket(payload_type, packet.sequence_number, packet.timestamp, packet.ssrc, payload, packet.marker)
