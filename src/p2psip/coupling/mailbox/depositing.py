"""Messages that are left from this peer, for whoever takes some (docs/decisions/mailboxes.md).

Theory of operation. Who has not reached somebody is led to the agent of this peer once a place is taken for what he is
going to say: then it is known that the mailbox is there, has room, and is kept by peers that have room. What he says is
sealed and stored part by part, and the header last: it tells the owner that all of it is there. What cannot be
stored is tried again for half a minute, as peers may just have died, and given up with the reason.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from p2psip.base.ids import ResourceId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.coupling.lines import Publisher
from p2psip.coupling.mailbox.errands import Errand, Errands, Outcome, PartOfErrand, latest_ms, stored, stored_in_the_end
from p2psip.reload.node.node import Node
from p2psip.reload.security.roles import Identity, Signer
from p2psip.reload.storage.verified import read_answer
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.mailbox_usage import (
    SLOTS,
    MailCipher,
    MailKey,
    enquiry,
    in_parts,
    mail_key,
    mail_removal,
    mail_store,
    part_store,
    parts_removal,
    purpose_of,
)
from p2psip.reload.wire.kinds import MAIL, MAILBOX
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.storage_messages import FetchAns, StoreReq
from p2psip.reload.wire.usages.mailbox_values import (
    MailboxOpening,
    MailFacts,
    MailHeader,
    MailState,
    MailType,
    SealedKey,
)
from p2psip.sip.entities.mailbox.by_mailbox import leaving_target
from p2psip.sip.entities.mailbox.mailbox_questions import DropMessage, FindMailbox, KeepMessage, Kept, NotKept
from p2psip.sip.entities.questions import Located

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
TICKETS_MAX = 64
TICKET_S = 900.0
"""As long as a place is kept."""

FIND_S = 5.0
"""The SIP server waits for 6 s, and does not know for what."""

NAME_BYTES = 64

Answers = Callable[[object, object], None]


@dataclass(frozen=True, slots=True)
class _Ticket:
    """A message that is being left: whose, where, by whom, and with which key it is sealed."""

    owner: str
    resource: ResourceId
    key: MailKey
    sender: Identity
    header: MailHeader
    cipher: MailCipher
    has_rung: bool
    until: float


@dataclass(frozen=True, slots=True)
class SentText:
    """A text that has been left, by whom, for whom and where: its sender is to know if it is not delivered."""

    sender: Identity
    owner: str
    key: MailKey


@dataclass(frozen=True, slots=True)
class _Room:
    """What an enquiry has found: who can read it, for how long one may speak, and the place that is free."""

    readers: tuple[Signer, ...]
    longest_s: int
    key: MailKey
    above_ms: int


class Deposits:
    """Answers FindMailbox, KeepMessage and DropMessage."""

    def __init__(
        self,
        node: Node,
        publisher: Publisher,
        errands: Errands,
        answer: Answers,
        overlay: str,
        rng: random.Random,
        queue: TimerQueue | None = None,
    ) -> None:
        self._node = node
        self._publisher = publisher
        self._errands = errands
        self._answer = answer
        self._overlay = overlay
        self._rng = rng
        self._numbers = itertools.count(1)
        self._tickets: dict[int, _Ticket] = {}
        self._busy: set[tuple[ResourceId, MailKey]] = set()
        """Places that messages on their way from here have taken: two callers of one line are to have two."""
        self._sought: dict[object, tuple[FindMailbox, str]] = {}
        """By the tokens of callers who wait: what they want, and what is said if nothing comes of it in time."""
        self._patience: Timers[object] = Timers(queue)
        self.left: list[str] = []
        """For whom something has been left since somebody looked here last."""
        self.texts: list[SentText] = []
        """The texts among it."""

    def locate(self, token: object, asked: FindMailbox, now: float) -> None:
        """Take a place for a message, and say where one speaks."""
        for number, ticket in tuple(self._tickets.items()):
            if now >= ticket.until:
                self._done_with(self._tickets.pop(number))
        if self._errands.is_full or len(self._tickets) >= TICKETS_MAX:
            self._refuse(token, asked, "too many leave messages at this peer now")
        else:
            self._sought[token] = (
                asked,
                f"whether {asked.owner} takes messages the overlay has not said in {FIND_S:g} s",
            )
            self._patience.set(token, now + FIND_S, "a caller waits for a mailbox")
            self._errands.begin(self._find(token, asked), now)

    def cancel(self, token: object) -> None:
        """The caller has hung up."""
        self._patience.cancel(token)
        self._sought.pop(token, None)

    def handle_timeout(self, now: float) -> None:
        """Callers have waited long enough: they are told what they would be told without a mailbox."""
        for token in self._patience.pop_due(now):
            self._refuse(token, *self._sought[token])

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._patience.next_deadline()

    def keep(self, token: object, asked: KeepMessage, now: float) -> None:
        """Store what has been said."""
        if (ticket := self._taken(token, asked.ticket)) is not None:
            self._errands.begin(self._keep(token, ticket, asked, now), now)

    def drop(self, token: object, asked: DropMessage, now: float) -> None:
        """Give the place back."""
        if (ticket := self._taken(token, asked.ticket)) is not None:
            self._errands.begin(self._drop(token, ticket, now), now)

    def _taken(self, token: object, number: int) -> _Ticket | None:
        ticket = self._tickets.pop(number, None)
        if ticket is None:
            self._answer(token, NotKept("its place was kept for so long, and is not any more"))
        elif self._errands.is_full:
            self._answer(token, NotKept("too many messages are being kept at this peer now"))
            self._done_with(ticket)
            ticket = None
        return ticket

    # Errands

    def _find(self, token: object, asked: FindMailbox) -> Errand:
        resource = self._node.hash_name(f"{asked.owner}@{self._overlay}".encode())
        line = self._publisher.get(asked.caller) if asked.caller else None
        sender = self._node.identity if line is None else line.identity
        done = yield enquiry(resource, sender.node_id)
        room = self._room(resource, sender, asked.owner, done)
        if isinstance(room, str):
            if token in self._sought:
                self._refuse(token, asked, room)
            return
        self._busy.add((resource, room.key))
        cipher = MailCipher.new(resource, room.key, self._rng)
        header = self._header(room, cipher, asked, sender)

        def reserve(ms: int) -> StoreReq:
            return mail_store(sender, resource, room.key, replace(header, left_ms=ms), ms)

        if token in self._sought:
            self._sought[token] = asked, f"{asked.owner} takes messages, and who keeps them does not answer"
        why, now = yield from stored(self._node, sender, reserve, done.now, room.above_ms)
        if why:
            self._busy.discard((resource, room.key))
            if token in self._sought:
                self._refuse(token, asked, f"{asked.owner} takes messages, and no more can be kept: {why}")
            return
        ticket = _Ticket(asked.owner, resource, room.key, sender, header, cipher, asked.has_rung, now + TICKET_S)
        if token not in self._sought:
            yield from self._removed(ticket, 0, now)
            self._done_with(ticket)
            return
        self.cancel(token)
        number = next(self._numbers)
        self._tickets[number] = ticket
        self._answer(token, Located((leaving_target(asked, number, room.longest_s, self._overlay),)))

    def _keep(self, token: object, ticket: _Ticket, asked: KeepMessage, now: float) -> Errand:
        parts = in_parts(asked.content)
        for number, part in enumerate(parts):
            sealed = ticket.cipher.seal_part(number, part)

            def keep_part(ms: int, number: int = number, sealed: bytes = sealed) -> StoreReq:
                return part_store(ticket.sender, ticket.resource, ticket.key, number, sealed, ms)

            why, now = yield from stored_in_the_end(self._node, ticket.sender, keep_part, now, PAUSES_S)
            if why:
                break
        else:
            kind = MailType.TEXT if asked.is_text else MailType.VOICE
            header = replace(ticket.header, type=kind, size=len(asked.content), parts=len(parts))
            why, now = yield from self._announced(ticket, header, now)
        if why:
            self._answer(token, NotKept(why))
            yield from self._removed(ticket, len(parts), now)
            self._done_with(ticket)
            return
        self._done_with(ticket)
        self.left.append(ticket.owner)
        if asked.is_text:
            self.texts.append(SentText(ticket.sender, ticket.owner, ticket.key))
        self._answer(token, Kept())

    def _drop(self, token: object, ticket: _Ticket, now: float) -> Errand:
        """Who has said nothing has called all the same: what no phone has shown is told later."""
        if ticket.has_rung:
            yield from self._removed(ticket, 0, now)
        else:
            yield from self._announced(ticket, replace(ticket.header, type=MailType.MISSED_CALL), now)
            self.left.append(ticket.owner)
        self._done_with(ticket)
        self._answer(token, Kept())

    def _done_with(self, ticket: _Ticket) -> None:
        """Its place may be taken for another message, or not, as the overlay says."""
        self._busy.discard((ticket.resource, ticket.key))

    def _announced(self, ticket: _Ticket, header: MailHeader, now: float) -> PartOfErrand:
        """Tell the owner that all of it is there."""

        def announce(ms: int) -> StoreReq:
            whole = replace(header, state=MailState.NEW, left_ms=ms)
            return mail_store(ticket.sender, ticket.resource, ticket.key, whole, ms)

        return (yield from stored_in_the_end(self._node, ticket.sender, announce, now, PAUSES_S))

    def _removed(self, ticket: _Ticket, parts: int, now: float) -> PartOfErrand:
        """Take back what there is of it. What cannot be taken back ends by itself."""

        def remove(ms: int) -> StoreReq:
            return mail_removal(ticket.sender, ticket.resource, ticket.key, replace(ticket.header, left_ms=ms), ms)

        def remove_parts(ms: int) -> StoreReq:
            return parts_removal(ticket.sender, ticket.resource, ticket.key, parts, ms)

        why, now = yield from stored(self._node, ticket.sender, remove, now)
        if parts:
            why, now = yield from stored(self._node, ticket.sender, remove_parts, now)
        return why, now

    # What an enquiry has found

    def _room(self, resource: ResourceId, sender: Identity, owner: str, done: Outcome) -> _Room | str:
        """Where a message can be left, or why none can."""
        if not isinstance(done.result, Answer):
            return f"whether {owner} takes messages could not be looked up: {done.result}"
        assert isinstance(done.result.body, FetchAns), "the transport lets no other answer to a Fetch pass"
        certificates = done.result.certificates
        found = read_answer(resource, done.result.body, certificates, self._node.reader, done.now)
        longest_s = {value.signer: _longest_s(value.data) for value in found.of(MAILBOX)}
        readers = tuple(reader for reader, most_s in longest_s.items() if most_s)
        if not readers:
            return f"{owner} takes no messages" + (f": {found.dropped[0]}" if found.dropped else "")
        used = {value.key: value.storage_time_ms for value in (*found.values, *found.removed) if value.kind == MAIL}
        taken = {value.key for value in found.of(MAIL)}
        places = (mail_key(sender.node_id, slot) for slot in range(SLOTS))
        latest = latest_ms(self._node, sender, done.now)
        blocked = taken | {key for key, signed_ms in used.items() if signed_ms > latest}
        free = [key for key in places if key not in blocked and (resource, key) not in self._busy]
        if not free:
            return f"{SLOTS} messages of {sender.user} wait for {owner} already"
        return _Room(readers, min(longest_s[reader] for reader in readers), free[0], used.get(free[0], 0))

    def _header(self, room: _Room, cipher: MailCipher, asked: FindMailbox, sender: Identity) -> MailHeader:
        verifier, purpose = self._node.reader.rules.verifier, purpose_of(room.key)
        keys = tuple(
            SealedKey(reader.node_id, verifier.seal(reader.member, cipher.secret, purpose, self._rng))
            for reader in room.readers
        )
        facts = MailFacts(_short(asked.shown), _short(asked.name))
        sealed, by = cipher.seal_facts(facts), sender.user.encode()
        return MailHeader(MailType.VOICE, MailState.BEING_LEFT, by, 0, 0, 0, keys, sealed)

    def _refuse(self, token: object, asked: FindMailbox, why: str) -> None:
        self.cancel(token)
        otherwise = asked.otherwise
        reason = f"{otherwise.reason or otherwise.phrase}; {why}"
        self._answer(token, replace(otherwise, reason=reason))


def _longest_s(data: bytes | None) -> int:
    """For how long a line lets speak; 0 for what cannot be read."""
    try:
        return MailboxOpening.decode(data or b"").longest_s
    except DecodeError:
        return 0


def _short(text: str) -> bytes:
    """What people are shown of a name."""
    return "".join(filter(str.isprintable, text)).encode()[:NAME_BYTES].decode(errors="ignore").encode()
