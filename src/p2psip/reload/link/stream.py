"""One TLS over TCP link with the framing header (RFC 6940 section 6.6.5, TLS-TCP-FH-NO-ICE).

TCP repeats what is lost, so the acknowledgements serve for one thing only: to see, much sooner than TCP would say,
that the other end is not there. A data frame that is not acknowledged within `FAILED_RTOS` timeouts makes the link
FAILED.

They also say how far the other end is behind. What would put it further behind than `IN_FLIGHT_BYTES_MAX` is lost: who
sent it will send it again (6.2.1), whereas a link between two honest nodes that is cut because a third floods it, and
the one end is slow just then, takes a neighbour out of the ring.
"""

from __future__ import annotations

from dataclasses import replace

from p2psip.base.frozen import frozen
from p2psip.base.rto import STREAM_RTO
from p2psip.reload.link.framing import frame_data, is_before
from p2psip.reload.link.link import Late, Link, LinkState, Unacknowledged

FAILED_RTOS = 3
"""6.6.5 removes a link after one RTO. A stream stands still for one RTO whenever a segment is lost or a small computer
is busy, and taking a neighbour out of the ring moves data; so we ask for as many timeouts as 6.6.3.1 does."""

LATE_RTOS = 2
"""After how many what waits for the link goes another way as well, where there is one."""

IN_FLIGHT_MAX, IN_FLIGHT_BYTES_MAX = 4096, 1024 * 1024
"""Frames sent and not acknowledged, and the bytes of their messages."""

KEPT_BYTES_MAX = 128 * 1024
"""Of messages that are not acknowledged: more than that is in flight on a link that has long been too slow."""


@frozen
class _Sent:
    message: bytes
    """Empty if it is not kept."""
    size: int
    at: float


class StreamLink(Link):
    """Framing, acknowledgement, round-trip measurement and failure detection of one TLS connection."""

    def __init__(self, message_bytes_max: int, now: float) -> None:
        super().__init__(message_bytes_max, STREAM_RTO, now)
        self._sent: dict[int, _Sent] = {}
        self._in_flight_bytes = 0
        self._kept_bytes = 0
        self._is_late = False
        """Whether it has been silent for `LATE_RTOS`, and that was told."""

    def _written(self) -> list[bytes]:
        """All of it in one piece."""
        output = super()._written()
        return [b"".join(output)] if output else []

    def send(self, message: bytes, now: float) -> None:
        """Frame a message for the other end; it is lost if that has not taken too much of what was sent before."""
        size = len(message)
        is_full = len(self._sent) >= IN_FLIGHT_MAX or self._in_flight_bytes + size > IN_FLIGHT_BYTES_MAX
        if self._sent and is_full:
            return
        sequence = self._take_sequence(now)
        is_kept = self._kept_bytes + size <= KEPT_BYTES_MAX
        self._sent[sequence] = _Sent(message if is_kept else b"", size, now)
        self._in_flight_bytes += size
        self._kept_bytes += size if is_kept else 0
        self._output.append(frame_data(sequence, message))

    def receive(self, data: bytes, now: float) -> list[bytes]:
        """The messages that `data` completes. Raises FramingError: close the link."""
        messages: list[bytes] = []
        self._heard_at = now
        for number, content in self._deframer.feed(data):
            if isinstance(content, int):
                self._acknowledged(number, now)
            else:
                self._written_at = now
                # 6.6.2: "When the receiver receives a message, it SHOULD immediately send an ACK message."
                self._output.append(self._received.acknowledge(number))
                messages.append(content)
        return messages

    def _untold(self) -> list[Unacknowledged]:
        """Those that were kept."""
        untold = [Unacknowledged(sent.message, sent.at) for sent in self._sent.values() if sent.message]
        self._sent = {sequence: replace(sent, message=b"") for sequence, sent in self._sent.items()}
        self._kept_bytes = 0
        return untold

    def _overdue_at(self) -> float | None:
        if self.state is not LinkState.UP or not self._sent:
            return None
        return self._silent_for(FAILED_RTOS if self._is_late else LATE_RTOS)

    def _overdue(self, now: float) -> None:
        if now >= self._silent_for(FAILED_RTOS):
            self._fail(now)
        else:
            self._is_late = True
            self._news += [Late(sent.message, sent.at) for sent in self._sent.values() if sent.message]

    def _silent_for(self, timeouts: int) -> float:
        """When the oldest that is in flight is so many timeouts old."""
        return next(iter(self._sent.values())).at + timeouts * self.round_trip.rto_s

    def _acknowledged(self, ack_sequence: int, now: float) -> None:
        if ack_sequence not in self._sent:
            return
        self._is_late = False
        self.round_trip.measured(now - self._arrived(ack_sequence).at)
        # On a stream an acknowledgement of N says that all before N came as well; they were sent in this order.
        while self._sent and is_before(oldest := next(iter(self._sent)), ack_sequence):
            self._arrived(oldest)
        self._works()

    def _arrived(self, sequence: int) -> _Sent:
        sent = self._sent.pop(sequence)
        self._in_flight_bytes -= sent.size
        self._kept_bytes -= len(sent.message)
        return sent
