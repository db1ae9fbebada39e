"""Putting fragments together again at their destination (RFC 6940 section 6.7).

Theory of operation. A message is known by its transaction and by whom it is for. Its fragments come in any order, more
than once, by several ways and cut at different places; what is there of the payload is kept as segments that do not
overlap. Where a fragment says otherwise than an earlier one, the later word wins and what it contradicts is forgotten:
so a damaged or forged piece cannot spoil the retransmissions behind it. The signature, which is looked at afterwards,
decides what is believed.

Nothing here grows without bound: neither the bytes held, nor the number of segments (each counts with what it costs to
hold), nor the time. Each neighbour pays for what came over its link; who holds the most loses its oldest message first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field, replace

from p2psip.base.errors import RemoteProtocolError
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.wire.header import UNFRAGMENTED, ForwardingHeader

HELD_S = 15.0
""" "receivers SHOULD time out incomplete fragments after the maximum request lifetime (15 seconds)." """

BYTES_HELD_MAX = 4 << 20
"""Of all fragments of all messages; more only where two messages of max-message-size would not fit."""

SEGMENT_COST = 512
"""What it costs to hold a segment or a message, beside its bytes."""


class CannotReassemble(RemoteProtocolError):
    """A fragment of a message that cannot be held."""


class FragmentedTooLarge(CannotReassemble):
    """The message exceeds max-message-size, told once; `beginning` is what had come of its payload from the start."""

    def __init__(self, size: int, size_max: int, beginning: bytes) -> None:
        super().__init__(f"a message of {size} bytes or more, where max-message-size is {size_max}")
        self.beginning = beginning


@dataclass(slots=True)
class _Holding:
    """What has come of one message: "the peer holds the fragments in a holding buffer"."""

    source: NodeId
    began_at: float
    starts: list[int] = field(default_factory=list)
    segments: dict[int, bytes] = field(default_factory=dict)
    size: int = 0
    total: int | None = None
    """How long the payload is, once its last fragment has come."""
    is_refused: bool = False

    @property
    def cost(self) -> int:
        return self.size + SEGMENT_COST * (1 + len(self.segments))

    @property
    def is_complete(self) -> bool:
        # Segments do not overlap and none reaches beyond the total.
        return self.size == self.total

    def refuse(self) -> None:
        """Hold nothing of it any more, nor what comes of it later."""
        self.starts.clear()
        self.segments.clear()
        self.size, self.total = 0, None
        self.is_refused = True

    def put(self, offset: int, data: bytes, *, is_last: bool) -> None:
        """Take in a fragment; what it contradicts is forgotten."""
        end = offset + len(data)
        if self.total is not None and (end > self.total or (is_last and end != self.total)):
            self.total = None
        if is_last:
            while self.starts and self._end(self.starts[-1]) > end:
                self._forget(self.starts[-1])
            self.total = end
        for start in self._overlapping(offset, end):
            low, high = max(start, offset), min(self._end(start), end)
            if self.segments[start][low - start : high - start] != data[low - offset : high - offset]:
                self._forget(start)
        self._fill_gaps(offset, data)

    def payload(self) -> bytes:
        """All of it, once it is complete."""
        return b"".join(self.segments[start] for start in self.starts)

    def _end(self, start: int) -> int:
        return start + len(self.segments[start])

    def _overlapping(self, offset: int, end: int) -> list[int]:
        """Where the segments begin that share bytes with offset...end."""
        first = bisect_left(self.starts, offset)
        if first and self._end(self.starts[first - 1]) > offset:
            first -= 1
        return self.starts[first : bisect_left(self.starts, end)]

    def _fill_gaps(self, offset: int, data: bytes) -> None:
        """Keep those bytes of a fragment that are not there yet."""
        end = offset + len(data)
        position = offset
        for start in self._overlapping(offset, end):
            self._keep(position, data[position - offset : max(0, start - offset)])
            position = self._end(start)
        self._keep(position, data[position - offset :] if position < end else b"")

    def _keep(self, start: int, data: bytes) -> None:
        if data:
            self.starts.insert(bisect_left(self.starts, start), start)
            self.segments[start] = data
            self.size += len(data)

    def _forget(self, start: int) -> None:
        del self.starts[bisect_left(self.starts, start)]
        self.size -= len(self.segments.pop(start))


Key = tuple[NodeId, int]


class Reassembler:
    """The incomplete messages of one node. Messages are at most `message_bytes_max` long, header included."""

    def __init__(
        self, message_bytes_max: int, *, bytes_held_max: int = BYTES_HELD_MAX, queue: TimerQueue | None = None
    ) -> None:
        self.message_bytes_max = message_bytes_max
        self._bytes_held_max = bytes_held_max
        self._holdings: dict[Key, _Holding] = {}
        self._cost_of: Counter[NodeId] = Counter()
        self._cost = 0
        self._timers: Timers[None] = Timers(queue)

    @property
    def bytes_held(self) -> int:
        """What is held now costs so many bytes."""
        return self._cost

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Forget messages that have not become complete in time."""
        while self._holdings and next(iter(self._holdings.values())).began_at + HELD_S <= now:
            self._drop(next(iter(self._holdings)))
        for _ in self._timers.pop_due(now):
            self._await_oldest()

    def _await_oldest(self) -> None:
        if self._holdings:
            began_at = next(iter(self._holdings.values())).began_at
            self._timers.set(None, began_at + HELD_S, "fragments no longer held")

    def receive(
        self, header: ForwardingHeader, payload: bytes, node: NodeId, source: NodeId, now: float
    ) -> tuple[ForwardingHeader, bytes] | None:
        """A fragment for `node` came over the link to `source`: the whole message if that completes it.

        Raises CannotReassemble.
        """
        assert not header.is_unfragmented, "a whole message needs no reassembly"
        self.handle_timeout(now)
        if not payload and not header.is_last_fragment:
            raise CannotReassemble("an empty fragment")
        key = (node, header.transaction_id)
        holding = self._holdings.get(key) or self._begin(key, source, now)
        if holding.is_refused:
            raise CannotReassemble("a fragment of a message that was refused")
        self._put(holding, header, payload)
        if holding.is_complete:
            self._drop(key)
            return _whole(header, holding.payload())
        self._make_room(key)
        return None

    def _begin(self, key: Key, source: NodeId, now: float) -> _Holding:
        holding = self._holdings[key] = _Holding(source, now)
        self._charge(source, holding.cost)
        if len(self._holdings) == 1:
            self._await_oldest()
        return holding

    def _put(self, holding: _Holding, header: ForwardingHeader, payload: bytes) -> None:
        before, size = holding.cost, header.length + header.fragment_offset
        beginning = holding.segments.get(0, payload if not header.fragment_offset else b"")
        if size > self.message_bytes_max:
            holding.refuse()
        else:
            holding.put(header.fragment_offset, payload, is_last=header.is_last_fragment)
        self._charge(holding.source, holding.cost - before)
        if holding.is_refused:
            raise FragmentedTooLarge(size, self.message_bytes_max, beginning)

    def _make_room(self, key: Key) -> None:
        """ "if the receiver runs out of buffer space to reassemble a message, it MUST drop the message." """
        while self._cost > max(self._bytes_held_max, 2 * self.message_bytes_max):
            greedy, _ = self._cost_of.most_common(1)[0]
            victim = next(held for held, holding in self._holdings.items() if holding.source == greedy)
            self._drop(victim)
            if victim == key:
                raise CannotReassemble("no room for more fragments")

    def _drop(self, key: Key) -> None:
        holding = self._holdings.pop(key)
        if not self._holdings:
            self._timers.cancel(None)
        self._charge(holding.source, -holding.cost)

    def _charge(self, source: NodeId, cost: int) -> None:
        self._cost += cost
        self._cost_of[source] += cost
        if not self._cost_of[source]:
            del self._cost_of[source]


def _whole(header: ForwardingHeader, payload: bytes) -> tuple[ForwardingHeader, bytes]:
    """The message as if it had never been cut, with the lists of the fragment that came last."""
    return replace(header, fragment=UNFRAGMENTED, length=len(header.encode()) + len(payload)), payload
