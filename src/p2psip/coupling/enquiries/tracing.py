"""A trace: the peers on the way to a place or a node, asked one by one with PathTrack (RFC 7851 section 4.3).

Theory of operation. We are hop 0 and know our own next hop. Each hop is asked for its next one and for figures of
itself, by a request that is routed through the hops before it, so that it takes the way that is looked at. The way ends
at the peer that names itself (4.3.1.2), or at the first that cannot be reached or does not answer. In the end a Ping
with the diagnostic extension goes all the way, as every other message would (4.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2psip.base.effects import Effect
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.keeping.diagnostics import EXPIRES_S
from p2psip.reload.node.node import Node
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode, MessageExtension, MessageExtensionType
from p2psip.reload.wire.diagnostics import (
    DiagnosticInfo,
    DiagnosticKind,
    DiagnosticsRequest,
    DiagnosticsResponse,
    PathTrackAns,
    PathTrackReq,
    flags_of,
)
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.link_messages import PingReq

HOPS_MAX = 32
TRACES_MAX = 64

Target = NodeId | ResourceId


@dataclass(frozen=True, slots=True)
class TraceHop:
    """A peer on the way: how long it took to ask it and to hear from it, and what it told of itself."""

    node: NodeId
    user: str
    rtt_ms: float
    infos: tuple[DiagnosticInfo, ...]


@dataclass(frozen=True, slots=True)
class Traced(Effect):
    """The end of a trace, of which `context` was given; with `error` it ends before the target.

    `ping_ms` is how long a Ping took there and back, routed as any message is, over `ping_hops` on its way out.
    """

    context: object
    target: Target
    hops: tuple[TraceHop, ...]
    error: RequestFailed | None
    ping_ms: float | None = None
    ping_hops: int | None = None


@dataclass(slots=True)
class _Trace:
    """One trace under way: `asked` are the hops that were asked, the last of which has not answered."""

    context: object
    target: Target
    asked: list[NodeId]
    hops: list[TraceHop] = field(default_factory=list)
    is_pinging: bool = False


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A request of a trace."""

    trace: _Trace


class Traces:
    """The traces that an operator has asked for."""

    def __init__(self, node: Node) -> None:
        self._effects: list[Effect] = []
        self._node = node
        self._under_way = 0

    def begin(self, target: Target, context: object, now: float) -> None:
        """Trace the way to a node or a place; `Traced(context, ...)` follows."""
        first = self._node.next_peer(target)
        trace = _Trace(context, target, [first])
        self._under_way += 1
        if self._under_way > TRACES_MAX:
            self._end(trace, "too many traces under way")
        elif not self._node.is_connected:
            self._end(trace, "this peer has not joined the overlay yet")
        else:
            self._ask(trace, now)

    def drain(self) -> list[Effect]:
        """The traces that are over since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def handle_done(self, trace: _Trace, result: Answer | RequestFailed, now: float) -> None:
        """The end of a request."""
        if trace.is_pinging:
            self._pinged(trace, result)
        elif isinstance(result, Answer):
            self._answered(trace, result, now)
        else:
            self._failed(trace, result)

    def _ask(self, trace: _Trace, now: float) -> None:
        permits = self._node.configuration.permits_diagnostics
        # Who asks for more than it may gets nothing; the configuration is the same everywhere.
        wanted = [kind for kind in DiagnosticKind if permits(self._node.node_id, kind)]
        route = [Destination.node(node) for node in trace.asked]
        body = PathTrackReq(_place(trace.target), self._request(flags_of(wanted), now))
        self._node.request(OverlayRequest(route, MessageCode.PATH_TRACK_REQ, body), TraceContext(trace), now)

    def _ping(self, trace: _Trace, now: float) -> None:
        """4.2.1: a Ping with the extension, not critical; its hop_counter tells how far it has come."""
        trace.is_pinging = True
        request = self._request(0, now).encode()
        extension = MessageExtension(MessageExtensionType.DIAGNOSTIC_PING, False, request)
        route = [_place(trace.target)]
        asked = OverlayRequest(route, MessageCode.PING_REQ, PingReq(), extensions=(extension,))
        self._node.request(asked, TraceContext(trace), now)

    def _request(self, flags: int, now: float) -> DiagnosticsRequest:
        """6.1: "The timestamp_initiated field is set to the current time, and the expiration field is constructed based
        on this time."
        """
        date_ms = max(0, self._node.wall.date_ms(now))
        return DiagnosticsRequest(date_ms + EXPIRES_S * 1000, date_ms, flags)

    def _pinged(self, trace: _Trace, result: Answer | RequestFailed) -> None:
        if isinstance(result, RequestFailed):
            error = RequestFailed("every hop answers, but a Ping all the way got no answer", result.causes)
            self._over(trace, error)
            return
        ping_ms, ping_hops = result.rtt_s * 1000, _hops(result, self._node.configuration.initial_ttl)
        self._over(trace, None, ping_ms, ping_hops)

    def _answered(self, trace: _Trace, answer: Answer, now: float) -> None:
        assert isinstance(answer.body, PathTrackAns), "the transport lets no other answer through"
        here, signer = trace.asked[-1], answer.signer
        infos = answer.body.response.diagnostic_info_list
        trace.hops.append(TraceHop(here, signer.user, answer.rtt_s * 1000, infos))
        next_hop = answer.body.next_hop.node_id
        if next_hop == here:
            # 4.3.1.2: "after receiving a PathTrackAns where the next_hop node ID equals the responding node ID, the
            # initiator MUST stop the iterative process."
            is_missing = isinstance(trace.target, NodeId) and trace.target != here
            if is_missing:
                self._end(trace, f"{_last(trace)} is responsible for it, and knows of no such node")
            else:
                self._ping(trace, now)
        elif next_hop is None:
            self._end(trace, f"{_last(trace)} names no node as the next hop")
        elif next_hop in trace.asked or next_hop == self._node.node_id:
            self._end(trace, f"{_last(trace)} sends it back to {next_hop.short}: the way goes in circles")
        elif len(trace.hops) >= HOPS_MAX:
            self._end(trace, f"{_last(trace)} is not the last: no way is that long")
        else:
            trace.asked.append(next_hop)
            self._ask(trace, now)

    def _failed(self, trace: _Trace, failure: RequestFailed) -> None:
        named = f", the next hop of {_last(trace)}," if trace.hops else ", our own next hop,"
        what = f"hop {len(trace.asked)}, {trace.asked[-1].short}{named} gave no answer"
        self._over(trace, RequestFailed(what, failure.causes))

    def _end(self, trace: _Trace, reason: str) -> None:
        self._over(trace, RequestFailed(reason))

    def _over(
        self, trace: _Trace, error: RequestFailed | None, ping_ms: float | None = None, ping_hops: int | None = None
    ) -> None:
        self._under_way -= 1
        self._effects.append(Traced(trace.context, trace.target, tuple(trace.hops), error, ping_ms, ping_hops))


def _place(target: Target) -> Destination:
    return Destination.node(target) if isinstance(target, NodeId) else Destination.resource(target)


def _hops(answer: Answer, ttl: int) -> int | None:
    """4.2.1: "Senders MUST accept a response that lacks diagnostic information"."""
    try:
        responses = [
            DiagnosticsResponse.decode(extension.extension_contents)
            for extension in answer.extensions
            if extension.type is MessageExtensionType.DIAGNOSTIC_PING
        ]
    except DecodeError:
        return None
    return ttl - responses[0].hop_counter + bool(answer.hops) if responses else None


def _last(trace: _Trace) -> str:
    hop = trace.hops[-1]
    name = hop.user.partition("@")[0]
    return f"hop {len(trace.hops)}, {name} ({hop.node.short})"
