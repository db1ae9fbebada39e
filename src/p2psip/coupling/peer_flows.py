"""SIP connections to other peers, one for each pair of peers, made by AppAttach (RFC 7904 section 5.1).

A connection is a link of the node and a flow of the SIP server. Flow numbers that a driver chooses are odd; those of
connections to peers are negative as well, so that they never meet those of a driver's accepted phones.

Theory of operation. Two peers that want each other at the same moment get two connections; each end uses the newest
that it has, and one that nobody uses ends after a while. TCP does not say that the other end has lost its power. So
what is sent has a keep-alive behind it (RFC 5626 section 4.4.1), whose answer must come soon; from a peer that has
never answered one, none is expected. One is under way at a time: the answers to two, one behind the other, look like
another question. Nor does anybody say that large packets vanish on the way: then nothing arrives any more, whatever its
size, and what was sent is not acknowledged. A connection on which either is so is given up, its way is taken for one
that carries small packets alone (as that of a silent link), and who waits for an answer over it asks for the next
connection.

Nor does the overlay say that a peer has died: a message for a node that is not there is dropped in silence (RFC 6940
section 6.1.1). But whoever is responsible for the place of a Node-ID knows whether that node is there. So together with
an AppAttach, and when nothing has come since something was sent, it is asked where it would send a message for that
node (a RouteQuery, section 6.4.2.4). Where that is nowhere, callers are told after a moment, in which the node itself
may still answer; the AppAttach goes on behind their backs, so that a peer which comes back is linked with.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2psip.base.address import Address
from p2psip.base.effects import AskAnswered, Effect
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.coupling.call_paths import WATCH_S, CallPaths, FlowWatched, is_of_invite
from p2psip.coupling.gruu import last_node, read_gruu
from p2psip.reload.node.effects import AppLinkFailed, AppLinkUp, Write
from p2psip.reload.node.node import Node
from p2psip.reload.node.tunnelling.tunnel_commands import OpenTunnel, TunnelFailed, is_tunnel
from p2psip.reload.paths.values import CutIfSilent, Purpose
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination, Entry
from p2psip.reload.wire.topology_messages import RouteQueryReq
from p2psip.sip.entities.domains.by_domain import closed
from p2psip.sip.entities.questions import Hops, NotLocated
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import FlowHop

WAITING_MAX = 4096
"""Requests that wait for a connection."""

PING = b"\r\n\r\n"
PONG = b"\r\n"
PONG_MAX_S = 2.0
UNACKNOWLEDGED_MAX_S = 3.0
"""How long what was sent may not be acknowledged, which the other end's machine does at once."""

PONG_DOUBTFUL_S = 0.5
"""Without an answer for so long, the overlay is asked whether the peer is there at all."""

DOUBT_AGAIN_S = 2.0
DOUBTED_S = 32.0
"""How often, and for how long, a silent peer is asked after: as long as a request waits (RFC 3261, timer B)."""

ABSENT_GRACE_S = 0.5
"""How long a node may still answer after its place was found empty: our tables may have been older than the ring."""

ABSENT_S = 2.0
"""How long it is not sought again then."""

ABSENT_MAX = 1024
"""Nodes of which that is remembered."""

STREAM_AFTER_S = 1.0
"""Where a path for calls is looked for, by ICE: how long it has before a stream is tried beside it."""

TUNNEL_AFTER_S = 1.0
"""How long a connection has before a tunnel is tried beside it, where the configuration permits tunnels."""

ASK_AGAIN_S = 0.5
"""How long after an AppAttach has failed the next goes, where the path that there is does not answer."""

TRY_AGAIN_S = 30.0
"""Where there is a tunnel and no path, or a stream, a call has a path looked for again after so long."""

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
    remote: Address
    used_at: float
    answers_pings: bool = False
    is_unheard: bool = False
    """True if nothing has come since something was sent, and a keep-alive behind it."""
    doubted_until: float = 0.0
    """So long it is asked whether the peer is in the overlay, unless something comes."""


@dataclass(frozen=True, slots=True)
class _Wait:
    """A request that waits for a connection to `node`."""

    node: NodeId
    since: float


@dataclass(slots=True)
class _Attempt:
    """AppAttaches to one node that are under way, by the kinds of connection that they are for."""

    since: float
    route: Sequence[Entry]
    kinds: set[Purpose]
    reasons: list[str] = field(default_factory=list)
    has_tunnel: bool = False
    """True while a tunnel is being opened beside them."""
    why_no_path: str = ""
    """What became of the search for a path, if that is over."""

    @property
    def is_open(self) -> bool:
        """True if something may still come of it."""
        return bool(self.kinds) or self.has_tunnel


@dataclass(frozen=True, slots=True)
class FlowOver(Effect):
    """A connection is to be closed, on both its sides: the link of the node and the flow of the SIP server."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class PlaceContext:
    """A RouteQuery for the place of a node."""

    node: NodeId


class PeerFlows:
    """The pool."""

    def __init__(self, node: Node, queue: TimerQueue | None = None) -> None:
        self._effects: list[Effect] = []
        self._node = node
        self._queue = TimerQueue(queue)
        self.calls = CallPaths(self._queue)
        """The paths that carry calls, where there is ICE; all else in here is about streams."""
        self._links: dict[int, _Link] = {}
        self._by_node: dict[NodeId, list[int]] = {}
        self._waiting: dict[int, _Wait] = {}
        self._attaching: dict[NodeId, _Attempt] = {}
        self._asked: set[NodeId] = set()
        """Whose place is asked for, by a RouteQuery that is open."""
        self._absent: OrderedDict[NodeId, tuple[str, float]] = OrderedDict()
        """Nodes that are not in the overlay: in which words, and until when that is believed."""
        self._timers: Timers[tuple[str, int]] = self._queue.scope()
        self._graces: Timers[NodeId] = self._queue.scope()
        self._streams: Timers[NodeId] = self._queue.scope()
        """When a stream is tried as well."""
        self._tunnels: Timers[NodeId] = self._queue.scope()
        """When a tunnel is."""
        self._again: Timers[NodeId] = self._queue.scope()
        """When a path is asked for again."""
        self._tried: OrderedDict[NodeId, float] = OrderedDict()
        """When a connection to a node was last looked for."""

    def __len__(self) -> int:
        return len(self._links)

    def __contains__(self, link: object) -> bool:
        return link in self._links

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return len(self._waiting)

    # Wanted by the SIP server

    def resolve(self, uri: SipUri, overlay: str, token: int, now: float) -> None:
        """A request is to go where this URI leads: to the peer of a GRUU, or nowhere."""
        destination_list = read_gruu(uri, node_id_length=len(self._node.node_id)) if uri.host == overlay else None
        node = last_node(destination_list) if destination_list else None
        if destination_list is None or node is None:
            refusal = NotLocated(404, "Not Found", closed(uri, overlay))
            self._effects.append(AskAnswered(token, refusal))
        else:
            self.want(destination_list, node, token, now)

    def want(self, destination_list: Sequence[Entry], node: NodeId, token: int, now: float) -> None:
        """A request is to go to `node`: over a connection that there is, or over a new one."""
        links = self._by_node.get(node)
        if self._node.is_linked(node):
            # It has come back, and we are linked with it.
            self._absent.pop(node, None)
        absent, until = self._absent.get(node, ("", 0.0))
        flow, is_tunnelled = self.calls.flow_to(node), self.calls.is_tunnelled(node)
        if flow is not None and not (links and is_tunnelled):
            is_makeshift = is_tunnelled or self.calls.is_streamed(node)
            if is_makeshift and node not in self._attaching and now >= self._tried.get(node, -math.inf) + TRY_AGAIN_S:
                self._attach(destination_list, node, now)
            self._effects.append(AskAnswered(token, Hops((FlowHop(flow),))))
        elif links:
            self._effects.append(AskAnswered(token, Hops((FlowHop(flow_of(links[-1])),))))
        elif until > now:
            self._effects.append(AskAnswered(token, NotLocated(480, "Temporarily Unavailable", absent)))
        elif len(self._waiting) >= WAITING_MAX:
            self._effects.append(
                AskAnswered(token, NotLocated(480, "Temporarily Unavailable", "too many calls wait for a peer"))
            )
        else:
            self._waiting[token] = _Wait(node, now)
            self._attach(destination_list, node, now)

    def want_path(self, node: NodeId, now: float) -> None:
        """Something is to go to a peer that only a path for calls carries."""
        if node not in self._attaching and (self._node.has_call_paths or self._permits_tunnels):
            self._attach([Destination.node(node)], node, now)

    def cancel(self, token: int) -> None:
        """The SIP server does not wait any more."""
        self._waiting.pop(token, None)

    def outgoing(self, link: int, data: bytes, now: float) -> bytes:
        """What goes over a link for this data of the SIP server."""
        if not data.strip(PING):
            return data
        self._used(link, data, now)
        if not self._links[link].is_unheard:
            return data + self.ping(link, now)
        # It was there when it was asked for last, and may have gone since.
        self._doubt_soon(link, now)
        return data

    def ping(self, link: int, now: float) -> bytes:
        """A keep-alive that goes over a link now, when it is up or behind something else."""
        self._links[link].is_unheard = True
        self._doubt_soon(link, now)
        if self._links[link].answers_pings:
            self._timers.set(("pong", link), now + PONG_MAX_S, "no answer from a peer over its SIP connection")
        return PING

    def _used(self, link: int, data: bytes, now: float) -> None:
        """SIP has gone over a link."""
        self._links[link].used_at = now
        if is_of_invite(data) and ("watch", link) not in self._timers:
            self._timers.set(("watch", link), now + WATCH_S, "does somebody ring for a peer that is gone?")

    def watch(self, link: int, now: float) -> None:
        """Somebody waits for an answer over a link: ask whether its other end is still there, and so on."""
        self._effects.append(Write(link, self.ping(link, now)))
        self._timers.set(("watch", link), now + WATCH_S, "does somebody ring for a peer that is gone?")

    def _doubt_soon(self, link: int, now: float) -> None:
        self._links[link].doubted_until = now + DOUBTED_S
        if ("doubt", link) not in self._timers:
            self._timers.set(("doubt", link), now + PONG_DOUBTFUL_S, "is the peer still in the overlay?")

    # From the node

    def up(self, event: AppLinkUp, now: float) -> None:
        """A connection is up, whoever wanted it. It is to be greeted with a PING."""
        self._links[event.link] = _Link(event.node, event.remote, now)
        self._effects.append(CutIfSilent(event.link, UNACKNOWLEDGED_MAX_S))
        self._by_node.setdefault(event.node, []).append(event.link)
        self._timers.set(("idle", event.link), now + IDLE_MAX_S, "SIP connection to a peer idle")
        self._connected(event.node, Purpose.SIP, flow_of(event.link))

    def call_path_up(self, event: AppLinkUp, now: float) -> None:
        """A path for calls is up, whoever wanted it."""
        attempt = self._attaching.get(event.node)
        self.calls.up(event, now, "" if attempt is None else attempt.why_no_path)
        flow = self.calls.flow_to(event.node)
        assert flow is not None, "it is up"
        self._connected(event.node, None if is_tunnel(event.link) else Purpose.CALLS, flow)

    def _connected(self, node: NodeId, kind: Purpose | None, flow: int) -> None:
        """There is a connection of this kind, or a tunnel."""
        if (attempt := self._attaching.get(node)) is not None:
            if kind is None:
                attempt.has_tunnel = False
            else:
                attempt.kinds.discard(kind)
                self._tunnels.cancel(node)
            if kind is Purpose.CALLS or not attempt.is_open:
                # Where a stream was faster, the path goes on being looked for: media goes over nothing else.
                self._end_attempt(node)
        self._absent.pop(node, None)
        self._answer_all(node, Hops((FlowHop(flow),)))

    def _end_attempt(self, node: NodeId) -> _Attempt | None:
        self._streams.cancel(node)
        self._tunnels.cancel(node)
        return self._attaching.pop(node, None)

    def failed(self, event: AppLinkFailed, now: float) -> None:
        """No connection of a kind came about."""
        attempt = self._attaching.get(event.node)
        if not (event.is_stream and self._node.has_call_paths):
            # Where there are paths for calls a stream carries no audio.
            self._no_path(event, attempt)
        if not event.is_stream and self.calls.wants_another(event.node, now):
            self._again.set(event.node, now + ASK_AGAIN_S, "a path to a peer once more")
        if attempt is not None:
            attempt.kinds.discard(Purpose.SIP if event.is_stream else Purpose.CALLS)
            if event.node in self._streams:
                self._try_stream(event.node, now)
            elif not attempt.kinds and event.node in self._tunnels:
                self._try_tunnel(event.node, now)
        self._failed(event.node, str(event.error), now)

    def _no_path(self, event: AppLinkFailed, attempt: _Attempt | None) -> None:
        why = event.error.what
        if self._node.has_call_paths and not self._node.relays.lending:
            why = f"{why}; no relay lends this peer an address"
        self.calls.no_path(event.node, why)
        if attempt is not None:
            attempt.why_no_path = why

    def tunnel_failed(self, event: TunnelFailed, now: float) -> None:
        """No tunnel came about either."""
        if (attempt := self._attaching.get(event.node)) is not None:
            attempt.has_tunnel = False
            self._failed(event.node, str(event.error), now)

    def _failed(self, node: NodeId, reason: str, now: float) -> None:
        """Something came to nothing; if it was the last, nobody waits any longer."""
        began = now
        if (attempt := self._attaching.get(node)) is not None:
            attempt.reasons.append(reason)
            if attempt.is_open:
                return
            self._end_attempt(node)
            began, reason = attempt.since, "; ".join(attempt.reasons)
        self._answer_all(node, NotLocated(480, "Temporarily Unavailable", reason), until=began)
        self.calls.failed(node, reason)
        if any(wait.node == node for wait in self._waiting.values()):
            # It may have come back too late for that attempt, and in time for those who have waited since.
            self._attach([Destination.node(node)], node, now)

    def drain(self) -> list[Effect]:
        """The answers, and the connections that are to end, since the last call."""
        effects, self._effects = self._effects, []
        return [*self.calls.drain(), *effects]

    def handle_done(self, asked: PlaceContext, result: Answer | RequestFailed, now: float) -> None:
        """The end of a RouteQuery."""
        self._asked.discard(asked.node)
        if isinstance(result, Answer) and _is_nowhere(asked.node, result, self._node.next_peer_in(result)):
            self._graces.set(asked.node, now + ABSENT_GRACE_S, "a node whose place is empty")

    def heard(self, link: int, data: bytes, now: float, *, is_between_messages: bool) -> None:
        """Bytes came over a link; `is_between_messages`: what came before them was whole."""
        self._timers.cancel(("pong", link))
        self._timers.cancel(("doubt", link))
        state = self._links[link]
        state.is_unheard = False
        rest = data.lstrip(PING)
        if rest:
            self._used(link, data, now)
        if is_between_messages and (len(data) - len(rest)) % len(PING) == len(PONG):
            # An odd number of line ends: one of them is a pong.
            state.answers_pings = True

    def down(self, link: int) -> bool:
        """A connection is gone; False if it was none of ours."""
        state = self._links.pop(link, None)
        if state is None:
            return False
        self._node.app_link_down(link)
        for what in ("pong", "doubt", "watch", "idle"):
            self._timers.cancel((what, link))
        links = self._by_node[state.node]
        links.remove(link)
        if not links:
            del self._by_node[state.node]
        return True

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._queue.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Close links that do not answer, or that nobody uses; ask after who is in doubt."""
        ended: dict[int, str] = {}
        self.calls.handle_timeout(now)
        for node in self._streams.pop_due(now):
            self._try_stream(node, now)
        for node in self._tunnels.pop_due(now):
            self._try_tunnel(node, now)
        for node in self._again.pop_due(now):
            self._ask_again(node, now)
        for node in self._graces.pop_due(now):
            ended |= self._on_absent(node, now)
        for what, link in self._timers.pop_due(now):
            state = self._links[link]
            idle_until = state.used_at + IDLE_MAX_S
            if what == "doubt":
                self.ask_for(state.node, now)
                if now < state.doubted_until:
                    # The ring may not know yet that it is gone.
                    self._timers.set(("doubt", link), now + DOUBT_AGAIN_S, "is the peer still in the overlay?")
            elif what == "pong":
                self._node.app_link_silent(state.remote.host, now)
                ended[link] = f"peer {state.node.short} does not answer over its connection"
            elif what == "watch":
                self._effects.append(FlowWatched(flow_of(link)))
            elif idle_until > now:
                self._timers.set(("idle", link), idle_until, "SIP connection to a peer idle")
            else:
                ended.setdefault(link, "nobody has used it for a while")
        self._effects += [FlowOver(link, reason) for link, reason in ended.items()]

    def _attach(self, destination_list: Sequence[Entry], node: NodeId, now: float) -> None:
        kind = Purpose.CALLS if self._node.has_call_paths else Purpose.SIP
        if node not in self._attaching:
            self._attaching[node] = _Attempt(now, destination_list, {kind})
            is_reached = self.calls.is_streamed(node) and not self.calls.is_silent(node)
            if kind is Purpose.CALLS and not is_reached:
                self._streams.set(node, now + STREAM_AFTER_S, "a stream to a peer as well")
            if self._permits_tunnels and not (is_reached or self.calls.is_tunnelled(node)):
                self._tunnels.set(node, now + TUNNEL_AFTER_S, "a tunnel to a peer as well")
            self._tried[node] = now
            self._tried.move_to_end(node)
            while len(self._tried) > ABSENT_MAX:
                self._tried.popitem(last=False)
        self._node.app_attach(destination_list, node, now, kind=kind)
        first = destination_list[0].node_id
        if first is not None and len(destination_list) == 1:
            self.ask_for(first, now)

    def _try_stream(self, node: NodeId, now: float) -> None:
        """A path is not there yet, or will not be."""
        self._streams.cancel(node)
        attempt = self._attaching[node]
        attempt.kinds.add(Purpose.SIP)
        self._node.app_attach(attempt.route, node, now)

    def _ask_again(self, node: NodeId, now: float) -> None:
        """An AppAttach has failed. The path that there was may be one again; if not, another may be there by now."""
        if not self.calls.wants_another(node, now):
            return
        if (attempt := self._attaching.get(node)) is None:
            self.want_path(node, now)
        elif Purpose.CALLS not in attempt.kinds:
            attempt.kinds.add(Purpose.CALLS)
            self._node.app_attach(attempt.route, node, now, kind=Purpose.CALLS)

    @property
    def _permits_tunnels(self) -> bool:
        return self._node.configuration.sip_tunnel

    def _try_tunnel(self, node: NodeId, now: float) -> None:
        """No connection is there yet, or will be."""
        self._tunnels.cancel(node)
        attempt = self._attaching[node]
        attempt.has_tunnel = True
        self._node.tunnel(OpenTunnel(attempt.route, node), now)

    def ask_for(self, node: NodeId, now: float) -> None:
        """Ask whoever is responsible for the place of `node` where it would send a message for it."""
        if node in self._asked:
            return
        query = RouteQueryReq(False, Destination.node(node))
        place = Destination.resource(ResourceId(node))
        self._asked.add(node)
        self._node.request(OverlayRequest([place], MessageCode.ROUTE_QUERY_REQ, query), PlaceContext(node), now)

    def _on_absent(self, node: NodeId, now: float) -> dict[int, str]:
        """A node is not in the overlay, and has not answered for itself; the links to be closed."""
        links = self._by_node.get(node, [])
        silent = [link for link in links if self._links[link].is_unheard]
        if len(silent) < len(links) or (self.calls.flow_to(node) is not None and not self.calls.is_silent(node)):
            return {}
        what = f"peer {node.short} is not in the overlay"
        self.calls.give_up(node, what)
        self._absent[node] = (what, now + ABSENT_S)
        self._absent.move_to_end(node)
        while len(self._absent) > ABSENT_MAX:
            self._absent.popitem(last=False)
        self._answer_all(node, NotLocated(480, "Temporarily Unavailable", what))
        return dict.fromkeys(silent, what)

    def _answer_all(self, node: NodeId, answer: Hops | NotLocated, *, until: float = math.inf) -> None:
        """Tell those who have waited for `node` since `until` or before."""
        tokens = [token for token, wait in self._waiting.items() if wait.node == node and wait.since <= until]
        for token in tokens:
            del self._waiting[token]
        self._effects += [AskAnswered(token, answer) for token in tokens]


def _is_nowhere(node: NodeId, answer: Answer, next_peer: NodeId) -> bool:
    """True if another than `node` is responsible for its place, and would send a message for it no further."""
    return node != answer.signer.node_id == next_peer
