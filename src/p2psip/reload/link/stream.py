"""One TLS over TCP link with the framing header (RFC 6940 section 6.6.5, TLS-TCP-FH-NO-ICE).

TCP repeats what is lost, so the acknowledgements serve for one thing only: to see, much sooner than TCP would say,
that the other end is not there. A data frame that is not acknowledged within `FAILED_RTOS` timeouts makes the link
FAILED.
"""

from __future__ import annotations

from p2psip.reload.link.framing import frame_data, is_before
from p2psip.reload.link.link import Link, LinkState, Unacknowledged
from p2psip.reload.link.rto import STREAM_RTO

FAILED_RTOS = 3
"""6.6.5 removes a link after one RTO. A stream stands still for one RTO whenever a segment is lost or a small computer
is busy, and taking a neighbour out of the ring moves data; so we ask for as many timeouts as 6.6.3.1 does."""

IN_FLIGHT_MAX = 4096
"""Frames sent and not acknowledged; a link further behind is as good as dead."""

KEPT_BYTES_MAX = 128 * 1024
"""Of messages that are not acknowledged: more than that is in flight on a link that has long been too slow."""


class StreamLink(Link):
    """Framing, acknowledgement, round-trip measurement and failure detection of one TLS connection."""

    def __init__(self, message_bytes_max: int, now: float) -> None:
        super().__init__(message_bytes_max, STREAM_RTO, now)
        self._output = bytearray()
        self._sent: dict[int, Unacknowledged] = {}
        self._kept_bytes = 0

    def take_output(self) -> list[bytes]:
        """All of it in one piece."""
        if not self._output:
            return []
        output = bytes(self._output)
        self._output.clear()
        return [output]

    def send(self, message: bytes, now: float) -> None:
        """Frame a message for the other end."""
        sequence = self._take_sequence(now)
        if len(self._sent) < IN_FLIGHT_MAX:
            is_kept = self._kept_bytes + len(message) <= KEPT_BYTES_MAX
            self._sent[sequence] = Unacknowledged(message if is_kept else b"", now)
            self._kept_bytes += len(message) if is_kept else 0
        self._output += frame_data(sequence, message)

    def receive(self, data: bytes, now: float) -> list[bytes]:
        """The messages that `data` completes. Raises FramingError: close the link."""
        messages: list[bytes] = []
        for number, content in self._deframer.feed(data):
            if isinstance(content, int):
                self._acknowledged(number, now)
            else:
                # 6.6.2: "When the receiver receives a message, it SHOULD immediately send an ACK message."
                self._output += self._received.acknowledge(number)
                messages.append(content)
        return messages

    def take_unacknowledged(self) -> list[Unacknowledged]:
        """Those that were kept."""
        untold = [sent for sent in self._sent.values() if sent.message]
        self._sent = {sequence: Unacknowledged(b"", sent.sent_at) for sequence, sent in self._sent.items()}
        self._kept_bytes = 0
        return untold

    def _overdue_at(self) -> float | None:
        if self.state is not LinkState.UP or not self._sent:
            return None
        return next(iter(self._sent.values())).sent_at + FAILED_RTOS * self.round_trip.rto_s

    def _overdue(self, now: float) -> None:
        self._fail(now)

    def _acknowledged(self, ack_sequence: int, now: float) -> None:
        if ack_sequence not in self._sent:
            return
        self.round_trip.measured(now - self._arrived(ack_sequence).sent_at)
        # On a stream an acknowledgement of N says that all before N came as well; they were sent in this order.
        while self._sent and is_before(oldest := next(iter(self._sent)), ack_sequence):
            self._arrived(oldest)
        self._works()

    def _arrived(self, sequence: int) -> Unacknowledged:
        sent = self._sent.pop(sequence)
        self._kept_bytes -= len(sent.message)
        return sent
