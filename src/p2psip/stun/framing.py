"""STUN and TURN's channels on a stream (RFC 8489 section 6.2.2, RFC 8656 section 12.4 to 12.6).

Both say at their beginning how long they are, and each is a multiple of four bytes there.
"""

from __future__ import annotations

import struct
from typing import Final

from p2psip.stun.message import NotStun

_START = struct.Struct("!HH")
_STUN_HEADER_BYTES: Final = 20

CHANNELS: Final = range(0x4000, 0x5000)
"""RFC 8656 section 12: the numbers that a channel may have."""


class ChannelData:
    """The ChannelData message (RFC 8656 section 12.4)."""

    @staticmethod
    def encode(channel: int, data: bytes, *, is_stream: bool) -> bytes:
        """12.5: "Over TCP and TLS-over-TCP, the ChannelData message MUST be padded to a multiple of four bytes"."""
        message = _START.pack(channel, len(data)) + data
        return message + bytes(-len(message) % 4) if is_stream else message

    @staticmethod
    def decode(message: bytes) -> tuple[int, bytes]:
        """The channel, and what is on it. Raises NotStun."""
        if len(message) < _START.size:
            raise NotStun(f"{len(message)} bytes")
        channel, length = _START.unpack_from(message)
        # 12.6: "If the message uses a value in the reserved range [...], then the message is silently discarded"; so if
        # it "is too short to contain the claimed length".
        if channel not in CHANNELS or _START.size + length > len(message):
            raise NotStun(f"channel {channel:#06x}, {length} bytes of {len(message)}")
        return channel, message[_START.size : _START.size + length]


def is_channel_data(message: bytes) -> bool:
    """True if the first byte is that of a channel (RFC 8656 section 12)."""
    return bool(message) and 0x40 <= message[0] <= 0x4F


class StunFraming:
    """Cuts the bytes of one stream into messages. It keeps at most one that has not come whole."""

    def __init__(self, bytes_max: int) -> None:
        """A message may have at most so many bytes."""
        self._bytes_max = bytes_max
        self._kept = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now. Raises NotStun: then nothing on this stream can be told any more."""
        self._kept += data
        messages, at = [], 0
        while len(self._kept) - at >= _START.size:
            kind, length = _START.unpack_from(self._kept, at)
            if kind < 0x4000 and length % 4 == 0:
                size = _STUN_HEADER_BYTES + length
            elif kind in CHANNELS:
                size = _START.size + length + -length % 4
            else:
                raise NotStun(f"neither STUN nor a channel: {kind:#06x}")
            if size > self._bytes_max:
                raise NotStun(f"a message of {size} bytes")
            if at + size > len(self._kept):
                break
            messages.append(bytes(self._kept[at : at + size]))
            at += size
        del self._kept[:at]
        return messages
