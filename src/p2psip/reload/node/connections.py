"""The Connection Table: links that are being dialled, links that are up, and the node at the other end of each.

Two nodes may dial each other at the same moment and have two links for a while. Messages leave over the newest; of
the two nodes the one with the larger Node-ID closes the other link a little later, so that never both are closed; the
other one does if it does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.link.link import Link, LinkState
from p2psip.reload.node.effects import Address, Dial, HangUp, Purpose, Write
from p2psip.reload.node.limits import DIALS_MAX, LINKS_MAX

SUPERSEDED_CLOSE_S = 5.0


@dataclass(slots=True)
class Connection:
    """One overlay link that is up."""

    number: int
    node: NodeId
    link: Link
    remote: Address
    came_up_at: float


@dataclass(frozen=True, slots=True)
class LinkLost:
    """No link to this node is left, or the one there is does not answer."""

    node: NodeId
    reason: str


@dataclass(frozen=True, slots=True)
class LinkBack:
    """A link that did not answer does so again."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class LinkIdle:
    """Nothing was sent to this node for so long that a Ping is due."""

    node: NodeId


LinkEvent = LinkLost | LinkBack | LinkIdle


class Connections:
    """All overlay links of one node. Containment and iteration are over the nodes that can be sent to."""

    def __init__(self, node_id: NodeId, message_bytes_max: int) -> None:
        self._node_id = node_id
        self._message_bytes_max = message_bytes_max
        self._numbers = iter(range(2, 1 << 62, 2))
        self._dialling: dict[int, object] = {}
        self._by_number: dict[int, Connection] = {}
        self._by_node: dict[NodeId, list[Connection]] = {}
        self._silent: set[NodeId] = set()
        self._timers: Timers[tuple[str, int]] = Timers()
        self._effects: list[Effect] = []

    def __contains__(self, node: object) -> bool:
        return node in self._by_node

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._by_node)

    def __len__(self) -> int:
        return len(self._by_number)

    @property
    def is_full(self) -> bool:
        """True if no further link is accepted."""
        return len(self._by_number) + len(self._dialling) >= LINKS_MAX

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def get(self, node: NodeId) -> Connection | None:
        """The link that messages for this node leave over."""
        connections = self._by_node.get(node)
        return connections[-1] if connections else None

    def to(self, node: NodeId) -> list[Connection]:
        """Every link to this node, the newest last."""
        return list(self._by_node.get(node, ()))

    def all(self) -> list[Connection]:
        """Every link, for people who look."""
        return list(self._by_number.values())

    # Dialling

    def dial(self, purpose: Purpose, candidates: tuple[Address, ...], context: object) -> int | None:
        """Begin to connect; `context` comes back from `dialled`. None if there are too many under way."""
        if len(self._dialling) >= DIALS_MAX or not candidates:
            return None
        number = next(self._numbers)
        self._dialling[number] = context
        self._effects.append(Dial(number, purpose, candidates))
        return number

    def dialled(self, number: int) -> object | None:
        """The dialling of this link is over, one way or the other: what it was for; None for an accepted link."""
        return self._dialling.pop(number, None)

    def hang_up(self, number: int, reason: str) -> None:
        """Close a link that never became a connection here."""
        self._effects.append(HangUp(number, reason))

    # Links that are up

    def add(self, number: int, node: NodeId, remote: Address, now: float) -> bool:
        """Enter a link whose other end has proved to be `node`; True if no other link to it works."""
        connection = Connection(number, node, Link(self._message_bytes_max, now), remote, now)
        self._by_number[number] = connection
        links = self._by_node.setdefault(node, [])
        links.append(connection)
        is_back = node in self._silent
        self._silent.discard(node)
        if len(links) > 1:
            patience_s = SUPERSEDED_CLOSE_S if self._node_id > node else 4 * SUPERSEDED_CLOSE_S
            self._timers.set(("superseded", links[0].number), now + patience_s, "superseded link")
        self._rearm(connection)
        return len(links) == 1 or is_back

    def remove(self, number: int) -> NodeId | None:
        """A link is down; the node, if no link to it is left and it has not been reported lost already."""
        connection = self._by_number.pop(number, None)
        if connection is None:
            return None
        self._timers.cancel(("link", number))
        self._timers.cancel(("superseded", number))
        links = self._by_node[connection.node]
        links.remove(connection)
        if links:
            return None
        del self._by_node[connection.node]
        if connection.node in self._silent:
            self._silent.remove(connection.node)
            return None
        return connection.node

    def close(self, number: int, reason: str) -> NodeId | None:
        """Close a link ourselves; as `remove`."""
        if number in self._by_number:
            self._effects.append(HangUp(number, reason))
        return self.remove(number)

    def send(self, node: NodeId, message: bytes, now: float) -> None:
        """Frame and write a message for `node`, which must be linked."""
        links = self._by_node[node]
        connection = next((each for each in reversed(links) if each.link.state is LinkState.UP), links[-1])
        connection.link.send(message, now)
        self._flush(connection)

    def receive(self, number: int, data: bytes, now: float) -> tuple[Connection, list[bytes], list[LinkEvent]] | None:
        """The messages that came over a link; None if it is not one of ours (any more). Raises FramingError."""
        connection = self._by_number.get(number)
        if connection is None:
            return None
        messages = connection.link.receive(data, now)
        self._flush(connection)
        return connection, messages, self._changes(connection.node)

    def handle_timeout(self, now: float) -> list[LinkEvent]:
        """Look after the health of links."""
        events: list[LinkEvent] = []
        for what, number in self._timers.pop_due(now):
            connection = self._by_number[number]
            if what == "superseded":
                self.close(number, "superseded by a newer link")
            else:
                events += self._look_at(connection, now)
            events += self._changes(connection.node)
        return events

    def _look_at(self, connection: Connection, now: float) -> list[LinkEvent]:
        connection.link.handle_timeout(now)
        if connection.link.state is LinkState.DEAD:
            self.close(connection.number, "does not answer")
            return []
        is_idle = connection.link.take_idle(now)
        self._rearm(connection)
        return [LinkIdle(connection.node)] if is_idle else []

    def _changes(self, node: NodeId) -> list[LinkEvent]:
        """Whether a node that is linked has fallen silent, or is back, since the last look."""
        links = self._by_node.get(node)
        if links is None:
            return []
        is_silent = all(connection.link.state is not LinkState.UP for connection in links)
        if is_silent and node not in self._silent:
            self._silent.add(node)
            return [LinkLost(node, "does not answer")]
        if not is_silent and node in self._silent:
            self._silent.remove(node)
            return [LinkBack(node)]
        return []

    def _flush(self, connection: Connection) -> None:
        if output := connection.link.take_output():
            self._effects.append(Write(connection.number, output))
        self._rearm(connection)

    def _rearm(self, connection: Connection) -> None:
        deadline = connection.link.next_deadline()
        if deadline is None:
            self._timers.cancel(("link", connection.number))
        else:
            self._timers.set(("link", connection.number), deadline.at, deadline.reason)
