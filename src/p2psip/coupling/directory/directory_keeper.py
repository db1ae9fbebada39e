"""The directory at one peer: what its lines say of themselves goes to every peer, what all others say is here.

Theory of operation. An entry is signed when a line comes, or says something else, and anew at half of its lifetime, as
soon as the line has its record in the overlay: by then the overlay's date is known, by which values are old or new.
What the copy still has from before a restart is not signed again. At which lines there are phones the peer says itself,
in one value for all of them: when that changes, with a pause in between, and before it ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple
from functools import lru_cache

from p2psip.base.effects import Note
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.base.user_keys import aor_of, key_of
from p2psip.coupling.line import Line
from p2psip.coupling.lines import Publisher
from p2psip.directory.listing import TEXT_MAX, Card, Listed, ReachState, in_order
from p2psip.reload.node.node import Node
from p2psip.reload.node.spreading.spread_set import SpreadCopy, position_of
from p2psip.reload.security.roles import Identity
from p2psip.reload.storage.store.records import Place
from p2psip.reload.usages.directory_usage import (
    ENTRY_LIFETIME_S,
    ENTRY_REFRESH_S,
    REACHED_LIFETIME_S,
    REACHED_REFRESH_S,
    mark_of,
    read_entry,
    sign_entry,
    sign_reached,
)
from p2psip.reload.wire.kinds import DIRECTORY_ENTRY, LINES_REACHED
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.usages.directory_values import DirectoryEntry, LinesReached
from p2psip.sip.entities.numbers.dial_plan import DialPlan

RETRY_S = 10.0
"""How long it takes until it is looked again whether a line has its record."""

SETTLE_S = 2.0
PAUSE_S = 30.0
"""Phones that come and go within this time are told of together."""

REACHED = ""
"""Among the names of lines that of what the peer says itself."""

Decoded = tuple[SpreadCopy, DirectoryEntry]


class DirectoryKeeper:
    """What this peer publishes, and what it has."""

    def __init__(self, node: Node, publisher: Publisher, plan: DialPlan, queue: TimerQueue | None = None) -> None:
        self._node = node
        self._publisher = publisher
        self._plan = plan
        self._phones: dict[str, bool] = {}
        self._cards: dict[str, tuple[NodeId, Card]] = {}
        self._said_at = -math.inf
        self._is_over = False
        self._decoded: tuple[int, list[Decoded]] = (-1, [])
        self._notes: list[Note] = []
        self._timers: Timers[str] = Timers(queue)

    @property
    def is_there(self) -> bool:
        """True if the overlay has a directory: its signed configuration says so."""
        return DIRECTORY_ENTRY in self._node.configuration.kinds

    # What goes out

    def line_added(self, line: Line, now: float) -> None:
        """A line is served, perhaps with another card."""
        if self._cards.get(line.name) != (line.identity.node_id, line.card):
            self._cards[line.name] = line.identity.node_id, line.card
            self._timers.set(line.name, now, "a line says who it is")
            self._phones_say(now)

    def line_removed(self, line: Line, now: float) -> None:
        """A line is served no more: its entry goes."""
        self._cards.pop(line.name, None)
        self._phones.pop(line.name, None)
        self._timers.cancel(line.name)
        if self._own(line.identity, DIRECTORY_ENTRY) is not None:
            self._put_entry(line.identity, None, now)
        self._phones_say(now)

    def phones_changed(self, name: str, *, has_phones: bool, now: float) -> None:
        """Phones of a line have come or gone."""
        if self._phones.get(name, False) != has_phones:
            self._phones[name] = has_phones
            self._phones_say(now)

    def joined(self, now: float) -> None:
        """The overlay can be reached, or more of it."""
        self._node.spreading.joined(now)
        for name in (*self._cards, REACHED):
            self._timers.set(name, now + SETTLE_S, "the overlay can be reached")

    def reconsider(self, now: float) -> None:
        """The configuration is another."""
        self._node.spreading.forget_revoked()
        if self._node.is_connected:
            self.joined(now)

    def stop(self) -> None:
        """Say nothing more: the entries stay, as the lines do."""
        self._is_over = True
        self._timers.clear()

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Say what is to be said."""
        for name in self._timers.pop_due(now):
            if not self.is_there or self._is_over:
                continue
            if name == REACHED:
                self._say_reached(now)
            else:
                self._say_entry(name, now)

    def drain(self) -> list[Note]:
        """What an operator may want to read, since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def _phones_say(self, now: float) -> None:
        self._timers.set(REACHED, max(now + SETTLE_S, self._said_at + PAUSE_S), "phones have come or gone")

    def _say_entry(self, name: str, now: float) -> None:
        line = self._publisher.get(name)
        if line is None:
            return
        entry, known = self._entry_of(line), self._own(line.identity, DIRECTORY_ENTRY)
        left_s = known.expires_at - now if known is not None else 0.0
        if known is not None and known.stored.data_value.value == entry.encode() and left_s > ENTRY_REFRESH_S:
            self._timers.set(name, known.expires_at - ENTRY_REFRESH_S, "an entry is signed anew")
        elif self._publisher.placed(name) is None:
            self._timers.set(name, now + RETRY_S, "a line has no record yet")
        elif self._put_entry(line.identity, entry, now):
            self._timers.set(name, now + ENTRY_LIFETIME_S - ENTRY_REFRESH_S, "an entry is signed anew")
        else:
            self._timers.set(name, now + PAUSE_S, "an entry was not taken")

    def _entry_of(self, line: Line) -> DirectoryEntry:
        name, number, site, callsign = map(str.encode, astuple(line.card))
        site = site or self._node.user.partition("@")[0].removeprefix("peer-").encode()
        return DirectoryEntry(name, number, site[:TEXT_MAX], callsign, self._node.node_id)

    def _put_entry(self, line: Identity, entry: DirectoryEntry | None, now: float) -> bool:
        known = self._own(line, DIRECTORY_ENTRY)
        above_ms = known.stored.storage_time if known is not None else 0

        def put() -> None:
            issued = self._node.issue_storage_time(line.node_id, now, above_ms=max(above_ms, self._date_ms(now)))
            resource, stored = sign_entry(line, entry, issued.storage_time_ms, self._node.hash_name)
            self._node.spreading.put(resource, DIRECTORY_ENTRY, stored, line.certificates, now)

        return self._tried(put, line.user)

    def _say_reached(self, now: float) -> None:
        lines = [(line, self._phones.get(line.name, False)) for line in self._publisher.lines]
        reached = tuple(line.identity.node_id for line, has_phones in lines if has_phones)
        own = self._node.identity
        known = self._own(own, LINES_REACHED)
        if known is None and not lines:
            return
        above_ms = known.stored.storage_time if known is not None else 0

        def put() -> None:
            issued = self._node.issue_storage_time(own.node_id, now, above_ms=max(above_ms, self._date_ms(now)))
            resource, stored = sign_reached(own, reached, issued.storage_time_ms, self._node.hash_name)
            self._node.spreading.put(resource, LINES_REACHED, stored, own.certificates, now)

        if self._tried(put, own.user):
            self._said_at = now
            self._timers.set(REACHED, now + REACHED_REFRESH_S, "phones are there still")
        else:
            self._timers.set(REACHED, now + PAUSE_S, "it was not taken")

    def _tried(self, put: Callable[[], None], user: str) -> bool:
        """False if our own peer refuses it, as all others would; then an operator is told."""
        try:
            put()
        except Rejection as error:
            means = "it is not in the directory, or with what it said before"
            self._notes.append(Note("not published", {"user": user, "reason": str(error), "means": means}, True))
            return False
        return True

    def _date_ms(self, now: float) -> int:
        """What the overlay's date is at least, where this machine does not know it: its lines' records say so."""
        if self._node.wall.is_trusted:
            return 0
        placed = [found for line in self._publisher.lines if (found := self._publisher.placed(line.name))]
        return max((found.storage_time_ms + int(1000 * (now - found.at)) for found in placed), default=0)

    def _own(self, identity: Identity, kind: int) -> SpreadCopy | None:
        """What every peer has of one of ours."""
        hash_name, node = self._node.hash_name, identity.node_id
        if kind == DIRECTORY_ENTRY:
            place = Place(hash_name(identity.user.encode()), kind, bytes(node))
        else:
            place = Place(hash_name(node), kind, b"")
        return self._node.spreading.copies.get(position_of(place))

    # What is here

    def entries(self, now: float) -> list[Listed]:
        """All lines in the directory, in the order of their names, and whether they can be reached."""
        said = self._said(now)
        return in_order(self._listed(copy, entry, said, now) for copy, entry in self._all(now))

    def has(self, aor: str) -> bool:
        """True if some line of this user is in it: its peer was there in the last two weeks."""
        copies = self._node.spreading.copies.at(self._node.hash_name(aor.encode()), DIRECTORY_ENTRY)
        return any(copy.stored.data_value.exists for copy in copies)

    def name_of(self, user: str) -> str:
        """What phones show of a user of the overlay who has proved to call; "" where the directory has no name."""
        resource = self._node.hash_name(aor_of(user, self._node.configuration.instance_name).encode())
        length = len(self._node.node_id)
        for copy in self._node.spreading.copies.at(resource, DIRECTORY_ENTRY):
            value = copy.stored.data_value
            if value.exists and (label := _label_in(value.value, length)):
                return label
        return ""

    def _all(self, now: float) -> list[Decoded]:
        """The entries, decoded again only when something has changed."""
        copies = self._node.spreading.copies
        if self._decoded[0] != copies.changes:
            length = len(self._node.node_id)
            decoded: list[Decoded] = []
            for copy in copies:
                if copy.kind == DIRECTORY_ENTRY and copy.stored.data_value.exists:
                    try:
                        decoded.append((copy, read_entry(copy.stored.data_value.value, length)))
                    except DecodeError:
                        continue
            self._decoded = copies.changes, decoded
        return [(copy, entry) for copy, entry in self._decoded[1] if copy.expires_at > now]

    def _said(self, now: float) -> dict[NodeId, tuple[frozenset[int], float]]:
        """What each peer has said of its phones, and how long ago."""
        found: dict[NodeId, tuple[frozenset[int], float]] = {}
        for copy in self._node.spreading.copies:
            if copy.kind == LINES_REACHED and copy.expires_at > now and copy.stored.data_value.exists:
                try:
                    lines = LinesReached.decode(copy.stored.data_value.value).lines
                except DecodeError:
                    continue
                found[copy.signer] = frozenset(lines), max(0.0, now + REACHED_LIFETIME_S - copy.expires_at)
        return found

    def _listed(
        self, copy: SpreadCopy, entry: DirectoryEntry, said: dict[NodeId, tuple[frozenset[int], float]], now: float
    ) -> Listed:
        card = _card_of(entry)
        reach, heard_s = self._reach(copy, entry.peer, said)
        return Listed(copy.user, card, str(copy.signer), str(entry.peer), reach, heard_s, self._dial(copy.user, card))

    def _reach(
        self, copy: SpreadCopy, peer: NodeId, said: dict[NodeId, tuple[frozenset[int], float]]
    ) -> tuple[ReachState, float | None]:
        name = key_of(copy.user, self._node.configuration.instance_name)
        own = self._publisher.get(name)
        if own is not None and own.identity.node_id == copy.signer:
            return (ReachState.HERE if self._phones.get(name) else ReachState.NO_PHONE), 0.0
        if peer not in said:
            return ReachState.UNKNOWN, None
        lines, heard_s = said[peer]
        return (ReachState.PHONE if mark_of(copy.signer) in lines else ReachState.NO_PHONE), heard_s

    def _dial(self, aor: str, card: Card) -> str:
        """The number that somebody says is his counts where the dial plan here says so; else the name of the line."""
        user = key_of(aor, self._node.configuration.instance_name)
        ruled = self._plan.ruled(card.number, None) if card.number else None
        return card.number if ruled is not None and not ruled.refusal and ruled.number == user else user


# Each call of the same few people asks anew.
@lru_cache(maxsize=256)
def _label_in(entry: bytes, id_length: int) -> str:
    """The name in an entry as it is stored; "" if it cannot be read."""
    try:
        return _card_of(read_entry(entry, id_length)).label
    except DecodeError:
        return ""


def _card_of(entry: DirectoryEntry) -> Card:
    return Card(*(word.decode() for word in (entry.name, entry.number, entry.site, entry.callsign)))
