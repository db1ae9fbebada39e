"""The members of the overlay that a peer knows, itself among them: the one table of one-hop."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator, Sequence

from p2psip.base.ids import NodeId
from p2psip.reload.topology.one_hop.circle import distance, is_within, middle

MEMBERS_MAX = 400
"""As many as know each other: more are not let in, and not looked at."""

DIGEST_BYTES = 8


def closest(ring: Sequence[NodeId], target: bytes, count: int) -> list[NodeId]:
    """Of nodes in ascending order those that are nearest to an identifier, the nearest first."""
    near = around(ring, target, count)
    return sorted(near, key=lambda node: (distance(target, node), node))[:count]


def around(ring: Sequence[NodeId], target: bytes, count: int) -> Collection[NodeId]:
    """Of nodes in ascending order those that are next to an identifier, so many on each side; all if they are few."""
    if len(ring) <= 2 * count:
        return ring
    place = bisect_left(ring, target)
    return {ring[index % len(ring)] for index in range(place - count, place + count)}


class Members:
    """Members in ascending order of their Node-IDs; `own` is always one."""

    def __init__(self, own: NodeId, others: Iterable[NodeId] = ()) -> None:
        self.own = own
        self._ring = sorted({own, *others})
        self._known = set(self._ring)
        self.changes = 0
        """How often they have become others."""
        self._digest = b""
        self._region: tuple[bytes, bytes] | None = None

    def __contains__(self, node: object) -> bool:
        return node in self._known

    def __len__(self) -> int:
        return len(self._ring)

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._ring)

    @property
    def is_full(self) -> bool:
        """True if no more may be let in."""
        return len(self._ring) >= MEMBERS_MAX

    def add(self, node: NodeId) -> bool:
        """Enter a member; False if it is one already, or there is no room."""
        if node in self._known or self.is_full:
            return False
        self._known.add(node)
        insort(self._ring, node)
        self._changed()
        return True

    def remove(self, node: NodeId) -> bool:
        """Strike out a member; False if it is none."""
        assert node != self.own, "a peer does not bury itself"
        if node not in self._known:
            return False
        self._known.remove(node)
        del self._ring[bisect_left(self._ring, node)]
        self._changed()
        return True

    def clear(self) -> None:
        """Forget all but ourselves."""
        self._ring, self._known = [self.own], {self.own}
        self._changed()

    def _changed(self) -> None:
        self.changes += 1
        self._digest, self._region = b"", None

    @property
    def digest(self) -> bytes:
        """The same for all who know the same members."""
        if not self._digest:
            self._digest = hashlib.sha256(b"".join(self._ring)).digest()[:DIGEST_BYTES]
        return self._digest

    def closest(self, target: bytes, count: int) -> list[NodeId]:
        """Those that are nearest to an identifier, the one that is responsible for it first."""
        return closest(self._ring, target, count)

    def beside(self, count: int, node: NodeId | None = None) -> tuple[NodeId, ...]:
        """The neighbours of this peer, or of another member: so many on each side, the next ones first."""
        place, size = bisect_left(self._ring, node or self.own), len(self._ring)
        found: dict[NodeId, None] = {}
        for steps in range(1, min(count, size - 1) + 1):
            found[self._ring[(place + steps) % size]] = found[self._ring[(place - steps) % size]] = None
        return tuple(found)

    def at(self, steps: int) -> NodeId:
        """Who is so many members further on than this peer, in ascending order."""
        return self._ring[(bisect_left(self._ring, self.own) + steps) % len(self._ring)]

    def steps_to(self, node: NodeId) -> int:
        """How many members further on a member is than this peer, in ascending order."""
        return (bisect_left(self._ring, node) - bisect_left(self._ring, self.own)) % len(self._ring)

    @property
    def region(self) -> tuple[bytes, bytes]:
        """(low, high]: what this peer is responsible for; (x, x] is everything."""
        if self._region is None:
            before, after = self.at(-1), self.at(1)
            is_alone = len(self._ring) == 1
            self._region = (self.own, self.own) if is_alone else (middle(before, self.own), middle(self.own, after))
        return self._region

    def pages(self, size: int, middle_of_first: NodeId) -> Iterator[tuple[list[NodeId], NodeId]]:
        """All members, going up, in pieces of at most `size`, each with where the next begins; the first lies around
        a node.
        """
        start = bisect_left(self._ring, middle_of_first) - size // 2 if len(self._ring) > size else 0
        turned = [*self._ring[start:], *self._ring[:start]]
        pieces = [turned[begin : begin + size] for begin in range(0, len(turned), size)]
        for piece, following in zip(pieces, [*pieces[1:], pieces[0]], strict=True):
            yield piece, following[0]

    def within(self, low: NodeId, high: NodeId) -> list[NodeId]:
        """The members from `low` up to `high`, this one not included; all of them if they are the same."""
        return [node for node in self._ring if is_within(node, low, high)]
