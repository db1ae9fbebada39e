"""Join codes: all that a newcomer must know, in one line that can be copied, scanned or read out.

    club.example/08k3f-...           admits a machine
    carol@club.example/08k3f-...     is for a line of carol

Before the slash are names that people read. After it are, in base 32 (Crockford's letters, of which 0 and o, 1 and l
are no two), a version, the beginning of the trust anchor's fingerprint, the token of the invitation, addresses, and a
checksum over all of it and the names. Dashes, blanks and capitals do not matter.

Of the fingerprint there are 128 bits: whoever wanted to pass off another trust anchor would have to find a second one
with the same 128, not two of his own choice.
"""

from __future__ import annotations

import ipaddress
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.protocol import ENROLLMENT_PORT
from p2psip.enrollment.user_names import is_local_part
from p2psip.reload.config.configuration import BOOTSTRAP_PORT, is_dns_name

FINGERPRINT_BYTES = 16
TOKEN_BYTES = 10
"""80 bits, by chance: a server that takes a guess every half minute never hears of it."""

PLACES_MAX = 8
CODE_MAX = 2048
"""Characters: no code of ours has as many."""

_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {letter: value for value, letter in enumerate(_LETTERS)} | {"o": 0, "i": 1, "l": 1}
_BITS = 5
_GROUP = 5

_VERSION = 1
_ADMITS_MACHINE = 0x01

_FAMILY = 0x03
_IPV4, _IPV6, _NAME = 0, 1, 2
_ENROLLS = 0x04
_BOOTSTRAPS = 0x08
_ENROLLMENT_PORT_FOLLOWS = 0x10
_BOOTSTRAP_PORT_FOLLOWS = 0x20
_FLAGS = _FAMILY | _ENROLLS | _BOOTSTRAPS | _ENROLLMENT_PORT_FOLLOWS | _BOOTSTRAP_PORT_FOLLOWS

DAMAGED = "this code is damaged or mistyped: copy it whole, as `p2psip invite` printed it"


@dataclass(frozen=True, slots=True)
class MeetingPlace:
    """A host, and the ports at which it enrolls members and is a peer; 0 where it does not."""

    host: str
    enrollment_port: int = 0
    bootstrap_port: int = 0


@dataclass(frozen=True, slots=True)
class JoinCode:
    """What a code says."""

    overlay: str
    fingerprint: bytes
    """The first FINGERPRINT_BYTES of the trust anchor's."""
    token: bytes = field(repr=False)
    places: tuple[MeetingPlace, ...]
    admits_machine: bool = True
    user: str = ""
    """For whose line it is, as the part before the @; "" if for none."""

    def __str__(self) -> str:
        """The code in text."""
        data = self._payload()
        letters = _encoded(data + _checksum(self._names, data))
        return f"{self._names}/{'-'.join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))}"

    @classmethod
    def parse(cls, text: str) -> JoinCode:
        """Raises LocalMisuse, in one line for who typed it."""
        names, slash, letters = "".join(text[: CODE_MAX + 1].split()).lower().partition("/")
        data = _decoded(letters.replace("-", ""))
        if not slash or len(text) > CODE_MAX or data is None or len(data) <= 4:
            raise LocalMisuse(DAMAGED)
        data, checksum = data[:-4], data[-4:]
        user, at, overlay = names.rpartition("@")
        if _checksum(names, data) != checksum or bool(at) != bool(user):
            raise LocalMisuse(DAMAGED)
        if data[0] >> 4 != _VERSION:
            raise LocalMisuse("this code is of another release of p2psip: use the one with which it was made")
        code = _Reader(data).code(overlay, user)
        if code is None or not is_dns_name(overlay) or not (is_local_part(user) or not user):
            raise LocalMisuse(DAMAGED)
        return code

    @property
    def _names(self) -> str:
        return f"{self.user}@{self.overlay}" if self.user else self.overlay

    def _payload(self) -> bytes:
        assert len(self.fingerprint) == FINGERPRINT_BYTES, "who makes a code cuts it"
        assert len(self.token) == TOKEN_BYTES, "who makes a code makes a token of that length"
        assert len(self.places) <= PLACES_MAX, "who makes a code chooses among the places"
        head = bytes([_VERSION << 4 | (_ADMITS_MACHINE if self.admits_machine else 0)])
        return head + self.fingerprint + self.token + b"".join(map(_packed, self.places))


def places_of(enrollment: Iterable[tuple[str, int]], bootstrap: Iterable[tuple[str, int]]) -> tuple[MeetingPlace, ...]:
    """Where one is enrolled and where peers are, a host that does both as one place; as many as a code has room for."""
    enrollment, found = list(enrollment), dict[str, MeetingPlace]()
    for host, port in enrollment:
        found.setdefault(host, MeetingPlace(host, enrollment_port=port))
    for host, port in bootstrap:
        known = found.get(host, MeetingPlace(host))
        if not known.bootstrap_port:
            found[host] = MeetingPlace(host, known.enrollment_port, port)
    return tuple(found.values())[:PLACES_MAX]


def _packed(place: MeetingPlace) -> bytes:
    try:
        packed = ipaddress.ip_address(place.host).packed
        flags = _IPV4 if len(packed) == 4 else _IPV6
    except ValueError:
        name = place.host.encode("ascii")
        packed, flags = bytes([len(name)]) + name, _NAME
    ports = b""
    for port, is_there, follows, usual in (
        (place.enrollment_port, _ENROLLS, _ENROLLMENT_PORT_FOLLOWS, ENROLLMENT_PORT),
        (place.bootstrap_port, _BOOTSTRAPS, _BOOTSTRAP_PORT_FOLLOWS, BOOTSTRAP_PORT),
    ):
        if port:
            flags |= is_there
        if port not in (0, usual):
            flags |= follows
            ports += struct.pack(">H", port)
    return bytes([flags]) + packed + ports


class _Reader:
    """What is in the bytes of a code whose checksum is right; somebody may have made that on purpose."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._is_short = False

    def code(self, overlay: str, user: str) -> JoinCode | None:
        """None if it is none of ours."""
        flags = self._take(1)[0]
        beginning, token = self._take(FINGERPRINT_BYTES), self._take(TOKEN_BYTES)
        places: list[MeetingPlace] = []
        while self._data and not self._is_short and len(places) < PLACES_MAX:
            place = self._place()
            if place is None:
                return None
            places.append(place)
        if self._data or self._is_short or flags & 0x0F & ~_ADMITS_MACHINE:
            return None
        return JoinCode(overlay, beginning, token, tuple(places), bool(flags & _ADMITS_MACHINE), user)

    def _place(self) -> MeetingPlace | None:
        flags = self._take(1)[0]
        match flags & _FAMILY:
            case family if family in (_IPV4, _IPV6) and not flags & ~_FLAGS:
                host = str(ipaddress.ip_address(self._take(4 if family == _IPV4 else 16)))
            case family if family == _NAME and not flags & ~_FLAGS:
                host = self._take(self._take(1)[0]).decode("ascii", "replace")
                if not is_dns_name(host):
                    return None
            case _:
                return None
        enrollment = self._port(flags & _ENROLLS, flags & _ENROLLMENT_PORT_FOLLOWS, ENROLLMENT_PORT)
        return MeetingPlace(
            host, enrollment, self._port(flags & _BOOTSTRAPS, flags & _BOOTSTRAP_PORT_FOLLOWS, BOOTSTRAP_PORT)
        )

    def _port(self, is_there: int, follows: int, usual: int) -> int:
        port: int = struct.unpack(">H", self._take(2))[0] if follows else usual
        return port if is_there else 0

    def _take(self, size: int) -> bytes:
        taken, self._data = self._data[:size], self._data[size:]
        self._is_short |= len(taken) < size
        return taken.ljust(size, b"\0")


def _checksum(names: str, data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(names.encode() + b"/" + data))


def _encoded(data: bytes) -> str:
    count = -(-len(data) * 8 // _BITS)
    number = int.from_bytes(data, "big") << (count * _BITS - len(data) * 8)
    return "".join(_LETTERS[number >> (_BITS * at) & 31] for at in reversed(range(count)))


def _decoded(letters: str) -> bytes | None:
    """None if there are letters that are none, or bits too many."""
    number = 0
    for letter in letters:
        if letter not in _VALUES:
            return None
        number = number << _BITS | _VALUES[letter]
    size, rest = divmod(len(letters) * _BITS, 8)
    if rest >= _BITS or number & ((1 << rest) - 1):
        return None
    return (number >> rest).to_bytes(size, "big")
