"""The Session Description Protocol (RFC 8866), as far as a telephone needs it.

Reading is tolerant, for the phones of the world: any line ends, any order within a section, unknown types
and missing s= and t= lines are no reason to refuse a call. Writing is strict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2psip.base.errors import RemoteProtocolError
from p2psip.base.frozen import frozen

SIZE_MAX = 64 * 1024
LINES_MAX = 1000
MEDIA_MAX = 32


class MalformedSdp(RemoteProtocolError):
    """These bytes are no session description."""


@dataclass(frozen=True, slots=True)
class Origin:
    """o=: who made the description, and which version of it this is (section 5.2)."""

    session_id: int
    session_version: int
    address: str
    username: str = "-"

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.session_version} {network(self.address)}"


@frozen
class Attribute:
    """a=: a property (without a value) or a value (section 5.13)."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """m= and what follows it (section 5.14); `address` is its own c= line, if it has one."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    address: str | None = None
    attributes: tuple[Attribute, ...] = ()

    def values(self, name: str) -> list[str]:
        """The values of all attributes of this name."""
        return [a.value or "" for a in self.attributes if a.name == name]

    def lines(self) -> Iterable[str]:
        """The lines of this section, without line ends."""
        yield f"m={self.kind} {self.port} {self.protocol} {' '.join(self.formats)}"
        if self.address is not None:
            yield f"c={network(self.address)}"
        yield from (f"a={attribute}" for attribute in self.attributes)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A session description (section 5); `address` is the c= line of the session section."""

    origin: Origin
    media: tuple[MediaDescription, ...] = ()
    address: str | None = None
    attributes: tuple[Attribute, ...] = ()
    name: str = "-"
    timing: str = "0 0"

    def encode(self) -> bytes:
        """The description's bytes, for application/sdp."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        if self.address is not None:
            lines.append(f"c={network(self.address)}")
        lines.append(f"t={self.timing}")
        lines += [f"a={attribute}" for attribute in self.attributes]
        for media in self.media:
            lines += media.lines()
        return joined(lines)

    @classmethod
    def decode(cls, data: bytes) -> SessionDescription:
        """Read a description, or raise MalformedSdp."""
        sections = sections_of(data)
        session = dict(reversed(sections[0]))
        if session.get("v") != "0" or sections[0][0][0] != "v":
            raise MalformedSdp("it does not begin with v=0")
        if "o" not in session:
            raise MalformedSdp("it has no o= line")
        return cls(
            origin=_origin(session["o"]),
            media=tuple(map(_media, sections[1:])),
            address=_connection(sections[0]),
            attributes=_attributes(sections[0]),
            name=session.get("s", "-"),
            timing=session.get("t", "0 0"),
        )


Line = tuple[str, str]


def joined(lines: Iterable[str]) -> bytes:
    """These lines as the body of a message; what is no UTF-8 in them is as it came."""
    return "".join(f"{line}\r\n" for line in lines).encode(errors="surrogateescape")


def sections_of(data: bytes) -> list[list[Line]]:
    """The lines, split before each m=; the first section is the session's. Raises MalformedSdp."""
    if len(data) > SIZE_MAX:
        raise MalformedSdp(f"{len(data)} bytes are too many")
    sections: list[list[Line]] = [[]]
    lines = [line for line in data.decode(errors="surrogateescape").replace("\r", "\n").split("\n") if line.strip()]
    if not lines or len(lines) > LINES_MAX:
        raise MalformedSdp("it is empty" if not lines else f"{len(lines)} lines are too many")
    for line in lines:
        if line[1:2] != "=":
            raise MalformedSdp(f"no line of the form x=...: {line[:40]!r}")
        if line[0] == "m":
            sections.append([])
        sections[-1].append((line[0], line[2:].strip()))
    if len(sections) > MEDIA_MAX + 1 or not sections[0]:
        raise MalformedSdp("too many media descriptions" if sections[0] else "it begins with m=")
    return sections


def _origin(value: str) -> Origin:
    fields = value.split()
    if len(fields) != 6:
        raise MalformedSdp(f"o= has {len(fields)} fields, not 6")
    username, session_id, session_version, _, _, address = fields
    return Origin(_number(session_id, 1 << 64), _number(session_version, 1 << 64), address, username)


def _media(lines: Sequence[Line]) -> MediaDescription:
    fields = lines[0][1].split()
    if len(fields) < 4:
        raise MalformedSdp(f"m= has {len(fields)} fields, not 4 or more")
    kind, port, protocol, *formats = fields
    # 5.14: "m=<media> <port>/<number of ports>": of several ports the first is ours.
    number = _number(port.partition("/")[0], 1 << 16)
    return MediaDescription(kind.lower(), number, protocol, tuple(formats), _connection(lines), _attributes(lines))


def _connection(lines: Iterable[Line]) -> str | None:
    """The address of the section's c= line; a multicast address's TTL and count are no concern of a telephone."""
    for kind, value in lines:
        if kind == "c":
            fields = value.split()
            if len(fields) != 3:
                raise MalformedSdp(f"c= has {len(fields)} fields, not 3")
            address = fields[2].partition("/")[0]
            if not address:
                raise MalformedSdp("c= names no address")
            return address
    return None


def _attributes(lines: Iterable[Line]) -> tuple[Attribute, ...]:
    pairs = (value.partition(":") for kind, value in lines if kind == "a")
    return tuple(Attribute(name.strip(), value.strip() if colon else None) for name, colon, value in pairs)


def network(address: str) -> str:
    """An address as o= and c= have it."""
    return f"IN {'IP6' if ':' in address else 'IP4'} {address}"


def _number(digits: str, limit: int) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20 and int(digits) < limit):
        raise MalformedSdp(f"no number below {limit}: {digits[:40]!r}")
    return int(digits)
