"""Anchored streams on a path between two peers: each datagram in a frame of its own (docs/decisions/media.md).

A frame is one byte for the component (RFC 8445 section 13: 1 is RTP, 2 is RTCP), two for the number of the stream, and
the datagram as it came. The number is the one that the receiver of the frame has given out, in the SDP that it sent:
two ends need no agreement on who counts how. The path is a DTLS connection, and a frame is a record of it, so what is
plain RTP at both sites is encrypted and authenticated between them, and SRTP comes out as the phone has made it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from p2psip.base.errors import RemoteProtocolError

RTP, RTCP = 1, 2
NUMBER_MAX = (1 << 16) - 1

_HEADER = struct.Struct("!BH")
OVERHEAD_BYTES = _HEADER.size


class MalformedFrame(RemoteProtocolError):
    """These bytes are no frame of a stream."""


class Frame(NamedTuple):
    """One datagram of one stream."""

    component: int
    number: int
    data: bytes

    def encode(self) -> bytes:
        """The frame's bytes."""
        return _HEADER.pack(self.component, self.number) + self.data

    @classmethod
    def decode(cls, frame: bytes) -> Frame:
        """Read a frame, or raise MalformedFrame."""
        if len(frame) < OVERHEAD_BYTES:
            raise MalformedFrame(f"{len(frame)} bytes are too few for a frame of a stream")
        component, number = _HEADER.unpack_from(frame)
        if component not in (RTP, RTCP):
            raise MalformedFrame(f"component {component} is neither RTP (1) nor RTCP (2)")
        return cls(component, number, frame[OVERHEAD_BYTES:])
