"""Bencoding, in which rtpengine and its clients speak: whole numbers, strings, lists and dictionaries.

What is read is bounded by its length, which is a datagram's, and by its depth. Strings are text here: what is no UTF-8
in them comes out as it came in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from p2psip.base.errors import RemoteProtocolError

DEPTH_MAX = 16
"""What an engine says of a call goes seven deep."""

Value: TypeAlias = "int | str | list[Value] | dict[str, Value]"
Sent: TypeAlias = "int | str | Sequence[Sent] | Mapping[str, Sent]"

_NUMBER = re.compile(rb"i(0|-?[1-9][0-9]{0,18})e")
_LENGTH = re.compile(rb"(0|[1-9][0-9]{0,9}):")


class MalformedBencode(RemoteProtocolError):
    """These bytes are no bencoded value."""


def encode(value: Sent) -> bytes:
    """The bytes of a value; a dictionary's keys stay in their order, which nobody asks for."""
    return b"".join(_encoded(value))


def decode(data: bytes) -> Value:
    """Read one value, which is all that there is, or raise MalformedBencode."""
    value, end = _decoded(data, 0, DEPTH_MAX)
    if end != len(data):
        raise MalformedBencode(f"{len(data) - end} bytes follow the value")
    return value


def _encoded(value: Sent) -> Iterator[bytes]:
    match value:
        case int():
            yield b"i%de" % value
        case str():
            text = value.encode(errors="surrogateescape")
            yield b"%d:%b" % (len(text), text)
        case Mapping():
            yield b"d"
            for key, each in value.items():
                yield from _encoded(key)
                yield from _encoded(each)
            yield b"e"
        case _:
            yield b"l"
            for each in value:
                yield from _encoded(each)
            yield b"e"


def _decoded(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    """The value that begins at an offset, and where it ends."""
    match data[at : at + 1]:
        case b"i":
            if (number := _NUMBER.match(data, at)) is None:
                raise MalformedBencode(f"no number at byte {at}")
            return int(number[1]), number.end()
        case b"l" | b"d" if depth == 0:
            raise MalformedBencode(f"more than {DEPTH_MAX} deep at byte {at}")
        case b"l":
            return _list(data, at + 1, depth - 1)
        case b"d":
            return _dictionary(data, at + 1, depth - 1)
    return _string(data, at)


def _list(data: bytes, at: int, depth: int) -> tuple[list[Value], int]:
    values = []
    while data[at : at + 1] != b"e":
        value, at = _decoded(data, at, depth)
        values.append(value)
    return values, at + 1


def _dictionary(data: bytes, at: int, depth: int) -> tuple[dict[str, Value], int]:
    values = {}
    while data[at : at + 1] != b"e":
        key, at = _string(data, at)
        values[key], at = _decoded(data, at, depth)
    return values, at + 1


def _string(data: bytes, at: int) -> tuple[str, int]:
    length = _LENGTH.match(data, at)
    if length is None:
        raise MalformedBencode(f"neither a value nor its end at byte {at}")
    begin, end = length.end(), length.end() + int(length[1])
    if end > len(data):
        raise MalformedBencode(f"a string at byte {at} is longer than what is left")
    return data[begin:end].decode(errors="surrogateescape"), end
