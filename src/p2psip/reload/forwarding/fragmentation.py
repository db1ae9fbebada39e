"""Cutting messages into fragments for a link that takes no larger ones (RFC 6940 section 6.7).

Any node on the way may cut a message, or a fragment of one, into smaller fragments; only the destination puts them
together again (p2psip.reload.forwarding.reassembly).
"""

from __future__ import annotations

from dataclasses import replace

from p2psip.reload.wire.header import FRAGMENT_ALWAYS_SET, FRAGMENT_OFFSET_MASK, LAST_FRAGMENT, ForwardingHeader
from p2psip.reload.wire.message import join, split

BODY_BYTES_MIN = 256
"""6.7: each fragment "MUST contain at least 256 bytes of the message body"."""

VIA_LIST_ROOM = 32
""" "no larger than the Path MTU (PMTU) of the next overlay link minus 32 bytes. This is to allow the Via List to
grow before further fragmentation is required." """


def fragment(message: bytes, mtu: int, *, node_id_length: int = 16) -> list[bytes]:
    """The message, or a fragment of one, as pieces for a link whose datagrams carry `mtu` bytes of it.

    It stays whole if it fits, and also if it cannot be cut as the RFC wants it: "If these elements cannot fit within
    the MTU of the underlying datagram protocol, RELOAD fragmentation is not performed, and IP-layer fragmentation is
    allowed to occur." Raises DecodeError if it is no message.
    """
    if len(message) <= mtu:
        return [message]
    header, payload = split(message, node_id_length=node_id_length)
    head_bytes = len(message) - len(payload)
    for room in (mtu - VIA_LIST_ROOM - head_bytes, mtu - head_bytes):
        if room >= BODY_BYTES_MIN and (pieces := _cut(header, payload, room)):
            return pieces
    return [message]


def _cut(header: ForwardingHeader, payload: bytes, room: int) -> list[bytes]:
    """Equal fragments with up to `room` bytes of the payload each; none if one would be too small."""
    count = -(-len(payload) // room)
    size = len(payload)
    if size // count < BODY_BYTES_MIN or header.fragment_offset + size > FRAGMENT_OFFSET_MASK:
        return []
    # "each fragment has a full copy of the forwarding header, but the data after the forwarding header is broken up
    # into appropriately sized chunks."
    return [
        join(_piece_header(header, start, is_end=end == size), payload[start:end])
        for start, end in ((size * index // count, size * (index + 1) // count) for index in range(count))
    ]


def _piece_header(header: ForwardingHeader, start: int, *, is_end: bool) -> ForwardingHeader:
    # "The last fragment indicator MUST be appropriately set": the end of a fragment is no end of the message.
    last = LAST_FRAGMENT if is_end and header.is_last_fragment else 0
    return replace(header, fragment=FRAGMENT_ALWAYS_SET | last | (header.fragment_offset + start))
