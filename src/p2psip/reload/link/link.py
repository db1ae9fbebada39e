"""One TLS over TCP link with the framing header (RFC 6940 section 6.6.5, TLS-TCP-FH-NO-ICE).

Theory of operation. TCP repeats what is lost, so the acknowledgements serve for one thing only: to see, much
sooner than TCP would say, that the other end is not there. A data frame that is not acknowledged within
`FAILED_RTOS` timeouts makes the link FAILED: the node takes it out of the Routing Table. An acknowledgement
makes it UP again. A link that stays FAILED for 30 s is DEAD and is closed.

    UP --no ACK for 3 RTO--> FAILED --no ACK for 30 s--> DEAD
     ^---------- ACK ----------'

A link with nothing to say for `IDLE_S` reports that it is idle, and the node sends a Ping over it.
"""

from __future__ import annotations

import enum

from p2psip.base.timers import Deadline
from p2psip.reload.link.framing import SEQUENCE_MASK, Deframer, ReceivedWindow, frame_data
from p2psip.reload.link.rto import RoundTripEstimator

FAILED_RTOS = 3
"""6.6.5 removes a link after one RTO. A stream stands still for one RTO whenever a segment is lost or a small computer
is busy, and taking a neighbour out of the ring moves data; so we ask for as many timeouts as 6.6.3.1 does."""

RETAINED_S = 30.0
"""6.6.5: "RECOMMENDED that such a connection be retained for 30 seconds to determine if the failure was transient"."""

IDLE_S = 15.0
"""How long a silent link goes without a connectivity Ping: bounds how late a power cut at the other end is seen."""

IN_FLIGHT_MAX = 4096
"""Frames sent and not acknowledged; a link further behind is as good as dead."""


HALF_OF_SEQUENCES = 1 << 31
"""Of two sequence numbers the one less than half of them ahead is the later."""


class LinkState(enum.Enum):
    """Health of a link, as the Routing Table sees it."""

    UP = "up"
    FAILED = "failed"
    DEAD = "dead"


class Link:
    """Framing, acknowledgement, round-trip measurement and failure detection of one connection.

    `output` collects the bytes to write; the caller takes them with `take_output()` after each call.
    """

    def __init__(self, message_bytes_max: int, now: float) -> None:
        self.state = LinkState.UP
        self.round_trip = RoundTripEstimator()
        self._deframer = Deframer(message_bytes_max)
        self._window = ReceivedWindow()
        self._output = bytearray()
        self._next_sequence = 0
        self._sent_at: dict[int, float] = {}
        self._last_sent_at = now
        self._failed_at = now

    def take_output(self) -> bytes:
        """The bytes that the last calls want written."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def send(self, message: bytes, now: float) -> None:
        """Frame a message for the other end."""
        sequence = self._next_sequence
        self._next_sequence = (sequence + 1) & SEQUENCE_MASK
        if len(self._sent_at) < IN_FLIGHT_MAX:
            self._sent_at[sequence] = now
        self._last_sent_at = now
        self._output += frame_data(sequence, message)

    def receive(self, data: bytes, now: float) -> list[bytes]:
        """The messages that `data` completes. Raises FramingError: close the link."""
        messages: list[bytes] = []
        for number, content in self._deframer.feed(data):
            if isinstance(content, int):
                self._acknowledged(number, now)
            else:
                # 6.6.2: "When the receiver receives a message, it SHOULD immediately send an ACK message."
                self._output += self._window.acknowledge(number)
                messages.append(content)
        return messages

    def handle_timeout(self, now: float) -> None:
        """Look at the link's health; `state` and `take_idle` say what came of it."""
        if self.state is LinkState.UP and self._sent_at and now >= self._overdue_at():
            self.state = LinkState.FAILED
            self._failed_at = now
        if self.state is LinkState.FAILED and now >= self._failed_at + RETAINED_S:
            self.state = LinkState.DEAD

    def take_idle(self, now: float) -> bool:
        """True, once each time, if nothing was sent for so long that a Ping is due."""
        if self.state is not LinkState.UP or self._sent_at or now < self._last_sent_at + IDLE_S:
            return False
        self._last_sent_at = now
        return True

    def next_deadline(self) -> Deadline | None:
        """When the link's health is to be looked at."""
        if self.state is LinkState.FAILED:
            return Deadline(self._failed_at + RETAINED_S, "failed link given up")
        if self.state is LinkState.DEAD:
            return None
        if self._sent_at:
            return Deadline(self._overdue_at(), "acknowledgement overdue")
        return Deadline(self._last_sent_at + IDLE_S, "link idle")

    def _overdue_at(self) -> float:
        return next(iter(self._sent_at.values())) + FAILED_RTOS * self.round_trip.rto_s

    def _acknowledged(self, ack_sequence: int, now: float) -> None:
        sent_at = self._sent_at.pop(ack_sequence, None)
        if sent_at is None:
            return
        self.round_trip.measured(now - sent_at)
        # On a stream an acknowledgement of N says that all before N came as well; they were sent in this order.
        while (
            self._sent_at and (ack_sequence - (oldest := next(iter(self._sent_at)))) & SEQUENCE_MASK < HALF_OF_SEQUENCES
        ):
            del self._sent_at[oldest]
        if self.state is LinkState.FAILED:
            self.state = LinkState.UP
