"""Connectivity checks as STUN messages (RFC 8445 sections 7.1, 7.2.2 and 16.1; RFC 8489 section 9.1).

Both ends have a ufrag and a password from the Attach. A request's USERNAME is the receiver's ufrag, a colon and the
sender's, and its integrity is by the receiver's password; so is that of the answer.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from p2psip.base.address import Address
from p2psip.stun.message import (
    BINDING,
    AttributeType,
    MessageClass,
    NotStun,
    StunMessage,
    decode,
    error_code,
    read_xor_address,
    xor_address,
)

ROLE_CONFLICT: Final = 487
TRANSACTION_BYTES: Final = 12

PRIORITY: Final = 0x0024
USE_CANDIDATE: Final = 0x0025
ICE_CONTROLLED: Final = 0x8029
ICE_CONTROLLING: Final = 0x802A

_INTEGRITY_BYTES: Final = 24
_FINGERPRINT_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class CheckCredentials:
    """Of one end: its ufrag, and the password by which it knows that a check is for it."""

    ufrag: bytes
    password: bytes


@dataclass(frozen=True, slots=True)
class CheckRole:
    """What an agent says of itself in each check: who decides, and who yields if both think that they do."""

    is_controlling: bool
    tie_breaker: int


class CheckRequest(NamedTuple):
    """A check that came, before anybody has looked at its integrity."""

    transaction: bytes
    receiver: bytes
    """The ufrag for which it is."""
    sender: bytes
    priority: int
    role: CheckRole | None
    is_nominating: bool
    data: bytes

    def is_signed_by(self, password: bytes) -> bool:
        """True if its integrity is by this password."""
        return _is_signed(self.data, password)


class CheckAnswer(NamedTuple):
    """An answer that came: the address from which our check was seen, or the code of an error."""

    transaction: bytes
    mapped: Address | None
    code: int
    data: bytes

    def is_signed_by(self, password: bytes) -> bool:
        """True if its integrity is by this password."""
        return _is_signed(self.data, password)


def encode_request(
    transaction: bytes,
    sender: bytes,
    receiver: CheckCredentials,
    priority: int,
    role: CheckRole,
    *,
    is_nominating: bool = False,
) -> bytes:
    """A check; `priority` is what a peer reflexive candidate would have that it shows (7.1.1)."""
    attributes = [
        (AttributeType.USERNAME, receiver.ufrag + b":" + sender),
        (PRIORITY, struct.pack("!I", priority)),
        (ICE_CONTROLLING if role.is_controlling else ICE_CONTROLLED, struct.pack("!Q", role.tie_breaker)),
    ]
    if is_nominating:
        attributes.append((USE_CANDIDATE, b""))
    return _signed(MessageClass.REQUEST, transaction, attributes, receiver.password)


def encode_success(transaction: bytes, seen: Address, password: bytes) -> bytes:
    """The answer to a check that came from `seen`."""
    mapped = (AttributeType.XOR_MAPPED_ADDRESS, xor_address(seen, transaction))
    return _signed(MessageClass.SUCCESS, transaction, [mapped], password)


def encode_conflict(transaction: bytes, password: bytes) -> bytes:
    """7.3.1.1: a Binding error response with code 487."""
    conflict = (AttributeType.ERROR_CODE, error_code(ROLE_CONFLICT, "Role Conflict"))
    return _signed(MessageClass.ERROR, transaction, [conflict], password)


class Plain(enum.Enum):
    """What else a STUN message at a port of links may be."""

    QUESTION = "a Binding request of somebody who wants to know his address"
    OTHER = "nothing of ours"


def read(data: bytes) -> CheckRequest | CheckAnswer | Plain:
    """What a STUN message is; what is not well made is nothing of ours."""
    try:
        message = decode(data)
        if message.method != BINDING:
            return Plain.OTHER
        if message.message_class is MessageClass.REQUEST:
            return _read_request(message, data)
        if message.message_class is MessageClass.INDICATION:
            return Plain.OTHER
        return _read_answer(message, data)
    except (NotStun, struct.error, IndexError):
        return Plain.OTHER


def _read_request(message: StunMessage, data: bytes) -> CheckRequest | Plain:
    values = dict(reversed(message.attributes))
    username = values.get(AttributeType.USERNAME)
    if username is None:
        return Plain.QUESTION
    receiver, colon, sender = username.partition(b":")
    if not colon or PRIORITY not in values:
        # 7.1.1: "The PRIORITY attribute MUST be included in a Binding request".
        return Plain.OTHER
    (priority,) = struct.unpack("!I", values[PRIORITY])
    role = None
    for kind, is_controlling in ((ICE_CONTROLLING, True), (ICE_CONTROLLED, False)):
        if kind in values:
            role = CheckRole(is_controlling, *struct.unpack("!Q", values[kind]))
    return CheckRequest(message.transaction, receiver, sender, priority, role, USE_CANDIDATE in values, data)


def _read_answer(message: StunMessage, data: bytes) -> CheckAnswer:
    values = dict(reversed(message.attributes))
    if message.message_class is MessageClass.SUCCESS:
        mapped = read_xor_address(values.get(AttributeType.XOR_MAPPED_ADDRESS, b""), message.transaction)
        return CheckAnswer(message.transaction, mapped, 0, data)
    code = values.get(AttributeType.ERROR_CODE, b"")
    return CheckAnswer(message.transaction, None, (code[2] & 7) * 100 + code[3], data)


def _signed(
    message_class: MessageClass, transaction: bytes, attributes: list[tuple[int, bytes]], password: bytes
) -> bytes:
    """With MESSAGE-INTEGRITY and FINGERPRINT (7.1: a check has both)."""
    unsigned = StunMessage(message_class, BINDING, transaction, tuple(attributes)).encode()
    attributes.append((AttributeType.MESSAGE_INTEGRITY, _integrity(unsigned, password)))
    return StunMessage(message_class, BINDING, transaction, tuple(attributes), has_fingerprint=True).encode()


def _is_signed(data: bytes, password: bytes) -> bool:
    end = len(data)
    if data[-8:-4] == b"\x80\x28\x00\x04":
        end -= _FINGERPRINT_BYTES
    before, attribute = data[: end - _INTEGRITY_BYTES], data[end - _INTEGRITY_BYTES : end]
    if len(before) < 20 or attribute[:4] != b"\x00\x08\x00\x14":
        return False
    return hmac.compare_digest(attribute[4:], _integrity(before, password))


def _integrity(before: bytes, password: bytes) -> bytes:
    length = len(before) - 20 + _INTEGRITY_BYTES
    return hmac.digest(password, before[:2] + struct.pack("!H", length) + before[4:], hashlib.sha1)
