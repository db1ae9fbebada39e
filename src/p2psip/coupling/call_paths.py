"""Paths to other peers that carry calls: SIP and media in records of DTLS (docs/decisions/call-paths.md).

Theory of operation. A path is a link of the node, made by AppAttach with ICE. For the SIP server the other peer is one
flow, whose number stays the same while links come and go: what is sent over it may be lost, so SIP sends it again, and
a link that dies loses no transaction. For the relay of media it is the peer's Node-ID, so a call goes on over the next
link. A flow without a link, over which something is under way, wants a new one; one that nobody uses is over.

A link may be a stream, where datagrams do not pass (stream_links.py). Where there is no path at all, a tunnel inside
overlay messages is a link (docs/decisions/tunnel.md): for SIP alone, and only as long as there is no path that answers.

DTLS does not say that the other end has lost its power. When something was sent, and nothing at all comes for half a
second, a keep-alive asks; when that has gone on for two seconds and a half the link is given up. A peer that has never
answered one is not asked.

Nor does anybody say that long records vanish on the way, and keep-alives do not. Where SIP sends a long message for the
third time to a peer of which something has come meanwhile, its length is to blame: from then on the link carries short
records, both ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from p2psip.base.effects import Effect, Note
from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.coupling.stream_links import StreamLinks
from p2psip.media.relay.multiplex import RTCP, RTP
from p2psip.reload.link.datagram import NARROW_RECORD_BYTES
from p2psip.reload.node.effects import AppLinkUp
from p2psip.reload.node.tunnelling.tunnel_commands import is_tunnel
from p2psip.sip.message.limits import MESSAGE_BYTES
from p2psip.sip.transports.sip_records import (
    FRAGMENT,
    GREETED,
    GREETING,
    MalformedRecord,
    Reassembly,
    is_of_short_records,
    records_of,
)

PING: Final = b"\r\n\r\n"
PONG: Final = b"\r\n"

ASK_AFTER_S: Final = 0.5
"""When something was sent and nothing has come for so long, a keep-alive asks, and is repeated as often."""

SILENT_S: Final = 2.5
"""From then on the link is over."""

WATCH_S: Final = 3.0
"""How often the other end is asked while an INVITE waits for its answer: ringing, nobody says anything."""

GREETINGS_MAX: Final = 5
"""How often the other end is asked whether it takes fragments, after 0.5, 1, 2 and 4 s."""

BUSY_S: Final = 40.0
"""So long after a message a transaction may be under way (64 T1, and a little)."""

MEDIA_S: Final = 10.0
"""So long after a frame a call may be under way."""

IDLE_MAX_S: Final = 600.0
"""Longer than anything rings (timer C)."""

HELD_BYTES_MAX: Final = 64 * 1024
"""Of messages that wait for the next link to one peer: the newest."""

EARLY_MAX: Final = 8
"""Of messages over a link over which nothing has come yet: so many are sent again when something does."""

COPIES_MAX: Final = 2
"""How often a long message goes in long records, before it goes in short ones."""

COPIED_MAX: Final = 8
"""Of the long messages that went last it is known how often."""

NO_AUDIO: Final = "no path for audio between these sites"
"""What a tunnel means for a call; why it is so follows, in the log, in `status`, and to who has called."""

FLOWS_FROM: Final = 1 << 60
"""Numbers of these flows: beyond those of any link."""


def is_of_invite(data: bytes) -> bool:
    """True for a message of an INVITE's transaction, whichever way it goes: so its CSeq ends."""
    return b" INVITE\r\n" in data


def is_call_flow(flow: int) -> bool:
    """True for a flow that is in here."""
    return flow < -FLOWS_FROM


@frozen
class WriteRecord(Effect):
    """Send a record over a link."""

    link: int
    record: bytes


@dataclass(frozen=True, slots=True)
class CallFlowUp(Effect):
    """Requests can be sent to another peer, or go by another way than before."""

    flow: int
    link: AppLinkUp
    lacks: str = ""
    """What does not go by it, in words; empty if nothing."""


@dataclass(frozen=True, slots=True)
class CallFlowOver(Effect):
    """They cannot be any more."""

    flow: int
    reason: str


@dataclass(frozen=True, slots=True)
class CallLinkOver(Effect):
    """A link is to be closed."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class FlowWatched(Effect):
    """An INVITE has gone over this flow a while ago: if it waits for its answer, the other end is to be asked."""

    flow: int


@dataclass(frozen=True, slots=True)
class PathWanted(Effect):
    """There is no link to a peer with which something is under way."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class PeerDoubted(Effect):
    """Nothing comes from a peer: is it in the overlay at all?"""

    node: NodeId


@dataclass(frozen=True, slots=True)
class MessageHeard:
    """A SIP message has come."""

    flow: int
    message: bytes


@frozen
class FrameHeard:
    """A frame of media has come."""

    node: NodeId
    frame: bytes


@dataclass(slots=True)
class _Far:
    """Another peer, as far as calls with it go."""

    node: NodeId
    flow: int
    links: dict[int, int] = field(default_factory=dict)
    """The record's bytes by link, the newest last."""
    tunnel: AppLinkUp | None = None
    """The newest one."""
    why_no_path: str = "none has been found yet"
    doubted: set[int] = field(default_factory=set)
    """Links whose path does not answer."""
    used_at: float = 0.0
    media_at: float = float("-inf")
    unheard_since: float | None = None
    """When something was sent, since when nothing has come."""
    answers_pings: bool = False
    takes_fragments: bool = False
    greetings: int = 0
    held: list[bytes] = field(default_factory=list)
    early: list[bytes] = field(default_factory=list)
    """What went over the newest link before anything had come over it."""
    has_come: bool = False
    """True if something has."""
    copies: dict[bytes, int] = field(default_factory=dict)
    """How often a long message went over the newest link, as SIP sent it again; the newest last."""
    fragments: Reassembly = field(default_factory=Reassembly)

    @property
    def may_take_fragments(self) -> bool:
        """True if it is known to, or has not had the time to say so: a message that is lost by that is sent again."""
        return self.takes_fragments or self.greetings <= 1

    @property
    def media_link(self) -> int | None:
        """The one that frames of media go over: the newest that answers, if one does. A tunnel carries none."""
        newest = None
        for link in reversed(self.links):
            if not is_tunnel(link):
                if link not in self.doubted:
                    return link
                newest = link if newest is None else newest
        return newest

    @property
    def is_doubted(self) -> bool:
        """True if there is a path, and none that answers."""
        return self.media_link in self.doubted

    @property
    def link(self) -> int | None:
        """The one that SIP goes over: a path that answers, or a tunnel, or at least a path."""
        path = self.media_link
        if path is not None and path not in self.doubted:
            return path
        return next(filter(is_tunnel, reversed(self.links)), path)

    def is_busy(self, now: float) -> bool:
        """True if something may be under way."""
        return now < self.used_at + BUSY_S or now < self.media_at + MEDIA_S


class CallPaths:
    """All of them."""

    def __init__(self, queue: TimerQueue | None = None) -> None:
        self._fars: dict[NodeId, _Far] = {}
        self._by_flow: dict[int, _Far] = {}
        self._by_link: dict[int, _Far] = {}
        self.streams = StreamLinks()
        self._flows: Iterator[int] = iter(range(FLOWS_FROM, FLOWS_FROM << 1))
        self._timers: Timers[tuple[str, NodeId]] = Timers(queue)
        self._effects: list[Effect] = []

    def __contains__(self, link: object) -> bool:
        return link in self._by_link

    def __len__(self) -> int:
        return len(self._by_link)

    def flow_to(self, node: NodeId) -> int | None:
        """The flow by which a request goes to a peer at once."""
        far = self._fars.get(node)
        return far.flow if far is not None and far.links else None

    def link_for_frame(self, node: NodeId, now: float) -> int | None:
        """The link by which a frame of media goes to a peer now."""
        far = self._fars.get(node)
        if far is None or far.media_link is None:
            return None
        far.media_at = now
        return far.media_link

    def is_tunnelled(self, node: NodeId) -> bool:
        """True if there is a tunnel to a peer, and no path."""
        far = self._fars.get(node)
        return far is not None and far.link is not None and far.media_link is None

    def is_streamed(self, node: NodeId) -> bool:
        """True if audio goes to a peer over a stream, which is but better than nothing."""
        far = self._fars.get(node)
        return far is not None and far.media_link in self.streams

    def lacks(self, node: NodeId) -> str:
        """Why calls with a peer have no audio through the peers, in words; empty where they may have."""
        return f"{NO_AUDIO}: {self._fars[node].why_no_path}" if self.is_tunnelled(node) else ""

    @property
    def tunnelled(self) -> tuple[NodeId, ...]:
        """The peers to which there is a tunnel, and no path: calls with them have no audio through the peers."""
        return tuple(filter(self.is_tunnelled, self._fars))

    def wants_another(self, node: NodeId, now: float) -> bool:
        """True if something is under way with a peer, and the path to it does not answer."""
        far = self._fars.get(node)
        return far is not None and far.is_doubted and far.is_busy(now)

    # Links

    def up(self, event: AppLinkUp, now: float, why_no_path: str = "") -> None:
        """A link is up, whoever wanted it; of a tunnel, why there is nothing better, if that is known."""
        assert event.datagram_bytes is not None, "a stream is none of these"
        far = self._fars.get(event.node)
        if far is None:
            far = self._fars[event.node] = _Far(event.node, -(2 * next(self._flows) + 1), used_at=now)
            self._by_flow[far.flow] = far
            self._timers.set(("idle", far.node), now + IDLE_MAX_S, "path to a peer idle")
        far.links[event.link] = event.datagram_bytes
        if event.is_on_stream:
            self._effects.append(self.streams.up(event.link, now))
            replaced = self.streams.replaced(far.links, event.link)
            self._effects += [CallLinkOver(link, "a newer one takes its place") for link in replaced]
        far.early, far.has_come, far.copies = [], False, {}
        self._by_link[event.link] = far
        if is_tunnel(event.link):
            far.tunnel, far.why_no_path = event, why_no_path or far.why_no_path
            self._tell_what_lacks(far)
        else:
            self._effects.append(CallFlowUp(far.flow, event))
            why = "there is a path now"
            self._effects += [CallLinkOver(link, why) for link in far.links if is_tunnel(link)]
        self._calm(far)
        if not far.takes_fragments:
            far.greetings = 0
            self._greet(far, now)
        held, far.held = far.held, []
        for message in held:
            self._write(far, message, now)

    def no_path(self, node: NodeId, why: str) -> None:
        """A path to a peer was looked for, and none found; no matter if there is nothing to it."""
        far = self._fars.get(node)
        if far is not None and far.why_no_path != why:
            far.why_no_path = why
            if self.is_tunnelled(node):
                self._tell_what_lacks(far)

    def _tell_what_lacks(self, far: _Far) -> None:
        assert far.tunnel is not None, "there is a tunnel"
        lacks = self.lacks(far.node)
        self._effects.append(CallFlowUp(far.flow, far.tunnel, lacks))
        if lacks:
            self._effects.append(Note("a tunnel to a peer", {"node": far.node, "means": lacks}))

    def doubted(self, link: int) -> None:
        """The path of a link does not answer, and ICE finds no other for it; no matter if it is none of these."""
        if (far := self._by_link.get(link)) is not None:
            if link == far.media_link:
                # Nobody knows whether an older one, which was not used, is better.
                self._effects.append(PathWanted(far.node))
            far.doubted.add(link)

    def down(self, link: int, reason: str, now: float) -> bool:
        """A link is gone; False if it was none of these."""
        far = self._by_link.pop(link, None)
        if far is None:
            return False
        del far.links[link]
        far.doubted.discard(link)
        self.streams.down(link)
        if self.wants_another(far.node, now):
            self._effects.append(PathWanted(far.node))
        if not is_tunnel(link) and self.is_tunnelled(far.node):
            self._tell_what_lacks(far)
        if not far.links:
            self._calm(far)
            if far.is_busy(now):
                self._effects.append(PathWanted(far.node))
                self._timers.set(("wanted", far.node), now + BUSY_S, "no new path to a peer")
            else:
                self._end(far, reason)
        return True

    def failed(self, node: NodeId, reason: str) -> None:
        """There is no new link to a peer, and will be none."""
        far = self._fars.get(node)
        if far is not None and not far.links:
            self._end(far, reason)

    def is_silent(self, node: NodeId) -> bool:
        """True if nothing has come since something was sent."""
        far = self._fars.get(node)
        return far is not None and (far.unheard_since is not None or not far.links)

    def give_up(self, node: NodeId, reason: str) -> None:
        """A peer is not in the overlay any more."""
        far = self._fars.get(node)
        if far is not None:
            self._end(far, reason)

    # What goes

    def send(self, flow: int, message: bytes, now: float) -> None:
        """A SIP message is to go."""
        far = self._by_flow.get(flow)
        if far is None:
            return
        self._used(far, message, now)
        if far.links:
            self._look_for_black_hole(far, message)
            self._write(far, message, now)
        elif message not in far.held:
            far.held.append(message)
            while sum(map(len, far.held)) > HELD_BYTES_MAX:
                del far.held[0]

    def send_frame(self, node: NodeId, frame: bytes, now: float) -> None:
        """A frame of media is to go: now or never."""
        link = self.link_for_frame(node, now)
        self._effects.append(PathWanted(node) if link is None else WriteRecord(link, frame))

    def close(self, flow: int, reason: str) -> None:
        """The SIP server wants no more of it."""
        if (far := self._by_flow.get(flow)) is not None:
            self._end(far, reason)

    # What comes

    def heard(self, link: int, record: bytes, now: float) -> MessageHeard | FrameHeard | None:
        """A record has come; None if there is nothing in it for anybody else."""
        far = self._by_link[link]
        self._calm(far)
        far.doubted.discard(link)
        if link == far.link and not far.has_come:
            self._repeat_early(far, now)
        first = record[0] if record else 0
        if first in (RTP, RTCP) and is_tunnel(link):
            return None
        if first in (RTP, RTCP):
            far.media_at = now
            return FrameHeard(far.node, record)
        if first == FRAGMENT:
            if is_of_short_records(record, NARROW_RECORD_BYTES):
                # The other end has found out.
                far.links[link] = min(far.links[link], NARROW_RECORD_BYTES)
            return self._fragment(far, record, now)
        if not record.strip(PING):
            if record == PING:
                self._effects.append(WriteRecord(link, PONG))
            elif record == PONG:
                far.answers_pings = True
            return None
        self._used(far, record, now)
        return MessageHeard(far.flow, record)

    def _fragment(self, far: _Far, record: bytes, now: float) -> MessageHeard | None:
        if record in (GREETING, GREETED):
            if record == GREETING and far.link is not None:
                self._effects.append(WriteRecord(far.link, GREETED))
            # Whoever greets is one of us, and answers keep-alives.
            far.takes_fragments = far.answers_pings = True
            self._timers.cancel(("greet", far.node))
            return None
        try:
            message = far.fragments.feed(record, now)
        except MalformedRecord as error:
            self._effects.append(Note("record dropped", {"node": far.node, "reason": str(error)}))
            return None
        if (due := far.fragments.next_deadline()) is not None:
            self._timers.set(("fragments", far.node), due.at, due.reason)
        if message is None:
            return None
        self._used(far, message, now)
        return MessageHeard(far.flow, message)

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Greet again, ask who is silent, end what nobody uses."""
        for what, node in self._timers.pop_due(now):
            far = self._fars[node]
            match what:
                case "greet":
                    self._greet(far, now)
                case "fragments":
                    far.fragments.handle_timeout(now)
                    if (due := far.fragments.next_deadline()) is not None:
                        self._timers.set((what, node), due.at, due.reason)
                case "ask":
                    self._ask(far, now)
                case "watch":
                    self._effects.append(FlowWatched(far.flow))
                case "idle" if now < (until := max(far.used_at, far.media_at) + IDLE_MAX_S):
                    self._timers.set((what, node), until, "path to a peer idle")
                case "wanted" if far.links:
                    pass
                case _:
                    self._end(far, "nobody has used it for a while" if far.links else "no path to it any more")

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _write(self, far: _Far, message: bytes, now: float) -> None:
        assert far.link is not None, "there is a link"
        if len(message) > MESSAGE_BYTES:
            facts = {"node": far.node, "bytes": len(message)}
            self._effects.append(Note("SIP message too long for a peer", facts, is_warning=True))
            return
        records = records_of(message, far.links[far.link], takes_fragments=far.may_take_fragments)
        self._effects += [WriteRecord(far.link, record) for record in records]
        if not far.has_come and message not in far.early and len(far.early) < EARLY_MAX:
            far.early.append(message)
        self._await_sign(far, now)

    def _await_sign(self, far: _Far, now: float) -> None:
        """Something has been sent, and something is to come."""
        if far.answers_pings and far.unheard_since is None:
            far.unheard_since = now
            self._timers.set(("ask", far.node), now + ASK_AFTER_S, "is a peer still there")

    def _used(self, far: _Far, message: bytes, now: float) -> None:
        """SIP goes on with a peer."""
        far.used_at = now
        if is_of_invite(message) and ("watch", far.node) not in self._timers:
            self._timers.set(("watch", far.node), now + WATCH_S, "does somebody ring for a peer that is gone?")

    def watch(self, flow: int, now: float) -> None:
        """Somebody waits for an answer of a peer: ask whether it is still there, and so on."""
        far = self._by_flow.get(flow)
        if far is None:
            return
        self._timers.set(("watch", far.node), now + WATCH_S, "does somebody ring for a peer that is gone?")
        if far.link is not None and far.answers_pings and far.unheard_since is None:
            self._effects.append(WriteRecord(far.link, PING))
            self._await_sign(far, now)

    def _look_for_black_hole(self, far: _Far, message: bytes) -> None:
        """RFC 4821 section 1: a way on which long packets vanish and nobody says so."""
        assert far.link is not None, "there is a link"
        is_datagrams = not (is_tunnel(far.link) or far.link in self.streams)
        if not is_datagrams or min(len(message), far.links[far.link]) <= NARROW_RECORD_BYTES:
            return
        copies = far.copies[message] = far.copies.pop(message, 0) + 1
        if len(far.copies) > COPIED_MAX:
            del far.copies[next(iter(far.copies))]
        if copies > COPIES_MAX and far.unheard_since is None:
            far.links[far.link] = NARROW_RECORD_BYTES

    def _repeat_early(self, far: _Far, now: float) -> None:
        """The first thing has come over a link: now its other end is up for certain. What was sent while it may not
        have been, as the last flight of the handshake was lost, SIP would send again ever later.
        """
        early, far.early, far.has_come = far.early, [], True
        for message in early:
            self._write(far, message, now)

    def _ask(self, far: _Far, now: float) -> None:
        assert far.unheard_since is not None, "something was sent"
        if far.link is None:
            return
        if now >= far.unheard_since + SILENT_S:
            reason = f"peer {far.node.short} does not answer over its path"
            self._effects += [CallLinkOver(link, reason) for link in far.links]
            return
        self._effects += [WriteRecord(far.link, PING), PeerDoubted(far.node)]
        self._timers.set(("ask", far.node), now + ASK_AFTER_S, "is a peer still there")

    def _calm(self, far: _Far) -> None:
        far.unheard_since = None
        self._timers.cancel(("ask", far.node))

    def _greet(self, far: _Far, now: float) -> None:
        if far.link is not None and far.greetings < GREETINGS_MAX:
            self._effects.append(WriteRecord(far.link, GREETING))
            self._timers.set(("greet", far.node), now + 0.5 * 2**far.greetings, "does a peer take fragments")
            far.greetings += 1

    def _end(self, far: _Far, reason: str) -> None:
        del self._fars[far.node], self._by_flow[far.flow]
        for link in far.links:
            del self._by_link[link]
            self.streams.down(link)
            self._effects.append(CallLinkOver(link, reason))
        for what in ("greet", "fragments", "ask", "watch", "idle", "wanted"):
            self._timers.cancel((what, far.node))
        self._effects.append(CallFlowOver(far.flow, reason))
