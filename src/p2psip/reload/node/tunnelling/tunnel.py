"""One end of a tunnel: sealed records, each a message that is acknowledged by its answer.

Theory of operation. It is a path like one of datagrams: a record may be lost or overtake another, and comes once (a
window of numbers, as RFC 6347 section 4.1.2.6 has it). How much is on its way is bounded, as is how fast it goes, and
what the other end takes: the messages of a tunnel are carried by peers that have nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.reload.node.limits import TUNNEL_BURST_BYTES, TUNNEL_BYTES_PER_S, TUNNEL_OPEN_RECORDS_MAX
from p2psip.reload.security.key_agreement import SEQUENCE_MAX, BadRecord, SealedRecords
from p2psip.reload.wire.extensions.tunnel_messages import TunnelRecord

RECORD_COST = 512
"""What a record counts beside its bytes: header, certificate, signature, and the answer to it."""

REPLAY_WINDOW = 64
"""How much later than the newest a record may come."""


class ByteAllowance:
    """A bucket of bytes that refills."""

    def __init__(self, bytes_per_s: float, burst: int, now: float) -> None:
        self._bytes_per_s, self._burst = bytes_per_s, burst
        self._left, self._at = float(burst), now

    def take(self, size: int, now: float) -> bool:
        """Let so many bytes pass; False if too many have passed lately."""
        self._left = min(self._burst, self._left + (now - self._at) * self._bytes_per_s)
        self._at = now
        if self._left < size:
            return False
        self._left -= size
        return True


@dataclass(frozen=True, slots=True)
class TunnelName:
    """Which tunnel a message is of, for either end: its number is chosen by who opened it."""

    number: int
    opener: NodeId


class Tunnel:
    """A tunnel whose keys are agreed upon. `link` is its number for the layer above."""

    def __init__(
        self, link: int, name: TunnelName, node: NodeId, application: int, sealed: SealedRecords, now: float
    ) -> None:
        self.link, self.name, self.node, self.application = link, name, node, application
        self.is_confirmed = False
        """True once the other end has shown that it has the keys."""
        self.used_at = now
        self._records = sealed
        self._next_sent = 0
        self._under_way = 0
        self._newest = -1
        self._come = 0
        """Which of the `REPLAY_WINDOW` up to the newest have come: bit k for the newest less k."""
        self._sending = ByteAllowance(TUNNEL_BYTES_PER_S, TUNNEL_BURST_BYTES, now)
        self._receiving = ByteAllowance(2 * TUNNEL_BYTES_PER_S, 2 * TUNNEL_BURST_BYTES, now)

    def seal(self, data: bytes, now: float) -> TunnelRecord | None:
        """The next record; None if it is lost, as too much is on its way already."""
        self.used_at = now
        if self._under_way >= TUNNEL_OPEN_RECORDS_MAX or self._next_sent > SEQUENCE_MAX:
            return None
        if not self._sending.take(len(data) + RECORD_COST, now):
            return None
        self._under_way += 1
        sequence, self._next_sent = self._next_sent, self._next_sent + 1
        return TunnelRecord(sequence, self._records.seal(sequence, data))

    def acknowledged(self) -> None:
        """The other end has one of them."""
        self._under_way -= 1

    def receive(self, record: TunnelRecord, now: float) -> bytes | None:
        """What is in it; None if it has come before. Raises BadRecord."""
        if not self._receiving.take(len(record.sealed) + RECORD_COST, now):
            raise BadRecord("more comes than one tunnel may carry")
        behind = self._newest - record.sequence
        if behind >= REPLAY_WINDOW or (behind >= 0 and self._come >> behind & 1):
            return None
        data = self._records.open(record.sequence, record.sealed)
        self.used_at, self.is_confirmed = now, True
        if behind < 0:
            self._come, self._newest = (self._come << -behind if -behind < REPLAY_WINDOW else 0) | 1, record.sequence
            self._come &= (1 << REPLAY_WINDOW) - 1
        else:
            self._come |= 1 << behind
        return data
