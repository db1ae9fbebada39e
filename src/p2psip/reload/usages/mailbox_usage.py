"""Mailboxes, on the overlay's side: who writes what, how long it counts, who reads it (docs/decisions/mailboxes.md).

All of a user's mailbox is at H(user): which of his lines take messages (MAILBOX, USER-NODE-MATCH), what waits for him
(MAIL) and what is in it (MAIL_PART). Whoever leaves something has `SLOTS` places there, under keys that begin with his
own Node-ID; the owner marks and removes what he likes. Each message has a key of its own, by which its facts and its
parts are sealed (AES-256-GCM), and which is sealed to the certificate of each line that takes messages.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.security.errors import SecurityError
from p2psip.reload.security.roles import Identity, Signer
from p2psip.reload.security.sealed_answer import CannotUnseal
from p2psip.reload.storage.access import WantedWrite
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.wire.kinds import MAIL, MAIL_PART, MAILBOX
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.storage_messages import (
    DataValue,
    DictionaryEntry,
    DictionaryEntryMeta,
    DictionarySpecifier,
    FetchReq,
    StatAns,
    StatKindResponse,
    StatReq,
    StoredData,
    StoredDataSpecifier,
    StoreKindData,
    StoreReq,
)
from p2psip.reload.wire.usages.mailbox_values import MailboxOpening, MailFacts, MailHeader, MailState, MailType

DAY_S = 24 * 3600

OPENING_LIFETIME_S = 30 * DAY_S
"""So long a mailbox takes messages after its owner's last peer was there."""

OPENING_REFRESH_S = OPENING_LIFETIME_S // 2

MAIL_LIFETIME_S = 14 * DAY_S
"""So long a message waits."""

RESERVED_S = 900
"""So long a place is kept for a message that is being left."""

PART_REMOVED_S = DAY_S
"""So long it is remembered that a part is gone. The header says so for as long as the message could have waited, and
without it nobody can read a part that somebody brings back."""

MAILBOX_LIFETIMES_S: Mapping[int, int] = MappingProxyType(
    {MAILBOX: OPENING_LIFETIME_S, MAIL: MAIL_LIFETIME_S, MAIL_PART: MAIL_LIFETIME_S}
)

SLOTS = 8
"""Messages that one node may have waiting in one mailbox."""

PARTS_MAX = 64
PART_BYTES = 16_000
"""Two seconds of G.711."""

_KEY_BYTES = 32
_FACTS_NUMBER = 0xFFFFFFFF
_PURPOSE = b"p2psip mail\0"

MailKey = bytes
"""Where a message is in its mailbox: the Node-ID of who has left it, and which of his places."""


class MailRule:
    """What is a value of one of these Kinds (a UsageRule)."""

    def __init__(self, kind: int) -> None:
        self._kind = kind

    def permits(self, write: WantedWrite, signer: Signer) -> bool:
        """True for a key of a place that there is, and a value that can be read, in one's own name; the owner of a
        mailbox marks what others have left. What is removed is not read.
        """
        behind = write.key[len(signer.node_id) :]
        if self._kind == MAIL and not (len(behind) == 1 and behind[0] < SLOTS):
            return False
        if self._kind == MAIL_PART and not (len(behind) == 2 and behind[0] < SLOTS and behind[1] < PARTS_MAX):
            return False
        if not write.value.exists:
            return True
        try:
            if self._kind == MAILBOX:
                MailboxOpening.decode(write.value.value)
            elif self._kind == MAIL:
                header = MailHeader.decode(write.value.value, node_id_length=len(signer.node_id))
                is_by_others = not write.key.startswith(signer.node_id)
                return header.parts <= PARTS_MAX and (is_by_others or header.by == signer.user.encode())
        except DecodeError:
            return False
        return True

    def ends_ms(self, stored: StoredData, signer: Signer) -> int:
        """When it is over, by when it was signed."""
        return stored.storage_time + 1000 * MAILBOX_LIFETIMES_S[self._kind]


class MailCipher:
    """What seals and opens one message. Its place is bound in, so that no part of another one fits."""

    def __init__(self, secret: bytes, resource: ResourceId, key: MailKey) -> None:
        self._secret = secret
        self._cipher = AESGCM(secret)
        self._place = _PURPOSE + resource + key

    @classmethod
    def new(cls, resource: ResourceId, key: MailKey, rng: random.Random) -> MailCipher:
        """With a key that there never was before."""
        return cls(rng.randbytes(_KEY_BYTES), resource, key)

    @property
    def secret(self) -> bytes:
        """What is sealed to those who may read it."""
        return self._secret

    def seal_part(self, number: int, data: bytes) -> bytes:
        """The part with this number; each is sealed once."""
        return self._cipher.encrypt(_nonce(number), data, self._place)

    def open_part(self, number: int, sealed: bytes) -> bytes:
        """What is in it. Raises CannotUnseal."""
        try:
            return self._cipher.decrypt(_nonce(number), sealed, self._place)
        except InvalidTag:
            raise CannotUnseal(f"part {number} is not what was left, or was changed") from None

    def seal_facts(self, facts: MailFacts) -> bytes:
        """Who has left it."""
        return self.seal_part(_FACTS_NUMBER, facts.encode())

    def open_facts(self, sealed: bytes) -> MailFacts:
        """The same, opened. Raises CannotUnseal or DecodeError."""
        return MailFacts.decode(self.open_part(_FACTS_NUMBER, sealed))


@dataclass(frozen=True, slots=True)
class OpenedMail:
    """A message that a line of ours can read, and with what."""

    key: MailKey
    header: MailHeader
    facts: MailFacts
    storage_time_ms: int
    cipher: MailCipher

    @property
    def is_voice(self) -> bool:
        """True for what can be played."""
        return self.header.type == MailType.VOICE


def purpose_of(key: MailKey) -> bytes:
    """What the key of a message is sealed for."""
    return _PURPOSE + key


def open_mail(
    line: Identity, resource: ResourceId, key: MailKey, data: bytes, storage_time_ms: int
) -> OpenedMail | None:
    """A message as this line reads it; None if it was not left for this line. Raises DecodeError or SecurityError."""
    header = MailHeader.decode(data, node_id_length=len(line.node_id))
    sealed = next((each.sealed for each in header.keys if each.line == line.node_id), None)
    if sealed is None:
        return None
    secret = line.unseal(sealed, purpose_of(key))
    if len(secret) != _KEY_BYTES:
        raise CannotUnseal("the key of a message has another length")
    cipher = MailCipher(secret, resource, key)
    return OpenedMail(key, header, cipher.open_facts(header.facts), storage_time_ms, cipher)


UNREADABLE = (DecodeError, SecurityError)
"""What `open_mail` raises for what is no message for us."""


def mail_key(node: NodeId, slot: int) -> MailKey:
    """A place of a node in any mailbox."""
    return bytes(node) + bytes([slot])


def part_key(key: MailKey, number: int) -> bytes:
    """Where a part of the message at `key` is."""
    return key + bytes([number])


def in_parts(content: bytes) -> list[bytes]:
    """What is stored one by one."""
    return [content[at : at + PART_BYTES] for at in range(0, len(content), PART_BYTES)]


def enquiry(resource: ResourceId, sender: NodeId) -> FetchReq:
    """Who takes messages there, and which of its places the sender has used."""
    slots = tuple(mail_key(sender, slot) for slot in range(SLOTS))
    return FetchReq(resource, (_specifier(MAILBOX), _specifier(MAIL, slots)))


def openings_request(resource: ResourceId) -> FetchReq:
    """Who takes messages there."""
    return FetchReq(resource, (_specifier(MAILBOX),))


def mail_request(resource: ResourceId, keys: Sequence[MailKey]) -> FetchReq:
    """The headers of these messages."""
    return FetchReq(resource, (_specifier(MAIL, keys),))


def parts_request(resource: ResourceId, key: MailKey, numbers: Iterable[int]) -> FetchReq:
    """These parts of a message."""
    return FetchReq(resource, (_specifier(MAIL_PART, [part_key(key, number) for number in numbers]),))


def summary_request(resource: ResourceId) -> StatReq:
    """What waits there, without what it is."""
    return StatReq(resource, (_specifier(MAIL),))


def read_summary(answer: StatAns) -> dict[MailKey, int]:
    """When each message that exists was signed. Nobody has signed that: it says where it is worth looking."""
    return {
        stored.metadata.key: stored.storage_time
        for response in answer.kind_responses
        if isinstance(response, StatKindResponse) and response.kind == MAIL
        for stored in response.values
        if isinstance(stored.metadata, DictionaryEntryMeta) and stored.metadata.value.exists
    }


def opening_store(line: Identity, resource: ResourceId, longest_s: int | None, storage_time_ms: int) -> StoreReq:
    """The Store by which a line takes messages, or with None does not any more."""
    data = None if longest_s is None else MailboxOpening(longest_s).encode()
    return _store(line, resource, MAILBOX, [(bytes(line.node_id), data)], storage_time_ms, OPENING_LIFETIME_S)


def mail_store(
    signer: Identity, resource: ResourceId, key: MailKey, header: MailHeader, storage_time_ms: int
) -> StoreReq:
    """The Store of a message's header."""
    is_reserved = header.state == MailState.BEING_LEFT
    lifetime_s = RESERVED_S if is_reserved else left_s(header, storage_time_ms)
    return _store(signer, resource, MAIL, [(key, header.encode())], storage_time_ms, lifetime_s)


def mail_removal(
    signer: Identity, resource: ResourceId, key: MailKey, header: MailHeader, storage_time_ms: int
) -> StoreReq:
    """The Store that removes a message. What has its key can be read by nobody, wherever it comes from again."""
    # 7.4.1.3: "at least as long as the remainder of the lifetime of the value it is replacing".
    return _store(signer, resource, MAIL, [(key, None)], storage_time_ms, left_s(header, storage_time_ms))


def left_s(header: MailHeader, date_ms: int) -> int:
    """For how long a message waits yet."""
    return max(RESERVED_S, min(MAIL_LIFETIME_S, MAIL_LIFETIME_S - (date_ms - header.left_ms) // 1000))


def part_store(
    signer: Identity, resource: ResourceId, key: MailKey, number: int, sealed: bytes, storage_time_ms: int
) -> StoreReq:
    """The Store of one part of a message."""
    values = [(part_key(key, number), sealed)]
    return _store(signer, resource, MAIL_PART, values, storage_time_ms, MAIL_LIFETIME_S)


def parts_removal(signer: Identity, resource: ResourceId, key: MailKey, count: int, storage_time_ms: int) -> StoreReq:
    """The Store that removes the parts of a message."""
    values = [(part_key(key, number), None) for number in range(count)]
    return _store(signer, resource, MAIL_PART, values, storage_time_ms, PART_REMOVED_S)


def _store(
    signer: Identity,
    resource: ResourceId,
    kind: int,
    values: Sequence[tuple[bytes, bytes | None]],
    storage_time_ms: int,
    lifetime_s: int,
) -> StoreReq:
    signed = tuple(
        sign_value(signer, resource, kind, DictionaryEntry(key, _value(data)), storage_time_ms, lifetime_s)
        for key, data in values
    )
    return StoreReq(resource, 0, (StoreKindData(kind, 0, signed),))


def _value(data: bytes | None) -> DataValue:
    return DataValue.nonexistent() if data is None else DataValue(exists=True, value=data)


def _specifier(kind: int, keys: Sequence[bytes] = ()) -> StoredDataSpecifier:
    return StoredDataSpecifier(kind, 0, DictionarySpecifier(tuple(keys)))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
