"""What came from one side of a stream: packets, loss and jitter (RFC 3550 sections 6.4.1, A.1, A.3 and A.8)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from p2psip.media.g711 import SAMPLE_RATE_HZ
from p2psip.media.reception import DROPOUT_MAX, MISORDER_MAX, SEQUENCE_MOD

_HEADER = struct.Struct("!xBHII")


class Tally:
    """The counters of one direction. Nothing is held back or put in order here: a relay passes on what comes.

    `rates` are the clock rates of the payload types, in Hz; of others it is taken to be a telephone's.
    """

    __slots__ = (
        "_base",
        "_highest",
        "_jitter_s",
        "_lost_before",
        "_payload_type",
        "_restart",
        "_seen",
        "_transit_s",
        "octets",
        "packets",
        "rates",
        "ssrc",
    )

    def __init__(self, rates: Mapping[int, int]) -> None:
        self.rates = rates
        self.packets = self.octets = 0
        self.ssrc: int | None = None
        self._base = self._highest = self._seen = self._lost_before = 0
        self._restart: int | None = None
        self._payload_type = -1
        self._transit_s = self._jitter_s = 0.0

    @property
    def lost(self) -> int:
        """How many never came: A.3, "number of packets expected less the number of packets actually received"."""
        return self._lost_before + self._lost_now()

    @property
    def jitter_ms(self) -> float:
        """The interarrival jitter (section 6.4.1)."""
        return self._jitter_s * 1000

    def note(self, packet: bytes, now: float) -> None:
        """An RTP packet has come, of 12 bytes at least."""
        self.packets += 1
        self.octets += len(packet)
        second, sequence_number, timestamp, ssrc = _HEADER.unpack_from(packet)
        if ssrc != self.ssrc or not self._follows(sequence_number):
            self._begin(ssrc, sequence_number)
        self._seen += 1
        self._measure(second & 0x7F, timestamp, now)

    def _follows(self, sequence_number: int) -> bool:
        """A.1: true unless the source has restarted, which is believed when two packets in a row say so."""
        ahead = (sequence_number - self._highest) % SEQUENCE_MOD
        if ahead < DROPOUT_MAX:
            self._highest += ahead
            self._restart = None
        elif ahead <= SEQUENCE_MOD - MISORDER_MAX:
            if sequence_number == self._restart:
                return False
            self._restart = (sequence_number + 1) % SEQUENCE_MOD
        return True

    def _begin(self, ssrc: int, sequence_number: int) -> None:
        self._lost_before += self._lost_now()
        self.ssrc, self._base, self._highest, self._seen = ssrc, sequence_number, sequence_number, 0
        self._restart, self._payload_type = None, -1

    def _lost_now(self) -> int:
        return max(0, self._highest - self._base + 1 - self._seen) if self.ssrc is not None else 0

    def _measure(self, payload_type: int, timestamp: int, now: float) -> None:
        """A.8: "jitter += (1./16.) * ((double)d - s->jitter)"."""
        rate = self.rates.get(payload_type, SAMPLE_RATE_HZ)
        transit_s = now - timestamp / rate
        # Telephone-events and comfort noise have time stamps of their own kind (RFC 4733 section 2.2.2).
        if payload_type == self._payload_type:
            difference_s = abs(transit_s - self._transit_s)
            if difference_s < 1.0:  # else the time stamp has wrapped, or begun anew
                self._jitter_s += (difference_s - self._jitter_s) / 16
        self._payload_type, self._transit_s = payload_type, transit_s
