"""The integrity of a message, by a key that both ends have (RFC 8489 sections 14.5 and 14.6)."""

from __future__ import annotations

import hmac
import struct
from dataclasses import replace
from typing import Final

from p2psip.stun.message import INTEGRITY, AttributeType, StunMessage

_HEADER_BYTES: Final = 20
_LENGTH: Final = slice(2, 4)
_ATTRIBUTE = struct.Struct("!HH")

SHA1: Final = AttributeType.MESSAGE_INTEGRITY
SHA256: Final = AttributeType.MESSAGE_INTEGRITY_SHA256

_HASHES: Final = {SHA1: "sha1", SHA256: "sha256"}
_BYTES: Final[dict[int, int]] = {SHA1: 20, SHA256: 32}


def signed(message: StunMessage, key: bytes, kind: AttributeType = SHA1) -> StunMessage:
    """The message with its integrity, of one kind or the other."""
    before = replace(message, has_fingerprint=False).encode()
    value = _digest(before, key, kind)
    return replace(message, attributes=(*message.attributes, (int(kind), value)))


def integrity_of(data: bytes) -> AttributeType | None:
    """By which integrity a message that was decoded is to be judged; None if it has none.

    9.2.4: "If the MESSAGE-INTEGRITY-SHA256 attribute is present, compute the value for the message integrity as
    described in Section 14.6 [...]. Otherwise [...] as described in Section 14.5".
    """
    found = _find(data)
    return SHA256 if SHA256 in found else SHA1 if SHA1 in found else None


def is_signed(data: bytes, key: bytes) -> bool:
    """True if a message that was decoded has an integrity, by this key. `data` are its bytes as they came."""
    kind = integrity_of(data)
    if kind is None:
        return False
    at, value = _find(data)[kind]
    # 14.6: "The value must be the full 32 bytes unless the STUN Usage explicitly specifies that truncation is allowed."
    # None does here.
    return len(value) == _BYTES[kind] and hmac.compare_digest(value, _digest(data[:at], key, kind))


def _find(data: bytes) -> dict[AttributeType, tuple[int, bytes]]:
    """Where each kind of integrity begins, and its value; the second kind only right behind the first (section 9)."""
    found: dict[AttributeType, tuple[int, bytes]] = {}
    at = _HEADER_BYTES
    while at < len(data):
        kind, size = _ATTRIBUTE.unpack_from(data, at)
        if found and kind != SHA256:
            break
        if kind in INTEGRITY:
            found[AttributeType(kind)] = at, data[at + _ATTRIBUTE.size : at + _ATTRIBUTE.size + size]
            if kind == SHA256:
                break
        at += _ATTRIBUTE.size + size + -size % 4
    return found


def _digest(before: bytes, key: bytes, kind: AttributeType) -> bytes:
    # 14.5: "The Length field of the STUN message header is adjusted to point to the end of the MESSAGE-INTEGRITY
    # attribute."
    length = len(before) - _HEADER_BYTES + _ATTRIBUTE.size + _BYTES[kind]
    header = before[: _LENGTH.start] + length.to_bytes(2, "big") + before[_LENGTH.stop : _HEADER_BYTES]
    return hmac.digest(key, header + before[_HEADER_BYTES:], _HASHES[kind])
