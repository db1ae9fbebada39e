"""What is in the information elements of DUNDi (draft-mspencer-dundi-01).

Each is declared once, at the end, as its number and the format of its value; writing and reading come from that. What
is read is what the other end wrote: who needs more of it than its format says has to look.
"""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from p2psip.dundi.message import ENCDATA, VALUE_BYTES_MAX, Element, NotDundi, Said

V = TypeVar("V")

VERSION_SPOKEN: Final = 1

SIP_PROTOCOL: Final = 2
"""In an answer: SIP, by whatever channel driver the other end has it."""

E164: Final = "e164"
"""The context that is meant where none is named: telephone numbers with their country code, without a plus."""

BLOCK_BYTES: Final = 128
"""Of RSA with 1024 bits: an encrypted key, a signature of one."""

_ANSWER: Final = struct.Struct("!6sBHH")

DESTINATION_BYTES_MAX: Final = VALUE_BYTES_MAX - _ANSWER.size
"""Of an answer."""

_HINT: Final = struct.Struct("!H")
_EID: Final = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}", re.IGNORECASE)


class Eid(bytes):
    """An entity identifier: six bytes, that of one of its network interfaces as a rule."""

    def __str__(self) -> str:
        return ":".join(f"{each:02X}" for each in self)

    @classmethod
    def parse(cls, text: str) -> Eid:
        """As people write it, 00:07:E9:3B:76:60. Raises ValueError."""
        if _EID.fullmatch(text) is None:
            raise ValueError(f"{text!r} is no entity identifier")
        return cls(bytes.fromhex(text.replace(":", "")))


class AnswerFlags(enum.IntFlag):
    """What an answer says of a number."""

    NONEXISTENT = 0
    EXISTS = 1
    MATCHMORE = 2
    CANMATCH = 4
    IGNOREPAT = 8
    RESIDENTIAL = 16
    COMMERCIAL = 32
    MOBILE = 64
    NOUNSOLICITED = 128
    NOCOMUNSOLICIT = 256


class HintFlags(enum.IntFlag):
    """What a response says beside its answers."""

    NONE = 0
    TTL_EXPIRED = 1
    DONT_ASK = 2
    UNAFFECTED = 4


class CauseCode(enum.IntEnum):
    """Why a request is refused."""

    SUCCESS = 0
    GENERAL = 1
    DYNAMIC = 2
    NOAUTH = 3
    DUPLICATE = 4
    TTL_EXPIRED = 5
    NEEDKEY = 6
    BADENCRYPT = 7


class NumberAnswer(NamedTuple):
    """Where a number is called: by which protocol, at which destination; the lowest weight first. `eid` says so."""

    eid: Eid
    protocol: int
    flags: int
    weight: int
    destination: str


class Hint(NamedTuple):
    """With DONT_ASK: `number` is how numbers begin of which the sender will know nothing."""

    flags: int
    number: str = ""


class StatedCause(NamedTuple):
    """A `CauseCode`, or a number that nobody here knows, and words for people."""

    code: int
    words: str = ""


class ElementFormat(Protocol[V]):
    """How a value is in an element."""

    def write(self, value: V) -> bytes:
        """The bytes of the value."""

    def read(self, data: bytes) -> V:
        """The value. Raises NotDundi."""


@dataclass(frozen=True, slots=True)
class ElementType(Generic[V]):
    """One kind of element."""

    number: int
    form: ElementFormat[V]

    def of(self, value: V) -> Element:
        """An element for a message."""
        return Element(self.number, self.form.write(value))

    def every(self, said: Said) -> tuple[V, ...]:
        """All that a message has of it. Raises NotDundi."""
        return tuple(self.form.read(value) for kind, value in said.elements if kind == self.number)

    def last(self, said: Said) -> V | None:
        """The last of them, which counts where one is meant; None if there is none. Raises NotDundi."""
        found = self.every(said)
        return found[-1] if found else None

    def within(self, said: Said) -> bool:
        """True if there is one."""
        return any(kind == self.number for kind, _ in said.elements)


# The formats


class _Opaque:
    def __init__(self, size: int) -> None:
        self._size = size

    def write(self, value: bytes) -> bytes:
        assert len(value) == self._size
        return value

    def read(self, data: bytes) -> bytes:
        if len(data) != self._size:
            raise NotDundi(f"{len(data)} bytes where {self._size} should be")
        return data


class _Eid:
    def write(self, value: Eid) -> bytes:
        return bytes(value)

    def read(self, data: bytes) -> Eid:
        if len(data) != 6:
            raise NotDundi(f"an entity identifier of {len(data)} bytes")
        return Eid(data)


class _Number:
    def __init__(self, size: int) -> None:
        self._size = size

    def write(self, value: int) -> bytes:
        return value.to_bytes(self._size, "big")

    def read(self, data: bytes) -> int:
        if len(data) != self._size:
            raise NotDundi(f"a number of {len(data)} bytes where {self._size} should be")
        return int.from_bytes(data, "big")


class _Text:
    """Nobody says in which characters: what is no UTF-8 is nothing that could be meant here."""

    def write(self, value: str) -> bytes:
        return _text(value, VALUE_BYTES_MAX)

    def read(self, data: bytes) -> str:
        return data.decode(errors="replace")


class _Empty:
    def write(self, value: bool) -> bytes:
        assert value, "what is not meant is left out"
        return b""

    def read(self, data: bytes) -> bool:
        return True


class _Answer:
    def write(self, value: NumberAnswer) -> bytes:
        head = _ANSWER.pack(value.eid, value.protocol, value.flags, value.weight)
        return head + _text(value.destination, DESTINATION_BYTES_MAX)

    def read(self, data: bytes) -> NumberAnswer:
        if len(data) < _ANSWER.size:
            raise NotDundi(f"an answer of {len(data)} bytes")
        eid, protocol, flags, weight = _ANSWER.unpack_from(data)
        return NumberAnswer(Eid(eid), protocol, flags, weight, data[_ANSWER.size :].decode(errors="replace"))


class _Hint:
    def write(self, value: Hint) -> bytes:
        return _HINT.pack(value.flags) + _text(value.number, VALUE_BYTES_MAX - _HINT.size)

    def read(self, data: bytes) -> Hint:
        if len(data) < _HINT.size:
            raise NotDundi(f"a hint of {len(data)} bytes")
        (flags,) = _HINT.unpack_from(data)
        return Hint(flags, data[_HINT.size :].decode(errors="replace"))


class _Cause:
    def write(self, value: StatedCause) -> bytes:
        return bytes((value.code,)) + _text(value.words, VALUE_BYTES_MAX - 1)

    def read(self, data: bytes) -> StatedCause:
        if not data:
            raise NotDundi("a cause without a code")
        return StatedCause(data[0], data[1:].decode(errors="replace"))


class _Encrypted:
    """An initialization vector, and whole blocks of AES."""

    def write(self, value: bytes) -> bytes:
        assert len(value) > 16, "a vector, and something after it"
        assert len(value) % 16 == 0, "whole blocks"
        return value

    def read(self, data: bytes) -> bytes:
        if len(data) <= 16 or len(data) % 16:
            raise NotDundi(f"{len(data)} bytes of encrypted data")
        return data


def _text(value: str, most: int) -> bytes:
    written = value.encode()
    assert len(written) <= most, "who says it has looked at its length"
    return written


# The elements

EID: Final = ElementType(1, _Eid())
CALLED_CONTEXT: Final = ElementType(2, _Text())
CALLED_NUMBER: Final = ElementType(3, _Text())
EID_DIRECT: Final = ElementType(4, _Eid())
ANSWER: Final = ElementType(5, _Answer())
TTL: Final = ElementType(6, _Number(2))
VERSION: Final = ElementType(10, _Number(2))
EXPIRATION: Final = ElementType(11, _Number(2))
UNKNOWN_COMMAND: Final = ElementType(12, _Number(1))
CAUSE: Final = ElementType(14, _Cause())
REQUESTED_EID: Final = ElementType(15, _Eid())
ENCRYPTED: Final = ElementType(ENCDATA, _Encrypted())
SHARED_KEY: Final = ElementType(17, _Opaque(BLOCK_BYTES))
SIGNATURE: Final = ElementType(18, _Opaque(BLOCK_BYTES))
KEY_CRC32: Final = ElementType(19, _Number(4))
HINT: Final = ElementType(20, _Hint())
DEPARTMENT: Final = ElementType(21, _Text())
ORGANIZATION: Final = ElementType(22, _Text())
LOCALITY: Final = ElementType(23, _Text())
STATE_PROVINCE: Final = ElementType(24, _Text())
COUNTRY: Final = ElementType(25, _Text())
EMAIL: Final = ElementType(26, _Text())
PHONE: Final = ElementType(27, _Text())
IP_ADDRESS: Final = ElementType(28, _Text())
CACHE_BYPASS: Final = ElementType(29, _Empty())


def first_eid(said: Said) -> Eid | None:
    """Who says it: the first entity that a message names. Raises NotDundi."""
    both = (EID.number, EID_DIRECT.number)
    return next((EID.form.read(value) for kind, value in said.elements if kind in both), None)


def eids(said: Said) -> tuple[Eid, ...]:
    """All entities of a message, in order: who says it, who need not be asked, and who has asked first. Raises
    NotDundi.
    """
    both = (EID.number, EID_DIRECT.number)
    return tuple(EID.form.read(value) for kind, value in said.elements if kind in both)
