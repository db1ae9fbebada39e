"""The framing header on a stream (RFC 6940 section 6.6.2).

The structure is `FramedMessage` of p2psip.reload.wire; here it is cut out of a byte stream, for which the
declared form (a whole structure in one buffer) is of no use. A property test holds the two together.
"""

from __future__ import annotations

import struct
from collections import deque

from p2psip.base.errors import RemoteProtocolError

DATA = 128
ACK = 129
_DATA_HEADER = struct.Struct("!BI")
_ACK = struct.Struct("!BII")
DATA_HEADER_BYTES = 8
RECEIVED_BITS = 32
SEQUENCE_MASK = 0xFFFFFFFF
HALF_OF_SEQUENCES = 1 << 31
"""Of two sequence numbers the one less than half of them ahead is the later."""


class FramingError(RemoteProtocolError):
    """The stream does not carry framed messages; it cannot be resynchronised, only closed."""


class MessageTooLarge(FramingError):
    """A frame announces more than max-message-size (RFC 6940 section 6.6); `beginning` is what came of the message."""

    def __init__(self, length: int, length_max: int, beginning: bytes) -> None:
        super().__init__(f"a message of {length} bytes, where max-message-size is {length_max}")
        self.beginning = beginning


def frame_data(sequence: int, message: bytes) -> bytes:
    """Wrap a message as a data frame."""
    return _DATA_HEADER.pack(DATA, sequence) + len(message).to_bytes(3, "big") + message


def frame_ack(ack_sequence: int, received: int) -> bytes:
    """An acknowledgement of the data frame `ack_sequence`."""
    return _ACK.pack(ACK, ack_sequence, received)


def is_before(one: int, other: int) -> bool:
    """True if sequence number `one` is earlier than `other`; they wrap."""
    return 0 < (other - one) & SEQUENCE_MASK < HALF_OF_SEQUENCES


class Deframer:
    """Cuts data frames and acknowledgements out of a stream, holding at most one message in memory."""

    def __init__(self, message_bytes_max: int) -> None:
        self.message_bytes_max = message_bytes_max
        self._buffer = bytearray()

    @property
    def is_within_frame(self) -> bool:
        """True if what came ends before its last frame does."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[tuple[int, bytes | int]]:
        """The complete frames: (sequence, message) for data, (ack_sequence, received bitmask) for an acknowledgement.

        Raises FramingError if the stream is none of ours, MessageTooLarge as soon as the length is known.
        """
        if not self._buffer and len(data) == _ACK.size and data[0] == ACK:
            # The usual case: an acknowledgement, and nothing else.
            return [_ACK.unpack(data)[1:]]
        self._buffer += data
        frames: list[tuple[int, bytes | int]] = []
        position = 0
        while (found := self._cut(position)) is not None:
            frame, position = found
            frames.append(frame)
        del self._buffer[:position]
        return frames

    def _cut(self, start: int) -> tuple[tuple[int, bytes | int], int] | None:
        available = len(self._buffer) - start
        if available == 0:
            return None
        if self._buffer[start] == ACK:
            return self._cut_ack(start) if available >= _ACK.size else None
        if self._buffer[start] != DATA:
            raise FramingError(f"a frame starts with {self._buffer[start]}, neither data (128) nor ack (129)")
        return self._cut_data(start) if available >= DATA_HEADER_BYTES else None

    def _cut_ack(self, start: int) -> tuple[tuple[int, int], int]:
        _, ack_sequence, received = _ACK.unpack_from(self._buffer, start)
        return (ack_sequence, received), start + _ACK.size

    def _cut_data(self, start: int) -> tuple[tuple[int, bytes], int] | None:
        _, sequence = _DATA_HEADER.unpack_from(self._buffer, start)
        begin = start + DATA_HEADER_BYTES
        length = int.from_bytes(self._buffer[begin - 3 : begin], "big")
        if length > self.message_bytes_max:
            raise MessageTooLarge(length, self.message_bytes_max, bytes(self._buffer[begin : begin + length]))
        end = begin + length
        return ((sequence, bytes(self._buffer[begin:end])), end) if end <= len(self._buffer) else None


class ReceivedWindow:
    """The sequence numbers last received, for the acknowledgement's bitmask.

    6.6.2: "The receiver MUST keep track of the 32 most recent sequence numbers received on this association in
    order to generate the appropriate ACK."
    """

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=RECEIVED_BITS)
        self._in_a_row = 0
        self.last: bytes | None = None
        """The last acknowledgement."""

    def acknowledge(self, sequence: int) -> bytes:
        """Note that `sequence` came, and build its acknowledgement.

        "if the sequence number M is less than N but greater than N-32, the N-M bit of the received bitmask is
        set to one" (6.6.2), taken literally.
        """
        is_next = bool(self._recent) and (sequence - self._recent[-1]) & SEQUENCE_MASK == 1
        self._in_a_row = self._in_a_row + 1 if is_next else 0
        if self._in_a_row >= len(self._recent):
            # The usual case: all that we remember came one after the other.
            received = ((1 << min(self._in_a_row, RECEIVED_BITS - 1)) - 1) << 1
        else:
            distances = {(sequence - earlier) & SEQUENCE_MASK for earlier in self._recent}
            received = sum(1 << distance for distance in distances if 0 < distance < RECEIVED_BITS)
        self._recent.append(sequence)
        self.last = frame_ack(sequence, received)
        return self.last
