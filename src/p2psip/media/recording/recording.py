"""A recording on its way: mu-law, a byte a sample, with silence where nothing came."""

from __future__ import annotations

from p2psip.media.g711 import PCMU, SAMPLE_RATE_HZ, AudioCodec, Samples
from p2psip.media.rtp import RtpPacket

SILENCE = b"\xff"
"""Zero in mu-law."""

GAP_MAX_S = 30.0
"""A source whose timestamps jump by more has begun anew: nobody has been silent for so long."""


class Recording:
    """What one end says, up to so many seconds."""

    def __init__(self, longest_s: float) -> None:
        self._most = int(longest_s * SAMPLE_RATE_HZ)
        self._data = bytearray()
        self._next: tuple[int, int] | None = None
        """The SSRC, and the timestamp of the sample that is next."""

    @property
    def duration_s(self) -> float:
        """How much there is."""
        return len(self._data) / SAMPLE_RATE_HZ

    @property
    def is_full(self) -> bool:
        """True if no more goes in."""
        return len(self._data) >= self._most

    @property
    def data(self) -> bytes:
        """All of it."""
        return bytes(self._data)

    def hear(self, packet: RtpPacket, codec: AudioCodec) -> None:
        """What was said next. A phone that suppresses silence, or a lost packet, leaves a gap: silence."""
        self._data += SILENCE * self._missing(packet)
        self._data += packet.payload if codec is PCMU else PCMU.encode(codec.decode(packet.payload))
        del self._data[self._most :]
        self._next = packet.ssrc, (packet.timestamp + len(packet.payload)) % (1 << 32)

    def _missing(self, packet: RtpPacket) -> int:
        if self._next is None or self._next[0] != packet.ssrc:
            return 0
        gap = (packet.timestamp - self._next[1]) % (1 << 32)
        return gap if gap <= GAP_MAX_S * SAMPLE_RATE_HZ else 0


class Replay:
    """A recording as a Sound (media/sounds.py); silent when it is over."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def duration_s(self) -> float:
        """sounds.Sound"""
        return len(self._data) / SAMPLE_RATE_HZ

    def frame(self, samples: int) -> Samples[int]:
        """sounds.Sound"""
        part = self._data[self._at : self._at + samples]
        self._at += samples
        return PCMU.decode(part.ljust(samples, SILENCE))
