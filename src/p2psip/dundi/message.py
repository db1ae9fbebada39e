"""Messages of DUNDi: a header of eight bytes, and information elements after it (draft-mspencer-dundi-01).

    source transaction (15 bits), destination transaction (15 bits)
    next sequence number expected, own sequence number, command, flags
    elements: type, length, value

The highest bits of both transactions say nothing here: one is reserved, the other marks what is sent again, which
Asterisk neither writes nor reads, and takes for a number of a transaction.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from p2psip.base.errors import RemoteProtocolError

MESSAGE_BYTES_MAX: Final = 8192
"""What Asterisk reads; longer ones are none."""

VALUE_BYTES_MAX: Final = 255

FINAL: Final = 0x80
"""In the command: its sender says nothing more in this transaction."""

TRANSACTION_MAX: Final = 0x7FFF

_CLEAR: Final = struct.Struct("!HHBB")
"""What is never encrypted of the header: transactions and sequence numbers."""

HEADER_BYTES: Final = 8


class NotDundi(RemoteProtocolError):
    """Something that is no message of DUNDi, or an element of one that is not as its type has it."""


class CommandCode(enum.IntEnum):
    """What a message is; 0x40 marks what answers something."""

    ACK = 0x40
    DPDISCOVER = 1
    DPRESPONSE = 0x42
    EIDQUERY = 3
    EIDRESPONSE = 0x44
    PRECACHERQ = 5
    PRECACHERP = 0x46
    INVALID = 0x47
    UNKNOWN = 0x48
    NULL = 9
    REGREQ = 10
    REGRESPONSE = 0x4B
    CANCEL = 12
    ENCRYPT = 13
    ENCREJ = 0x4E


COMMANDS: Final = frozenset(map(int, CommandCode))


class Element(NamedTuple):
    """One information element, as it is on the wire; `elements.py` says what is in it."""

    kind: int
    value: bytes


ENCDATA: Final = 16
"""The element that goes to the end of the message, whatever its length says: one byte is too few for it."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a message says, apart from where it belongs: what of it is encrypted if anything is.

    `command` may be one that nobody here knows. `flags` have no meaning yet.
    """

    command: int
    elements: tuple[Element, ...] = ()
    is_final: bool = False
    flags: int = 0

    def encode(self) -> bytes:
        """From the command on."""
        written = [bytes((self.command | (FINAL if self.is_final else 0), self.flags))]
        for kind, value in self.elements:
            assert len(value) <= VALUE_BYTES_MAX or kind == ENCDATA, "an element has a length of one byte"
            written.append(bytes((kind, len(value) & 0xFF)) + value)
        return b"".join(written)

    @classmethod
    def decode(cls, data: bytes) -> Said:
        """From the command on. Raises NotDundi."""
        if not 2 <= len(data) <= MESSAGE_BYTES_MAX:
            raise NotDundi(f"{len(data)} bytes from the command on")
        elements, at = [], 2
        while at < len(data):
            if at + 2 > len(data):
                raise NotDundi("an element that breaks off")
            kind, size = data[at], data[at + 1]
            at += 2
            end = len(data) if kind == ENCDATA else at + size
            if end > len(data):
                raise NotDundi(f"element {kind} goes beyond the message")
            elements.append(Element(kind, data[at:end]))
            at = end
        return cls(data[0] & ~FINAL, tuple(elements), bool(data[0] & FINAL), data[1])


@dataclass(frozen=True, slots=True)
class DundiMessage:
    """A message. `source` is the sender's number of the transaction, `destination` the receiver's, 0 if not known yet.

    `expected` is the sequence number that the sender awaits next, and so acknowledges what is before it; `sequence` is
    the message's own.
    """

    source: int
    destination: int
    expected: int
    sequence: int
    said: Said

    def encode(self) -> bytes:
        """As a datagram."""
        head = _CLEAR.pack(self.source, self.destination, self.expected, self.sequence)
        return head + self.said.encode()

    @classmethod
    def decode(cls, data: bytes) -> DundiMessage:
        """Of a datagram. Raises NotDundi."""
        if not HEADER_BYTES <= len(data) <= MESSAGE_BYTES_MAX:
            raise NotDundi(f"a message of {len(data)} bytes")
        source, destination, expected, sequence = _CLEAR.unpack_from(data)
        said = Said.decode(data[_CLEAR.size :])
        return cls(source & TRANSACTION_MAX, destination & TRANSACTION_MAX, expected, sequence, said)
