"""SIP connections to other peers, one for each pair of peers, made by AppAttach (RFC 7904 section 5.1).

A connection is a link of the node and a flow of the SIP server. Flow numbers that a driver chooses are odd; those of
connections to peers are negative as well, so that they never meet those of a driver's accepted phones.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.reload.node.effects import AppLinkFailed, AppLinkUp
from p2psip.reload.node.node import Node
from p2psip.reload.transport.transport import Entry
from p2psip.sip.entities.questions import Hops, NotLocated
from p2psip.sip.transports.hops import FlowHop

WAITING_MAX = 4096


def flow_of(link: int) -> int:
    """The SIP server's number for a link."""
    return -(2 * link + 1)


def link_of(flow: int) -> int:
    """The node's number for a flow to a peer."""
    return (-flow - 1) // 2


def is_peer_flow(flow: int) -> bool:
    """True for the flow of a connection to another peer."""
    return flow < 0


class PeerFlows:
    """The pool. `answers` collects (token of the SIP server's question, answer)."""

    def __init__(self, node: Node) -> None:
        self.answers: list[tuple[int, Hops | NotLocated]] = []
        self._node = node
        self._links: dict[int, NodeId] = {}
        self._by_node: dict[NodeId, list[int]] = {}
        self._waiting: dict[NodeId, list[int]] = {}

    def __len__(self) -> int:
        return len(self._links)

    def __contains__(self, link: object) -> bool:
        return link in self._links

    def want(self, destination_list: Sequence[Entry], node: NodeId, token: int, now: float) -> None:
        """A request is to go to `node`: over a connection that there is, or over a new one."""
        links = self._by_node.get(node)
        if links:
            self.answers.append((token, Hops((FlowHop(flow_of(links[-1])),))))
            return
        if sum(map(len, self._waiting.values())) >= WAITING_MAX:
            self.answers.append((token, NotLocated(480, "Temporarily Unavailable", "too many calls wait for a peer")))
            return
        self._waiting.setdefault(node, []).append(token)
        self._node.app_attach(destination_list, node, now)

    def up(self, event: AppLinkUp) -> None:
        """A connection is up, whoever wanted it."""
        self._links[event.link] = event.node
        self._by_node.setdefault(event.node, []).append(event.link)
        hops = Hops((FlowHop(flow_of(event.link)),))
        self.answers += [(token, hops) for token in self._waiting.pop(event.node, [])]

    def failed(self, event: AppLinkFailed) -> None:
        """No connection came about."""
        answer = unreachable(event.error)
        self.answers += [(token, answer) for token in self._waiting.pop(event.node, [])]

    def down(self, link: int) -> bool:
        """A connection is gone; False if it was none of ours."""
        node = self._links.pop(link, None)
        if node is None:
            return False
        self._by_node[node].remove(link)
        if not self._by_node[node]:
            del self._by_node[node]
        return True


def unreachable(error: RequestFailed) -> NotLocated:
    """What a phone is told when the overlay fails: why, in the overlay's words (design decision 10)."""
    return NotLocated(480, "Temporarily Unavailable", str(error))
