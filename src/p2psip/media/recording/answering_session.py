"""A call with a machine at our end: it plays one thing after the other, keeps what is said, and hears digits."""

from __future__ import annotations

import random

from p2psip.media.g711 import CODECS
from p2psip.media.negotiation import Address, Agreement
from p2psip.media.recording.recording import Recording
from p2psip.media.recording.telephone_events import DigitListener
from p2psip.media.rtp import MalformedRtp, RtpPacket
from p2psip.media.session import ToneSession
from p2psip.media.sounds import Sound
from p2psip.media.tone import ToneGenerator

DIGITS_MAX = 32
"""Digits that wait to be taken; more are not pressed by people."""


class AnsweringSession(ToneSession):
    """A MediaSession. Its user takes the digits, and says when to record."""

    def __init__(
        self,
        local: Address,
        agreement: Agreement,
        rng: random.Random,
        now: float,
        *,
        tone: Sound | ToneGenerator | None,
    ) -> None:
        super().__init__(local, agreement, rng, now, tone=tone)
        self.recording: Recording | None = None
        """What is being recorded."""
        self._listener = DigitListener()
        self._digits: list[str] = []

    def take_digits(self) -> list[str]:
        """What has been pressed since the last call."""
        digits, self._digits = self._digits, []
        return digits

    def _hear(self, packets: list[RtpPacket]) -> None:
        agreement = self.end.agreement
        codecs = {codec.payload_type: codec for codec in CODECS} | {agreement.payload_type: agreement.codec}
        for packet in packets:
            codec = codecs.get(packet.payload_type)
            if packet.payload_type == agreement.event_payload_type:
                self._press(packet)
            elif codec is not None and self.recording is not None and agreement.direction.receives:
                self.recording.hear(packet, codec)

    def _press(self, packet: RtpPacket) -> None:
        try:
            digit = self._listener.hear(packet)
        except MalformedRtp:
            self.end.dropped += 1
            return
        if digit and len(self._digits) < DIGITS_MAX:
            self._digits.append(digit)
