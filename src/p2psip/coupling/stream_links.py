"""Paths for calls that are streams, where datagrams do not pass (docs/decisions/tcp-beside-ice.md).

A stream does not say by itself where a record ends, so each has its length before it: two bytes, in network order. RFC
6544 section 3 has the same shim, that of RFC 4571, for whatever ICE carries over TCP. There it is below TLS, since the
checks of STUN go beside that; here none do, and it is within.

Both ends may open a stream at once, and neither knows which one the other end takes for the newer. So it is only the
older of two that did not come up together that is closed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from p2psip.base.effects import Effect
from p2psip.media.relay.multiplex import RTCP, RTP
from p2psip.reload.node.effects import Write
from p2psip.reload.paths.values import CutIfSilent

UNACKNOWLEDGED_MAX_S: Final = 2.0
"""What was sent over a stream is acknowledged by then, or the stream is given up: audio does not wait longer."""

TOGETHER_S: Final = 5.0
"""Streams that came up within so much of each other may be of both ends."""

_LENGTH: Final = struct.Struct("!H")


class RecordFraming:
    """Cuts the bytes of one stream into records. It keeps at most one that has not come whole: 64 KiB."""

    def __init__(self) -> None:
        self._kept = bytearray()

    @staticmethod
    def encode(record: bytes) -> bytes:
        """A record of at most 65,535 bytes, as it goes on a stream."""
        return _LENGTH.pack(len(record)) + record

    def feed(self, data: bytes) -> list[bytes]:
        """The records that are whole now."""
        self._kept += data
        records, at = [], 0
        while at + _LENGTH.size <= len(self._kept):
            (length,) = _LENGTH.unpack_from(self._kept, at)
            end = at + _LENGTH.size + length
            if end > len(self._kept):
                break
            records.append(bytes(self._kept[at + _LENGTH.size : end]))
            at = end
        del self._kept[:at]
        return records


class StreamLinks:
    """Those of one peer. Containment is of the numbers of links that are streams."""

    def __init__(self) -> None:
        self._framings: dict[int, RecordFraming] = {}
        self._up_at: dict[int, float] = {}

    def __contains__(self, link: object) -> bool:
        return link in self._framings

    def up(self, link: int, now: float) -> Effect:
        """A link that is a stream is up: what is to be done about it."""
        self._framings[link], self._up_at[link] = RecordFraming(), now
        return CutIfSilent(link, UNACKNOWLEDGED_MAX_S)

    def down(self, link: int) -> None:
        """A link is gone; no matter if it was no stream."""
        self._framings.pop(link, None)
        self._up_at.pop(link, None)

    def replaced(self, links: Iterable[int], newest: int) -> list[int]:
        """Those of these links that are to be closed, now that there is a newer one."""
        now = self._up_at[newest]
        return [link for link in links if link in self._up_at and self._up_at[link] + TOGETHER_S <= now]

    def write(self, link: int, record: bytes) -> Write:
        """What takes a record to the other end of a link, which may be none of these. Of media nothing waits for what
        went before it.
        """
        if link not in self:
            return Write(link, record)
        return Write(link, RecordFraming.encode(record), is_to_be_fresh=record[0] in (RTP, RTCP))

    def records_in(self, link: int, data: bytes) -> list[bytes]:
        """The records that have come whole with this: of datagrams each is one."""
        framing = self._framings.get(link)
        return [data] if framing is None else framing.feed(data)
