"""Connectivity checks as STUN messages (RFC 8445 sections 7.1, 7.2.2 and 16.1; RFC 8489 section 9.1).

Both ends have a ufrag and a password from the Attach. A request's USERNAME is the receiver's ufrag, a colon and the
sender's, and its integrity is by the receiver's password; so is that of the answer.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import Final, NamedTuple

from p2psip.base.address import Address
from p2psip.base.frozen import frozen
from p2psip.stun.attributes import (
    ERROR_CODE,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    PRIORITY,
    USE_CANDIDATE,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    StunErrorCode,
)
from p2psip.stun.binding import KNOWN
from p2psip.stun.integrity import SHA1, integrity_of, is_signed, signed
from p2psip.stun.message import BINDING, MessageClass, NotStun, StunMessage, decode

ROLE_CONFLICT: Final = 487
TRANSACTION_BYTES: Final = 12
TIE_BREAKER_BITS: Final = 64

RTO_S: Final = 0.5
"""RFC 8445 section 14.3: "Agents MUST NOT use an RTO value smaller than 500 ms."."""

TRANSMISSIONS_MAX: Final = 7
_LAST_WAIT_RTOS: Final = 16
"""RFC 8489 section 6.2.1: Rc and Rm."""

KNOWN_TO_ICE: Final = KNOWN | {PRIORITY.kind, USE_CANDIDATE.kind}
"""Attributes that must be understood, and are."""


@dataclass(frozen=True, slots=True)
class CheckCredentials:
    """Of one end: its ufrag, and the password by which it knows that a check is for it."""

    ufrag: bytes
    password: bytes


@frozen
class CheckRole:
    """What an agent says of itself in each check: who decides, and who yields if both think that they do."""

    is_controlling: bool
    tie_breaker: int

    @classmethod
    def drawn(cls, is_controlling: bool, rng: random.Random) -> CheckRole:
        """With a tie-breaker by chance (16.1: "a 64-bit unsigned integer")."""
        return cls(is_controlling, rng.getrandbits(TIE_BREAKER_BITS))

    @property
    def switched(self) -> CheckRole:
        """The other role."""
        return CheckRole(not self.is_controlling, self.tie_breaker)


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


def rtos_to_wait(transmissions: int) -> int:
    """How long an answer is waited for after so many transmissions (RFC 8489 section 6.2.1)."""
    return _LAST_WAIT_RTOS if transmissions == TRANSMISSIONS_MAX else 1 << transmissions - 1


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
        (USERNAME.kind, receiver.ufrag + b":" + sender),
        PRIORITY.of(priority),
        (ICE_CONTROLLING if role.is_controlling else ICE_CONTROLLED).of(role.tie_breaker),
    ]
    if is_nominating:
        attributes.append(USE_CANDIDATE.of(True))
    return _signed(MessageClass.REQUEST, transaction, attributes, receiver.password)


def encode_success(transaction: bytes, seen: Address, password: bytes) -> bytes:
    """The answer to a check that came from `seen`."""
    mapped = XOR_MAPPED_ADDRESS.of(seen, transaction)
    return _signed(MessageClass.SUCCESS, transaction, [mapped], password)


def encode_conflict(transaction: bytes, password: bytes) -> bytes:
    """7.3.1.1: a Binding error response with code 487."""
    conflict = ERROR_CODE.of(StunErrorCode(ROLE_CONFLICT, "Role Conflict"))
    return _signed(MessageClass.ERROR, transaction, [conflict], password)


class Plain(enum.Enum):
    """What else a STUN message at a port of links may be."""

    QUESTION = "a Binding request of somebody who wants to know his address, or more than we know"
    OTHER = "nothing of ours"


def read(data: bytes) -> CheckRequest | CheckAnswer | Plain:
    """What a STUN message is; what is not well made is nothing of ours."""
    try:
        message = decode(data)
        is_request = message.message_class is MessageClass.REQUEST
        if message.method != BINDING or message.message_class is MessageClass.INDICATION:
            return Plain.OTHER
        if message.unknown(KNOWN_TO_ICE):
            # RFC 8489 section 6.3.1 has a request refused, with what is not known; 6.3.3: "the response is discarded".
            return Plain.QUESTION if is_request else Plain.OTHER
        return _read_request(message, data) if is_request else _read_answer(message, data)
    except NotStun:
        return Plain.OTHER


def _read_request(message: StunMessage, data: bytes) -> CheckRequest | Plain:
    username = next((value for kind, value in message.attributes if kind == USERNAME.kind), None)
    if username is None:
        return Plain.QUESTION
    receiver, colon, sender = username.partition(b":")
    priority = PRIORITY.first(message)
    if not colon or priority is None:
        # 7.1.1: "The PRIORITY attribute MUST be included in a Binding request".
        return Plain.OTHER
    role = None
    for attribute, is_controlling in ((ICE_CONTROLLING, True), (ICE_CONTROLLED, False)):
        if (tie_breaker := attribute.first(message)) is not None:
            role = CheckRole(is_controlling, tie_breaker)
    is_nominating = USE_CANDIDATE.within(message)
    return CheckRequest(message.transaction, receiver, sender, priority, role, is_nominating, data)


def _read_answer(message: StunMessage, data: bytes) -> CheckAnswer | Plain:
    if message.message_class is MessageClass.SUCCESS:
        mapped = XOR_MAPPED_ADDRESS.first(message)
        return Plain.OTHER if mapped is None else CheckAnswer(message.transaction, mapped, 0, data)
    error = ERROR_CODE.first(message)
    return Plain.OTHER if error is None else CheckAnswer(message.transaction, None, error.code, data)


def _signed(
    message_class: MessageClass, transaction: bytes, attributes: list[tuple[int, bytes]], password: bytes
) -> bytes:
    """With MESSAGE-INTEGRITY and FINGERPRINT (7.1: a check has both)."""
    message = StunMessage(message_class, BINDING, transaction, tuple(attributes), has_fingerprint=True)
    return signed(message, password).encode()


def _is_signed(data: bytes, password: bytes) -> bool:
    """By the one integrity that ICE has, and with a fingerprint, which `decode` has looked at.

    RFC 8489 section 6.3: "If the FINGERPRINT extension is being used, the agent checks that the FINGERPRINT attribute
    is present".
    """
    has_fingerprint = data[-8:-4] == b"\x80\x28\0\4"
    return has_fingerprint and integrity_of(data) is SHA1 and is_signed(data, password)
