"""The ring of Node-IDs (RFC 6940 section 10.1)."""

from __future__ import annotations

import rfc6940_bytes as wire

SPACE = 1 << (8 * wire.NODE_BYTES)


def after(a: bytes, b: bytes) -> int:
    """How far b is from a, clockwise; the whole ring from a to itself."""
    return (int.from_bytes(b, "big") - int.from_bytes(a, "big") - 1) % SPACE + 1


def next_id(node_id: bytes) -> bytes:
    return wire.number((int.from_bytes(node_id, "big") + 1) % SPACE, wire.NODE_BYTES)
