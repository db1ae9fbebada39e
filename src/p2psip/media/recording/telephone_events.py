"""Digits that are pressed during a call: telephone-event (RFC 4733 section 2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from p2psip.media.rtp import MalformedRtp, RtpPacket

DIGITS = "0123456789*#ABCD"
"""By event code (section 3.2); those behind are no digits."""

SEGMENT_MAX = 0xFFFF
"""What one segment of a long event can last (section 2.5.1.3), in timestamp units."""

REPEATED_MAX = 480
"""How closely an end is repeated: people do not press the same key again within 60 ms."""

_PAYLOAD = struct.Struct("!BBH")


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """What one packet says of an event (section 2.3): which, whether it is over, for how long it has lasted."""

    code: int
    is_end: bool
    volume: int
    duration: int

    @classmethod
    def decode(cls, payload: bytes) -> TelephoneEvent:
        """The first event of a payload. Raises MalformedRtp."""
        if len(payload) < _PAYLOAD.size:
            raise MalformedRtp(f"{len(payload)} bytes are too few for a telephone-event")
        code, flags, duration = _PAYLOAD.unpack_from(payload)
        return cls(code, bool(flags & 0x80), flags & 0x3F, duration)

    def encode(self) -> bytes:
        """Section 2.3; the reserved bit is 0."""
        return _PAYLOAD.pack(self.code, self.is_end << 7 | self.volume, self.duration)


class DigitListener:
    """Tells each digit once, however often it is said: an event has one RTP timestamp, that of its beginning.

    Some senders give each packet of an event a timestamp of its own. What follows closely on an event of the same
    digit, without the mark of a new one, is taken for more of it.
    """

    def __init__(self) -> None:
        self._last: RtpPacket | None = None
        """The latest packet of an event, and what it said."""
        self._said: TelephoneEvent | None = None

    def hear(self, packet: RtpPacket) -> str:
        """The digit that begins with this packet, "" if none does. Raises MalformedRtp."""
        event = TelephoneEvent.decode(packet.payload)
        if not event.duration:
            # 2.3.5: "The receiver SHOULD ignore an event report with zero duration if the event is not a state."
            return ""
        is_known = self._goes_on(packet, event)
        self._last, self._said = packet, event
        return "" if is_known or event.code >= len(DIGITS) else DIGITS[event.code]

    def _goes_on(self, packet: RtpPacket, event: TelephoneEvent) -> bool:
        last, said = self._last, self._said
        if last is None or said is None or (packet.ssrc, event.code) != (last.ssrc, said.code):
            return False
        # 2.2.1: "several RTP packets may carry the same timestamp". The first of them may be lost, so any will do.
        after = (packet.timestamp - last.timestamp) % (1 << 32)
        if not after:
            return True
        # 2.5.1.3: a sender begins "reporting a new "segment" with the RTP timestamp set to the time at which the
        # previous segment ended", and 2.2.2: "only the first segment will have the marker bit set".
        if packet.marker:
            return False
        return after <= (REPEATED_MAX if said.is_end else SEGMENT_MAX) and (event.is_end or not said.is_end)
