"""STUN messages: header and attributes (RFC 8489 sections 5 and 14).

A message is a class, a method, a transaction and attributes in their order; what is in one says attributes.py.
FINGERPRINT is not among them: `decode` checks it, and `encode` puts it at the end.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator

from p2psip.base.errors import RemoteProtocolError
from p2psip.base.frozen import frozen

MAGIC_COOKIE = 0x2112A442
MESSAGE_BYTES_MAX = 1280
"""No STUN message that comes in one packet over any path is longer (section 6.1)."""

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_FINGERPRINT = struct.Struct("!HHI")
_FINGERPRINT_XOR = 0x5354554E

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
    """RFC 8489 section 18.3, RFC 8445 section 20.1, RFC 8656 section 18, RFC 5780 section 7."""

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    USERHASH = 0x001E
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    PADDING = 0x0026
    RESPONSE_PORT = 0x0027
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ADDRESS_ERROR_CODE = 0x8001
    PASSWORD_ALGORITHMS = 0x8002
    ALTERNATE_DOMAIN = 0x8003
    ICMP = 0x8004
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C


INTEGRITY = frozenset((AttributeType.MESSAGE_INTEGRITY, AttributeType.MESSAGE_INTEGRITY_SHA256))

OPTIONAL = 0x8000
"""Section 14: attributes from here on may be ignored by who does not know them."""


@frozen
class StunMessage:
    """One message; `attributes` are types and values, without padding."""

    message_class: MessageClass
    method: int
    transaction: bytes
    attributes: tuple[tuple[int, bytes], ...] = ()
    has_fingerprint: bool = False

    def unknown(self, known: frozenset[int]) -> tuple[int, ...]:
        """The attributes that must be understood and are not (section 14), each once, in their order."""
        return tuple(dict.fromkeys(kind for kind, _ in self.attributes if kind < OPTIONAL and kind not in known))

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


def decode(data: bytes, bytes_max: int = MESSAGE_BYTES_MAX) -> StunMessage:
    """A STUN message of at most so many bytes, without what comes after its integrity. Raises NotStun."""
    # Section 6.3: "checking that the first two bits are 0, that the Magic Cookie field has the correct value, that the
    # message length is sensible".
    if not _HEADER.size <= len(data) <= bytes_max:
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
    return StunMessage(message_class, method, transaction, tuple(_protected(attributes)), has_fingerprint)


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


def _protected(attributes: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Section 9: "agents MUST ignore all attributes that follow MESSAGE-INTEGRITY, with the exception of the
    MESSAGE-INTEGRITY-SHA256 and FINGERPRINT attributes"; the same holds of MESSAGE-INTEGRITY-SHA256.
    """
    last = -1
    for kind, value in attributes:
        if last in INTEGRITY and (kind != AttributeType.MESSAGE_INTEGRITY_SHA256 or last == kind):
            return
        last = kind
        yield kind, value


def _fingerprint(message: bytes) -> bytes:
    """Section 14.7: the CRC-32 of all before it, the header's length counting it in."""
    return _FINGERPRINT.pack(AttributeType.FINGERPRINT, 4, zlib.crc32(message) ^ _FINGERPRINT_XOR)
