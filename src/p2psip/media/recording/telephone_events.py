"""Digits that are pressed during a call: telephone-event (RFC 4733 section 2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from p2psip.media.rtp import MalformedRtp, RtpPacket

DIGITS = "0123456789*#ABCD"
"""By event code (section 3.2); those behind are no digits."""

SEGMENT_MAX = 0xFFFF
"""What one segment of a long event can last (section 2.5.1.3), in timestamp units."""

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
    """Tells each digit once, however often it is said: an event has one RTP timestamp, that of its beginning."""

    def __init__(self) -> None:
        self._last: tuple[int, int, int] | None = None
        """SSRC, timestamp and code of the latest event."""
        self._duration = 0

    def hear(self, packet: RtpPacket) -> str:
        """The digit that begins with this packet, "" if none does. Raises MalformedRtp."""
        event = TelephoneEvent.decode(packet.payload)
        if not event.duration:
            # 2.3.5: "The receiver SHOULD ignore an event report with zero duration if the event is not a state."
            return ""
        # 2.2.1: "several RTP packets may carry the same timestamp". The first of them may be lost, so any will do.
        this = packet.ssrc, packet.timestamp, event.code
        is_known = this == self._last or self._goes_on(this)
        self._last, self._duration = this, event.duration
        return "" if is_known or event.code >= len(DIGITS) else DIGITS[event.code]

    def _goes_on(self, this: tuple[int, int, int]) -> bool:
        """2.5.1.3: a sender begins "reporting a new "segment" with the RTP timestamp set to the time at which the
        previous segment ended".
        """
        if self._last is None or self._duration != SEGMENT_MAX:
            return False
        ssrc, timestamp, code = self._last
        return this == (ssrc, (timestamp + SEGMENT_MAX) % (1 << 32), code)
