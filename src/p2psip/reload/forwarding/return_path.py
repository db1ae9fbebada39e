"""How a response finds back through a peer that passed the request on (RFC 6940 section 6.1.2, 6.1.3, 6.3.2.2).

"The only requirement is that the peer MUST be able to reconstruct the correct Destination List on the return route."
Each peer chooses its own way, so that the lists of one message may hold entries of many kinds:

    what D passes on of [A, B] from C                           what it makes of the response's list
    VIA_LIST           [A, B, C]                                [D, C, B, A] -> [C, B, A]
    TRANSACTION_STATE  [A, B]     D keeps (transaction, E) -> C  [D, B, A]    -> [C, B, A]
    STORED_LIST        [I]        D keeps I -> [C, B, A]         [D, I]       -> [C, B, A]
    SEALED_LIST        [I]        I is [C, B, A], sealed         [D, I]       -> [C, B, A]
    CONNECTION_INDEX   [A, B, i]  i is 16 bits, for C            [D, i, B, A] -> [C, B, A]

A peer expands its own IDs of every kind, whichever it makes at present. What it keeps is bounded: where there is no
room it appends to the via list instead.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from p2psip.base.ids import NodeId
from p2psip.reload.forwarding.routing_modes import keeps_no_state
from p2psip.reload.link.link import LinkLost
from p2psip.reload.wire.header import CompressedDestination, Destination, DestinationEntry, Entry, ForwardingHeader
from p2psip.reload.wire.language.codec import Struct, Vector, structure
from p2psip.reload.wire.language.primitives import DecodeError

STATE_KEPT_S = 15.0
"""The maximum request lifetime; longer if the overlay-reliability-timer is."""

STATES_MAX = 8192
"""Of transactions and of stored lists, together."""

STATE_BYTES_MAX = 2 << 20
"""Of all stored lists."""

SLOTS_MAX = 1 << 12
GENERATIONS = 1 << 3
"""6.3.2.2: "12 bits for the Connection Table index and 3 bits for the generation counter"."""

CONNECTION_ID_BYTES = 2
STORED_ID_BYTES = 8
SEAL_BYTES = 8
SEALED_LIST_BYTES_MAX = 254 - SEAL_BYTES - 1
"""What an opaque_id<0..2^8-1> in a Destination of at most 255 bytes leaves for the entries and their length."""


class ReturnPath(Enum):
    """Which of the ways a peer chooses; the value is its name in a configuration."""

    VIA_LIST = "via-list"
    TRANSACTION_STATE = "transaction-state"
    STORED_LIST = "stored-list"
    SEALED_LIST = "sealed-list"
    CONNECTION_INDEX = "connection-index"


class ConnectionIndex:
    """Numbers of 15 bits for the nodes that messages came from: an index and a generation counter (6.3.2.2)."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._nodes: dict[int, NodeId] = {}
        self._slots: dict[NodeId, int] = {}
        self._generations: list[int] = []
        self._free: deque[int] = deque()

    def number_of(self, node: NodeId) -> int | None:
        """The number that stands for this node as long as it is linked; None if there is none left."""
        slot = self._slots.get(node)
        if slot is None:
            slot = self._take_slot()
            if slot is None:
                return None
            self._slots[node] = slot
            self._nodes[slot] = node
        return slot * GENERATIONS + self._generations[slot]

    def node_of(self, number: int) -> NodeId | None:
        """The node that this number stands for now."""
        slot, generation = divmod(number, GENERATIONS)
        # "the peer MUST confirm that the generation counter matches the current generation counter of that index
        # before forwarding the message. If it does not match, the message MUST be silently dropped."
        is_current = slot < len(self._generations) and self._generations[slot] == generation
        return self._nodes.get(slot) if is_current else None

    def forget(self, node: NodeId) -> None:
        """The link to this node is gone."""
        slot = self._slots.pop(node, None)
        if slot is not None:
            del self._nodes[slot]
            self._free.append(slot)

    def _take_slot(self) -> int | None:
        # "Connection Table slots are used on a rotating basis to maximize the time interval between uses of the same
        # slot for different connections."
        if len(self._generations) < SLOTS_MAX:
            # "When a Node first joins the overlay, the generation counters SHOULD be initialized to random values."
            self._generations.append(self._rng.randrange(GENERATIONS))
            return len(self._generations) - 1
        if not self._free:
            return None
        slot = self._free.popleft()
        # "When a Connection Table slot is used for a new connection, the generation counter is incremented (with
        # wrapping)."
        self._generations[slot] = (self._generations[slot] + 1) % GENERATIONS
        return slot


@structure
class _List(Struct):
    """The entries that an opaque ID of ours stands for."""

    entries: Annotated[tuple[DestinationEntry, ...], Vector(1)]


StateKey = tuple[int, bytes]
"""A transaction, and the node to which its request went on or the opaque ID that stands for its stored list."""


@dataclass(frozen=True, slots=True)
class _State:
    """What is kept for a transaction, or for a stored list."""

    expires_at: float
    entries: tuple[Entry, ...]
    size: int


class ReturnPaths:
    """What one node remembers of the ways back, and the opaque IDs that it makes and expands."""

    def __init__(
        self,
        strategy: ReturnPath,
        rng: random.Random,
        *,
        reliability_timer_s: float = 3.0,
        node_id_length: int = 16,
    ) -> None:
        self.strategy = strategy
        self._rng = rng
        self.reliability_timer_s = reliability_timer_s
        self._node_id_length = node_id_length
        self._key = rng.randbytes(32)
        self._index = ConnectionIndex(rng)
        self._states: dict[StateKey, _State] = {}
        self._state_bytes = 0

    @property
    def states_kept(self) -> int:
        """How many transactions and lists are remembered."""
        return len(self._states)

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """No link to this node works any more."""
        self.forget(lost.node)

    def forget(self, node: NodeId) -> None:
        """Nothing comes from there any more."""
        self._index.forget(node)

    def via_list(
        self, header: ForwardingHeader, previous_hop: NodeId, next_hop: NodeId, now: float
    ) -> tuple[Entry, ...]:
        """The via list with which a request from `previous_hop` goes on to `next_hop`."""
        back = Destination.node(previous_hop)
        if header.options and keeps_no_state(header):
            return (*header.via_list, back)
        # Of a fragment that is not the first nobody can tell whether it is a request's; what it gets on its via list is
        # of no harm to a response.
        is_whole = header.is_unfragmented
        match self.strategy:
            case ReturnPath.TRANSACTION_STATE if is_whole:
                if self._keep((header.transaction_id, next_hop), (back,), 0, now):
                    return header.via_list
            case ReturnPath.STORED_LIST if is_whole:
                size = sum(len(entry.encode()) for entry in header.via_list)
                handle = self._rng.randbytes(STORED_ID_BYTES)
                if self._keep((header.transaction_id, handle), (back, *reversed(header.via_list)), size, now):
                    return (Destination.opaque(handle),)
            case ReturnPath.SEALED_LIST:
                return self._sealed((*header.via_list, back), header.transaction_id)
            case ReturnPath.CONNECTION_INDEX:
                number = self._index.number_of(previous_hop)
                if number is not None:
                    return (*header.via_list, CompressedDestination(0x8000 | number))
        # "This is done by appending to the Via List the Node-ID of the node from which the request was received."
        return (*header.via_list, back)

    def recall(self, transaction_id: int, from_hop: NodeId, now: float) -> NodeId | None:
        """Where the request came from that we passed on to `from_hop`, if that is what we kept of it."""
        state = self._look_up((transaction_id, from_hop), now)
        return None if state is None else state.entries[0].node_id

    def expand(self, opaque_id: bytes, transaction_id: int, now: float) -> tuple[Entry, ...] | None:
        """What an opaque ID of ours stands for, in the order of a destination list; None if it is none of ours."""
        if len(opaque_id) == CONNECTION_ID_BYTES:
            # "it MUST be treated as if it were a full structure with a DestinationType of opaque_id_type and an
            # opaque_id that was 2 bytes long": the two forms are one and the same.
            number = int.from_bytes(opaque_id, "big")
            node = self._index.node_of(number & 0x7FFF) if number & 0x8000 else None
            return None if node is None else (Destination.node(node),)
        if len(opaque_id) == STORED_ID_BYTES:
            state = self._look_up((transaction_id, opaque_id), now)
            return None if state is None else state.entries
        return self._unsealed(opaque_id, transaction_id)

    def _sealed(self, entries: tuple[Entry, ...], transaction_id: int) -> tuple[Entry, ...]:
        """The list with as many of its last entries sealed as fit."""
        first, size = len(entries), 0
        while first and (size := size + len(entries[first - 1].encode())) <= SEALED_LIST_BYTES_MAX:
            first -= 1
        if first == len(entries):
            return entries
        encoded = _List(tuple(reversed(entries[first:]))).encode()
        return (*entries[:first], Destination.opaque(self._seal(encoded, transaction_id) + encoded))

    def _unsealed(self, opaque_id: bytes, transaction_id: int) -> tuple[Entry, ...] | None:
        seal, encoded = opaque_id[:SEAL_BYTES], opaque_id[SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal(encoded, transaction_id)):
            return None
        try:
            return _List.decode(encoded, node_id_length=self._node_id_length).entries
        except DecodeError as error:
            raise AssertionError("what we sealed can be read") from error

    def _seal(self, encoded: bytes, transaction_id: int) -> bytes:
        """Only we can make it, and it holds for one transaction."""
        said = transaction_id.to_bytes(8, "big") + encoded
        return hashlib.blake2b(said, digest_size=SEAL_BYTES, key=self._key).digest()

    def _keep(self, key: StateKey, entries: tuple[Entry, ...], size: int, now: float) -> bool:
        """Remember it for a while; False if there is no room, or something else is remembered of it."""
        self._expire(now)
        known = self._states.get(key)
        if known is not None and known.entries != entries:
            return False
        if known is not None:
            self._forget(key)
        if len(self._states) >= STATES_MAX or self._state_bytes + size > STATE_BYTES_MAX:
            return False
        # "the state MUST be maintained for at least the value of the overlay-reliability-timer configuration
        # parameter and MAY be kept longer."
        self._states[key] = _State(now + max(STATE_KEPT_S, self.reliability_timer_s), entries, size)
        self._state_bytes += size
        return True

    def _look_up(self, key: StateKey, now: float) -> _State | None:
        self._expire(now)
        return self._states.get(key)

    def _expire(self, now: float) -> None:
        while self._states and next(iter(self._states.values())).expires_at <= now:
            self._forget(next(iter(self._states)))

    def _forget(self, key: StateKey) -> None:
        self._state_bytes -= self._states.pop(key).size
