"""Lines: the accounts of phones at a peer, and their records in the overlay (design decision 4 and 5).

Theory of operation. The record of a line is in the overlay as long as the line exists, whether its phone is there or
not: a caller who comes to the peer of an absent phone is told so at once. It lives half an hour and is stored anew at
half of that; it is also stored anew when a phone registers, so that among the lines of one user the one whose phone
came last is the newest, which callers try first. A peer that stops removes its lines' records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.effects import Done, RequestRefused
from p2psip.reload.node.node import Node
from p2psip.reload.security.roles import Identity
from p2psip.reload.topology.ring import hash_name
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.sip_registration import REFRESH_S, fetch_request, route_to, store_request
from p2psip.reload.wire.contents import ErrorCode
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.storage_messages import DictionaryEntry, FetchAns, FetchKindResponse, StoreAns

RETRY_FIRST_S = 2.0
RETRY_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Line:
    """One user at this peer: the key and certificate for `user@overlay`, and the phone password as HA1s."""

    identity: Identity
    ha1s: Mapping[str, str] = field(repr=False)

    @property
    def aor(self) -> str:
        """`user@overlay`."""
        return self.identity.user

    @property
    def name(self) -> str:
        """The user part, by which the phone registers."""
        return self.aor.rpartition("@")[0]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a line's record was stored: who is responsible, which peers it said hold copies, when."""

    responsible: NodeId
    replicas: tuple[NodeId, ...]
    storage_time_ms: int
    at: float


@dataclass(slots=True)
class _Published:
    """A line and the state of its record."""

    line: Line
    storage_time_ms: int = 0
    placed: Placed | None = None
    failure: str = ""
    retry_s: float = RETRY_FIRST_S


class Publisher:
    """Keeps the records of this peer's lines in the overlay."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lines: dict[str, _Published] = {}
        self._handles: dict[int, tuple[str, int]] = {}
        self._removals: dict[int, NodeId] = {}
        self._chases: dict[int, str] = {}
        self._timers: Timers[str] = Timers()

    @property
    def lines(self) -> list[Line]:
        """All lines of this peer, by name."""
        return [self._lines[name].line for name in sorted(self._lines)]

    def get(self, name: str) -> Line | None:
        """The line of a user at this peer."""
        published = self._lines.get(name)
        return published.line if published else None

    def placed(self, name: str) -> Placed | None:
        """Where the line's record is, as far as the last Store said."""
        return self._lines[name].placed if name in self._lines else None

    def failure(self, name: str) -> str:
        """Why the line's record is not in the overlay; empty if it is."""
        return self._lines[name].failure if name in self._lines else ""

    def add(self, line: Line, now: float) -> None:
        """Begin to serve a line, or serve it with a new certificate or password."""
        known = self._lines.get(line.name)
        if known is not None and known.line.identity.node_id != line.identity.node_id:
            self._node.remove_client(known.line.identity.node_id)
        self._node.add_client(line.identity)
        self._lines[line.name] = _Published(line)
        self._timers.set(line.name, now, "store the line's record")

    def remove(self, name: str, now: float) -> None:
        """Cease to serve a line; its record is removed from the overlay."""
        published = self._lines.pop(name, None)
        self._timers.cancel(name)
        if published is not None:
            self._withdraw(published, now)

    def phone_came(self, name: str, now: float) -> None:
        """A phone has registered: this line's record is to be the newest of its user."""
        if name in self._lines:
            self._timers.set(name, now, "a phone registered")

    def joined(self, now: float) -> None:
        """The overlay can be reached (again): what could not be stored is stored now."""
        for name, published in self._lines.items():
            if published.placed is None:
                self._timers.set(name, now, "store the line's record")

    def withdraw_all(self, now: float) -> None:
        """The peer stops: "A peer that stops cleanly removes its lines' entries"."""
        for published in self._lines.values():
            self._withdraw(published, now)
        self._timers = Timers()

    @property
    def is_withdrawing(self) -> bool:
        """True while removals are under way."""
        return bool(self._removals)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Store what is due."""
        for name in self._timers.pop_due(now):
            if self._node.chord.is_serving:
                self._publish(name, now)

    def handle_done(self, done: Done, now: float) -> bool:
        """The end of a Store; False if it is none of ours."""
        if (removed := self._removals.pop(done.handle, None)) is not None:
            if all(published.line.identity.node_id != removed for published in self._lines.values()):
                self._node.remove_client(removed)
            return True
        if (chased := self._chases.pop(done.handle, None)) is not None:
            self._chased(chased, done, now)
            return True
        name, storage_time_ms = self._handles.pop(done.handle, ("", 0))
        published = self._lines.get(name)
        if published is not None and published.storage_time_ms == storage_time_ms:
            self._stored(published, done, now)
        return bool(name)

    def _publish(self, name: str, now: float, above_ms: int = 0) -> None:
        published = self._lines[name]
        identity = published.line.identity
        try:
            issued = self._node.data.issue_storage_time(identity.node_id, now, above_ms=above_ms)
        except Rejection as error:
            self._failed(published, str(error), now)
            return
        request = store_request(identity, route_to(self._node.node_id), issued.storage_time_ms, hash_name)
        published.storage_time_ms = issued.storage_time_ms
        handle = self._node.data.store(identity, request, now, after=issued.after)
        self._handles[handle] = (name, issued.storage_time_ms)

    def _withdraw(self, published: _Published, now: float) -> None:
        identity = published.line.identity
        if published.placed is not None:
            issued = self._node.data.issue_storage_time(identity.node_id, now)
            request = store_request(identity, None, issued.storage_time_ms, hash_name)
            handle = self._node.data.store(identity, request, now, after=issued.after)
            self._removals[handle] = identity.node_id
        else:
            self._node.remove_client(identity.node_id)

    def _stored(self, published: _Published, done: Done, now: float) -> None:
        name = published.line.name
        if isinstance(done.result, Answer) and isinstance(done.result.body, StoreAns):
            replicas = tuple(node for kind in done.result.body.kind_responses for node in kind.replicas)
            published.placed = Placed(done.result.signer.node_id, replicas, published.storage_time_ms, now)
            published.failure, published.retry_s = "", RETRY_FIRST_S
            self._timers.set(name, now + REFRESH_S, "refresh the line's record")
        elif isinstance(done.result, RequestRefused) and done.result.code is ErrorCode.DATA_TOO_OLD:
            # Our clock is behind the one by which an earlier record of this line was stored.
            handle = self._node.data.fetch(fetch_request(published.line.aor, hash_name), now)
            self._chases[handle] = name
        else:
            self._failed(published, str(done.result), now)

    def _chased(self, name: str, done: Done, now: float) -> None:
        """Store again, with a storage_time later than that of the record that is there."""
        published = self._lines.get(name)
        if published is None:
            return
        if isinstance(done.result, Answer) and isinstance(done.result.body, FetchAns):
            self._publish(name, now, above_ms=_latest_ms(done.result.body, published.line.identity.node_id))
        else:
            self._failed(published, str(done.result), now)

    def _failed(self, published: _Published, why: str, now: float) -> None:
        published.failure = why
        self._timers.set(published.line.name, now + published.retry_s, "store the line's record again")
        published.retry_s = min(RETRY_MAX_S, 2 * published.retry_s)


def _latest_ms(answer: FetchAns, line: NodeId) -> int:
    """The storage_time of this line's record in an answer; 0 if there is none."""
    return max(
        (
            stored.storage_time
            for kind in answer.kind_responses
            if isinstance(kind, FetchKindResponse)
            for stored in kind.values
            if isinstance(stored.value, DictionaryEntry) and stored.value.key == line
        ),
        default=0,
    )
