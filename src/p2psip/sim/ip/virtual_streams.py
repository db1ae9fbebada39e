"""Reliable streams in order over packets that get lost, late, twice and out of order: what TCP is to its users.

Theory of operation. Segments are numbered by bytes and acknowledged cumulatively. What is not acknowledged is sent
again after a time that doubles (RFC 6298 section 5.5), or when three acknowledgements say the same (RFC 5681 section
3.2); after so many times the stream is lost. There is no congestion control: a window of fixed size is all that
limits a sender.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from typing import Protocol as Interfaces

from p2psip.base.address import Address
from p2psip.sim.ip.packet import (
    IP_BYTES,
    TCP_BYTES,
    IcmpError,
    Packet,
    Protocol,
    Segment,
    SocketRefused,
    Unreachable,
    version_of,
)

if TYPE_CHECKING:
    from p2psip.sim.ip.machine import Machine

WINDOW_BYTES = 65536
INTERFACE_MTU_BYTES = 1500
FIRST_RTO_S = 1.0
RTO_MIN_S = 0.2
RTO_MAX_S = 120.0
SYN_RETRIES = 6
"""Linux's: given up after 127 s."""
DATA_RETRIES = 15
DUPLICATES = 3
TIMED_OUT = "timed out"


class VirtualStreamUser(Interfaces):
    """Who a stream reports to."""

    def stream_connected(self, stream: VirtualStream) -> None:
        """The other end has answered."""

    def stream_data(self, stream: VirtualStream, data: bytes) -> None:
        """Bytes have come."""

    def stream_ended(self, stream: VirtualStream) -> None:
        """The other end sends no more."""

    def stream_lost(self, stream: VirtualStream, reason: str) -> None:
        """The stream is over, for this reason; not after an `abort` of one's own."""


@dataclass(eq=False)
class VirtualStreamListener:
    """Where a machine accepts streams. Who accepts one sets its `user` at once."""

    local: Address
    accept: Callable[[VirtualStream], None]
    mss_bytes: int | None = None


@dataclass(eq=False, slots=True)
class _Sent:
    """What is on its way."""

    segment: Segment
    at: float
    is_repeated: bool = False


class VirtualStream:
    """One end of a stream."""

    def __init__(self, machine: Machine, local: Address, remote: Address, *, mss_bytes: int | None = None) -> None:
        self.local = local
        self.remote = remote
        self.user: VirtualStreamUser | None = None
        self.is_open = False
        self.user_timeout_s = math.inf
        """How long what was sent may not be acknowledged (RFC 5482)."""
        self._machine = machine
        header = IP_BYTES[version_of(remote.host)] + TCP_BYTES
        self._mss_bytes = min(mss_bytes or INTERFACE_MTU_BYTES, INTERFACE_MTU_BYTES - header)
        self._own_mss_bytes = self._mss_bytes
        self._next = 0
        self._unsent = bytearray()
        self._flight: deque[_Sent] = deque()
        self._expected = 0
        self._early: dict[int, Segment] = {}
        self._listener: VirtualStreamListener | None = None
        self._is_closing = False
        self._has_finished = False
        self._is_finished_there = False
        self._is_over = False
        self._rto_s = FIRST_RTO_S
        self._backoff = 0
        self._duplicates = 0
        self._recovers_until = 0
        self._armed_at: float | None = None
        self._heard_at = 0.0
        """When the first of what is on its way was sent for the first time, or something before it acknowledged."""

    # For the machine

    def connect(self) -> None:
        """Say SYN."""
        self._transmit(Segment(0, 0, syn=True, mss_bytes=self._own_mss_bytes))

    def accept(self, syn: Segment, listener: VirtualStreamListener) -> None:
        """Answer a SYN; `listener` hears of the stream once it is up."""
        self._listener = listener
        self._heed_mss(syn)
        self._expected = syn.sequence + 1
        self._transmit(Segment(0, self._expected, syn=True, ack=True, mss_bytes=self._own_mss_bytes))

    def receive(self, segment: Segment) -> None:
        """A segment of the other end has come."""
        if segment.rst:
            self._lose("connection reset" if self.is_open else "connection refused")
            return
        if segment.syn and not segment.ack and not self._expected:
            self._cross(segment)
            return
        if segment.syn:
            self._synchronised(segment)
        if segment.ack:
            self._acknowledged(segment)
        if segment.length and not self._is_over and (self.is_open or segment.syn):
            self._take(segment)

    def unreachable(self, error: IcmpError) -> None:
        """ICMP says what became of a segment of ours."""
        if error.what is Unreachable.TOO_BIG:
            self._mss_bytes = min(self._mss_bytes, error.mtu_bytes - IP_BYTES[version_of(self.remote.host)] - TCP_BYTES)
            self._cut_anew()
        elif error.what is Unreachable.PORT and not self.is_open:
            # RFC 5461 section 4.1: systems take what the RFC calls a soft error for a hard one as long as there is no
            # connection; a NAT says this of a SYN that nobody has asked for.
            self._lose(error.what.value)

    # For the user

    def write(self, data: bytes) -> None:
        """Send bytes; after the stream is over, or was closed, they are dropped."""
        if not self._is_over and not self._is_closing:
            self._unsent += data
            self._push()

    def close(self) -> None:
        """End this direction once all is sent; the stream is over when the other end has done so too. One that is only
        being connected is over at once (RFC 9293 section 3.10.4).
        """
        if not self.is_open and self._listener is None:
            self._end()
        elif not self._is_over and not self._is_closing:
            self._is_closing = True
            self._push()

    def abort(self, reason: str) -> None:
        """Reset the stream."""
        if not self._is_over:
            self._send(Segment(self._next, self._expected, rst=True, ack=True))
            self._end()

    # Inside

    def _cross(self, syn: Segment) -> None:
        """RFC 9293 section 3.5: "Simultaneous initiation": the other end has sent a SYN as well, and not seen ours."""
        self._heed_mss(syn)
        self._expected = syn.end
        self._flight.clear()
        self._next, self._armed_at = 0, None
        self._transmit(Segment(0, self._expected, syn=True, ack=True, mss_bytes=self._own_mss_bytes))

    def _synchronised(self, segment: Segment) -> None:
        self._heed_mss(segment)
        if not self.is_open and segment.ack:
            self._expected = segment.sequence + 1
            self._open()

    def _heed_mss(self, segment: Segment) -> None:
        # RFC 9293 section 3.7.1: what either end says in its SYN bounds what the other sends.
        self._mss_bytes = min(self._mss_bytes, segment.mss_bytes or self._mss_bytes)

    def _open(self) -> None:
        if self.is_open:
            return
        self.is_open = True
        if self._listener is not None:
            self._listener.accept(self)
        if self.user is not None:
            self.user.stream_connected(self)
        self._push()

    def _acknowledged(self, segment: Segment) -> None:
        is_news = False
        while (
            self._flight and self._flight[0].segment.sequence + self._flight[0].segment.length <= segment.acknowledged
        ):
            sent = self._flight.popleft()
            is_news = True
            if not sent.is_repeated:
                # RFC 6298 section 3 (Karn): no time is taken of what was sent again.
                self._rto_s = max(RTO_MIN_S, 0.875 * self._rto_s + 0.125 * 4 * (self._machine.now - sent.at))
        if is_news:
            self._backoff = self._duplicates = 0
            self._armed_at = None
            self._heard_at = self._machine.now
            if self._expected and not self.is_open:
                # Our SYN is acknowledged, and theirs was here.
                self._open()
            if segment.acknowledged < self._recovers_until:
                # RFC 6582 section 3.2: what comes after what was missing is missing as well.
                self._repeat()
            self._push()
            self._arm()
        elif self._flight and not segment.length:
            self._duplicates += 1
            if self._duplicates == DUPLICATES:
                self._recovers_until = self._next
                self._repeat()
        self._end_if_done()

    def _take(self, segment: Segment) -> None:
        if segment.sequence > self._expected:
            if len(self._early) * INTERFACE_MTU_BYTES < WINDOW_BYTES:
                self._early[segment.sequence] = segment
        elif segment.end > self._expected:
            self._in_order(segment)
            while ready := [sequence for sequence in self._early if sequence <= self._expected]:
                after = self._early.pop(min(ready))
                if after.end > self._expected:
                    self._in_order(after)
        if not self._is_over:
            self._send(Segment(self._next, self._expected, ack=True))
            self._end_if_done()

    def _in_order(self, segment: Segment) -> None:
        if self._is_over:
            return
        # Pieces of what was cut anew, for a smaller path, may overlap what is here.
        data = segment.data[max(0, self._expected - segment.sequence - segment.syn) :]
        self._expected = segment.end
        if data and self.user is not None:
            self.user.stream_data(self, data)
        if segment.fin and not self._is_finished_there:
            self._is_finished_there = True
            if self.user is not None and not self._is_over:
                self.user.stream_ended(self)

    def _push(self) -> None:
        """Send what the window takes, and the end of it all after that."""
        if not self.is_open:
            return
        in_flight = sum(sent.segment.length for sent in self._flight)
        while self._unsent and in_flight < WINDOW_BYTES:
            data = bytes(self._unsent[: self._mss_bytes])
            del self._unsent[: self._mss_bytes]
            in_flight += len(data)
            self._transmit(Segment(self._next, self._expected, data, ack=True))
        if self._is_closing and not self._unsent and not self._has_finished:
            self._has_finished = True
            self._transmit(Segment(self._next, self._expected, fin=True, ack=True))

    def _transmit(self, segment: Segment) -> None:
        self._next = segment.end
        if not self._flight:
            self._heard_at = self._machine.now
        self._flight.append(_Sent(segment, self._machine.now))
        self._send(segment)
        self._arm()

    def _repeat(self) -> None:
        """Send the first again of what is on its way."""
        if self._flight:
            first = self._flight.popleft()
            pieces = self._pieces(first.segment)
            self._flight.extendleft(reversed(pieces))
            for piece in pieces:
                self._send(piece.segment)
            self._arm()

    def _cut_anew(self) -> None:
        """The path has turned out to be smaller: send what was too long for it again, in pieces."""
        flight, self._flight = self._flight, deque()
        for sent in flight:
            pieces = self._pieces(sent.segment) if len(sent.segment.data) > self._mss_bytes else [sent]
            self._flight.extend(pieces)
            for piece in pieces:
                if piece is not sent:
                    self._send(piece.segment)

    def _pieces(self, segment: Segment) -> list[_Sent]:
        """A segment as it is to be sent again, none of it longer than the path takes."""
        data, step = segment.data, self._mss_bytes
        again: list[_Sent] = []
        for at in range(0, max(1, len(data)), step):
            piece = replace(
                segment, sequence=segment.sequence + at, acknowledged=self._expected, data=data[at : at + step]
            )
            again.append(_Sent(piece, self._machine.now, is_repeated=True))
        return again

    def _send(self, segment: Segment) -> None:
        try:
            self._machine.send(Packet(Protocol.TCP, self.local, self.remote, segment))
        except SocketRefused:
            # No way at the moment: as good as lost, and sent again.
            return

    def _arm(self) -> None:
        if not self._flight or self._armed_at is not None:
            return
        rto_s = min(RTO_MAX_S, self._rto_s * (1 << self._backoff))
        at = self._armed_at = min(self._machine.now + rto_s, self._heard_at + self.user_timeout_s)
        self._machine.at(at, lambda: self._overdue(at))

    def _overdue(self, at: float) -> None:
        if self._armed_at != at or self._is_over:
            return
        self._armed_at = None
        self._backoff += 1
        self._recovers_until = self._next
        if (
            self._backoff > (DATA_RETRIES if self.is_open else SYN_RETRIES)
            or at >= self._heard_at + self.user_timeout_s
        ):
            self._lose(TIMED_OUT)
        else:
            self._repeat()

    def _end_if_done(self) -> None:
        if self._has_finished and self._is_finished_there and not self._flight and not self._is_over:
            self._lose("closed")

    def _lose(self, reason: str) -> None:
        if self._is_over:
            return
        self._end()
        if self.user is not None:
            self.user.stream_lost(self, reason)

    def _end(self) -> None:
        self._is_over = True
        self.is_open = False
        self._flight.clear()
        self._unsent.clear()
        self._machine.forget(self)


def reset_for(segment: Segment) -> Segment:
    """What a machine says to a segment of no stream that it knows (RFC 9293 section 3.5.2)."""
    return Segment(segment.acknowledged, segment.end, rst=True, ack=True)
