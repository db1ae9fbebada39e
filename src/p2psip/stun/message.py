"""STUN messages: header and attributes (RFC 8489 sections 5 and 14).

A message is a class, a method, a transaction and attributes in their order; what an attribute means is the business of
its reader. FINGERPRINT is not among them: `decode` checks it, and `encode` puts it at the end.
"""

from __future__ import annotations

import enum
import ipaddress
import struct
import zlib
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.errors import RemoteProtocolError

MAGIC_COOKIE = 0x2112A442
MESSAGE_BYTES_MAX = 1280
"""No STUN message that comes in one packet over any path is longer (section 6.1)."""

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_ADDRESS = struct.Struct("!xBH")
_FINGERPRINT = struct.Struct("!HHI")
_FINGERPRINT_XOR = 0x5354554E
_IPV4, _IPV6 = 1, 2

BINDING = 0x001
"""The one method of RFC 8489."""


class NotStun(RemoteProtocolError):
    """Bytes that are no STUN message, or not one that arrived whole."""


class MessageClass(enum.IntEnum):
    """Section 5: the two bits C1 and C0."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class AttributeType(enum.IntEnum):
    """Section 18.3, as far as known here."""

    MAPPED_ADDRESS = 0x0001
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    REALM = 0x0014
    NONCE = 0x0015
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    USERHASH = 0x001E
    XOR_MAPPED_ADDRESS = 0x0020
    FINGERPRINT = 0x8028


@dataclass(frozen=True, slots=True)
class StunMessage:
    """One message; `attributes` are types and values, without padding."""

    message_class: MessageClass
    method: int
    transaction: bytes
    attributes: tuple[tuple[int, bytes], ...] = ()
    has_fingerprint: bool = False

    def encode(self) -> bytes:
        """The bytes for the wire."""
        body = b"".join(
            _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in self.attributes
        )
        length = len(body) + (_FINGERPRINT.size if self.has_fingerprint else 0)
        kind = _type(self.message_class, self.method)
        message = _HEADER.pack(kind, length, MAGIC_COOKIE, self.transaction) + body
        return message + _fingerprint(message) if self.has_fingerprint else message


def may_be_stun(data: bytes) -> bool:
    """True if the first byte is that of STUN among what else comes to the same port (RFC 7983 section 7)."""
    return bool(data) and data[0] < 4


def decode(data: bytes) -> StunMessage:
    """A STUN message. Raises NotStun."""
    # Section 6.3: "checking that the first two bits are 0, that the Magic Cookie field has the correct value, that the
    # message length is sensible".
    if not _HEADER.size <= len(data) <= MESSAGE_BYTES_MAX:
        raise NotStun(f"{len(data)} bytes")
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if kind >> 14 or cookie != MAGIC_COOKIE:
        raise NotStun("its first bits or its magic cookie are not those of STUN")
    if length != len(data) - _HEADER.size or length % 4:
        raise NotStun(f"a length of {length} in {len(data)} bytes")
    message_class = MessageClass((kind >> 7 & 2) | (kind >> 4 & 1))
    method = (kind & 0x3E00) >> 2 | (kind & 0x00E0) >> 1 | (kind & 0x000F)
    attributes = _read_attributes(data)
    has_fingerprint = bool(attributes) and attributes[-1][0] == AttributeType.FINGERPRINT
    if has_fingerprint:
        # Section 14.7: "the FINGERPRINT attribute MUST be the last attribute in the message".
        before = data[: -_FINGERPRINT.size]
        if _fingerprint(before) != data[-_FINGERPRINT.size :]:
            raise NotStun("its fingerprint is another's")
        attributes = attributes[:-1]
    return StunMessage(message_class, method, transaction, tuple(attributes), has_fingerprint)


def xor_address(address: Address, transaction: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS (section 14.2)."""
    ip = ipaddress.ip_address(address.host)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    family = _IPV4 if ip.version == 4 else _IPV6
    return _ADDRESS.pack(family, address.port ^ MAGIC_COOKIE >> 16) + _xor(ip.packed, transaction)


def read_xor_address(value: bytes, transaction: bytes) -> Address:
    """The address in an XOR-MAPPED-ADDRESS. Raises NotStun."""
    if len(value) not in (8, 20):
        raise NotStun(f"an address of {len(value)} bytes")
    family, port = _ADDRESS.unpack_from(value)
    if family != (_IPV4 if len(value) == 8 else _IPV6):
        raise NotStun(f"address family {family}")
    packed = _xor(value[_ADDRESS.size :], transaction)
    return Address(str(ipaddress.ip_address(packed)), port ^ MAGIC_COOKIE >> 16)


def error_code(code: int, reason: str) -> bytes:
    """The value of ERROR-CODE (section 14.8)."""
    return bytes((0, 0, code // 100, code % 100)) + reason.encode()


def _type(message_class: MessageClass, method: int) -> int:
    bits = (message_class & 2) << 7 | (message_class & 1) << 4
    return (method & 0xF80) << 2 | (method & 0x070) << 1 | (method & 0x00F) | bits


def _read_attributes(data: bytes) -> list[tuple[int, bytes]]:
    attributes: list[tuple[int, bytes]] = []
    at = _HEADER.size
    while at < len(data):
        kind, size = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        if at + size > len(data):
            raise NotStun(f"attribute {kind:#06x} goes beyond the message")
        attributes.append((kind, data[at : at + size]))
        at += size + -size % 4
    return attributes


def _xor(packed: bytes, transaction: bytes) -> bytes:
    mask = MAGIC_COOKIE.to_bytes(4, "big") + transaction
    return bytes(one ^ other for one, other in zip(packed, mask, strict=False))


def _fingerprint(message: bytes) -> bytes:
    """Section 14.7: the CRC-32 of all before it, the header's length counting it in."""
    return _FINGERPRINT.pack(AttributeType.FINGERPRINT, 4, zlib.crc32(message) ^ _FINGERPRINT_XOR)
