"""What is in the attributes of STUN messages (RFC 8489 section 14, RFC 8656 section 18, RFC 8445 section 16.1, RFC 5780
section 7).

Each attribute is declared once, at the end, as its number and the format of its value; writing and reading come from
that. What is read is what the other end wrote: who needs more of it than its format says has to look.
"""

from __future__ import annotations

import enum
import ipaddress
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from p2psip.base.address import Address, without_zone
from p2psip.stun.message import MAGIC_COOKIE, AttributeType, NotStun, StunMessage

V = TypeVar("V")

TEXT_BYTES_READ_MAX: Final = 763
"""Section 14.3: "A compliant implementation MUST be able to parse a UTF-8-encoded sequence of 763 or fewer octets"."""

_ADDRESS = struct.Struct("!xBH")
_ERROR = struct.Struct("!BxBB")
"""Family, where there is one; the class; the number."""

_ALGORITHM = struct.Struct("!HH")
_ICMP = struct.Struct("!xxBBI")


class Family(enum.IntEnum):
    """Section 14.1."""

    IPV4 = 1
    IPV6 = 2

    @classmethod
    def of(cls, host: str) -> Family:
        """That of a numeric address."""
        return cls.IPV4 if _ip(host).version == 4 else cls.IPV6


class StunErrorCode(NamedTuple):
    """ERROR-CODE (section 14.8): 300 to 699, and a phrase for people."""

    code: int
    reason: str = ""


class AddressError(NamedTuple):
    """ADDRESS-ERROR-CODE (RFC 8656 section 18.12): why there is no address of a family."""

    family: Family
    code: int
    reason: str = ""


class Algorithm(enum.IntEnum):
    """How a key is made of a password (section 18.5)."""

    MD5 = 1
    SHA256 = 2


class Icmp(NamedTuple):
    """ICMP (RFC 8656 section 18.13): why a datagram did not arrive; `data` is the MTU where a datagram was too big."""

    kind: int
    code: int
    data: int = 0


class Change(NamedTuple):
    """CHANGE-REQUEST (RFC 5780 section 7.2): from where else the answer is to come."""

    address: bool
    port: bool


class Format(Protocol[V]):
    """How a value is in an attribute. `transaction` is that of the message."""

    def write(self, value: V, transaction: bytes) -> bytes:
        """The bytes of the attribute, without padding."""

    def read(self, data: bytes, transaction: bytes) -> V:
        """The value. Raises NotStun."""


@dataclass(frozen=True, slots=True)
class StunAttribute(Generic[V]):
    """One kind of attribute."""

    kind: AttributeType
    form: Format[V]

    def of(self, value: V, transaction: bytes = b"") -> tuple[int, bytes]:
        """An attribute for a message; that with an address in it needs the transaction."""
        return self.kind, self.form.write(value, transaction)

    def first(self, message: StunMessage) -> V | None:
        """Section 14: "only the first occurrence needs to be processed by a receiver". Raises NotStun."""
        for kind, data in message.attributes:
            if kind == self.kind:
                return self.form.read(data, message.transaction)
        return None

    def every(self, message: StunMessage) -> tuple[V, ...]:
        """All of them, where there may be several. Raises NotStun."""
        return tuple(
            self.form.read(data, message.transaction) for kind, data in message.attributes if kind == self.kind
        )

    def within(self, message: StunMessage) -> bool:
        """True if there is one."""
        return any(kind == self.kind for kind, _ in message.attributes)


# The formats


class _Opaque:
    def __init__(self, size: int | None = None) -> None:
        self._size = size

    def write(self, value: bytes, transaction: bytes) -> bytes:
        assert self._size in (None, len(value))
        return value

    def read(self, data: bytes, transaction: bytes) -> bytes:
        if self._size not in (None, len(data)):
            raise NotStun(f"{len(data)} bytes where {self._size} should be")
        return data


class _Text:
    def write(self, value: str, transaction: bytes) -> bytes:
        return value.encode()

    def read(self, data: bytes, transaction: bytes) -> str:
        if len(data) > TEXT_BYTES_READ_MAX:
            raise NotStun(f"a text of {len(data)} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise NotStun("a text that is not UTF-8") from error


class _Flag:
    """An attribute that is there or not; whatever is in it is ignored."""

    def write(self, value: bool, transaction: bytes) -> bytes:
        assert value, "what is not meant is left out"
        return b""

    def read(self, data: bytes, transaction: bytes) -> bool:
        return True


class _Number:
    """A number, and bytes after it that are zero and that nobody reads."""

    def __init__(self, size: int, unused: int = 0) -> None:
        self._size, self._unused = size, unused

    def write(self, value: int, transaction: bytes) -> bytes:
        return value.to_bytes(self._size, "big") + bytes(self._unused)

    def read(self, data: bytes, transaction: bytes) -> int:
        if len(data) != self._size + self._unused:
            raise NotStun(f"a number of {len(data)} bytes")
        return int.from_bytes(data[: self._size], "big")


class _FamilyOnly(_Number):
    def __init__(self) -> None:
        super().__init__(1, 3)

    def read(self, data: bytes, transaction: bytes) -> int:
        family = super().read(data, transaction)
        if family not in (Family.IPV4, Family.IPV6):
            raise NotStun(f"address family {family}")
        return family


class _EvenPort:
    """RFC 8656 section 18.7: True if the next port is to be kept, too."""

    def write(self, value: bool, transaction: bytes) -> bytes:
        return b"\x80" if value else b"\0"

    def read(self, data: bytes, transaction: bytes) -> bool:
        if len(data) != 1:
            raise NotStun(f"EVEN-PORT of {len(data)} bytes")
        return bool(data[0] & 0x80)


class _Address:
    """Section 14.1; where it is obfuscated, section 14.2."""

    def __init__(self, *, is_obfuscated: bool) -> None:
        self._is_obfuscated = is_obfuscated

    def write(self, value: Address, transaction: bytes) -> bytes:
        ip = _ip(value.host)
        family = Family.IPV4 if ip.version == 4 else Family.IPV6
        mask = self._mask(transaction)
        return _ADDRESS.pack(family, value.port ^ int.from_bytes(mask[:2], "big")) + _xor(ip.packed, mask)

    def read(self, data: bytes, transaction: bytes) -> Address:
        if len(data) not in (8, 20):
            raise NotStun(f"an address of {len(data)} bytes")
        family, port = _ADDRESS.unpack_from(data)
        if family != (Family.IPV4 if len(data) == 8 else Family.IPV6):
            raise NotStun(f"address family {family}")
        mask = self._mask(transaction)
        packed = _xor(data[_ADDRESS.size :], mask)
        return Address(str(ipaddress.ip_address(packed)), port ^ int.from_bytes(mask[:2], "big"))

    def _mask(self, transaction: bytes) -> bytes:
        return MAGIC_COOKIE.to_bytes(4, "big") + transaction if self._is_obfuscated else bytes(16)


class _Error:
    def write(self, value: StunErrorCode, transaction: bytes) -> bytes:
        return _write_error(0, value)

    def read(self, data: bytes, transaction: bytes) -> StunErrorCode:
        return _read_error(data)


class _AddressError:
    def write(self, value: AddressError, transaction: bytes) -> bytes:
        return _write_error(value.family, StunErrorCode(value.code, value.reason))

    def read(self, data: bytes, transaction: bytes) -> AddressError:
        error = _read_error(data)
        if data[0] not in (Family.IPV4, Family.IPV6):
            raise NotStun(f"address family {data[0]}")
        return AddressError(Family(data[0]), *error)


class _Kinds:
    def write(self, value: tuple[int, ...], transaction: bytes) -> bytes:
        return b"".join(kind.to_bytes(2, "big") for kind in value)

    def read(self, data: bytes, transaction: bytes) -> tuple[int, ...]:
        if len(data) % 2:
            raise NotStun(f"a list of types in {len(data)} bytes")
        return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


class _Algorithms:
    """Sections 14.11 and 14.12: numbers, also such as nobody here knows; the known ones have no parameters."""

    def write(self, value: tuple[int, ...], transaction: bytes) -> bytes:
        return b"".join(_ALGORITHM.pack(number, 0) for number in value)

    def read(self, data: bytes, transaction: bytes) -> tuple[int, ...]:
        numbers, at = [], 0
        while at < len(data):
            if at + _ALGORITHM.size > len(data):
                raise NotStun("a list of algorithms that breaks off")
            number, size = _ALGORITHM.unpack_from(data, at)
            at += _ALGORITHM.size + size
            if at > len(data):
                raise NotStun("the parameters of an algorithm go beyond the attribute")
            at += -size % 4
            numbers.append(number)
        return tuple(numbers)


class _Icmp:
    def write(self, value: Icmp, transaction: bytes) -> bytes:
        return _ICMP.pack(*value)

    def read(self, data: bytes, transaction: bytes) -> Icmp:
        if len(data) != _ICMP.size:
            raise NotStun(f"ICMP of {len(data)} bytes")
        return Icmp(*_ICMP.unpack(data))


class _Change:
    def write(self, value: Change, transaction: bytes) -> bytes:
        return bytes((0, 0, 0, value.address << 2 | value.port << 1))

    def read(self, data: bytes, transaction: bytes) -> Change:
        if len(data) != 4:
            raise NotStun(f"CHANGE-REQUEST of {len(data)} bytes")
        return Change(bool(data[3] & 4), bool(data[3] & 2))


def _write_error(family: int, error: StunErrorCode) -> bytes:
    return _ERROR.pack(family, error.code // 100, error.code % 100) + error.reason.encode()


def _read_error(data: bytes) -> StunErrorCode:
    if not _ERROR.size <= len(data) <= _ERROR.size + TEXT_BYTES_READ_MAX:
        raise NotStun(f"an error in {len(data)} bytes")
    # Section 14.8: "Receivers MUST ignore these bits", those before the class. "The value MUST be between 3 and 6", and
    # of the number "between 0 and 99".
    _, hundreds, number = _ERROR.unpack_from(data)
    hundreds &= 7
    if not (3 <= hundreds <= 6 and number <= 99):
        raise NotStun(f"error {hundreds} {number}")
    return StunErrorCode(100 * hundreds + number, data[_ERROR.size :].decode(errors="replace"))


def _xor(packed: bytes, mask: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(packed, mask, strict=False))


@lru_cache(maxsize=1024)
def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4 address also where a socket for both kinds says ::ffff:192.0.2.1."""
    ip = ipaddress.ip_address(without_zone(host))
    return ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None else ip


# The attributes

_PLAIN: Final = _Address(is_obfuscated=False)
_OBFUSCATED: Final = _Address(is_obfuscated=True)

MAPPED_ADDRESS: Final = StunAttribute(AttributeType.MAPPED_ADDRESS, _PLAIN)
XOR_MAPPED_ADDRESS: Final = StunAttribute(AttributeType.XOR_MAPPED_ADDRESS, _OBFUSCATED)
USERNAME: Final = StunAttribute(AttributeType.USERNAME, _Text())
USERHASH: Final = StunAttribute(AttributeType.USERHASH, _Opaque(32))
ERROR_CODE: Final = StunAttribute(AttributeType.ERROR_CODE, _Error())
UNKNOWN_ATTRIBUTES: Final = StunAttribute(AttributeType.UNKNOWN_ATTRIBUTES, _Kinds())
REALM: Final = StunAttribute(AttributeType.REALM, _Text())
NONCE: Final = StunAttribute(AttributeType.NONCE, _Text())
PASSWORD_ALGORITHM: Final = StunAttribute(AttributeType.PASSWORD_ALGORITHM, _Algorithms())
PASSWORD_ALGORITHMS: Final = StunAttribute(AttributeType.PASSWORD_ALGORITHMS, _Algorithms())
SOFTWARE: Final = StunAttribute(AttributeType.SOFTWARE, _Text())
ALTERNATE_SERVER: Final = StunAttribute(AttributeType.ALTERNATE_SERVER, _PLAIN)
ALTERNATE_DOMAIN: Final = StunAttribute(AttributeType.ALTERNATE_DOMAIN, _Text())

# RFC 8445 section 16.1

PRIORITY: Final = StunAttribute(AttributeType.PRIORITY, _Number(4))
USE_CANDIDATE: Final = StunAttribute(AttributeType.USE_CANDIDATE, _Flag())
ICE_CONTROLLED: Final = StunAttribute(AttributeType.ICE_CONTROLLED, _Number(8))
ICE_CONTROLLING: Final = StunAttribute(AttributeType.ICE_CONTROLLING, _Number(8))

# RFC 8656 section 18

CHANNEL_NUMBER: Final = StunAttribute(AttributeType.CHANNEL_NUMBER, _Number(2, 2))
LIFETIME: Final = StunAttribute(AttributeType.LIFETIME, _Number(4))
XOR_PEER_ADDRESS: Final = StunAttribute(AttributeType.XOR_PEER_ADDRESS, _OBFUSCATED)
DATA: Final = StunAttribute(AttributeType.DATA, _Opaque())
XOR_RELAYED_ADDRESS: Final = StunAttribute(AttributeType.XOR_RELAYED_ADDRESS, _OBFUSCATED)
REQUESTED_ADDRESS_FAMILY: Final = StunAttribute(AttributeType.REQUESTED_ADDRESS_FAMILY, _FamilyOnly())
EVEN_PORT: Final = StunAttribute(AttributeType.EVEN_PORT, _EvenPort())
REQUESTED_TRANSPORT: Final = StunAttribute(AttributeType.REQUESTED_TRANSPORT, _Number(1, 3))
DONT_FRAGMENT: Final = StunAttribute(AttributeType.DONT_FRAGMENT, _Flag())
RESERVATION_TOKEN: Final = StunAttribute(AttributeType.RESERVATION_TOKEN, _Opaque(8))
ADDITIONAL_ADDRESS_FAMILY: Final = StunAttribute(AttributeType.ADDITIONAL_ADDRESS_FAMILY, _FamilyOnly())
ADDRESS_ERROR_CODE: Final = StunAttribute(AttributeType.ADDRESS_ERROR_CODE, _AddressError())
ICMP: Final = StunAttribute(AttributeType.ICMP, _Icmp())

# RFC 5780 section 7

CHANGE_REQUEST: Final = StunAttribute(AttributeType.CHANGE_REQUEST, _Change())
PADDING: Final = StunAttribute(AttributeType.PADDING, _Opaque())
RESPONSE_PORT: Final = StunAttribute(AttributeType.RESPONSE_PORT, _Number(2, 2))
RESPONSE_ORIGIN: Final = StunAttribute(AttributeType.RESPONSE_ORIGIN, _PLAIN)
OTHER_ADDRESS: Final = StunAttribute(AttributeType.OTHER_ADDRESS, _PLAIN)
