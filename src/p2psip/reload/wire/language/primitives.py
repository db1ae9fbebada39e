"""What the presentation language is made of (RFC 6940 section 6.3.1): reading, and the codecs of single values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntEnum, IntFlag
from typing import Annotated, ClassVar, Generic, Protocol, Self, TypeVar

from p2psip.base.errors import LocalMisuse, RemoteProtocolError
from p2psip.base.ids import NODE_ID_LENGTHS, NodeId, ResourceId
from p2psip.reload.wire.kinds import DataModel, Models

T = TypeVar("T")


class DecodeError(RemoteProtocolError):
    """Bytes that are not what they should be: `what`, in which field (`path`), at which byte (`offset`)."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(what, offset)
        self.what = what
        self.offset = offset
        self.path = ""

    def inside(self, name: str) -> DecodeError:
        """The same error, seen from one structure further out."""
        self.path = name + ("." if self.path and not self.path.startswith("[") else "") + self.path
        return self

    def __str__(self) -> str:
        return f"{self.path or 'message'}: {self.what}, at byte {self.offset}"


class Reader:
    """Bytes being decoded, the bounds of the innermost length, and what the overlay says about its wire."""

    __slots__ = ("data", "end", "model", "models", "node_id_length", "offset")

    def __init__(self, data: bytes, offset: int, node_id_length: int, models: Models, model: DataModel | None) -> None:
        if node_id_length not in NODE_ID_LENGTHS:
            raise LocalMisuse(f"the length of a Node-ID is 16 to 20 bytes, not {node_id_length}")
        self.data = data
        self.offset = offset
        self.end = len(data)
        self.node_id_length = node_id_length
        self.models = models
        self.model = model

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start, stop = self.offset, self.offset + count
        if stop > self.end:
            raise DecodeError(f"{count} bytes wanted, {self.end - start} left", start)
        self.offset = stop
        return self.data[start:stop]

    def uint(self, width: int) -> int:
        """The next `width` bytes as an unsigned integer in network byte order."""
        start, stop = self.offset, self.offset + width
        if stop > self.end:
            raise DecodeError(f"{width} bytes wanted, {self.end - start} left", start)
        self.offset = stop
        return int.from_bytes(self.data[start:stop], "big")

    def peek(self, width: int) -> int:
        """The integer that `uint` would read, which stays unread."""
        value = self.uint(width)
        self.offset -= width
        return value

    def enter(self, length: int) -> int:
        """Narrow the bounds to the next `length` bytes; returns the bounds to `leave` with."""
        outer, end = self.end, self.offset + length
        if end > outer:
            raise DecodeError(f"a length of {length} bytes, {outer - self.offset} left", self.offset)
        self.end = end
        return outer

    def leave(self, outer: int) -> None:
        """All of the narrowed bounds must have been used; widen them again."""
        if self.offset != self.end:
            raise DecodeError(f"{self.end - self.offset} bytes left over", self.offset)
        self.end = outer


class Codec(ABC, Generic[T]):
    """How one kind of value is written. `owner` is the structure that the value belongs to."""

    takes_nothing = False
    """True if an empty tuple is a value."""

    @abstractmethod
    def check(self, value: T, owner: object) -> None:
        """Raise ValueError if the value cannot be encoded."""

    @abstractmethod
    def encode(self, value: T, out: bytearray, owner: object) -> None:
        """Append the value, which has been checked."""

    @abstractmethod
    def decode(self, reader: Reader, owner: object) -> T:
        """Read a value; the earlier fields of `owner` have been read."""

    def size(self, value: T, owner: object) -> int:
        """How many bytes the value takes."""
        out = bytearray()
        self.encode(value, out, owner)
        return len(out)


def require(value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{kind.__name__} wanted, not {type(value).__name__}")


class Uint(Codec[int]):
    """uint8 to uint128; `is_hex` is how people want to see it."""

    def __init__(self, width: int, *, is_hex: bool = False) -> None:
        self.width = width
        self.limit = 1 << 8 * width
        self.is_hex = is_hex

    def check(self, value: int, owner: object) -> None:
        require(value, int)
        if not 0 <= value < self.limit:
            raise ValueError(f"{value} is not in 0..{self.limit - 1}")

    def encode(self, value: int, out: bytearray, owner: object) -> None:
        out += value.to_bytes(self.width, "big")

    def decode(self, reader: Reader, owner: object) -> int:
        return reader.uint(self.width)

    def size(self, value: int, owner: object) -> int:
        return self.width


class Constant(Uint):
    """An integer that has one permitted value."""

    def __init__(self, width: int, value: int, what: str) -> None:
        super().__init__(width, is_hex=True)
        self.value = value
        self.what = what

    def check(self, value: int, owner: object) -> None:
        if value != self.value:
            raise ValueError(f"{value:#x} is not {self.what}")

    def decode(self, reader: Reader, owner: object) -> int:
        start = reader.offset
        if (value := reader.uint(self.width)) != self.value:
            raise DecodeError(f"{value:#x} is not {self.what}", start)
        return value


class BooleanCodec(Codec[bool]):
    """A boolean value is either a 1 or a 0 (RFC 6940 section 6.3.1.1)."""

    def check(self, value: bool, owner: object) -> None:
        require(value, bool)

    def encode(self, value: bool, out: bytearray, owner: object) -> None:
        out.append(value)

    def decode(self, reader: Reader, owner: object) -> bool:
        start = reader.offset
        if (value := reader.uint(1)) > 1:
            raise DecodeError(f"{value} is not a Boolean", start)
        return bool(value)


class Opaque(Codec[bytes]):
    """opaque<0..2^n-1>: a length, then bytes."""

    def __init__(self, length_bytes: int) -> None:
        self.length_bytes = length_bytes
        self.limit = 1 << 8 * length_bytes

    def check(self, value: bytes, owner: object) -> None:
        require(value, bytes)
        if len(value) >= self.limit:
            raise ValueError(f"{len(value)} bytes do not fit in {self.limit - 1}")

    def encode(self, value: bytes, out: bytearray, owner: object) -> None:
        out += len(value).to_bytes(self.length_bytes, "big")
        out += value

    def decode(self, reader: Reader, owner: object) -> bytes:
        return reader.take(reader.uint(self.length_bytes))

    def size(self, value: bytes, owner: object) -> int:
        return self.length_bytes + len(value)


class Rest(Codec[bytes]):
    """All bytes up to the end of what encloses it."""

    def check(self, value: bytes, owner: object) -> None:
        require(value, bytes)

    def encode(self, value: bytes, out: bytearray, owner: object) -> None:
        out += value

    def decode(self, reader: Reader, owner: object) -> bytes:
        return reader.take(reader.end - reader.offset)


class NodeIdCodec(Codec[NodeId]):
    """opaque NodeId[NodeIdLength]: no length on the wire, the overlay says it."""

    type = NodeId

    def check(self, value: NodeId, owner: object) -> None:
        require(value, NodeId)

    def encode(self, value: NodeId, out: bytearray, owner: object) -> None:
        out += value

    def decode(self, reader: Reader, owner: object) -> NodeId:
        return NodeId(reader.take(reader.node_id_length))

    def size(self, value: NodeId, owner: object) -> int:
        return len(value)


class ResourceIdCodec(Codec[ResourceId]):
    """opaque ResourceId<0..2^8-1>, of at most 254 bytes."""

    def check(self, value: ResourceId, owner: object) -> None:
        require(value, ResourceId)

    def encode(self, value: ResourceId, out: bytearray, owner: object) -> None:
        out.append(len(value))
        out += value

    def decode(self, reader: Reader, owner: object) -> ResourceId:
        start = reader.offset
        try:
            return ResourceId(reader.take(reader.uint(1)))
        except ValueError as error:
            raise DecodeError(str(error), start) from None

    def size(self, value: ResourceId, owner: object) -> int:
        return 1 + len(value)


class WireEnum(IntEnum):
    """An enum of the presentation language. An open one keeps the values that it has no name for.

    A member's second value is the RFC's name for it, where that is not the member's own in lower case.
    """

    label: str
    width: ClassVar[int]
    is_open: ClassVar[bool]

    def __new__(cls, value: int, label: str = "") -> Self:
        """A member with its RFC name."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.label = label
        return member

    __hash__ = int.__hash__
    # That of Enum is of the name, which takes ten times as long and is another in each process.

    def __init_subclass__(cls, *, width: int, is_open: bool = False) -> None:
        cls.width = width
        cls.is_open = is_open

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not (cls.is_open and isinstance(value, int) and 0 <= value < 1 << 8 * cls.width):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = value
        member.label = f"unknown({value})"
        return member

    @property
    def rfc_name(self) -> str:
        """What the RFC calls it."""
        return self.label or self.name.lower()


class EnumCodec(Codec[WireEnum]):
    def __init__(self, enum: type[WireEnum]) -> None:
        self.enum = enum
        self.members: dict[int, WireEnum] = {int(member): member for member in enum}

    def check(self, value: WireEnum, owner: object) -> None:
        require(value, self.enum)

    def encode(self, value: WireEnum, out: bytearray, owner: object) -> None:
        out += value.to_bytes(self.enum.width, "big")

    def decode(self, reader: Reader, owner: object) -> WireEnum:
        start = reader.offset
        number = reader.uint(self.enum.width)
        member = self.members.get(number)
        if member is not None:
            return member
        if not self.enum.is_open:
            raise DecodeError(f"{number} is no {self.enum.__name__}", start)
        return self.enum(number)


class Flags(Codec[IntFlag]):
    """A set of bits; those without a name are kept."""

    def __init__(self, flags: type[IntFlag], width: int) -> None:
        self.flags = flags
        self.width = width

    def check(self, value: IntFlag, owner: object) -> None:
        require(value, self.flags)
        if not 0 <= value < 1 << 8 * self.width:
            raise ValueError(f"{int(value):#x} does not fit in {self.width} bytes")

    def encode(self, value: IntFlag, out: bytearray, owner: object) -> None:
        out += value.to_bytes(self.width, "big")

    def decode(self, reader: Reader, owner: object) -> IntFlag:
        return self.flags(reader.uint(self.width))


class Structured(Protocol):
    """A structure, as far as one around it cares."""

    def encode_to(self, out: bytearray) -> None: ...

    @classmethod
    def decode_from(cls, reader: Reader) -> Self: ...


S = TypeVar("S", bound=Structured)


def fill_in_length(out: bytearray, start: int, length_bytes: int) -> None:
    """Write how many bytes follow the length at `start`."""
    body = start + length_bytes
    out[start:body] = (len(out) - body).to_bytes(length_bytes, "big")


class Nested(Codec[S]):
    """A structure inside a structure."""

    def __init__(self, struct: type[S]) -> None:
        self.struct = struct

    def check(self, value: S, owner: object) -> None:
        require(value, self.struct)

    def encode(self, value: S, out: bytearray, owner: object) -> None:
        value.encode_to(out)

    def decode(self, reader: Reader, owner: object) -> S:
        return self.struct.decode_from(reader)


Uint8 = Annotated[int, Uint(1)]
Uint16 = Annotated[int, Uint(2)]
Uint32 = Annotated[int, Uint(4)]
Uint64 = Annotated[int, Uint(8)]
Uint128 = Annotated[int, Uint(16)]
Hex32 = Annotated[int, Uint(4, is_hex=True)]
Hex64 = Annotated[int, Uint(8, is_hex=True)]
Boolean = Annotated[bool, BooleanCodec()]
Opaque8 = Annotated[bytes, Opaque(1)]
Opaque16 = Annotated[bytes, Opaque(2)]
Opaque24 = Annotated[bytes, Opaque(3)]
Opaque32 = Annotated[bytes, Opaque(4)]
