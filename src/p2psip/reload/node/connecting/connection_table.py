"""The Connection Table: links that are up, and the node at the other end of each.

Two nodes may dial each other at the same moment and have two links for a while. Messages leave over the newest; of
the two nodes the one with the larger Node-ID closes the other link a little later, so that never both are closed; the
other one does if it does not. Where the newer came a while after, both know which it is, and the older goes soon:
whoever has lost it without knowing, as its Node-ID is on two machines, learns that it has.

A node is linked as long as one link to it works. One that fell silent is not: nothing is sent to it, its links are kept
for a while in case it comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.forwarding.fragmentation import fragment
from p2psip.reload.link.datagram import NARROW_DATAGRAM_BYTES, RECORD_BYTES_MAX, DatagramLink
from p2psip.reload.link.direct import DirectLink
from p2psip.reload.link.link import (
    ANSWER_S,
    CHECKED_IDLE_S,
    Idle,
    Late,
    Link,
    LinkLost,
    LinkNews,
    LinkState,
    Unacknowledged,
    Vanished,
)
from p2psip.reload.link.stream import StreamLink
from p2psip.reload.node.effects import Write
from p2psip.reload.node.limits import (
    LINKS_MAX,
    LINKS_PER_NODE_MAX,
    WAITING_BYTES_MAX,
    WAITING_BYTES_NORMAL,
)
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import HangUp, Session
from p2psip.reload.wire.link_messages import OverlayLinkType

SUPERSEDED_CLOSE_S = 5.0
REPLACED_CLOSE_S = 1.0
"""A link that has been up for longer than this when a newer comes is the older to both ends, and closed after this."""

EARLY_LOOK_S = 5.0
"""So much too early a link may be looked at: under load its timer is not moved with each message."""

SILENT = "does not answer"


@dataclass(slots=True)
class Connection:
    """One overlay link that is up."""

    number: int
    node: NodeId
    link: Link
    remote: Address
    came_up_at: float
    kind: OverlayLinkType = OverlayLinkType.TLS_TCP_FH_NO_ICE
    armed_at: float | None = None
    """When its health is looked at; perhaps a little sooner than need be."""
    has_spoken: bool = False
    """True once the other end has sent a message, an acknowledgement or anything else."""


@dataclass(frozen=True, slots=True)
class LinkGone(Effect):
    """This link was up and is not any more; what is remembered by its number may be forgotten."""

    number: int


@dataclass(frozen=True, slots=True)
class LinkBack:
    """A link that did not answer does so again."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class NotTakenYet:
    """Messages that wait for this node, which has been silent for a while."""

    node: NodeId
    messages: tuple[Late, ...]


@frozen
class LinkIdle:
    """A Ping to this node is due: nothing was sent to it for long, or one of the links to it failed."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Messages that were given to a link to this node which then failed; perhaps it has them, perhaps not."""

    node: NodeId
    messages: tuple[Unacknowledged, ...]


@dataclass(frozen=True, slots=True)
class LinkSilent:
    """A link fell silent: large packets vanish on the way, or nobody is there. `dialled` is where, if we did."""

    node: NodeId
    dialled: Address | None


LinkEvent = NotTaken | NotTakenYet | LinkLost | LinkBack | LinkIdle | LinkSilent


class ConnectionTable:
    """All overlay links of one node. Containment and iteration are over the nodes that are linked."""

    def __init__(
        self,
        node_id: NodeId,
        message_bytes_max: int,
        paths: Paths,
        reliability_timer_s: float = 3.0,
        queue: TimerQueue | None = None,
    ) -> None:
        """`paths` are made for links of this table, and hear what their links show of the ways."""
        self._node_id = node_id
        self._message_bytes_max = message_bytes_max
        self._reliability_timer_s = reliability_timer_s
        self._paths = paths
        self._by_number: dict[int, Connection] = {}
        self._by_node: dict[NodeId, list[Connection]] = {}
        self._linked: dict[NodeId, None] = {}
        self._timers: Timers[tuple[str, int]] = Timers(queue)
        self._effects: list[Effect] = []

    def __contains__(self, node: object) -> bool:
        return node in self._linked

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._linked)

    def __len__(self) -> int:
        return len(self._by_number)

    def has_room_for(self, node: NodeId) -> bool:
        """True if a further link, to this node, may be entered."""
        return len(self._by_number) < LINKS_MAX and len(self._by_node.get(node, ())) < LINKS_PER_NODE_MAX

    def can_dial(self, session: Session) -> bool:
        """True if a further connection may be made now, for this."""
        return len(self._by_number) + len(self._paths) < LINKS_MAX and self._paths.has_room_for(session)

    def dial(self, session: Session, context: object, now: float) -> int | None:
        """Begin to connect, for what `context` says. None if there are too many under way, or nowhere to go."""
        return self._paths.connect(session, context, now) if self.can_dial(session) else None

    def dialled_for(self) -> tuple[object, ...]:
        """What the connections are for that are being made."""
        return self._paths.contexts()

    def use_configuration(self, message_bytes_max: int) -> None:
        """Take messages of at most this size from now on."""
        self._message_bytes_max = message_bytes_max
        for connection in self._by_number.values():
            connection.link.message_bytes_max = message_bytes_max

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def get(self, node: NodeId) -> Connection | None:
        """The newest link to this node that works; the newest of all if none does."""
        connections = self._by_node.get(node, ())
        if len(connections) == 1:
            return connections[0]
        working = [connection for connection in connections if connection.link.state is LinkState.UP]
        return next(reversed(working or connections), None)

    def ways_round(self, node: NodeId) -> list[NodeId]:
        """Others whose link works and is in no doubt, over which something may be sent to `node`."""
        found = ((each, self.get(each)) for each in self._linked if each != node)
        return [each for each, link in found if link is not None and not self._paths.is_doubted(link.number)]

    def is_doubted(self, node: NodeId) -> bool:
        """True if the path of the link to `node` has not answered lately."""
        return (link := self.get(node)) is not None and self._paths.is_doubted(link.number)

    def by_number(self, number: int) -> Connection | None:
        """The link with this number, if it is up."""
        return self._by_number.get(number)

    def to(self, node: NodeId) -> list[Connection]:
        """Every link to this node, the newest last."""
        return list(self._by_node.get(node, ()))

    def all(self) -> list[Connection]:
        """Every link, for people who look."""
        return list(self._by_number.values())

    def hang_up(self, number: int, reason: str) -> None:
        """Close a link that never became a connection here."""
        self._effects.append(HangUp(number, reason))

    # Links that are up

    def add(
        self,
        number: int,
        node: NodeId,
        remote: Address,
        now: float,
        *,
        datagram_bytes: int | None = None,
        is_direct: bool = False,
    ) -> bool:
        """Enter a link whose other end has proved to be `node`; True if no other link to it works."""
        kind = OverlayLinkType.TLS_TCP_FH_NO_ICE if datagram_bytes is None else OverlayLinkType.DTLS_UDP_SR_NO_ICE
        link = self._make_link(datagram_bytes, now, is_direct=is_direct)
        if self._paths.is_checked(number):
            link.idle_s = CHECKED_IDLE_S
        if number % 2 == 0:
            link.idle_s += ANSWER_S
        connection = Connection(number, node, link, remote, now, kind)
        links = self._by_node.setdefault(node, [])
        patience_s = SUPERSEDED_CLOSE_S if self._node_id > node else 4 * SUPERSEDED_CLOSE_S
        for older in links:
            if now > older.came_up_at + REPLACED_CLOSE_S:
                self._timers.set(("superseded", older.number), now + REPLACED_CLOSE_S, "replaced link")
            elif ("superseded", older.number) not in self._timers:
                self._timers.set(("superseded", older.number), now + patience_s, "superseded link")
        links.append(connection)
        self._by_number[number] = connection
        for older in links[:-1]:
            if not isinstance(older.link, DatagramLink):
                continue
            if isinstance(link, DatagramLink):
                messages = link.take_over(older.link)
            else:
                # What waits on a path that answers is not brought over by a stream as well.
                messages = older.link.let_go() if self._paths.is_doubted(older.number) else []
            for message in messages:
                self._give(connection, message, now)
            self._rearm(older)
        self._flush(connection)
        if _is_narrow(datagram_bytes) and not self._paths.is_narrow(remote.host):
            # The handshake did not get through with larger ones: others need not find that out once more.
            self._paths.large_vanish(remote.host, kind, now)
        self._rearm(connection)
        is_new = node not in self._linked
        self._linked[node] = None
        return is_new

    def keep_alive(self, node: NodeId) -> None:
        """It takes repeated acknowledgements for signs of life. On a path of ICE there are others."""
        for connection in self.to(node):
            if not self._paths.is_checked(connection.number):
                connection.link.keeps_alive = True
                self._rearm(connection)

    def moved(self, number: int, remote: Address, now: float) -> None:
        """The path of a link is another: `remote` is its other end."""
        if (connection := self._by_number.get(number)) is not None and isinstance(connection.link, DatagramLink):
            connection.remote = remote
            connection.link.try_again(now)
            self._flush(connection)

    def holds(self, number: int, now: float) -> None:
        """The path of a link was silent, and answers."""
        if (connection := self._by_number.get(number)) is not None and isinstance(connection.link, DatagramLink):
            connection.link.path_answers(now)
            self._flush_vanished(connection, now)

    def rename(self, number: int, node: NodeId) -> list[LinkEvent]:
        """The other end of a link turned out to be `node`, not whom we took it for."""
        connection = self._by_number.get(number)
        if connection is None:
            return []
        before, connection.node = connection.node, node
        self._by_node[before].remove(connection)
        if not self._by_node[before]:
            del self._by_node[before]
        self._by_node.setdefault(node, []).append(connection)
        if connection.link.state is LinkState.UP:
            self._linked[node] = None
        return self._changes(before, "it is another")

    def remove(self, number: int, reason: str) -> list[LinkEvent]:
        """A link is down."""
        connection = self._by_number.pop(number, None)
        if connection is None:
            return []
        self._effects.append(LinkGone(number))
        self._timers.cancel(("link", number))
        self._timers.cancel(("superseded", number))
        links = self._by_node[connection.node]
        links.remove(connection)
        if not links:
            del self._by_node[connection.node]
        connection.link.end()
        news = [each for each in connection.link.drain() if not isinstance(each, bytes)]
        return [*self._changes(connection.node, reason), *_not_taken(connection.node, news)]

    def close(self, number: int, reason: str) -> list[LinkEvent]:
        """Close a link ourselves."""
        if number in self._by_number:
            self._effects.append(HangUp(number, reason))
        return self.remove(number, reason)

    def send(self, node: NodeId, message: bytes, now: float) -> None:
        """Frame and write a message for `node`, which must be linked."""
        connection = self.get(node)
        assert connection is not None, f"{node.short} is not linked"
        if connection.link.is_silent(now) and (round_trip := self._paths.round_trip(connection.number)) is not None:
            connection.link.round_trip.follow(round_trip)
        self._give(connection, message, now)
        self._flush(connection)
        if connection.link.waiting_bytes > WAITING_BYTES_NORMAL:
            self._bound_waiting(now)

    def _give(self, connection: Connection, message: bytes, now: float) -> None:
        if not isinstance(connection.link, DirectLink):
            # What a link keeps until it is acknowledged is counted in bytes, and is to be no more than these.
            message = bytes(message)
        for piece in _pieces(message, connection.link.payload_bytes, len(connection.node)):
            connection.link.send(piece, now)

    def _flush_vanished(self, connection: Connection, now: float) -> None:
        """Write; where long messages vanish on this link, and short ones do not, it goes on with short ones."""
        if vanished := [each for each in self._flush(connection) if isinstance(each, Vanished)]:
            self._paths.large_vanish(connection.remote.host, connection.kind, now)
            for each in vanished:
                self._give(connection, each.message, now)
            self._flush(connection)

    def _bound_waiting(self, now: float) -> None:
        links = self._by_number.values()
        if sum(each.link.waiting_bytes for each in links) > WAITING_BYTES_MAX:
            slowest = max(links, key=lambda each: each.link.waiting_bytes)
            slowest.link.give_up(now)
            self._rearm(slowest)

    def receive(self, number: int, data: bytes, now: float) -> tuple[Connection, list[bytes], list[LinkEvent]] | None:
        """The messages that came over a link; None if it is not one of ours (any more). Raises FramingError."""
        connection = self._by_number.get(number)
        if connection is None:
            return None
        link = connection.link
        state_before = link.state
        messages = link.receive(data, now)
        if isinstance(link, DirectLink):
            # It has neither to acknowledge anything nor to wait less for what it sent.
            return connection, messages, []
        if state_before is LinkState.FAILED and link.state is LinkState.UP and not _is_narrow(link.payload_bytes):
            self._paths.large_arrive(connection.remote.host)
        self._flush_vanished(connection, now)
        return connection, messages, [] if link.state is state_before else self._changes(connection.node, SILENT)

    def handle_returned(self, number: int, message: bytes, now: float) -> None:
        """A message could not be delivered over a direct link."""
        connection = self._by_number.get(number)
        if connection is not None and isinstance(connection.link, DirectLink):
            connection.link.handle_returned(message, now)
            self._rearm(connection)

    def handle_timeout(self, now: float) -> list[LinkEvent]:
        """Look after the health of links."""
        events: list[LinkEvent] = []
        for what, number in self._timers.pop_due(now):
            connection = self._by_number.get(number)
            if connection is None:
                # Closed by what was due just before.
                continue
            if what == "link":
                connection.armed_at = None
                events += self._look_at(connection, now)
            elif self.get(connection.node) is not connection:
                events += self.close(number, "superseded by a newer link")
            elif len(self._by_node[connection.node]) > 1:
                # The newer one does not work at present.
                self._timers.set((what, number), now + SUPERSEDED_CLOSE_S, "superseded link")
        return events

    def _make_link(self, datagram_bytes: int | None, now: float, *, is_direct: bool) -> Link:
        if datagram_bytes is None:
            return (DirectLink if is_direct else StreamLink)(self._message_bytes_max, now)
        return DatagramLink(self._message_bytes_max, datagram_bytes, self._reliability_timer_s, now)

    def _look_at(self, connection: Connection, now: float) -> list[LinkEvent]:
        link, node = connection.link, connection.node
        state_before = link.state
        link.handle_timeout(now)
        if link.state is LinkState.DEAD:
            return self.close(connection.number, SILENT)
        news = self._flush(connection)
        is_chosen = self.get(node) is connection
        is_idle = is_chosen and any(isinstance(each, Idle) for each in news)
        changes = self._changes(node, SILENT)
        if is_chosen and (late := tuple(each for each in news if isinstance(each, Late))):
            changes.append(NotTakenYet(node, late))
        if link.state is LinkState.FAILED and state_before is LinkState.UP:
            self._paths.large_vanish(connection.remote.host, connection.kind, now)
            changes += _not_taken(node, news)
            is_ours = connection.number % 2 == 0
            changes.append(LinkSilent(node, connection.remote if is_ours else None))
        # Where one link fails and another is left, that one is tried as well.
        is_doubtful = link.state is not state_before and node in self._linked
        return [*changes, LinkIdle(node)] if is_idle or is_doubtful else changes

    def _changes(self, node: NodeId, reason: str) -> list[LinkEvent]:
        """Whether a node is linked no more, or is again, since the last look."""
        works = any(connection.link.state is LinkState.UP for connection in self._by_node.get(node, ()))
        if works and node not in self._linked:
            self._linked[node] = None
            return [LinkBack(node)]
        if not works and node in self._linked:
            del self._linked[node]
            return [LinkLost(node, reason)]
        return []

    def _flush(self, connection: Connection) -> list[LinkNews]:
        """Write what a link wants written; what else it gives."""
        news: list[LinkNews] = []
        for output in connection.link.drain():
            if isinstance(output, bytes):
                self._effects.append(Write(connection.number, output))
            else:
                news.append(output)
        self._rearm(connection)
        return news

    def _rearm(self, connection: Connection) -> None:
        deadline = connection.link.next_deadline()
        armed_at = connection.armed_at
        # Sooner, or much later: most links answer in time, and then have nothing to say for long.
        if deadline is not None and (armed_at is None or not armed_at <= deadline.at <= armed_at + EARLY_LOOK_S):
            connection.armed_at = deadline.at
            self._timers.set(("link", connection.number), deadline.at, deadline.reason)


def _is_narrow(datagram_bytes: int | None) -> bool:
    """True if no large packet goes over a link."""
    return datagram_bytes is not None and datagram_bytes <= NARROW_DATAGRAM_BYTES


def _not_taken(node: NodeId, news: Sequence[LinkNews]) -> list[LinkEvent]:
    messages = tuple(each for each in news if isinstance(each, Unacknowledged))
    return [NotTaken(node, messages)] if messages else []


def _pieces(message: bytes, payload_bytes: int | None, node_id_length: int) -> list[bytes]:
    """6.7: what does not fit the link's datagrams is fragmented; what cannot be goes whole, and IP cuts it."""
    if payload_bytes is None or len(message) <= payload_bytes:
        return [message]
    pieces = fragment(message, payload_bytes, node_id_length=node_id_length)
    if len(pieces[0]) <= RECORD_BYTES_MAX:
        return pieces
    return fragment(message, RECORD_BYTES_MAX, node_id_length=node_id_length)
