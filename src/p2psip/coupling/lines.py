"""Lines: the accounts of phones at a peer, and their records in the overlay (design decision 4 and 5).

Theory of operation. The record of a line is in the overlay as long as the line exists, whether its phone is there or
not: a caller who comes to the peer of an absent phone is told so at once. It lives half an hour and is stored anew at
half of that; it is also stored anew when a phone comes, so that among the lines of one user the one whose phone came
last is the newest, which callers try first. Where all calls to a line are forwarded, its record leads callers to whom
they are for, and lives for a day, also while its peer is off. A line has one request open at a time; what is wanted
meanwhile, or while the overlay cannot be reached, is done afterwards. A peer that stops removes the other records.

All copies of a record may die together. So where a peer that we are linked with is lost, or our neighbours are others,
it is looked whether the records of our lines are there still, once those that are left have had time to notice as well.
Where many die at once everybody has lost somebody; that just those die who keep a record, and nobody whom we know, is
left to the next refresh.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from p2psip.base.effects import Note
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.coupling.line import Line
from p2psip.coupling.line_records.contact_prefs import write_prefs
from p2psip.coupling.line_records.withdrawals import LineWithdrawn, RemovalContext, Withdrawals
from p2psip.reload.node.effects import RequestRefused
from p2psip.reload.node.node import Node
from p2psip.reload.security.errors import UntrustedCertificate
from p2psip.reload.security.roles import Identity
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.sip_registration import (
    FORWARD_LIFETIME_S,
    REFRESH_S,
    fetch_request,
    forward_to,
    latest_ms,
    read_registrations,
    resource_id,
    route_to,
    store_request,
)
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingAns, PingReq
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.storage_messages import FetchAns, StoreAns
from p2psip.sip.entities.questions import Credential, NoCredential

RETRY_FIRST_S = 2.0
RETRY_MAX_S = 60.0

LOOK_FIRST_S, LOOK_SPREAD_S = 20.0, 25.0
"""How long after a peer was lost it is looked whether the records are there still: at least, and by how much it differs
from line to line. The ring is whole again by then, and the living are found within a minute of that."""

Phones = frozenset[tuple[str, str, str]]
"""Contact, Call-ID and mark (`phone_mark`) of each phone of a user. A phone keeps its Call-ID until it starts anew (RFC
3261 10.2.4)."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a line's record was stored: who is responsible, which peers it said hold copies, when."""

    responsible: NodeId
    replicas: tuple[NodeId, ...]
    storage_time_ms: int
    at: float


@dataclass(slots=True)
class _Published:
    """A line and the state of its record.

    `is_asking` says that a Store or Fetch is open; `is_wanted` that the record is to be stored anew as soon as that is
    over, or the overlay can be reached.
    """

    line: Line
    forwarded_to: str = ""
    """The AoR that the record leads to, "" where it leads to this peer."""
    home: NodeId | None = None
    """The home peer that the record leads by."""
    storage_time_ms: int = 0
    is_asking: bool = False
    is_wanted: bool = False
    placed: Placed | None = None
    failure: str = ""
    retry_s: float = RETRY_FIRST_S
    phones: Phones = frozenset()
    has_asked_date: bool = False
    is_looking: bool = False
    """True while it is looked who else has the user name."""
    others: frozenset[NodeId] = frozenset()
    """The lines elsewhere that have it."""


@dataclass(frozen=True, slots=True)
class PublishContext:
    """A request for the record of a line."""

    published: _Published


class Publisher:
    """Keeps the records of this peer's lines in the overlay."""

    def __init__(self, node: Node, queue: TimerQueue | None = None) -> None:
        self._node = node
        self._lines: dict[str, _Published] = {}
        self._withdrawals = Withdrawals(node, queue)
        self._is_over = False
        self._news: list[Note | LineWithdrawn] = []
        self._timers: Timers[str] = Timers(queue)
        self._looks: Timers[str] = Timers(queue)
        self._look_again: set[str] = set()

    @property
    def lines(self) -> list[Line]:
        """All lines of this peer, by name."""
        return [self._lines[name].line for name in sorted(self._lines)]

    def get(self, name: str) -> Line | None:
        """The line of a user at this peer."""
        published = self._lines.get(name)
        return published.line if published else None

    def has(self, name: str) -> bool:
        """True for a user who has a line at this peer."""
        return name in self._lines

    def meant(self, name: str) -> Line | None:
        """The line that people mean by a name: as it is, or in lower case, as names are issued."""
        return self.get(name) or self.get(name.lower())

    def credential(self, user_name: str, domain: str = "") -> Credential | NoCredential:
        """The line of a digest user name: `alice`, `alice@OVERLAY`, also with capitals; of another `domain` of the
        overlay, if the phone says so.
        """
        user, _, said = user_name.partition("@")
        of_domain = f"{user}@{said or domain}"
        line = (self.meant(of_domain) if said or domain else None) or self.meant(user)
        if line is None:
            return NoCredential(f"{user_name} has no line on this peer")
        if user_name not in line.logins:
            # The name is part of what the phone's password is mixed with: only what was foreseen can be right.
            return NoCredential(f"{user_name} is no user name here; the name of the line is {line.name}")
        return Credential(line.name, line.logins[user_name])

    def placed(self, name: str) -> Placed | None:
        """Where the line's record is, as far as the last Store said."""
        return self._lines[name].placed if name in self._lines else None

    def failure(self, name: str) -> str:
        """Why the line's record could not be stored, the last time; empty if it could."""
        return self._lines[name].failure if name in self._lines else ""

    def others(self, name: str) -> frozenset[NodeId]:
        """The lines elsewhere that have the same user name, as far as is known: of its user, or a collision."""
        return self._lines[name].others if name in self._lines else frozenset()

    @property
    def leaving(self) -> list[Identity]:
        """Lines that are no more, and whose records may still be there: the next start has to `finish_removal`."""
        return self._withdrawals.identities

    def drain(self) -> list[Note | LineWithdrawn]:
        """What an operator may want to read, and who keeps the files of lines, since the last call."""
        news, self._news = self._news, []
        return news

    def add(self, line: Line, now: float) -> None:
        """Begin to serve a line, or serve it with a new certificate or password."""
        known = self._lines.get(line.name)
        published = _Published(line)
        if known is not None and known.line.identity.node_id == line.identity.node_id:
            published.storage_time_ms, published.phones = known.storage_time_ms, known.phones
            published.forwarded_to, published.others = known.forwarded_to, known.others
            published.home = known.home
        elif known is not None:
            self._withdraw(known, now)
        self._withdrawals.forget(line.identity.node_id)
        self._node.add_client(line.identity, now)
        self._lines[line.name] = published
        self._set(line.name, now, "store the line's record")

    def remove(self, name: str, now: float) -> None:
        """Cease to serve a line; its record is removed from the overlay."""
        published = self._lines.pop(name, None)
        self._timers.cancel(name)
        self._looks.cancel(name)
        if published is not None:
            self._withdraw(published, now)

    def finish_removal(self, identity: Identity, now: float) -> None:
        """A line was removed in an earlier life of this peer, and its record may be there still."""
        node = identity.node_id
        if node not in self._withdrawals and all(line.identity.node_id != node for line in self.lines):
            self._node.add_client(identity, now)
            # Calls to it may have been forwarded: nobody knows any more.
            self._withdrawn(self._withdrawals.begin(identity, now, is_long_lived=True), now)

    def forward(self, name: str, aor: str, now: float) -> None:
        """All calls for a line are for another AoR from now on, with "" not any more; its record says so."""
        published = self._lines.get(name)
        if published is not None and published.forwarded_to != aor:
            published.forwarded_to = aor
            self._set(name, now, "the line is forwarded elsewhere")

    def lead_by(self, name: str, home: NodeId | None, now: float) -> None:
        """The record of a line leads by this home peer from now on, or straight here."""
        published = self._lines.get(name)
        if published is not None and published.home != home:
            published.home = home
            self._set(name, now, "the line has another home")

    def phones_changed(self, name: str, phones: Phones, now: float) -> None:
        """A user's phones at this peer. If one has come, this line's record is to be the newest of its user."""
        published = self._lines.get(name)
        if published is None:
            return
        has_come = bool(phones - published.phones)
        published.phones = phones
        if has_come:
            self._set(name, now, "a phone registered")

    def joined(self, now: float) -> None:
        """The overlay can be reached: what could not be stored, or removed, is now."""
        self._withdrawn(self._withdrawals.joined(now), now)
        for name, published in self._lines.items():
            if not published.is_asking and published.placed is None:
                self._set(name, now, "store the line's record")

    def restore_all(self, now: float) -> None:
        """Somebody else has our keys, and may have removed or replaced our records: ours are to be the newest."""
        for name in self._lines:
            self._set(name, now, "another machine has this line")

    def look_after(self, now: float) -> None:
        """Peers have come or gone: some that keep our records may be among them."""
        for name, published in self._lines.items():
            if name in self._looks:
                self._look_again.add(name)
            else:
                self._look_later(published, now)

    def _look_later(self, published: _Published, now: float) -> None:
        if published.placed is not None and not self._is_over:
            # Not all at once: the Node-ID of a line is as good as chance.
            spread_s = LOOK_SPREAD_S * published.line.identity.node_id[-1] / 0xFF
            self._looks.set(published.line.name, now + LOOK_FIRST_S + spread_s, "is the line's record there still?")

    def withdraw_all(self, now: float) -> None:
        """The peer stops: "A peer that stops cleanly removes its lines' entries"."""
        self._is_over = True
        self._timers.clear()
        self._looks.clear()
        self._withdrawals.stop()
        for published in self._lines.values():
            if published.forwarded_to:
                # It needs no peer of ours: who has forwarded his calls and switched off is still called there.
                self._forget_client(published.line.identity.node_id, now)
            else:
                self._withdraw(published, now)

    @property
    def is_withdrawing(self) -> bool:
        """True while removals are under way."""
        return self._withdrawals.is_asking

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        parts = (self._timers, self._looks, self._withdrawals)
        return earliest(part.next_deadline() for part in parts)

    def handle_timeout(self, now: float) -> None:
        """Store what is due, look after what may be gone."""
        for name in self._timers.pop_due(now):
            self._publish(self._lines[name], now)
        for name in self._looks.pop_due(now):
            self._look(self._lines[name], now)
            if name in self._look_again:
                self._look_again.discard(name)
                self._look_later(self._lines[name], now)
        self._withdrawn(self._withdrawals.handle_timeout(now), now)

    def handle_done(self, published: _Published, result: Answer | RequestFailed, now: float) -> None:
        """The end of a request for the record of a line, which may be served anew meanwhile, or no more."""
        if self._lines.get(published.line.name) is published:
            published.is_asking = False
            self._take(published, result, now)
            if published.is_wanted and not published.is_asking:
                self._set(published.line.name, now, "wanted meanwhile")

    def handle_removed(self, removal: RemovalContext, result: Answer | RequestFailed, now: float) -> None:
        """The record of a line is out of the overlay, or could not be taken out."""
        self._withdrawn(self._withdrawals.handle_done(removal.withdrawal, result, now), now)

    def _set(self, name: str, at: float, why: str) -> None:
        if not self._is_over:
            self._timers.set(name, at, why)

    def _publish(self, published: _Published, now: float, above_ms: int = 0) -> None:
        """Store the record, now or as soon as that can be."""
        published.is_wanted = published.is_asking or not self._node.is_connected
        if published.is_wanted:
            return
        identity = published.line.identity
        try:
            issued = self._node.issue_storage_time(identity.node_id, now, above_ms=above_ms)
        except Rejection as error:
            self._failed(published, str(error), now)
            return
        to, ms = published.forwarded_to, issued.storage_time_ms
        if to:
            request = store_request(identity, forward_to(to), ms, self._node.hash_name, FORWARD_LIFETIME_S)
        else:
            # Who has one phone at two peers is not to be rung twice; where one phone says no mark nobody knows.
            marks = [mark for _, _, mark in published.phones]
            prefs = write_prefs(marks) if all(marks) else b""
            route = route_to(self._node.node_id, prefs, published.home)
            request = store_request(identity, route, ms, self._node.hash_name)
        published.storage_time_ms = issued.storage_time_ms
        published.is_asking = True
        self._node.store(identity, request, PublishContext(published), now, after=issued.after)

    def _withdraw(self, published: _Published, now: float) -> None:
        is_long_lived = bool(published.forwarded_to)
        self._withdrawn(self._withdrawals.begin(published.line.identity, now, is_long_lived=is_long_lived), now)

    def _withdrawn(self, nodes: Iterable[NodeId], now: float) -> None:
        for node in nodes:
            self._forget_client(node, now)
            if not self._is_over:
                self._news.append(LineWithdrawn(node))

    def _forget_client(self, node: NodeId, now: float) -> None:
        if self._is_over:
            # A line that is there again after a restart is the same; its certificates are not to go and come.
            self._node.remove_client(node)
        elif all(published.line.identity.node_id != node for published in self._lines.values()):
            self._node.retire_client(node, now)

    def _take(self, published: _Published, result: Answer | RequestFailed, now: float) -> None:
        """What became of a Store, or of the Fetch that looks for the record which stands in its way."""
        if published.is_looking:
            published.is_looking = False
            if isinstance(result, Answer) and isinstance(result.body, FetchAns):
                self._looked(published, result, result.body, now)
            else:
                self._look_later(published, now)
        elif isinstance(result, Answer) and isinstance(result.body, StoreAns):
            self._stored(published, result, result.body, now)
        elif isinstance(result, Answer) and isinstance(result.body, FetchAns):
            self._chased(published, result, result.body, now)
        elif isinstance(result, Answer) and isinstance(result.body, PingAns):
            self._dated(published, result, result.body, now)
        elif isinstance(result, RequestRefused) and result.code is ErrorCode.DATA_TOO_OLD:
            # Our clock is behind the one by which an earlier record of this line was stored.
            published.is_asking = True
            self._node.fetch(fetch_request(published.line.aor, self._node.hash_name), PublishContext(published), now)
        else:
            self._failed(published, str(result), now)

    def _stored(self, published: _Published, answer: Answer, body: StoreAns, now: float) -> None:
        replicas = tuple(node for kind in body.kind_responses for node in kind.replicas)
        published.placed = Placed(answer.signer.node_id, replicas, published.storage_time_ms, now)
        published.failure, published.retry_s, published.has_asked_date = "", RETRY_FIRST_S, False
        self._set(published.line.name, now + REFRESH_S, "refresh the line's record")
        if self._node.configuration.is_self_signed:
            # Nobody there sees to it that a name, or a number, is one person's: who has it is told who else has.
            self._look(published, now)

    def _look(self, published: _Published, now: float) -> None:
        """Fetch the record as others do; what is stored anew meanwhile is there."""
        if not published.is_asking and self._node.is_connected:
            published.is_looking = published.is_asking = True
            self._node.fetch(fetch_request(published.line.aor, self._node.hash_name), PublishContext(published), now)

    def _looked(self, published: _Published, answer: Answer, body: FetchAns, now: float) -> None:
        line = published.line
        found = read_registrations(line.aor, body, answer.certificates, self._node.reader, now)
        kept = frozenset(entry.line for entry in found.entries)
        placed = published.placed
        if line.identity.node_id not in kept and placed is not None and now >= placed.at + LOOK_FIRST_S:
            self._publish(published, now)
        if self._node.configuration.is_self_signed:
            self._tell_of_others(published, kept - {line.identity.node_id})

    def _tell_of_others(self, published: _Published, others: frozenset[NodeId]) -> None:
        line = published.line
        for other in sorted(others - published.others):
            facts = {"user": line.aor, "node": line.identity.node_id, "other": other}
            means = "another line of the same person, or somebody else's: calls ring at both"
            self._news.append(Note("the user name of a line is another line's as well", facts | {"means": means}, True))
        published.others = others

    def _chased(self, published: _Published, answer: Answer, body: FetchAns, now: float) -> None:
        """Store again, with a storage_time later than that of the record that is there, if we did sign that."""
        line = published.line
        found_ms = latest_ms(line.aor, line.identity.node_id, body, answer.certificates, self._node.reader, now)
        if found_ms >= published.storage_time_ms:
            self._publish(published, now, above_ms=found_ms)
        elif not published.has_asked_date:
            # There is none: by the clock of who refused ours was signed too long ago.
            published.has_asked_date = published.is_asking = True
            where = Destination.resource(resource_id(line.aor, self._node.hash_name))
            asked = OverlayRequest([where], MessageCode.PING_REQ, PingReq())
            self._node.request(asked, PublishContext(published), now)
        else:
            self._too_old(published, answer, now)

    def _dated(self, published: _Published, answer: Answer, body: PingAns, now: float) -> None:
        """6.5.3.2: a Ping is answered with the date. Our clock is behind, or not set: go by theirs, within reason."""
        if published.storage_time_ms < body.time <= self._last_date_ms(published.line.identity):
            self._publish(published, now, above_ms=body.time)
        else:
            self._too_old(published, answer, now)

    def _last_date_ms(self, identity: Identity) -> float:
        """When the certificate of one of ours runs out; 0 if it is not one that counts."""
        chain = [entry.certificate for entry in identity.certificates]
        try:
            return 1000 * self._node.reader.rules.verifier.check(chain, 0.0, False).not_after
        except UntrustedCertificate:
            return 0.0

    def _too_old(self, published: _Published, answer: Answer, now: float) -> None:
        """Whoever refused cannot prove it. Somebody else may be responsible the next time."""
        who = answer.signer.node_id.short
        self._failed(published, f"{who} says that the record is too old, but has no newer one nor a later date", now)

    def _failed(self, published: _Published, why: str, now: float) -> None:
        published.failure, published.has_asked_date = why, False
        self._set(published.line.name, now + published.retry_s, "store the line's record again")
        published.retry_s = min(RETRY_MAX_S, 2 * published.retry_s)
