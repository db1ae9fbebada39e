"""SIP connections to other peers, one for each pair of peers, made by AppAttach (RFC 7904 section 5.1).

A connection is a link of the node and a flow of the SIP server. Flow numbers that a driver chooses are odd; those of
connections to peers are negative as well, so that they never meet those of a driver's accepted phones.

Theory of operation. Two peers that want each other at the same moment get two connections; each end uses the newest
that it has, and one that nobody uses ends after a while. TCP does not say that the other end has lost its power. So
what is sent has a keep-alive behind it (RFC 5626 section 4.4.1), whose answer must come soon; from a peer that has
never answered one, none is expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.effects import AppLinkFailed, AppLinkUp
from p2psip.reload.node.node import Node
from p2psip.reload.wire.header import Entry
from p2psip.sip.entities.questions import Hops, NotLocated
from p2psip.sip.transports.hops import FlowHop

WAITING_MAX = 4096
"""Requests that wait for a connection."""

PING = b"\r\n\r\n"
PONG_MAX_S = 4.0
IDLE_MAX_S = 600.0
"""Longer than anything rings (timer C): with a connection that was quiet for so long no transaction is lost."""


def flow_of(link: int) -> int:
    """The SIP server's number for a link."""
    return -(2 * link + 1)


def link_of(flow: int) -> int:
    """The node's number for a flow to a peer."""
    return (-flow - 1) // 2


def is_peer_flow(flow: int) -> bool:
    """True for the flow of a connection to another peer."""
    return flow < 0


@dataclass(slots=True)
class _Link:
    """A connection: when it was used last, and what is known of its other end."""

    node: NodeId
    used_at: float
    answers_pings: bool = False


class PeerFlows:
    """The pool. `answers` collects (token of the SIP server's question, answer)."""

    def __init__(self, node: Node) -> None:
        self.answers: list[tuple[int, Hops | NotLocated]] = []
        self._node = node
        self._links: dict[int, _Link] = {}
        self._by_node: dict[NodeId, list[int]] = {}
        self._waiting: dict[int, NodeId] = {}
        self._timers: Timers[tuple[str, int]] = Timers()

    def __len__(self) -> int:
        return len(self._links)

    def __contains__(self, link: object) -> bool:
        return link in self._links

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return len(self._waiting)

    # Wanted by the SIP server

    def want(self, destination_list: Sequence[Entry], node: NodeId, token: int, now: float) -> None:
        """A request is to go to `node`: over a connection that there is, or over a new one."""
        links = self._by_node.get(node)
        if links:
            self.answers.append((token, Hops((FlowHop(flow_of(links[-1])),))))
        elif len(self._waiting) >= WAITING_MAX:
            self.answers.append((token, NotLocated(480, "Temporarily Unavailable", "too many calls wait for a peer")))
        else:
            self._waiting[token] = node
            self._node.app_attach(destination_list, node, now)

    def cancel(self, token: int) -> None:
        """The SIP server does not wait any more."""
        self._waiting.pop(token, None)

    def outgoing(self, link: int, data: bytes, now: float) -> bytes:
        """What goes over a link for this data of the SIP server."""
        if not data.strip(PING):
            return data
        self._links[link].used_at = now
        if ("pong", link) in self._timers:
            return data
        if self._links[link].answers_pings:
            self._timers.set(("pong", link), now + PONG_MAX_S, "no answer from a peer over its SIP connection")
        return data + PING

    # From the node

    def up(self, event: AppLinkUp, now: float) -> None:
        """A connection is up, whoever wanted it. It is to be greeted with a PING."""
        self._links[event.link] = _Link(event.node, now)
        self._by_node.setdefault(event.node, []).append(event.link)
        self._timers.set(("idle", event.link), now + IDLE_MAX_S, "SIP connection to a peer idle")
        self._answer_all(event.node, Hops((FlowHop(flow_of(event.link)),)))

    def failed(self, event: AppLinkFailed) -> None:
        """No connection came about."""
        self._answer_all(event.node, NotLocated(480, "Temporarily Unavailable", str(event.error)))

    def heard(self, link: int, data: bytes, now: float) -> None:
        """Bytes came over a link."""
        self._timers.cancel(("pong", link))
        state = self._links[link]
        if data.strip(PING):
            state.used_at = now
        elif len(data) % len(PING):
            # An odd number of line ends: one of them is a pong.
            state.answers_pings = True

    def down(self, link: int) -> bool:
        """A connection is gone; False if it was none of ours."""
        state = self._links.pop(link, None)
        if state is None:
            return False
        self._node.app_link_down(link)
        for what in ("pong", "idle"):
            self._timers.cancel((what, link))
        links = self._by_node[state.node]
        links.remove(link)
        if not links:
            del self._by_node[state.node]
        return True

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> list[tuple[int, str]]:
        """The links to be closed, and why."""
        ended: list[tuple[int, str]] = []
        for what, link in self._timers.pop_due(now):
            idle_until = self._links[link].used_at + IDLE_MAX_S
            if what == "pong":
                ended.append((link, f"peer {self._links[link].node.short} does not answer over its connection"))
            elif idle_until > now:
                self._timers.set(("idle", link), idle_until, "SIP connection to a peer idle")
            else:
                ended.append((link, "nobody has used it for a while"))
        return ended

    def _answer_all(self, node: NodeId, answer: Hops | NotLocated) -> None:
        tokens = [token for token, wanted in self._waiting.items() if wanted == node]
        for token in tokens:
            del self._waiting[token]
        self.answers += [(token, answer) for token in tokens]
