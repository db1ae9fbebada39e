"""Texts and missed calls that wait for a line, and what becomes of the texts that its user has left elsewhere.

Theory of operation. What waits is delivered as a text when a phone is there, and removed once that was taken. Who
leaves a text leaves a receipt in his own mailbox as well, sealed to himself: so any peer that serves his line, whenever
it was started, looks after `TEXT_WAITS_S` whether it still waits. If so he is told, and it waits no longer.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime

from p2psip.base.effects import Effect
from p2psip.coupling.mailbox.depositing import SentText
from p2psip.coupling.mailbox.errands import Errand, Outcome, Wish, stored
from p2psip.coupling.mailbox.readings import OpenBox, Readings, caller_of
from p2psip.reload.node.node import Node
from p2psip.reload.security.errors import UntrustedCertificate
from p2psip.reload.storage.verified import read_answer
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.mailbox_usage import (
    DAY_S,
    SLOTS,
    MailCipher,
    OpenedMail,
    enquiry,
    mail_key,
    mail_removal,
    mail_request,
    mail_store,
    parts_removal,
    purpose_of,
)
from p2psip.reload.wire.kinds import MAIL
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.storage_messages import FetchAns, StoreReq
from p2psip.reload.wire.usages.mailbox_values import MailFacts, MailHeader, MailState, MailType, SealedKey
from p2psip.sip.entities.mailbox.mailbox_questions import TextWaiting
from p2psip.sip.entities.mailbox.text_agent import unpacked

TEXT_WAITS_S = 7 * DAY_S
"""So long a text waits; then its sender is told that it was not delivered."""

AGAIN_S = 600.0
"""What no phone has taken is offered again after this, or when another phone comes."""

PLAIN = "text/plain;charset=UTF-8"

Told = Generator[Wish, Outcome, float]
"""An errand's part that says when it was over."""


class Texts:
    """Those of one peer's lines."""

    def __init__(self, node: Node, readings: Readings, overlay: str, rng: random.Random) -> None:
        self._node = node
        self._readings = readings
        self._overlay = overlay
        self._rng = rng
        self._effects: list[Effect] = []

    def drain(self) -> list[Effect]:
        """TextWaiting, since the last call."""
        effects, self._effects = self._effects, []
        return effects

    @staticmethod
    def receipts_due_ms(box: OpenBox) -> int | None:
        """When the first text that was left from this line has waited for too long, as far as is known."""
        receipts = [mail.header.left_ms for mail in _new(box) if mail.header.type == MailType.RECEIPT]
        return min(receipts) + 1000 * TEXT_WAITS_S if receipts else None

    # Errands

    def leave_receipt(self, sent: SentText, now: float) -> Errand:
        """Note that a text waits elsewhere; where there is no place for that, nobody will tell."""
        sender, hash_name = sent.sender, self._node.hash_name
        resource = hash_name(sender.user.encode())
        done = yield enquiry(resource, sender.node_id)
        rules, wall = self._node.reader.rules, self._node.wall
        if not isinstance(done.result, Answer) or not isinstance(done.result.body, FetchAns):
            return
        found = read_answer(resource, done.result.body, done.result.certificates, self._node.reader, done.now)
        places = {value.key: value.storage_time_ms for value in (*found.values, *found.removed) if value.kind == MAIL}
        taken = {value.key for value in found.of(MAIL)}
        free = next((key for key in (mail_key(sender.node_id, n) for n in range(SLOTS)) if key not in taken), None)
        try:
            chain = [one.certificate for one in sender.certificates]
            own = rules.verifier.check(chain, wall.date(done.now), wall.is_trusted)
        except UntrustedCertificate:
            return
        if free is None:
            return
        cipher = MailCipher.new(resource, free, self._rng)
        sealed = rules.verifier.seal(own, cipher.secret, purpose_of(free), self._rng)
        facts = cipher.seal_facts(MailFacts(sent.owner.encode(), sent.key))
        keys = (SealedKey(sender.node_id, sealed),)
        header = MailHeader(MailType.RECEIPT, MailState.NEW, sender.user.encode(), 0, 0, 0, keys, facts)

        def store(ms: int) -> StoreReq:
            return mail_store(sender, resource, free, replace(header, left_ms=ms), ms)

        yield from stored(self._node, sender, store, done.now, places.get(free, 0))

    def deliver(self, box: OpenBox, now: float) -> Told:
        """Have what waits delivered, and look after what was left elsewhere."""
        for mail in _new(box):
            if mail.is_voice or now < box.offered.get(mail.key, now):
                continue
            box.offered[mail.key] = now + AGAIN_S
            if mail.header.type == MailType.TEXT:
                content, now = yield from self._readings.content(box, mail, now)
                if isinstance(content, bytes):
                    self._offer(box, mail, *unpacked(content))
            elif mail.header.type == MailType.MISSED_CALL:
                self._offer(box, mail, PLAIN, f"Missed call, {_when(mail.header.left_ms)}".encode())
            elif mail.header.type == MailType.RECEIPT and self._is_due(mail, now):
                now = yield from self._close(box, mail, now)
        return now

    # Parts of them

    def _is_due(self, receipt: OpenedMail, now: float) -> bool:
        wall = self._node.wall
        return wall.is_trusted and wall.date_ms(now) >= receipt.header.left_ms + 1000 * TEXT_WAITS_S

    def _close(self, box: OpenBox, receipt: OpenedMail, now: float) -> Told:
        """Whether a text still waits: then nobody has it."""
        owner, key = receipt.facts.caller.decode(errors="replace"), receipt.facts.name
        resource, sender = self._node.hash_name(f"{owner}@{self._overlay}".encode()), box.line.identity
        done = yield mail_request(resource, [key])
        if not isinstance(done.result, Answer) or not isinstance(done.result.body, FetchAns):
            return done.now
        found = read_answer(resource, done.result.body, done.result.certificates, self._node.reader, done.now)
        left = next((value for value in found.of(MAIL) if value.signer.user == box.line.aor), None)
        header = None if left is None or left.data is None else _header(left.data, len(sender.node_id))
        if left is None or header is None or header.type != MailType.TEXT:
            return (yield from self._readings.forget(box, receipt, done.now))

        def remove(ms: int) -> StoreReq:
            return mail_removal(sender, resource, key, header, ms)

        def remove_parts(ms: int) -> StoreReq:
            return parts_removal(sender, resource, key, header.parts, ms)

        why, now = yield from stored(self._node, sender, remove, done.now, left.storage_time_ms)
        if why:
            return now
        _, now = yield from stored(self._node, sender, remove_parts, now, left.storage_time_ms)
        words = f"Not delivered in {TEXT_WAITS_S // DAY_S} days: your message of {_when(header.left_ms)}"
        self._offer(box, receipt, PLAIN, words.encode())
        return now

    def _offer(self, box: OpenBox, mail: OpenedMail, content_type: str, body: bytes) -> None:
        if mail.header.type == MailType.RECEIPT:
            caller, name = mail.facts.caller.decode(errors="replace"), ""
        else:
            caller, name = caller_of(mail), mail.facts.name.decode(errors="replace")
        left_ms = mail.header.left_ms
        self._effects.append(TextWaiting(box.line.name, mail.key, caller, name, left_ms, content_type, body))


def _new(box: OpenBox) -> list[OpenedMail]:
    """What has come, in the order in which it was left."""
    found = [mail for mail in box.mail.values() if mail is not None and mail.header.state == MailState.NEW]
    return sorted(found, key=lambda mail: (mail.header.left_ms, mail.key))


def _header(data: bytes, node_id_length: int) -> MailHeader | None:
    try:
        return MailHeader.decode(data, node_id_length=node_id_length)
    except DecodeError:
        return None


def _when(date_ms: int) -> str:
    """A date for people, wherever their clocks are."""
    return f"{datetime.fromtimestamp(date_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
