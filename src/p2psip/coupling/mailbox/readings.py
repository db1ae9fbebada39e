"""What waits for a line, read from the overlay, played and removed (docs/decisions/mailboxes.md)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from p2psip.base.effects import Note
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import ResourceId
from p2psip.coupling.line import Line
from p2psip.coupling.mailbox.errands import Errand, Outcome, PartOfErrand, Wish, latest_ms, stored, stored_in_the_end
from p2psip.media.g711 import SAMPLE_RATE_HZ
from p2psip.reload.node.node import Node
from p2psip.reload.security.errors import SecurityError
from p2psip.reload.storage.verified import Value, read_answer
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.mailbox_usage import (
    UNREADABLE,
    MailKey,
    OpenedMail,
    mail_removal,
    mail_request,
    mail_store,
    open_mail,
    part_key,
    parts_removal,
    parts_request,
    read_summary,
    summary_request,
)
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import MAIL, MAIL_PART
from p2psip.reload.wire.storage_messages import FetchAns, StatAns, StoreReq
from p2psip.reload.wire.usages.mailbox_values import MailState
from p2psip.sip.entities.mailbox.mailbox_questions import (
    UNPROVED,
    Kept,
    MailboxContents,
    MessageAudio,
    NotKept,
    WaitingMessage,
)
from p2psip.sip.events.message_summary import MessageCounts

HEADERS_AT_ONCE = 8
PARTS_AT_ONCE = 3
"""So many have room in one answer."""

PEER_PREFIX = "peer-"
"""Of the user names of peers, by the design."""

REMOVAL_PAUSES_S = (5.0, 30.0, 120.0)


@dataclass(slots=True)
class OpenBox:
    """What is known of a line's mailbox: each message when it was signed, and as it reads; None where we cannot."""

    line: Line
    resource: ResourceId
    signed_ms: dict[MailKey, int] = field(default_factory=dict)
    mail: dict[MailKey, OpenedMail | None] = field(default_factory=dict)
    offered: dict[MailKey, float] = field(default_factory=dict)
    """Until when a text that a phone was offered is not offered again."""

    @property
    def voice(self) -> list[OpenedMail]:
        """What can be played: the new ones first, of each kind the oldest first."""
        found = [mail for mail in self.mail.values() if mail is not None and mail.is_voice]
        there = [mail for mail in found if mail.header.state in (MailState.NEW, MailState.HEARD)]
        return sorted(there, key=lambda mail: (mail.header.state, mail.header.left_ms, mail.key))

    @property
    def counts(self) -> MessageCounts:
        """For the lamp."""
        states = [mail.header.state for mail in self.voice]
        return MessageCounts(new=states.count(MailState.NEW), old=states.count(MailState.HEARD))

    @property
    def contents(self) -> MailboxContents:
        """For people."""
        return MailboxContents(tuple(map(_waiting, self.voice)))


class Readings:
    """Reads boxes. What it comes upon that is none of what it should be, it tells an operator, once each."""

    def __init__(self, node: Node, answer: Callable[[object, object], None]) -> None:
        self._node = node
        self._answer = answer
        self.notes: list[Note] = []

    # Errands

    def look(self, box: OpenBox, now: float) -> PartOfErrand:
        """Learn what there is: first when each was signed, then those that are new to us."""
        where = [Destination.resource(box.resource)]
        done = yield OverlayRequest(where, MessageCode.STAT_REQ, summary_request(box.resource))
        if isinstance(done.result, RequestFailed):
            return str(done.result), done.now
        summary = self._summary(done)
        box.mail = {key: mail for key, mail in box.mail.items() if key in summary}
        box.offered = {key: until for key, until in box.offered.items() if key in summary}
        wanted = [key for key, signed_ms in summary.items() if key not in box.mail or box.signed_ms[key] != signed_ms]
        now = done.now
        for at in range(0, len(wanted), HEADERS_AT_ONCE):
            keys = wanted[at : at + HEADERS_AT_ONCE]
            done = yield mail_request(box.resource, keys)
            if isinstance(done.result, RequestFailed):
                return str(done.result), done.now
            self._take(box, keys, done)
            box.signed_ms |= {key: summary[key] for key in keys}
            now = done.now
        return "", now

    def play(self, token: object, box: OpenBox, key: MailKey, now: float) -> Errand:
        """Fetch what a message says; from then on it has been heard."""
        mail = box.mail.get(key)
        if mail is None:
            self._answer(token, NotKept("there is no such message any more"))
            return
        content, now = yield from self.content(box, mail, now)
        self._answer(token, NotKept(content) if isinstance(content, str) else MessageAudio(content))
        if isinstance(content, bytes) and mail.header.state == MailState.NEW:
            yield from self._mark(box, mail, now)

    def content(
        self, box: OpenBox, mail: OpenedMail, now: float
    ) -> Generator[Wish, Outcome, tuple[bytes | str, float]]:
        """All parts of a message, put together; or in words why that cannot be."""
        found, numbers = bytearray(), list(range(mail.header.parts))
        for at in range(0, len(numbers), PARTS_AT_ONCE):
            done = yield parts_request(box.resource, mail.key, numbers[at : at + PARTS_AT_ONCE])
            now = done.now
            try:
                found += b"".join(self._parts(box, mail, numbers[at : at + PARTS_AT_ONCE], done))
            except _Lost as lost:
                return str(lost), now
        return bytes(found), now

    def forget(self, box: OpenBox, mail: OpenedMail, now: float) -> Generator[Wish, Outcome, float]:
        """Remove what has no parts, whether that is known to anybody or not: it ends by itself."""

        def remove(ms: int) -> StoreReq:
            return mail_removal(box.line.identity, box.resource, mail.key, mail.header, ms)

        _, now = yield from stored(self._node, box.line.identity, remove, now, mail.storage_time_ms)
        return now

    def delete(self, token: object, box: OpenBox, key: MailKey, now: float) -> Errand:
        """Remove a message. Once its header is gone nobody can read it; the parts go then."""
        mail, identity = box.mail.get(key), box.line.identity
        if mail is None:
            self._answer(token, NotKept("there is no such message any more"))
            return

        def remove(ms: int) -> StoreReq:
            return mail_removal(identity, box.resource, key, mail.header, ms)

        def remove_parts(ms: int) -> StoreReq:
            return parts_removal(identity, box.resource, key, mail.header.parts, ms)

        why, now = yield from stored(self._node, identity, remove, now, mail.storage_time_ms)
        if why:
            self._answer(token, NotKept(why))
            return
        box.mail.pop(key, None)
        self._answer(token, Kept())
        if mail.header.parts:
            above_ms = mail.storage_time_ms
            yield from stored_in_the_end(self._node, identity, remove_parts, now, REMOVAL_PAUSES_S, above_ms)

    # Parts of them

    def _mark(self, box: OpenBox, mail: OpenedMail, now: float) -> PartOfErrand:
        """The owner says himself that it has been heard, so that all his phones know."""
        header, identity = replace(mail.header, state=MailState.HEARD), box.line.identity
        signed: list[int] = []

        def store(ms: int) -> StoreReq:
            signed.append(ms)
            return mail_store(identity, box.resource, mail.key, header, ms)

        why, now = yield from stored(self._node, identity, store, now, mail.storage_time_ms)
        if not why and mail.key in box.mail:
            box.mail[mail.key] = replace(mail, header=header, storage_time_ms=signed[-1])
            box.signed_ms[mail.key] = signed[-1]
        return why, now

    def _summary(self, done: Outcome) -> dict[MailKey, int]:
        """No more than the Kind has room for, whoever says what."""
        assert isinstance(done.result, Answer)
        assert isinstance(done.result.body, StatAns), "the transport lets no other answer to a Stat pass"
        found = read_summary(done.result.body)
        return {key: found[key] for key in sorted(found)[: self._node.configuration.kinds[MAIL].max_count]}

    def _take(self, box: OpenBox, keys: Sequence[MailKey], done: Outcome) -> None:
        found, dropped = self._read(box, done)
        refused = [*dropped]
        for key in keys:
            box.mail[key] = None
            if (value := found.get((MAIL, key))) is None or value.data is None:
                continue
            try:
                signer, ms = value.signer.user, value.storage_time_ms
                if ms > latest_ms(self._node, box.line.identity, done.now):
                    refused.append(f"of {signer}: it is dated in times to come")
                    continue
                box.mail[key] = open_mail(box.line.identity, box.resource, key, value.data, ms)
            except UNREADABLE as error:
                refused.append(f"of {value.signer.user}: {error}")
        for why in refused:
            self.notes.append(Note("message refused", {"user": box.line.aor, "reason": why}, is_warning=True))

    def _parts(self, box: OpenBox, mail: OpenedMail, numbers: Sequence[int], done: Outcome) -> Iterator[bytes]:
        """What these parts say. Raises _Lost."""
        if isinstance(done.result, RequestFailed):
            raise _Lost(str(done.result))
        found, dropped = self._read(box, done)
        for number in numbers:
            value = found.get((MAIL_PART, part_key(mail.key, number)))
            if value is None or value.data is None:
                why = f": {dropped[0]}" if dropped else ""
                raise _Lost(f"part {number + 1} of {mail.header.parts} of the message is not there{why}")
            try:
                yield mail.cipher.open_part(number, value.data)
            except SecurityError as error:
                raise _Lost(str(error)) from None

    def _read(self, box: OpenBox, done: Outcome) -> tuple[dict[tuple[int, object], Value], tuple[str, ...]]:
        assert isinstance(done.result, Answer)
        assert isinstance(done.result.body, FetchAns), "the transport lets no other answer to a Fetch pass"
        certificates = done.result.certificates
        found = read_answer(box.resource, done.result.body, certificates, self._node.reader, done.now)
        return {(value.kind, value.key): value for value in found.values}, found.dropped


class _Lost(Exception):
    """A part that cannot be had."""


def _waiting(mail: OpenedMail) -> WaitingMessage:
    """What people are told of a message."""
    header, name = mail.header, mail.facts.name.decode(errors="replace")
    is_new = header.state == MailState.NEW
    return WaitingMessage(mail.key, caller_of(mail), name, header.left_ms, header.size / SAMPLE_RATE_HZ, is_new)


def caller_of(mail: OpenedMail) -> str:
    """Who has called: a line by its own signature; "" for who did not want to be known. Of whom a peer has no key (who
    called from outside, by a trunk) it says who he is said to be: after `UNPROVED`, so that nobody passes for a line.
    """
    said, by = mail.facts.caller.decode(errors="replace"), mail.header.by.decode(errors="replace").rpartition("@")[0]
    if not by.startswith(PEER_PREFIX):
        return by
    return f"{UNPROVED}{said}" if said else ""
