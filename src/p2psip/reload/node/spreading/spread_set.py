"""What a node has of the values that every peer has, and digests of it by which two nodes find what differs.

Theory of operation. Values are in the order of their positions, 64 bits of a hash of their place, so that they are
spread evenly. A digest of a range is the hash over the versions in it, in that order: two nodes with the same digest
have the same. What time has made of a value, its lifetime, is in no digest.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, replace

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.storage.store.records import Place
from p2psip.reload.storage.stored_values import key_of
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import StoredData

DIGITS = 16
"""Hexadecimal digits of a position."""

CHILDREN = 16


@dataclass(frozen=True, slots=True)
class SpreadCopy:
    """One value: where it belongs, as it was signed, by whom, until when it is kept by the clock of this node."""

    resource: ResourceId
    kind: int
    stored: StoredData
    user: str
    signer: NodeId
    certificates: tuple[GenericCertificate, ...]
    expires_at: float

    @property
    def place(self) -> Place:
        """Of all values for one place only the newest counts."""
        return Place(self.resource, self.kind, key_of(self.stored.value))

    @property
    def position(self) -> int:
        """Where it comes in the order of all values."""
        return position_of(self.place)

    @property
    def version(self) -> tuple[int, int]:
        """The greater is the newer: all nodes agree, whatever they have heard first."""
        digest = hashlib.sha256(self.stored.value.encode()).digest()
        return self.stored.storage_time, int.from_bytes(digest[:4], "big")

    def given(self, now: float) -> StoredData:
        """As it is passed on: with what is left of its lifetime, which is not signed."""
        return replace(self.stored, lifetime=max(0, int(self.expires_at - now)))


def position_of(place: Place) -> int:
    """64 bits of a hash of where a value is."""
    resource, kind, key = place
    digest = hashlib.sha256(kind.to_bytes(4, "big") + len(resource).to_bytes(1, "big") + resource + key).digest()
    return int.from_bytes(digest[:8], "big")


class SpreadSet:
    """All of them, in order."""

    def __init__(self) -> None:
        self._copies: dict[int, SpreadCopy] = {}
        self._versions: dict[int, tuple[int, int]] = {}
        self._order: list[int] = []
        self._at: dict[tuple[ResourceId, int], set[int]] = {}
        self._digests: dict[tuple[int, int], int] = {}
        self.size = 0
        """In bytes, without certificates."""
        self.changes = 0
        """Another one each time that something changes."""

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[SpreadCopy]:
        return iter(list(self._copies.values()))

    def get(self, position: int) -> SpreadCopy | None:
        """The value at a position."""
        return self._copies.get(position)

    def version(self, position: int) -> tuple[int, int]:
        """Of the value at a position; less than all others where there is none."""
        return self._versions.get(position, (0, 0))

    def count_at(self, resource: ResourceId, kind: int) -> int:
        """How many values of a Kind one resource has: those of one user, or of one node."""
        return len(self._at.get((resource, kind), ()))

    def at(self, resource: ResourceId, kind: int) -> list[SpreadCopy]:
        """The values of a Kind that one resource has, the newest first."""
        found = [self._copies[position] for position in self._at.get((resource, kind), ())]
        return sorted(found, key=lambda copy: copy.version, reverse=True)

    def put(self, copy: SpreadCopy) -> None:
        """Keep it in place of what is there."""
        position = copy.position
        if position in self._copies:
            self.remove(position)
        insort(self._order, position)
        self._copies[position], self._versions[position] = copy, copy.version
        self._at.setdefault((copy.resource, copy.kind), set()).add(position)
        self.size += len(copy.stored.data_value.value)
        self._changed()

    def remove(self, position: int) -> None:
        """Forget it."""
        copy = self._copies.pop(position)
        del self._versions[position], self._order[bisect_left(self._order, position)]
        there = self._at[copy.resource, copy.kind]
        there.discard(position)
        if not there:
            del self._at[copy.resource, copy.kind]
        self.size -= len(copy.stored.data_value.value)
        self._changed()

    def positions(self, depth: int, start: int) -> list[int]:
        """Those in a range."""
        first, last = _bounds(depth, start)
        return self._order[bisect_left(self._order, first) : bisect_left(self._order, last)]

    def digest(self, depth: int, start: int) -> int:
        """Of all versions in a range; 0 where there is nothing."""
        key = depth, _bounds(depth, start)[0]
        if (known := self._digests.get(key)) is None:
            known = self._digests[key] = self._digest(self.positions(depth, start))
        return known

    def _digest(self, positions: list[int]) -> int:
        if not positions:
            return 0
        hashed = hashlib.sha256()
        for position in positions:
            time_ms, tail = self._versions[position]
            hashed.update(position.to_bytes(8, "big") + time_ms.to_bytes(8, "big") + tail.to_bytes(4, "big"))
        return int.from_bytes(hashed.digest()[:8], "big")

    def _changed(self) -> None:
        self._digests.clear()
        self.changes += 1


def children(depth: int, start: int) -> list[tuple[int, int]]:
    """The sixteen parts of a range."""
    first, last = _bounds(depth, start)
    step = (last - first) // CHILDREN
    return [(depth + 1, first + number * step) for number in range(CHILDREN)]


def _bounds(depth: int, start: int) -> tuple[int, int]:
    """The first position of a range, and the first behind it."""
    width = 1 << 4 * (DIGITS - depth)
    first = start - start % width
    return first, first + width
