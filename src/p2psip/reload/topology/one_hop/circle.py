"""Who is near to whom, on a circle of identifiers that knows no direction.

Of two peers the nearer one is responsible for an identifier, whichever side it lies on; exactly between two it is the
one that comes first in ascending order. So what a peer answers for ends half-way to the next peer on both sides, and
when it dies, its two neighbours share that.

The place of an identifier is what its first 16 bytes say: a Resource-ID has no more, a Node-ID of 17 to 20 bytes lies
where its first 16 do.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from p2psip.base.ids import ResourceId

ID_BYTES = 16
SIZE = 1 << 8 * ID_BYTES

PLACES_REMEMBERED = 4096
"""Mostly of members, who are at most a few hundred and are compared all the time."""


def hash_name(name: bytes) -> ResourceId:
    """The Resource-ID of a Resource Name: the first 16 bytes of its SHA-256."""
    return ResourceId(hashlib.sha256(name).digest()[:ID_BYTES])


@lru_cache(maxsize=PLACES_REMEMBERED)
def place(identifier: bytes) -> int:
    """Where on the circle an identifier lies."""
    return int.from_bytes(identifier[:ID_BYTES].ljust(ID_BYTES, b"\0"), "big")


def clockwise(start: bytes, end: bytes) -> int:
    """How far `end` lies from `start` in ascending order, beyond the last identifier again from the first."""
    return (place(end) - place(start)) % SIZE


def distance(target: bytes, node: bytes) -> int:
    """How far a node is from an identifier, the shorter way round; no two places are equally far from one."""
    before, after = clockwise(node, target), clockwise(target, node)
    return 2 * before if before <= after else 2 * after + 1


def middle(first: bytes, second: bytes) -> ResourceId:
    """Going up from `first` to `second`, the last identifier that is nearer to `first`."""
    value = place(first) + clockwise(first, second) // 2
    return ResourceId((value % SIZE).to_bytes(ID_BYTES, "big"))


def is_between(target: bytes, low: bytes, high: bytes) -> bool:
    """True if `target` is in (low, high], going up; (x, x] is the whole circle."""
    return place(low) == place(high) or 0 < clockwise(low, target) <= clockwise(low, high)


def is_within(target: bytes, low: bytes, high: bytes) -> bool:
    """True if `target` is in [low, high), going up; [x, x) is the whole circle."""
    return place(low) == place(high) or clockwise(low, target) < clockwise(low, high)
