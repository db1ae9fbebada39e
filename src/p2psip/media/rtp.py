"""The RTP packet (RFC 3550 section 5.1)."""

from __future__ import annotations

import struct

from p2psip.base.errors import RemoteProtocolError
from p2psip.base.frozen import frozen

VERSION = 2
_FIXED = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")


class MalformedRtp(RemoteProtocolError):
    """These bytes are no RTP packet."""


@frozen
class RtpPacket:
    """An RTP packet (section 5.1). The contents of a header extension and of padding are not kept."""

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """The packet's bytes."""
        first = VERSION << 6 | len(self.csrcs)
        second = self.marker << 7 | self.payload_type
        fixed = _FIXED.pack(first, second, self.sequence_number, self.timestamp, self.ssrc)
        return fixed + b"".join(csrc.to_bytes(4, "big") for csrc in self.csrcs) + self.payload

    @classmethod
    def decode(cls, data: bytes) -> RtpPacket:
        """Read a packet, or raise MalformedRtp."""
        if len(data) < _FIXED.size:
            raise MalformedRtp(f"{len(data)} bytes are too few for an RTP header")
        first, second, sequence_number, timestamp, ssrc = _FIXED.unpack_from(data)
        if first >> 6 != VERSION:
            raise MalformedRtp(f"version {first >> 6}, not 2")
        csrcs_end = _FIXED.size + 4 * (first & 0x0F)
        if len(data) < csrcs_end:
            raise MalformedRtp("the list of contributing sources is cut short")
        begin = _after_extension(data, csrcs_end) if first & 0x10 else csrcs_end
        end = len(data) - (_padding(data, begin) if first & 0x20 else 0)
        csrcs = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(_FIXED.size, csrcs_end, 4))
        return cls(second & 0x7F, sequence_number, timestamp, ssrc, data[begin:end], bool(second >> 7), csrcs)


def _after_extension(data: bytes, at: int) -> int:
    """Where a header extension ends (section 5.3.1): its length counts 32-bit words after its own four bytes."""
    if len(data) < at + _EXTENSION.size:
        raise MalformedRtp("the header extension is cut short")
    end = at + _EXTENSION.size + 4 * int(_EXTENSION.unpack_from(data, at)[1])
    if len(data) < end:
        raise MalformedRtp("the header extension is longer than the packet")
    return end


def _padding(data: bytes, begin: int) -> int:
    """Section 5.1: "The last octet of the padding contains a count of how many padding octets should be ignored"."""
    count = data[-1]
    if not 0 < count <= len(data) - begin:
        raise MalformedRtp(f"{count} bytes of padding in {len(data) - begin}")
    return count
