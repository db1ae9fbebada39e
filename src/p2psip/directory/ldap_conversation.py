"""One connection of a phone that searches the directory by LDAP (RFC 4511), as bytes in and out.

Theory of operation. There is one level of entries below the base, `dc=club,dc=example` for club.example. Whoever may
connect may read, so a bind without a password succeeds, and one with a password, which nobody here has given out, does
too where it is simple: phones that have to have one set need not be told. All that would change something is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from p2psip.directory.ber import (
    BOOLEAN,
    ENUMERATED,
    INTEGER,
    OCTETS,
    SEQUENCE,
    SET,
    BerError,
    Tlv,
    integer,
    octets,
    read_all,
    tlv,
    whole_length,
)
from p2psip.directory.ldap_filter import Filter, read_filter
from p2psip.directory.listing import Listed
from p2psip.directory.phone_xml import labels

REQUEST_MAX = 16384
"""Bytes of one request."""

ENTRIES_MAX = 2000
"""That one search is answered with; then the size limit is said to be exceeded."""

ATTRIBUTES_MAX = 64


class ResultCode(IntEnum):
    """Appendix A.1."""

    SUCCESS = 0
    PROTOCOL_ERROR = 2
    SIZE_LIMIT_EXCEEDED = 4
    AUTH_METHOD_NOT_SUPPORTED = 7
    UNAVAILABLE_CRITICAL_EXTENSION = 12
    NO_SUCH_OBJECT = 32
    UNWILLING_TO_PERFORM = 53


BIND, UNBIND, SEARCH, ABANDON, EXTENDED = 0x60, 0x42, 0x63, 0x50, 0x77
ANSWERS = {0x66: 0x67, 0x68: 0x69, 0x4A: 0x6B, 0x6C: 0x6D, 0x6E: 0x6F}
"""Modify, add, delete, rename and compare, and the tags of their answers."""

_BIND_ANSWER, _ENTRY, _DONE, _EXTENDED_ANSWER = 0x61, 0x64, 0x65, 0x78
_SIMPLE, _CONTROLS, _RESPONSE_NAME = 0x80, 0xA0, 0x8A

NOTICE_OF_DISCONNECTION = "1.3.6.1.4.1.1466.20036"
"""4.4.1"""

BASE, ONE_LEVEL, SUBTREE = range(3)

NO_ATTRIBUTES, ALL_ATTRIBUTES = "1.1", "*"

Said = dict[str, tuple[str, ...]]
"""What an entry has: values by the name of an attribute."""

CLASSES = ("top", "person", "organizationalPerson", "inetOrgPerson")


@dataclass(frozen=True, slots=True)
class SearchAsked:
    """A search: where, for what, and how much of it is wanted."""

    number: int
    base: str
    scope: int
    size_limit: int
    types_only: bool
    is_meant: Filter
    attributes: tuple[str, ...]


class LdapConversation:
    """Give it what came; it says which searches are asked for, and what to send."""

    def __init__(self, overlay: str) -> None:
        self._base = base_of(overlay)
        self._in = b""
        self._out: list[bytes] = []
        self.is_over = False
        """True as soon as the connection is to be closed, after what is to be sent."""

    def receive(self, data: bytes) -> list[SearchAsked]:
        """Bytes came. All searches in them are to be answered, in order."""
        self._in += data
        searches: list[SearchAsked] = []
        try:
            if not self.is_over and self._in and self._in[0] != SEQUENCE:
                raise BerError("no LDAP message")
            while not self.is_over and (length := whole_length(self._in, REQUEST_MAX)) is not None:
                if len(self._in) < length:
                    break
                request, self._in = self._in[:length], self._in[length:]
                if (search := self._handle(request)) is not None:
                    searches.append(search)
        except BerError as error:
            # 4.1.1: "If the server receives an LDAPMessage from the client in which the LDAPMessage SEQUENCE tag cannot
            # be recognized [...] the server SHOULD return the Notice of Disconnection".
            self._say(0, _EXTENDED_ANSWER, ResultCode.PROTOCOL_ERROR, str(error), NOTICE_OF_DISCONNECTION)
            self.is_over = True
        return searches

    def answer(self, asked: SearchAsked, entries: Sequence[Listed]) -> None:
        """The entries that a search is for. `entries` are all, one a user, in their order."""
        base = _normal_dn(asked.base)
        below = base.removesuffix(f",{_normal_dn(self._base)}")
        if base not in ("", _normal_dn(self._base)) and below == base:
            why = f"the base here is {self._base}"
            self._say(asked.number, _DONE, ResultCode.NO_SUCH_OBJECT, why)
            return
        most, sent = min(asked.size_limit or ENTRIES_MAX, ENTRIES_MAX), 0
        for name, attributes in self._in_scope(asked, base, entries):
            if not asked.is_meant({each.lower(): values for each, values in attributes.items()}):
                continue
            if sent >= most:
                self._say(asked.number, _DONE, ResultCode.SIZE_LIMIT_EXCEEDED, f"the first {most} of them")
                return
            sent += 1
            self._out.append(_message(asked.number, _entry(name, _wanted(attributes, asked), asked.types_only)))
        self._say(asked.number, _DONE, ResultCode.SUCCESS)

    def take(self) -> bytes:
        """What is to be sent now."""
        out, self._out = b"".join(self._out), []
        return out

    def _in_scope(self, asked: SearchAsked, base: str, entries: Sequence[Listed]) -> Iterable[tuple[str, Said]]:
        if base == "" and asked.scope == BASE:
            yield "", {"objectClass": ("top",), "namingContexts": (self._base,), "supportedLDAPVersion": ("3",)}
            return
        is_base = base in ("", _normal_dn(self._base))
        if is_base and asked.scope in (BASE, SUBTREE):
            name = self._base.partition(",")[0].partition("=")[2]
            yield self._base, {"objectClass": ("top", "domain"), "dc": (name,)}
        for entry, label in zip(entries, labels(entries), strict=True):
            dn = f"uid={_escaped(entry.user)},{self._base}"
            if is_base if asked.scope != BASE else _normal_dn(dn) == base:
                yield dn, _attributes(entry, label)

    def _handle(self, request: bytes) -> SearchAsked | None:
        (whole,) = read_all(request)
        parts = whole.children() if whole.tag == SEQUENCE else []
        if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2].tag != _CONTROLS):
            raise BerError("no LDAP message")
        number, operation = parts[0].number(), parts[1]
        critical = len(parts) == 3 and _is_critical(parts[2])
        if operation.tag == UNBIND:
            self.is_over = True
        elif operation.tag == ABANDON:
            # 4.11: it has no response, and whatever it means has been answered.
            pass
        elif critical:
            tag = {BIND: _BIND_ANSWER, SEARCH: _DONE, EXTENDED: _EXTENDED_ANSWER} | ANSWERS
            code = ResultCode.UNAVAILABLE_CRITICAL_EXTENSION
            self._say(number, tag.get(operation.tag, _EXTENDED_ANSWER), code, "no controls are known here")
        elif operation.tag == BIND:
            self._bind(number, operation)
        elif operation.tag == SEARCH:
            return _search(number, operation)
        elif operation.tag == EXTENDED:
            self._say(number, _EXTENDED_ANSWER, ResultCode.PROTOCOL_ERROR, "no extensions are known here")
        elif operation.tag in ANSWERS:
            why = "this directory is read only"
            self._say(number, ANSWERS[operation.tag], ResultCode.UNWILLING_TO_PERFORM, why)
        else:
            raise BerError(f"an operation {operation.tag:#x}, which is not known here")
        return None

    def _bind(self, number: int, operation: Tlv) -> None:
        parts = operation.children()
        if len(parts) != 3:
            raise BerError("no bind")
        if parts[0].number() != 3:
            self._say(number, _BIND_ANSWER, ResultCode.PROTOCOL_ERROR, "only version 3 is known here")
        elif parts[2].tag != _SIMPLE:
            self._say(number, _BIND_ANSWER, ResultCode.AUTH_METHOD_NOT_SUPPORTED, "only simple binds are known here")
        else:
            self._say(number, _BIND_ANSWER, ResultCode.SUCCESS)

    def _say(self, number: int, tag: int, code: ResultCode, why: str = "", name: str = "") -> None:
        named = tlv(_RESPONSE_NAME, name.encode()) if name else b""
        result = (integer(code, ENUMERATED), octets(""), octets(why), named)
        self._out.append(_message(number, tlv(tag, *result)))


def base_of(overlay: str) -> str:
    """The distinguished name of an overlay (RFC 2247): `dc=club,dc=example`."""
    return ",".join(f"dc={label}" for label in overlay.split("."))


def _search(number: int, operation: Tlv) -> SearchAsked:
    parts = operation.children()
    if len(parts) != 8:
        raise BerError("no search")
    base, scope, _, size_limit, _, types_only, wanted, attributes = parts
    names = attributes.children() if attributes.tag == SEQUENCE else []
    if base.tag != OCTETS or types_only.tag != BOOLEAN or len(names) > ATTRIBUTES_MAX:
        raise BerError("no search")
    if scope.tag != ENUMERATED or scope.number() > SUBTREE or size_limit.tag != INTEGER:
        raise BerError("no search")
    return SearchAsked(
        number,
        base.contents.decode(errors="replace"),
        scope.number(),
        size_limit.number(),
        any(types_only.contents),
        read_filter(wanted),
        tuple(name.contents.decode(errors="replace") for name in names),
    )


def _is_critical(controls: Tlv) -> bool:
    """4.1.11: a critical control that is not known has the operation refused; others are ignored."""
    for control in controls.children():
        for part in control.children():
            if part.tag == BOOLEAN and any(part.contents):
                return True
    return False


def _attributes(entry: Listed, label: str) -> Said:
    first, _, last = entry.shown.rpartition(" ")
    found = {
        "objectClass": CLASSES,
        "uid": (entry.user,),
        "cn": (label,),
        "displayName": (label,),
        "sn": (last or label,),
        "givenName": (first,) if first else (),
        "telephoneNumber": (entry.dial,),
        "ipPhone": (entry.dial,),
        "o": (entry.card.site,) if entry.card.site else (),
        "description": (entry.card.callsign,) if entry.card.callsign else (),
    }
    return {name: values for name, values in found.items() if values}


def _wanted(attributes: Said, asked: SearchAsked) -> Said:
    names = {name.lower() for name in asked.attributes}
    if not names or ALL_ATTRIBUTES in names:
        return attributes
    return {name: values for name, values in attributes.items() if name.lower() in names}


def _entry(name: str, attributes: Said, types_only: bool) -> bytes:
    each = (
        tlv(SEQUENCE, octets(attribute), tlv(SET, *(() if types_only else map(octets, values))))
        for attribute, values in attributes.items()
    )
    return tlv(_ENTRY, octets(name), tlv(SEQUENCE, *each))


def _message(number: int, operation: bytes) -> bytes:
    return tlv(SEQUENCE, integer(number), operation)


def _escaped(text: str) -> str:
    """RFC 4514 2.4: what would end a value in a distinguished name."""
    return "".join(f"\\{each}" if each in ',+"\\<>;=#' else each for each in text)


def _normal_dn(name: str) -> str:
    """Without what people write differently."""
    return ",".join(part.strip().casefold() for part in name.split(","))
