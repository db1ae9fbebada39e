"""Receiving RTP: its order, and what was lost, late or doubled (RFC 3550 sections 6.4.1, A.1, A.3 and A.8)."""

from __future__ import annotations

from collections.abc import Iterator

from p2psip.base.timers import Deadline
from p2psip.media.g711 import SAMPLE_RATE_HZ
from p2psip.media.rtp import RtpPacket

SEQUENCE_MOD = 1 << 16
DROPOUT_MAX = 3000
MISORDER_MAX = 100
HELD_MAX = 50
HOLD_S = 0.06
"""How long a gap may stay open before its packet is given up."""


class Reception:
    """One source's packets, put in order: a packet waits HOLD_S at most for one that is missing before it.

    The counters are for people: `received` is what was handed on, `lost` what was given up, `late` what came
    after its turn (given up, or a copy), `duplicates` are copies of what still waits.
    """

    def __init__(self) -> None:
        self.received = self.lost = self.late = self.duplicates = 0
        self._jitter = 0.0
        self._transit: float | None = None
        self._ssrc: int | None = None
        self._next = 0
        self._restart: int | None = None
        self._held: dict[int, RtpPacket] = {}
        self._give_up_at: float | None = None

    @property
    def jitter_ms(self) -> float:
        """The interarrival jitter (section 6.4.1)."""
        return self._jitter * 1000 / SAMPLE_RATE_HZ

    def put(self, packet: RtpPacket, now: float) -> list[RtpPacket]:
        """Take a packet; the packets that are in order now come out."""
        ready = self._begin(packet) if packet.ssrc != self._ssrc else []
        number = self._extended(packet.sequence_number)
        if number is None:
            return ready
        if number < self._next:
            self.late += 1
        elif number in self._held:
            self.duplicates += 1
        else:
            self._measure(packet, now)
            self._hold(number, packet)
            ready += self._in_order()
            self._rearm(now)
        return ready

    def handle_timeout(self, now: float) -> list[RtpPacket]:
        """Give up a gap that has been open for too long."""
        if self._give_up_at is None or now < self._give_up_at:
            return []
        self._skip()
        ready = self._in_order()
        self._give_up_at = None
        self._rearm(now)
        return ready

    def next_deadline(self) -> Deadline | None:
        """When a gap is given up."""
        return None if self._give_up_at is None else Deadline(self._give_up_at, "RTP packet missing")

    def flush(self) -> list[RtpPacket]:
        """All that is held, gaps given up."""
        ready: list[RtpPacket] = []
        while self._held:
            self._skip()
            ready += self._in_order()
        self._give_up_at = None
        return ready

    def _begin(self, packet: RtpPacket) -> list[RtpPacket]:
        """Another source speaks now: what is held of the one before comes out."""
        ready = self.flush()
        self._ssrc, self._next, self._restart, self._transit = packet.ssrc, packet.sequence_number, None, None
        return ready

    def _hold(self, number: int, packet: RtpPacket) -> None:
        self._held[number] = packet
        if len(self._held) > HELD_MAX:
            self._skip()

    def _extended(self, sequence_number: int) -> int | None:
        """The sequence number without its wrap (A.1); None if it makes no sense (yet).

        A large jump is believed only when the packet after it comes too: then the source has restarted.
        """
        ahead = (sequence_number - self._next + SEQUENCE_MOD // 2) % SEQUENCE_MOD - SEQUENCE_MOD // 2
        if -MISORDER_MAX <= ahead < DROPOUT_MAX:
            self._restart = None
            return self._next + ahead
        if sequence_number != self._restart:
            self._restart = (sequence_number + 1) % SEQUENCE_MOD
            return None
        self._restart = self._transit = None
        self.lost += len(self._held)
        self._held.clear()
        self._next = sequence_number
        return self._next

    def _measure(self, packet: RtpPacket, now: float) -> None:
        """A.8: "jitter += (1./16.) * ((double)d - s->jitter)"."""
        transit = now * SAMPLE_RATE_HZ - packet.timestamp
        if self._transit is not None:
            difference = abs(transit - self._transit) % (1 << 32)
            self._jitter += (min(difference, (1 << 32) - difference) - self._jitter) / 16
        self._transit = transit

    def _in_order(self) -> list[RtpPacket]:
        ready = list(self._take())
        self.received += len(ready)
        return ready

    def _take(self) -> Iterator[RtpPacket]:
        while self._next in self._held:
            yield self._held.pop(self._next)
            self._next += 1

    def _skip(self) -> None:
        """Go on after the gap."""
        first = min(self._held)
        self.lost += first - self._next
        self._next = first

    def _rearm(self, now: float) -> None:
        if not self._held:
            self._give_up_at = None
        elif self._give_up_at is None:
            self._give_up_at = now + HOLD_S
