"""A trace: the peers on the way to a place or a node, asked one by one with PathTrack (RFC 7851 section 4.3).

Theory of operation. We are hop 0 and know our own next hop. Each hop is asked for its next one and for figures of
itself, by a request that is routed through the hops before it, so that it takes the way that is looked at. The way ends
at the peer that names itself (4.3.1.2), or at the first that cannot be reached or does not answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2psip.base.effects import Effect
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.diagnostics import EXPIRES_S
from p2psip.reload.node.effects import Done
from p2psip.reload.node.node import Node
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.diagnostics import (
    DiagnosticInfo,
    DiagnosticKind,
    DiagnosticsRequest,
    PathTrackAns,
    PathTrackReq,
    flags_of,
)
from p2psip.reload.wire.header import Destination

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
    """The end of a trace; with `error` it ends before the target."""

    handle: int
    target: Target
    hops: tuple[TraceHop, ...]
    error: RequestFailed | None


@dataclass(slots=True)
class _Trace:
    """One trace under way: `asked` are the hops that were asked, the last of which has not answered."""

    handle: int
    target: Target
    asked: list[NodeId]
    hops: list[TraceHop] = field(default_factory=list)


class Traces:
    """The traces that an operator has asked for. `effects` collects their results."""

    def __init__(self, node: Node) -> None:
        self.effects: list[Effect] = []
        self._node = node
        self._serial = 0
        self._by_request: dict[int, _Trace] = {}

    def begin(self, target: Target, now: float) -> int:
        """Trace the way to a node or a place; `Traced` with this handle follows."""
        self._serial += 1
        first = self._node.next_peer(target)
        trace = _Trace(self._serial, target, [first])
        if len(self._by_request) >= TRACES_MAX:
            self._end(trace, "too many traces under way")
        elif not self._node.topology.is_connected and not self._node.topology.is_serving:
            self._end(trace, "this peer has not joined the overlay yet")
        else:
            self._ask(trace, now)
        return trace.handle

    def handle_done(self, done: Done, now: float) -> bool:
        """The end of a request; False if it is none of ours."""
        trace = self._by_request.pop(done.handle, None)
        if trace is None:
            return False
        if isinstance(done.result, Answer):
            self._answered(trace, done.result, now)
        else:
            self._failed(trace, done.result)
        return True

    def _ask(self, trace: _Trace, now: float) -> None:
        date_ms = max(0, self._node.wall.date_ms(now))
        permits = self._node.configuration.permits_diagnostics
        # Who asks for more than it may gets nothing; the configuration is the same everywhere.
        wanted = [kind for kind in DiagnosticKind if permits(self._node.node_id, kind)]
        request = DiagnosticsRequest(date_ms + EXPIRES_S * 1000, date_ms, flags_of(wanted))
        target = trace.target
        place = Destination.node(target) if isinstance(target, NodeId) else Destination.resource(target)
        route = [Destination.node(node) for node in trace.asked]
        body = PathTrackReq(place, request)
        self._by_request[self._node.data.ask(route, MessageCode.PATH_TRACK_REQ, body, now)] = trace

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
            self._end(trace, f"{_last(trace)} is responsible for it, and knows of no such node" if is_missing else None)
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
        self.effects.append(Traced(trace.handle, trace.target, tuple(trace.hops), RequestFailed(what, failure.causes)))

    def _end(self, trace: _Trace, reason: str | None) -> None:
        error = None if reason is None else RequestFailed(reason)
        self.effects.append(Traced(trace.handle, trace.target, tuple(trace.hops), error))


def _last(trace: _Trace) -> str:
    hop = trace.hops[-1]
    name = hop.user.partition("@")[0]
    return f"hop {len(trace.hops)}, {name} ({hop.node.short})"
