"""The Basic Encoding Rules as LDAP has them (RFC 4511 section 5.1): definite lengths, and whole strings."""

from __future__ import annotations

from dataclasses import dataclass

DEPTH_MAX = 32
LENGTH_BYTES_MAX = 4

BOOLEAN, INTEGER, OCTETS, ENUMERATED, SEQUENCE, SET = 0x01, 0x02, 0x04, 0x0A, 0x30, 0x31

_CONSTRUCTED = 0x20


class BerError(ValueError):
    """Bytes that are not what they should be."""


@dataclass(frozen=True, slots=True)
class Tlv:
    """One element: its identifier octet, and its contents."""

    tag: int
    contents: bytes

    def number(self) -> int:
        """Of an INTEGER or ENUMERATED, not negative, of 32 bits at most. Raises BerError."""
        if self.tag not in (INTEGER, ENUMERATED) or not 0 < len(self.contents) <= 4 or self.contents[0] & 0x80:
            raise BerError("no number")
        return int.from_bytes(self.contents, "big")

    def children(self) -> list[Tlv]:
        """Of what is constructed. Raises BerError."""
        if not self.tag & _CONSTRUCTED:
            raise BerError("nothing is inside of this")
        return read_all(self.contents)


def whole_length(data: bytes, most: int) -> int | None:
    """How long the element is that these bytes begin with, if that can be told yet. Raises BerError beyond `most`."""
    if len(data) < 2:
        return None
    if data[0] & 0x1F == 0x1F:
        raise BerError("an identifier of several bytes")
    first = data[1]
    if first < 0x80:
        length, header = first, 2
    else:
        count = first & 0x7F
        if not 0 < count <= LENGTH_BYTES_MAX:
            raise BerError("a length that is not definite, or too long")
        if len(data) < 2 + count:
            return None
        length, header = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if header + length > most:
        raise BerError(f"{header + length} bytes, at most {most} are taken")
    return header + length


def read_all(data: bytes) -> list[Tlv]:
    """The elements that these bytes are, one after another. Raises BerError."""
    found: list[Tlv] = []
    while data:
        length = whole_length(data, len(data))
        if length is None:
            raise BerError("an element is cut off")
        header = 2 if data[1] < 0x80 else 2 + (data[1] & 0x7F)
        found.append(Tlv(data[0], data[header:length]))
        data = data[length:]
    return found


def tlv(tag: int, *contents: bytes) -> bytes:
    """One element."""
    body = b"".join(contents)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A number that is not negative."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def octets(text: str) -> bytes:
    """A string, in UTF-8."""
    return tlv(OCTETS, text.encode())
