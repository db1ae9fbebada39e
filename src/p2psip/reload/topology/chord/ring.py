"""Arithmetic on the ring of identifiers (RFC 6940 section 10.1, 10.2)."""

from __future__ import annotations

import hashlib

from p2psip.base.ids import ResourceId

ID_BYTES = 16
"""CHORD-RELOAD is defined for 128 bits (10.2)."""

RING_SIZE = 1 << 128


def hash_name(name: bytes) -> ResourceId:
    """The Resource-ID of a Resource Name.

    10.2: "The hash of a Resource-ID MUST be computed using SHA-1, and then the SHA-1 result MUST be truncated to
    the most significant 128 bits."
    """
    return ResourceId(hashlib.sha1(name, usedforsecurity=False).digest()[:ID_BYTES])


def distance(start: bytes, end: bytes) -> int:
    """How far `end` lies clockwise from `start`."""
    return (int.from_bytes(end, "big") - int.from_bytes(start, "big")) % RING_SIZE


def is_between(value: bytes, low: bytes, high: bytes) -> bool:
    """True if `value` lies in the interval (low, high], going clockwise; (x, x] is the whole ring."""
    span = distance(low, high) or RING_SIZE
    return 0 < distance(low, value) <= span or (span == RING_SIZE and value == low)


def advance(start: bytes, steps: int) -> ResourceId:
    """The identifier `steps` clockwise from `start`."""
    return ResourceId(((int.from_bytes(start, "big") + steps) % RING_SIZE).to_bytes(ID_BYTES, "big"))
