"""What all overlay links have in common (RFC 6940 section 6.6): numbers, acknowledgements, round trips, health.

Theory of operation. Each message travels as a data frame with a sequence number, and each data frame is acknowledged
at once. What the acknowledgements are for differs: `StreamLink` (TLS over TCP) only sees by them whether the other end
is there; `DatagramLink` (DTLS over UDP) sends again what was not acknowledged, and sets its pace by them. `DirectLink`
has neither frames nor acknowledgements: it stays in one process.

    UP --no ACK for too long--> FAILED --no ACK for 30 s--> DEAD
     ^---------- ACK -------------'

A FAILED link is taken out of the Routing Table and kept; a DEAD one is closed.

A link on which nothing is heard for `IDLE_S` reports that it is idle, and the node sends a Ping over it. Where both
ends have said in a Ping that they know of it, one that has nothing to say repeats its last acknowledgement every
`KEEP_ALIVE_S`: nine bytes, which the other end hears.
"""

from __future__ import annotations

import abc
import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.base.rto import RoundTripEstimator, RtoRules
from p2psip.base.timers import Deadline
from p2psip.reload.link.framing import SEQUENCE_MASK, Deframer, ReceivedWindow

RETAINED_S = 30.0
"""6.6.5: "RECOMMENDED that such a connection be retained for 30 seconds to determine if the failure was transient"."""

IDLE_S = 15.0
"""After how long without a word from the other end a connectivity Ping goes: bounds how late its power cut is seen."""

KEEP_ALIVE_S = 12.0
"""After how long without a word of ours the last acknowledgement goes once more: what TCP has to repeat, or a busy
machine is late with, is heard within `IDLE_S` all the same. A Ping and its answer, with certificates and signatures,
are a hundred times as long."""

CHECKED_IDLE_S = 600.0
"""The same of one on a path of ICE, which asks every 20 s whether the other end is there, by a secret that nobody else
has, for an eighth of the bytes; where there is no answer the node sends a Ping at once."""

ANSWER_S = 1.0
"""So much longer waits who dialled: the Ping of who accepted, and the answer to it, make another superfluous."""


class LinkState(enum.Enum):
    """Health of a link, as the Routing Table sees it."""

    UP = "up"
    FAILED = "failed"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class LinkLost:
    """No link to this node works any more: one value for all that this is of concern to."""

    node: NodeId
    reason: str


# What a link gives, beside the bytes that are to be written


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """A message that was given to a link, which then failed or ended; nobody knows whether it arrived. Told once."""

    message: bytes
    sent_at: float


@dataclass(frozen=True, slots=True)
class Late:
    """A message that is not acknowledged for so long that another way is worth a try; the link goes on with it. Told
    once for each time that the link falls silent.
    """

    message: bytes
    sent_at: float


@dataclass(frozen=True, slots=True)
class Vanished:
    """A message that is too long for this path, to go in pieces of `payload_bytes`; a stream cuts them itself."""

    message: bytes


@frozen
class Idle:
    """Nothing was sent for so long that a Ping is due."""


LinkNews = Unacknowledged | Late | Vanished | Idle


class Link(abc.ABC):
    """One link to one other node. Its output collects; the caller takes it with `drain()` after each call."""

    payload_bytes: int | None = None
    """How long a message may be to travel in one datagram; None on a stream, which takes any."""

    def __init__(self, message_bytes_max: int, rules: RtoRules, now: float) -> None:
        self.state = LinkState.UP
        self.idle_s = IDLE_S
        """How long nothing is heard before a Ping of ours is due."""
        self.round_trip = RoundTripEstimator(rules)
        self._deframer = Deframer(message_bytes_max)
        self._received = ReceivedWindow()
        self._next_sequence = 0
        self._last_sent_at = now
        self._written_at = now
        """When something went out last: a message, or an acknowledgement."""
        self._heard_at = now
        """When something came last."""
        self.keeps_alive = False
        """Whether it repeats acknowledgements: the other end takes them for what they are."""
        self._failed_at = now
        self._output: list[bytes] = []
        self._news: list[LinkNews] = []

    @property
    def message_bytes_max(self) -> int:
        """The largest message that is taken."""
        return self._deframer.message_bytes_max

    @message_bytes_max.setter
    def message_bytes_max(self, size: int) -> None:
        self._deframer.message_bytes_max = size

    @property
    def waiting_bytes(self) -> int:
        """How much it keeps back, as the network or the other end takes no more; a stream leaves that to its socket."""
        return 0

    def is_silent(self, now: float) -> bool:
        """True if nothing was sent for so long that what it has measured of the network says little."""
        return now > self._last_sent_at + IDLE_S

    def give_up(self, now: float) -> None:
        """It is of no use any more, and to be closed."""
        self._failed_at, self.state = now, LinkState.DEAD

    def end(self) -> None:
        """The connection is gone: what it did not take is told."""
        self._news += self._untold()

    def drain(self) -> Sequence[bytes | LinkNews]:
        """What the last calls want written, each piece in one go; and what they have shown of the link."""
        output = self._written()
        if not self._news:
            return output
        news, self._news = self._news, []
        return [*output, *news]

    def _written(self) -> list[bytes]:
        """What is to be written since the last call."""
        output, self._output = self._output, []
        return output

    @abc.abstractmethod
    def send(self, message: bytes, now: float) -> None:
        """Take a message for the other end."""

    @abc.abstractmethod
    def receive(self, data: bytes, now: float) -> list[bytes]:
        """The messages that `data` completes. Raises FramingError: close the link."""

    @abc.abstractmethod
    def _untold(self) -> list[Unacknowledged]:
        """What was sent and not acknowledged, the oldest first, as far as it is kept; it is told once."""

    @abc.abstractmethod
    def _overdue_at(self) -> float | None:
        """When an acknowledgement should have come at the latest; None if none is waited for."""

    @abc.abstractmethod
    def _overdue(self, now: float) -> None:
        """It has not."""

    def handle_timeout(self, now: float) -> None:
        """Look at the link's health; `state` and `drain` say what came of it."""
        if self.state is LinkState.FAILED and now >= self._failed_at + RETAINED_S:
            self.state = LinkState.DEAD
        elif self.state is not LinkState.DEAD and (at := self._overdue_at()) is not None and now >= at:
            self._overdue(now)
        if self.state is not LinkState.UP or self._overdue_at() is not None:
            return
        if now >= self._heard_at + self.idle_s:
            # Not once more before as much time has gone again.
            self._heard_at = now
            self._news.append(Idle())
        elif now >= self._keep_alive_at():
            assert self._received.last is not None
            # What it says the other end knows already, and takes for nothing but a sign of life.
            self._written_at = now
            self._output.append(self._received.last)

    def next_deadline(self) -> Deadline | None:
        """When the link is to be looked at."""
        if self.state is LinkState.DEAD:
            return Deadline(self._failed_at, "dead link")
        overdue_at = self._overdue_at()
        if self.state is LinkState.FAILED:
            given_up = Deadline(self._failed_at + RETAINED_S, "failed link given up")
            return given_up if overdue_at is None or given_up.at <= overdue_at else Deadline(overdue_at, "trying again")
        if overdue_at is not None:
            return Deadline(overdue_at, "acknowledgement overdue")
        idle_at = self._heard_at + self.idle_s
        if (keep_alive_at := self._keep_alive_at()) < idle_at:
            return Deadline(keep_alive_at, "keep-alive")
        return Deadline(idle_at, "link idle")

    def _keep_alive_at(self) -> float:
        """When the last acknowledgement is to be repeated: not as long as there was none."""
        return self._written_at + KEEP_ALIVE_S if self.keeps_alive and self._received.last is not None else math.inf

    def _take_sequence(self, now: float) -> int:
        """6.6.2: "Initially, the value is zero, and it increments by exactly one for each message sent"."""
        sequence = self._next_sequence
        self._next_sequence = (sequence + 1) & SEQUENCE_MASK
        self._last_sent_at = self._written_at = now
        return sequence

    def _fail(self, now: float) -> None:
        if self.state is LinkState.UP:
            self.state = LinkState.FAILED
            self._failed_at = now
            self._news += self._untold()

    def _works(self) -> None:
        if self.state is LinkState.FAILED:
            self.state = LinkState.UP
