"""The mailboxes of this peer's lines, and messages that are left from here (docs/decisions/mailboxes.md).

Theory of operation. A line whose owner wants it takes messages: its opening in the overlay says so, and is stored anew
at half of its lifetime. What waits for it is looked at when a phone registers, every `LOOK_S` while it has phones, more
often after a call that nobody has answered, and when its owner dials; the lamps of its phones say how many there are.
One that has no word of its owner does as the other lines of its user: his mailbox is one, wherever his phone is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from enum import Enum

from p2psip.base.effects import AskAnswered, Effect, Note
from p2psip.base.errors import RequestFailed
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.coupling.line import Line
from p2psip.coupling.lines import Publisher
from p2psip.coupling.mailbox.depositing import Deposits
from p2psip.coupling.mailbox.errands import Errand, ErrandContext, Errands, Outcome, PartOfErrand, stored
from p2psip.coupling.mailbox.readings import OpenBox, Readings
from p2psip.coupling.mailbox.texts import Texts
from p2psip.coupling.peer_news import MailboxAnswered, MessagesCounted
from p2psip.media.g711 import SAMPLE_RATE_HZ
from p2psip.reload.node.node import Node
from p2psip.reload.storage.verified import read_answer
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.mailbox_usage import (
    OPENING_REFRESH_S,
    PART_BYTES,
    PARTS_MAX,
    opening_store,
    openings_request,
)
from p2psip.reload.wire.kinds import MAIL, MAIL_PART, MAILBOX
from p2psip.reload.wire.storage_messages import FetchAns, StoreReq
from p2psip.sip.entities.handling.handlings import HandlingChanged, Handlings
from p2psip.sip.entities.mailbox.mailbox_questions import (
    DeleteMessage,
    DropMessage,
    FetchMessage,
    FindMailbox,
    KeepMessage,
    Kept,
    NotKept,
    OpenMailbox,
    TextDelivered,
)
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.uri import parse_sip_uri

LONGEST_S = 120
"""No message is longer; `PARTS_MAX` parts hold more."""

LOOK_S = 120.0
SOON_S, SOON_FOR_S = 10.0, 180.0
"""After a call that nobody has answered: its caller may be speaking."""

RETRY_S = 60.0
SETTLE_S = 3.0

assert LONGEST_S * SAMPLE_RATE_HZ <= PARTS_MAX * PART_BYTES, "a message has room"

_NOBODY = object()
"""Who waits for an answer that nobody waits for."""

_BUSY = "too much is asked of mailboxes at this peer now"
_NONE = "this overlay has no mailboxes: its configuration has no Kinds for them"


class _Chore(Enum):
    OPEN = "a line takes messages, or does not any more"
    LOOK = "it is looked what waits"


@dataclass(slots=True)
class _Served:
    """A line of this peer. `wish` is its owner's; `is_open` what the overlay has been told."""

    box: OpenBox
    wish: bool | None = None
    is_open: bool | None = None
    has_phones: bool = False
    soon_until: float = 0.0
    is_looking: bool = False
    waiting: list[object] = field(default_factory=list)
    """Who wants to know what there is."""


class Mailboxes:
    """All that concerns them at one peer."""

    def __init__(
        self,
        node: Node,
        publisher: Publisher,
        handlings: Handlings,
        overlay: str,
        rng: random.Random,
        queue: TimerQueue | None = None,
    ) -> None:
        self._node = node
        self._handlings = handlings
        self._served: dict[str, _Served] = {}
        self._effects: list[Effect] = []
        self._is_over = False
        self._errands = Errands(node, queue)
        self._readings = Readings(node, self._answer)
        self._deposits = Deposits(node, publisher, self._errands, self._answer, overlay, rng, queue)
        self._texts = Texts(node, self._readings, overlay, rng)
        self._timers: Timers[tuple[str, _Chore]] = Timers(queue)

    def are_there(self) -> bool:
        """True if the overlay has mailboxes: its signed configuration says so."""
        return {MAILBOX, MAIL, MAIL_PART} <= self._node.configuration.kinds.keys()

    # Lines

    def line_added(self, line: Line, now: float) -> None:
        """A line is served, perhaps with another key."""
        known = self._served.get(line.name)
        if known is not None and known.box.line.identity.node_id == line.identity.node_id:
            if known.box.line.identity.certificates != line.identity.certificates:
                # Messages are sealed to the certificate that has signed the opening: that is to be the new one.
                self._set(line.name, _Chore.OPEN, now + SETTLE_S)
            known.box.line = line
        else:
            self._served[line.name] = _Served(OpenBox(line, self._node.hash_name(line.aor.encode())))
        self.handling_changed(line.name, now)

    def handling_changed(self, name: str, now: float) -> None:
        """Its owner wants something else, perhaps to take messages."""
        served, handling = self._served.get(name), self._handlings.of(name)
        if served is None or handling is None:
            return
        if served.is_open is None or served.wish != handling.mailbox:
            served.wish = handling.mailbox
            self._set(name, _Chore.OPEN, now + SETTLE_S)

    def line_removed(self, name: str, now: float) -> None:
        """A line is served no more: what waits for its user waits on, for his other lines."""
        served = self._served.pop(name, None)
        for chore in _Chore:
            self._timers.cancel((name, chore))
        if served is not None and served.is_open and not self._errands.is_full:
            self._errands.begin(self._close(served.box, now), now)

    def phones_changed(self, name: str, *, has_phones: bool, now: float) -> None:
        """Phones of a line have come or gone: the lamp of one that has come is to be right at once."""
        if (served := self._served.get(name)) is not None:
            has_come, served.has_phones = has_phones and not served.has_phones, has_phones
            if has_come:
                served.box.offered.clear()
                self._set(name, _Chore.LOOK if served.is_open else _Chore.OPEN, now)

    def note_carried(self, carried: RequestCarried, now: float) -> None:
        """A call has not been answered: whoever it was for may have a message soon."""
        if carried.method != "INVITE" or carried.status < 300 or not self._served:
            return
        try:
            served = self._served.get(parse_sip_uri(carried.uri).user_name.lower())
        except BadMessage:
            return
        if served is not None and served.is_open:
            served.soon_until = now + SOON_FOR_S
            self._set(served.box.line.name, _Chore.LOOK, now + SOON_S)

    def joined(self, now: float) -> None:
        """The overlay can be reached, or has mailboxes now."""
        for name, served in self._served.items():
            if served.is_open is None:
                self._set(name, _Chore.OPEN, now + SETTLE_S)
            elif served.has_phones:
                self._set(name, _Chore.LOOK, now + SETTLE_S)

    def stop(self) -> None:
        """Say nothing more: mailboxes go on taking messages while their peers are off."""
        self._is_over = True
        self._timers.clear()

    # Questions

    def ask(self, token: object, question: object, now: float) -> None:
        """One of `MAILBOX_QUESTIONS`; the answer may come at once. Who asks with a number is the SIP server."""
        match question:
            case FindMailbox():
                self._deposits.locate(token, question, now)
            case KeepMessage():
                self._deposits.keep(token, question, now)
            case DropMessage():
                self._deposits.drop(token, question, now)
            case OpenMailbox(line):
                self._open_for(token, line, now)
            case TextDelivered(line, key, is_over):
                self._answer(token, Kept())
                if is_over and line in self._served and not self._errands.is_full:
                    self._errands.begin(self._readings.delete(_NOBODY, self._served[line].box, key, now), now)
            case FetchMessage(line, key) | DeleteMessage(line, key):
                served = self._served.get(line)
                if served is None or self._errands.is_full:
                    self._answer(token, NotKept(f"{line} has no line here" if served is None else _BUSY))
                    return
                work = self._readings.play if isinstance(question, FetchMessage) else self._readings.delete
                self._errands.begin(self._counted(served, work(token, served.box, key, now)), now)

    def cancel(self, token: int) -> None:
        """Nobody waits for this answer any more."""
        self._deposits.cancel(token)

    def handle_done(self, context: ErrandContext, result: Answer | RequestFailed, now: float) -> None:
        """The end of a request."""
        self._errands.handle_done(context, result, now)
        self._look_for_what_was_left(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._errands.handle_timeout(now)
        self._deposits.handle_timeout(now)
        for name, chore in self._timers.pop_due(now):
            served = self._served[name]
            if self._errands.is_full or not self._node.is_connected:
                self._set(name, chore, now + RETRY_S)
            elif chore is _Chore.OPEN:
                self._errands.begin(self._agree(served, now), now)
            else:
                self._look(served, now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest(part.next_deadline() for part in (self._errands, self._deposits, self._timers))

    def drain(self) -> list[Effect]:
        """AskAnswered, MailboxAnswered, MessagesCounted, TextWaiting, HandlingChanged, notes, since the last call."""
        effects, self._effects = self._effects, []
        notes, self._readings.notes = self._readings.notes, []
        return [*effects, *notes, *self._texts.drain()]

    def _answer(self, token: object, answer: object) -> None:
        if token is _NOBODY:
            return
        if isinstance(token, int):
            self._effects.append(AskAnswered(token, answer))
        else:
            self._effects.append(MailboxAnswered(token, answer))

    def _set(self, name: str, chore: _Chore, at: float) -> None:
        if name in self._served and self.are_there() and not self._is_over:
            self._timers.set((name, chore), at, chore.value)

    # Whether a line takes messages

    def _agree(self, served: _Served, now: float) -> Errand:
        """Have the overlay say what the owner wants, or, where he has said nothing, what holds for his other lines."""
        name, wish = served.box.line.name, served.wish
        if wish is None:
            done = yield openings_request(served.box.resource)
            if not isinstance(done.result, Answer):
                self._set(name, _Chore.OPEN, done.now + RETRY_S)
                return
            wish, now = self._is_open_elsewhere(served.box, done), done.now
            if wish:
                self._wishes(served)
        has_said_no = served.wish is False and served.is_open is None
        if wish or served.is_open or has_said_no:
            why, now = yield from self._say(served.box, LONGEST_S if wish else None, now)
            if why:
                facts = {"user": served.box.line.aor, "reason": why, "means": "it is tried again"}
                self._effects.append(Note("mailbox not opened", facts, is_warning=True))
                self._set(name, _Chore.OPEN, now + RETRY_S)
                return
        if name not in self._served:
            # The line has gone meanwhile: nobody would hear what is left.
            yield from self._close(served.box, now)
            return
        served.is_open = bool(wish)
        if wish:
            self._set(name, _Chore.OPEN, now + OPENING_REFRESH_S)
        # Who takes no messages may have left texts elsewhere.
        self._set(name, _Chore.LOOK, now)

    def _wishes(self, served: _Served) -> None:
        """The user takes messages at another of his lines, so he does here."""
        name = served.box.line.name
        handling = self._handlings.of(name)
        if served.wish is None and handling is not None:
            served.wish, changed = True, replace(handling, mailbox=True)
            self._handlings.set(name, changed)
            self._effects.append(HandlingChanged(name, changed))

    def _is_open_elsewhere(self, box: OpenBox, done: Outcome) -> bool:
        assert isinstance(done.result, Answer)
        assert isinstance(done.result.body, FetchAns), "the transport lets no other answer to a Fetch pass"
        certificates = done.result.certificates
        found = read_answer(box.resource, done.result.body, certificates, self._node.reader, done.now)
        return bool(found.of(MAILBOX))

    def _say(self, box: OpenBox, longest_s: int | None, now: float) -> PartOfErrand:
        identity = box.line.identity

        def store(ms: int) -> StoreReq:
            return opening_store(identity, box.resource, longest_s, ms)

        return stored(self._node, identity, store, now)

    def _close(self, box: OpenBox, now: float) -> Errand:
        yield from self._say(box, None, now)

    # What waits

    def _open_for(self, token: object, line: str, now: float) -> None:
        served = self._served.get(line)
        if served is None or not self.are_there():
            self._answer(token, NotKept(f"{line} has no line here" if served is None else _NONE))
        elif self._errands.is_full:
            self._answer(token, NotKept(_BUSY))
        else:
            served.waiting.append(token)
            self._look(served, now)

    def _look(self, served: _Served, now: float) -> None:
        if not served.is_looking:
            served.is_looking = True
            self._errands.begin(self._looked(served, now), now)

    def _looked(self, served: _Served, now: float) -> Errand:
        why, now = yield from self._readings.look(served.box, now)
        served.is_looking = False
        waiting, served.waiting = served.waiting, []
        for token in waiting:
            self._answer(token, NotKept(f"what waits could not be looked up: {why}") if why else served.box.contents)
        self._count(served)
        if not served.has_phones or self._served.get(served.box.line.name) is not served:
            return
        now = yield from self._texts.deliver(served.box, now)
        due_ms = self._texts.receipts_due_ms(served.box)
        if served.is_open:
            self._set(served.box.line.name, _Chore.LOOK, now + (SOON_S if now < served.soon_until else LOOK_S))
        elif due_ms is not None:
            left_s = (due_ms - self._node.wall.date_ms(now)) / 1000
            self._set(served.box.line.name, _Chore.LOOK, now + max(LOOK_S, left_s))

    def _counted(self, served: _Served, errand: Errand) -> Errand:
        yield from errand
        self._count(served)

    def _count(self, served: _Served) -> None:
        self._effects.append(MessagesCounted(served.box.line.name, served.box.counts))

    def _look_for_what_was_left(self, now: float) -> None:
        """Something has been left from here, perhaps for a line that is here as well."""
        left, self._deposits.left = self._deposits.left, []
        for owner in left:
            if owner in self._served:
                self._set(owner, _Chore.LOOK, now)
        texts, self._deposits.texts = self._deposits.texts, []
        for sent in texts:
            name = sent.sender.user.rpartition("@")[0]
            # Who does not want to be known is not: his peer has signed, which tells nobody.
            if name in self._served and not self._errands.is_full:
                self._errands.begin(self._texts.leave_receipt(sent, now), now)
                self._set(name, _Chore.LOOK, now + SOON_S)
