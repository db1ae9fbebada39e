"""One DTLS over UDP link with Simple Reliability (RFC 6940 section 6.6.3; 6.6.4, 6.6.6: DTLS-UDP-SR[-NO-ICE]).

Theory of operation. "The receiver's job is very simple, and is limited to just sending ACKs. All the complexity is at
the sender side" (6.6.3). A message waits until the window has room, and goes out as one datagram under a number of its
own; each further transmission has a new number, so that every acknowledgement says of which one it is and every one
measures the round trip. A transmission is taken for lost when others sent `_reordering` or more later have arrived, or
when nothing at all was acknowledged for an RTO. A message is done when any of its transmissions has arrived.

         send             room                 ACK
    ----------> waiting --------> in flight -----------> done
                   room ^            |
                        '-- again <--' lost, timed out

On some paths large datagrams vanish and nobody says so, while Pings pass. A long message that was taken for lost time
and again, while several shorter ones and none so long arrived, is such a case: from then on this link carries short
ones, and gives the long ones back, to be sent in fragments. How long is too long nobody knows: of two that no path has
to carry one may arrive. A check of the path that was answered (`path_answers`) is a short one that arrived; often there
is no other, as what vanishes fills the window.

Messages are passed up as they come: RELOAD asks for no order, and there is no waiting for the one that is missing. One
that was sent again because its acknowledgements were lost comes twice, under two numbers; `Arrivals` passes on one.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from p2psip.base.frozen import frozen
from p2psip.base.rto import DATAGRAM_RTO, RoundTripEstimator
from p2psip.reload.link.congestion import Window
from p2psip.reload.link.framing import (
    DATA_HEADER_BYTES,
    SEQUENCE_MASK,
    FramingError,
    frame_data,
    is_before,
)
from p2psip.reload.link.link import Late, Link, Unacknowledged, Vanished

REORDERING_MIN = 3
"""RFC 5681 section 3.2: "the arrival of 3 duplicate ACKs [...] as an indication that a segment has been lost"."""

REORDERING_MAX = 64
"""DTLS drops what comes still later."""

LATE_TIMEOUTS = 2
"""After how many of them, one upon the other, what waits goes another way as well, where there is one: the first may be
one datagram that was lost."""

FAILED_TIMEOUTS = 4
"""6.6.3.1: "observe when no ACKs have been received for an entire RTO interval, and then wait for three retransmissions
to occur beyond that point"."""

COPIES_MAX = 3
"""How often a message goes out at once, each time under a number of its own, when timeout follows on timeout.

Where one datagram in ten is lost, one in five round trips fails: with one copy after each timeout a sound link would
be taken for failed once in 800 messages, with 1, 2 and 3 once in 100,000. That is never more than one datagram an RTO,
which RFC 5405 section 3.1.2 grants whoever knows nothing of the path.
"""

WAITING_BYTES_MAX = 4 * 1024 * 1024
"""A link on which more piles up than this is given up, as a TLS connection is whose other end does not read."""

DOUBTFUL_MAX = 1024
"""Transmissions taken for lost of which an acknowledgement would still be understood."""

ARRIVALS_MAX = 1024

RECORD_BYTES_MAX = (1 << 14) - DATA_HEADER_BYTES
"""What one DTLS record carries beside the framing header (RFC 6347 section 4.1); IP fragments what is so long."""


NARROW_DATAGRAM_BYTES = 576 - 48
"""What is left beside IP and UDP in a packet that every path carries (RFC 1122 section 3.3.2)."""

NARROW_RECORD_BYTES = NARROW_DATAGRAM_BYTES - 64
"""What is left of that beside DTLS."""

NARROW_BYTES = NARROW_RECORD_BYTES - DATA_HEADER_BYTES
"""What is left of that for a message."""

VANISHED_LOSSES = 5
"""How often one long message is taken for lost before its length is blamed: where one datagram in ten is lost, that
happens by chance to one in 100,000."""

VANISHED_ARRIVALS = 3
"""How many shorter ones have to arrive, and none so long, before it is: not the path as a whole is at fault."""

CHECK_BYTES = 0
"""How long a check of the path is: shorter than any message."""


@dataclass(slots=True, eq=False)
class _Outgoing:
    """A message of ours, in one or more transmissions."""

    message: bytes
    given_at: float
    is_done: bool = False
    is_told: bool = False
    losses: int = 0

    @property
    def is_long(self) -> bool:
        """True if not every path carries it in one packet."""
        return len(self.message) > NARROW_BYTES


@frozen
class _Transmission:
    outgoing: _Outgoing
    sent_at: float


class Arrivals:
    """What came lately, so that what comes twice is passed on once.

    For less than the time after which its originator sends a request again end to end: that one has to go on.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._first_at: dict[bytes, float] = {}

    def is_new(self, message: bytes, now: float) -> bool:
        """True the first time."""
        while self._first_at and self._is_old(next(iter(self._first_at)), now):
            del self._first_at[next(iter(self._first_at))]
        digest = hashlib.blake2b(message, digest_size=16).digest()
        if digest in self._first_at:
            return False
        self._first_at[digest] = now
        return True

    def _is_old(self, digest: bytes, now: float) -> bool:
        return len(self._first_at) >= ARRIVALS_MAX or now >= self._first_at[digest] + self._keep_s


class DatagramLink(Link):
    """Simple Reliability over one association: nothing that was sent is lost while the link lives."""

    def __init__(self, message_bytes_max: int, datagram_bytes: int, repeat_s: float, now: float) -> None:
        """`datagram_bytes` is what one datagram carries, `repeat_s` how soon an originator may repeat a message."""
        super().__init__(message_bytes_max, DATAGRAM_RTO, now)
        self.payload_bytes: int = datagram_bytes - DATA_HEADER_BYTES
        self._window = Window()
        self._arrivals = Arrivals(0.8 * repeat_s)
        self._again: deque[_Outgoing] = deque()
        self._waiting: deque[_Outgoing] = deque()
        self._waiting_bytes = 0
        self._flight: dict[int, _Transmission] = {}
        self._doubtful: dict[int, _Transmission] = {}
        self._latest_acknowledged = SEQUENCE_MASK
        self._recovered_from = 0
        self._reordering = REORDERING_MIN
        self._waiting_since = now
        self._timeouts = 0
        self._answered_at = -math.inf
        """When the path answered a check last, after a silence."""
        self._arrived_bytes: deque[int] = deque(maxlen=VANISHED_ARRIVALS)
        """How long what arrived last was."""
        self._suspects: list[_Outgoing] = []
        """Those that were lost so often that their length may be why."""

    @property
    def waiting_bytes(self) -> int:
        """What the window has no room for."""
        return self._waiting_bytes

    def send(self, message: bytes, now: float) -> None:
        """Take a message; it leaves as soon as the window has room.

        One that no record holds and that could not be fragmented is lost, as is one whose next hop is gone.
        """
        if len(message) > RECORD_BYTES_MAX:
            return
        self._waiting.append(_Outgoing(message, now))
        self._waiting_bytes += len(message)
        if self._waiting_bytes > WAITING_BYTES_MAX:
            self.give_up(now)
        if not self._flight and now > self._last_sent_at + self.round_trip.rto_s:
            self._window.rested()
        self._transmit(now)

    def receive(self, data: bytes, now: float) -> list[bytes]:
        """The messages of a datagram, if they are new. Raises FramingError: close the link."""
        messages: list[bytes] = []
        self._heard_at = now
        for number, content in self._deframer.feed(data):
            if isinstance(content, int):
                self._acknowledged(number, content, now)
                continue
            self._written_at = now
            # 6.6.2: "When the receiver receives a message, it SHOULD immediately send an ACK message."
            self._output.append(self._received.acknowledge(number))
            if self._arrivals.is_new(content, now):
                messages.append(content)
        if self._deframer.is_within_frame:
            raise FramingError("a datagram ends within a frame")
        self._give_back_vanished()
        return messages

    def try_again(self, now: float) -> None:
        """Its path is another: send all again that is under way. What was learnt of the one before is stale."""
        self._timeouts = 0
        self._arrived_bytes.clear()
        self._begin_anew()
        self._transmit(now)

    def path_answers(self, now: float) -> None:
        """Its path was silent, and has answered a check: send all again that is under way.

        The path was away, and is back. But where nothing that was sent since it answered last has arrived, it was not,
        and answers do not keep alive a link that carries nothing.
        """
        self._answered_at = now
        if not self._arrived_bytes or self._arrived_bytes[-1] != CHECK_BYTES:
            self._timeouts = 0
        self._arrived_bytes.append(CHECK_BYTES)
        self._begin_anew()
        self._give_back_vanished()
        self._transmit(now)

    def take_over(self, older: DatagramLink) -> list[bytes]:
        """Be what `older` was, a link to the same node: what that has not brought over, in order, to be sent here.

        What was, and comes here again as the other end could not know, is not passed on twice.
        """
        self._arrivals = older._arrivals
        return older.let_go()

    def let_go(self) -> list[bytes]:
        """Have another link bring over what is not known to have arrived."""
        untold = self._untold_in_order()
        for outgoing in self._pending():
            outgoing.is_done = True
        self._flight.clear()
        self._waiting.clear()
        self._again.clear()
        self._waiting_bytes = 0
        return [one.message for one in untold]

    def _untold(self) -> list[Unacknowledged]:
        """All that has not arrived, as far as is known, whether it was sent or still waits. The link goes on trying."""
        untold = self._untold_in_order()
        for outgoing in untold:
            outgoing.is_told = True
        return [Unacknowledged(one.message, one.given_at) for one in untold]

    def _untold_in_order(self) -> list[_Outgoing]:
        """The oldest first."""
        pending = dict.fromkeys(self._pending())
        return sorted((one for one in pending if not one.is_told), key=lambda one: one.given_at)

    def _give_back_vanished(self) -> None:
        """Long messages that this path does not carry: `payload_bytes` is now what it does carry.

        One that is longer after that could not be cut, and is lost.
        """
        if not self._suspects or len(self._arrived_bytes) < VANISHED_ARRIVALS:
            return
        self._suspects = [one for one in self._suspects if not one.is_done]
        if all(len(one.message) <= max(self._arrived_bytes) for one in self._suspects):
            return
        were_cut = self.payload_bytes <= NARROW_BYTES
        if not were_cut:
            # That nothing has arrived has its reason.
            self._timeouts = 0
        self.payload_bytes = min(self.payload_bytes, NARROW_BYTES)
        vanished = list(dict.fromkeys(one for one in self._pending() if one.is_long))
        for outgoing in vanished:
            outgoing.is_done = True
        for sequence in [each for each, transmission in self._flight.items() if transmission.outgoing.is_done]:
            del self._flight[sequence]
        self._waiting = deque(one for one in self._waiting if not one.is_done)
        self._waiting_bytes = sum(len(one.message) for one in self._waiting)
        # One that was told belongs to another link by now.
        untold = sorted((one for one in vanished if not one.is_told and not were_cut), key=lambda one: one.given_at)
        self._news += [Vanished(one.message) for one in untold]

    def _pending(self) -> Iterator[_Outgoing]:
        """All that has not arrived."""
        flying = (transmission.outgoing for transmission in self._flight.values())
        return (one for one in itertools.chain(flying, self._again, self._waiting) if not one.is_done)

    # Sending

    def _transmit(self, now: float, *, is_after_loss: bool = False) -> None:
        """As much as the window has room for; RFC 6675 section 5: the first of what was lost in any case."""
        room = max(int(self._window.size) - len(self._flight), 1 if is_after_loss else 0)
        while room > 0 and (outgoing := self._take_next()) is not None:
            room -= 1
            if not self._flight:
                self._waiting_since = now
            # 6.6.3.1: "For each retransmission, the sequence number MUST be incremented."
            sequence = self._take_sequence(now)
            self._flight[sequence] = _Transmission(outgoing, now)
            self._output.append(frame_data(sequence, outgoing.message))

    def _take_next(self) -> _Outgoing | None:
        """What was lost goes before what is new."""
        while self._again:
            outgoing = self._again.popleft()
            if not outgoing.is_done:
                return outgoing
        if not self._waiting:
            return None
        outgoing = self._waiting.popleft()
        self._waiting_bytes -= len(outgoing.message)
        return outgoing

    def _begin_anew(self) -> None:
        """Nothing that is under way arrives any more, and of the path nothing is known."""
        self.round_trip = RoundTripEstimator(DATAGRAM_RTO)
        self._window = Window()
        self._send_again(list(self._flight))
        # Of some there are copies.
        self._again = deque(dict.fromkeys(self._again))

    def _send_again(self, sequences: list[int]) -> None:
        """These have not arrived, as it seems."""
        for sequence in sequences:
            transmission = self._doubtful[sequence] = self._flight.pop(sequence)
            outgoing = transmission.outgoing
            self._again.append(outgoing)
            if outgoing.is_long:
                outgoing.losses += 1
                if outgoing.losses == VANISHED_LOSSES:
                    self._suspects.append(outgoing)
        while len(self._doubtful) > DOUBTFUL_MAX:
            del self._doubtful[next(iter(self._doubtful))]

    def _overdue_at(self) -> float | None:
        return self._waiting_since + self.round_trip.rto_s if self._flight else None

    def _overdue(self, now: float) -> None:
        """Not one acknowledgement for an RTO."""
        self._send_again(list(self._flight))
        # The other end may say nothing more for a while. But if the path has not answered, nothing gets through at all.
        if any(one.given_at < self._answered_at for one in self._suspects):
            self._give_back_vanished()
        # 6.6.3.1: "The node MUST double the time to wait after each retransmission."
        self.round_trip.back_off()
        self._window.timed_out()
        self._timeouts += 1
        if self._timeouts >= FAILED_TIMEOUTS:
            # "it is RECOMMENDED that the link be removed from the Routing Table."
            self._fail(now)
        elif self._timeouts == LATE_TIMEOUTS:
            self._news += [Late(one.message, one.given_at) for one in self._untold_in_order()]
        self._transmit(now)
        self._send_copies(min(self._timeouts, COPIES_MAX) - len(self._flight), now)

    def _send_copies(self, count: int, now: float) -> None:
        """The wait is twice as long each time, and so what is tried after it may be more."""
        outgoing = next((transmission.outgoing for transmission in self._flight.values()), None)
        for _ in range(count if outgoing is not None else 0):
            assert outgoing is not None
            self._again.append(outgoing)
            self._transmit(now, is_after_loss=True)

    # Acknowledgements

    def _acknowledged(self, ack_sequence: int, received: int, now: float) -> None:
        was_full = len(self._flight) >= int(self._window.size)
        news = [sequence for sequence in _named(ack_sequence, received) if self._arrived(sequence, ack_sequence, now)]
        if not news:
            return
        if is_before(self._latest_acknowledged, ack_sequence):
            self._latest_acknowledged = ack_sequence
        self._timeouts = 0
        self._waiting_since = now
        self._works()
        if was_full:
            for _ in news:
                self._window.acknowledged()
        self._transmit(now, is_after_loss=self._detect_losses())

    def _arrived(self, sequence: int, ack_sequence: int, now: float) -> bool:
        """A transmission has arrived; False if that is no news."""
        transmission = self._flight.pop(sequence, None)
        if transmission is None:
            transmission = self._doubtful.pop(sequence, None)
            if transmission is None:
                return False
            # It was late, not lost: this network reorders more than we thought.
            distance = (self._latest_acknowledged - sequence) & SEQUENCE_MASK
            if distance <= REORDERING_MAX:
                self._reordering = max(self._reordering, distance + 1)
        transmission.outgoing.is_done = True
        self._arrived_bytes.append(len(transmission.outgoing.message))
        if sequence == ack_sequence:
            # 6.6.3.1: "because retransmissions receive new sequence numbers, all received ACKs are used".
            self.round_trip.measured(now - transmission.sent_at)
        return True

    def _detect_losses(self) -> bool:
        """True if the first loss in this round trip has come to light."""
        horizon = (self._latest_acknowledged - self._reordering) & SEQUENCE_MASK
        lost = list(itertools.takewhile(lambda sequence: not is_before(horizon, sequence), self._flight))
        self._send_again(lost)
        if not lost or is_before(lost[-1], self._recovered_from):
            # What was sent before the window was halved says nothing of how the narrower one fares.
            return False
        self._recovered_from = self._next_sequence
        self._window.lost()
        return True


def _named(ack_sequence: int, received: int) -> Iterator[int]:
    """What an acknowledgement says has arrived.

    By the letter of 6.6.2 bit k of the mask is for N-k; there are implementations in which it is bit k-1. Only
    what is true by both readings is believed: a message that counts as arrived and has not is lost for good.
    """
    yield ack_sequence
    certain = received & received << 1
    while certain:
        lowest = certain & -certain
        yield (ack_sequence - (lowest.bit_length() - 1)) & SEQUENCE_MASK
        certain ^= lowest
