"""Search filters of LDAP (RFC 4511 section 4.5.1.7), as far as phones send them: all but extensible matches.

Cisco, Grandstream, Yealink and Fanvil make them of `(|(cn=%)(sn=%))` and the like, with what somebody has typed and a
`*` behind it or on both sides, or nothing at all. Values are compared without case, numbers also without what stands
between their digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from p2psip.directory.ber import DEPTH_MAX, OCTETS, SEQUENCE, BerError, Tlv

Attributes = Mapping[str, Sequence[str]]
"""What an entry has, by names in lower case."""

Filter = Callable[[Attributes], bool]

PARTS_MAX = 64
"""Of one filter."""

NUMBERS = frozenset({"telephonenumber", "mobile", "homephone", "ipphone"})

_AND, _OR, _NOT, _EQUAL, _SUBSTRINGS, _GREATER, _LESS, _PRESENT, _APPROXIMATE = (
    0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0x87, 0xA8,
)  # fmt: skip
_INITIAL, _ANY, _FINAL = 0x80, 0x81, 0x82

_BETWEEN_DIGITS = re.compile(r"[ ().\-/]")


def read_filter(element: Tlv) -> Filter:
    """What tells which entries are meant. Raises BerError."""
    return _Reader().read(element, 0)


class _Reader:
    def __init__(self) -> None:
        self._parts = 0

    def read(self, element: Tlv, depth: int) -> Filter:
        self._parts += 1
        if depth > DEPTH_MAX or self._parts > PARTS_MAX:
            raise BerError("a filter of too many parts")
        match element.tag:
            case 0xA0 | 0xA1:
                parts = [self.read(each, depth + 1) for each in element.children()]
                unite = all if element.tag == _AND else any
                return lambda attributes: unite(part(attributes) for part in parts)
            case 0xA2:
                (inner,) = self._exactly(element, 1)
                negated = self.read(inner, depth + 1)
                return lambda attributes: not negated(attributes)
            case 0xA3 | 0xA8:
                return _equal(*map(_text, self._exactly(element, 2)))
            case 0xA5 | 0xA6:
                return _ordered(*map(_text, self._exactly(element, 2)), is_greater=element.tag == _GREATER)
            case 0x87:
                return _present(_decoded(element.contents))
            case 0xA4:
                return self._substrings(element)
        raise BerError(f"a filter of the kind {element.tag:#x}, which is not known here")

    @staticmethod
    def _exactly(element: Tlv, count: int) -> list[Tlv]:
        children = element.children()
        if len(children) != count:
            raise BerError(f"a filter has {count} parts here")
        return children

    def _substrings(self, element: Tlv) -> Filter:
        name, sequence = self._exactly(element, 2)
        if sequence.tag != SEQUENCE:
            raise BerError("pieces of a value are a sequence")
        pieces = sequence.children()
        attribute = _text(name).lower()
        if not pieces or len(pieces) > PARTS_MAX:
            raise BerError("a filter of too many parts")
        tags = [piece.tag for piece in pieces]
        if any(tag not in (_INITIAL, _ANY, _FINAL) for tag in tags) or tags != sorted(tags) or _twice(tags):
            raise BerError("the pieces of a value are in no order")
        texts = [_normal(attribute, _decoded(piece.contents)) for piece in pieces]
        first = texts.pop(0) if tags[0] == _INITIAL else ""
        last = texts.pop() if texts and tags[-1] == _FINAL else ""
        return lambda attributes: any(
            _has_pieces(_normal(attribute, value), first, texts, last) for value in attributes.get(attribute, ())
        )


def _twice(tags: list[int]) -> bool:
    return tags.count(_INITIAL) > 1 or tags.count(_FINAL) > 1


def _has_pieces(value: str, first: str, between: Sequence[str], last: str) -> bool:
    """Each where it comes first after the one before: so no value takes longer than others."""
    if not value.startswith(first):
        return False
    at = len(first)
    for piece in between:
        found = value.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(value) - at >= len(last) and value.endswith(last)


def _equal(name: str, value: str) -> Filter:
    attribute = name.lower()
    if attribute == "objectclass":
        wanted = value.casefold()
        return lambda attributes: wanted in (each.casefold() for each in attributes.get("objectclass", ()))
    meant = _normal(attribute, value)
    return lambda attributes: any(_normal(attribute, each) == meant for each in attributes.get(attribute, ()))


def _ordered(name: str, value: str, *, is_greater: bool) -> Filter:
    attribute, meant = name.lower(), _normal(name.lower(), value)

    def holds(attributes: Attributes) -> bool:
        each = [_normal(attribute, one) for one in attributes.get(attribute, ())]
        return any(one >= meant if is_greater else one <= meant for one in each)

    return holds


def _present(name: str) -> Filter:
    attribute = name.lower()
    return lambda attributes: bool(attributes.get(attribute))


def _normal(attribute: str, value: str) -> str:
    text = value.casefold()
    return _BETWEEN_DIGITS.sub("", text) if attribute in NUMBERS else text


def _text(element: Tlv) -> str:
    if element.tag != OCTETS:
        raise BerError("no string")
    return _decoded(element.contents)


def _decoded(contents: bytes) -> str:
    try:
        return contents.decode()
    except UnicodeDecodeError:
        # Some phones send the character set of their display.
        return contents.decode("latin-1")
