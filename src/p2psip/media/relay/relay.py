"""A relay of calls: the phones' packets go through this peer, and over a path to another one.

Theory of operation. A call has two sides (`Phone`, `FarPeer`), and a stream for each m= line. Whatever description
passes from one side to the other passes `describe`: it says where the one wants its packets, and goes on with our own
ports in it, those that the other side sees. So offers and answers, early and late ones, holds and changes are all the
same here. A phone has a pair of ports of its own for each stream; another peer numbers, on one path for all calls
(multiplex.py). Several phones that ring for one call are as many calls here, as they are dialogs of the caller's.

Where an engine does the same for two phones of ours, their ports are the engine's, and it tells what it has counted
(rtpengine/engine_calls.py). An engine that does not have a call any more is left with the next description.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from p2psip.base.address import without_zone
from p2psip.base.effects import Effect
from p2psip.base.errors import P2psipError, RemoteProtocolError
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.media.negotiation import Address
from p2psip.media.relay.description import At, Carriage, Change, Keep, MediaLine, Refuse, Tagged, read, write
from p2psip.media.relay.engine_stream import EngineSide, EngineStream
from p2psip.media.relay.limits import RelayLimits
from p2psip.media.relay.multiplex import NUMBER_MAX, RTCP, RTP, Frame, MalformedFrame
from p2psip.media.relay.ports import Ports
from p2psip.media.relay.relayed_stream import RelayedStream
from p2psip.media.relay.rtpengine.engine_calls import EngineCall, EngineCounted, PrepareCall, RtpEngine
from p2psip.media.relay.rtpengine.engine_control import EngineState
from p2psip.media.relay.rtpengine.figures import Counted
from p2psip.media.relay.sides import FarPeer, OwnSide, Party, PathSide, Phone, PhoneSide, Side, SideReport
from p2psip.media.sdp import MalformedSdp

CALLER, CALLEE = SIDES = 0, 1

IDLE = "does anything come of a relayed call"


class NothingToCarry(RemoteProtocolError):
    """A description has no stream that a relay can carry."""


class NoPorts(P2psipError):
    """There are no ports, or no room for a call, any more."""


@dataclass(frozen=True, slots=True)
class RelayEnded(Effect):
    """A call is relayed no more."""

    call: str
    reason: str
    sides: tuple[SideReport, ...]
    engine: str | None = None
    """Through which it went; None if through this peer alone."""
    lacks: str = ""
    """Why nothing has come from the other peer, in words; empty if something has, or nobody knows."""


class _Way(NamedTuple):
    """Where a datagram of a port or a frame belongs."""

    stream: RelayedStream
    which: int
    component: int


class RelayedCall:
    """One call; `name` is for people."""

    def __init__(self, name: str, parties: tuple[Party, Party], engine_call: EngineCall | None) -> None:
        self.name = name
        self.parties = parties
        self.engine_call = engine_call
        self.streams: list[RelayedStream | EngineStream | None] = []
        """By m= line; None of one that is not carried."""
        self.answered_at: float | None = None
        self.last: list[tuple[MediaLine, ...]] = [(), ()]
        """What each side has said last."""
        self.lacks = ""
        """Why nothing comes from the other peer, as far as is known, in words."""

    @property
    def is_local(self) -> bool:
        """True if both phones are this peer's."""
        return all(isinstance(party, Phone) for party in self.parties)

    @property
    def carried(self) -> list[RelayedStream | EngineStream]:
        """The streams that there are."""
        return [stream for stream in self.streams if stream is not None]

    @property
    def path_sides(self) -> list[PathSide]:
        """Those that are another peer's."""
        streams = [stream for stream in self.carried if isinstance(stream, RelayedStream)]
        return [side for stream in streams for side in stream.sides if isinstance(side, PathSide)]

    @property
    def reports(self) -> tuple[SideReport, ...]:
        """What came from each side of each."""
        return tuple([side.report(stream.kind) for stream in self.carried for side in stream.sides])


class Relay:
    """All relayed calls of a peer. Sans-I/O, as every core."""

    def __init__(
        self,
        rng: random.Random,
        limits: RelayLimits | None = None,
        engine: RtpEngine | None = None,
        queue: TimerQueue | None = None,
    ) -> None:
        """`queue` is of the core that this is a part of, and the engine."""
        self.engine = engine
        self._limits = limits or RelayLimits()
        self._ports = Ports(self._limits, rng)
        self._rng = rng
        self._calls: set[RelayedCall] = set()
        self._in_engine: dict[EngineCall, tuple[RelayedCall, str]] = {}
        """And why it has ended, for those that have: their last figures are still to come."""
        self._by_port: dict[int, _Way] = {}
        self._by_number: dict[tuple[Hashable, int], _Way] = {}
        self._timers: Timers[RelayedCall] = Timers(queue)
        self._effects: list[Effect] = []
        self.dropped = 0
        """Datagrams and frames that belong to no call."""

    def __len__(self) -> int:
        return len(self._calls)

    # Calls

    def start(self) -> None:
        """Have ports opened beforehand."""
        self._ports.fill()

    def wish(self, name: str, caller: Party, callee: Party, body: bytes) -> PrepareCall | None:
        """What the engine is asked before a call with this offer may begin; None if there is nothing to be asked."""
        engine = self.engine
        if engine is None or engine.state is not EngineState.ANSWERS or len(engine) >= self._limits.engine_calls:
            return None
        hosts = _hosts_for_engine(caller, callee)
        try:
            described = read(body)
        except MalformedSdp:
            return None
        meant = [index for index, each in enumerate(described) if _may_be_carried(each)]
        return PrepareCall(name, hosts, described, tuple(meant[: self._limits.streams])) if hosts and meant else None

    def ask_engine(self, token: int, wanted: PrepareCall, now: float) -> None:
        """Have that done; `AskAnswered(token, EngineCall | None)` follows."""
        assert self.engine is not None, "without an engine there is no wish"
        self.engine.prepare(token, wanted, now)
        self._take_from_engine(now)

    def begin(self, name: str, caller: Party, callee: Party, engine_call: EngineCall | None = None) -> RelayedCall:
        """A call is to be relayed, by the engine if that has prepared it. Raises NoPorts if there are too many."""
        if engine_call is not None and engine_call.wanted.hosts != _hosts_for_engine(caller, callee):
            # It was prepared for another way to the phone.
            engine_call = None
        own = sum(each.engine_call is None for each in self._calls)
        if engine_call is None and own >= self._limits.calls:
            raise NoPorts(f"{own} calls are relayed already")
        call = RelayedCall(name, (caller, callee), engine_call)
        self._calls.add(call)
        if engine_call is not None:
            engine_call.engine.claim(engine_call)
            self._in_engine[engine_call] = (call, "")
        return call

    def __contains__(self, call: object) -> bool:
        """True for a call that is not over."""
        return call in self._calls

    def has_port(self, port: int) -> bool:
        """True for one of our own ports."""
        return port in self._ports

    def is_in_engine(self, address: Address) -> bool:
        """True for a port that the engine has given to a call."""
        return self.engine is not None and self.engine.is_at(address)

    def describe(self, call: RelayedCall, which: int, body: bytes, now: float) -> bytes:
        """A description of one side, as it goes on to the other.

        Raises MalformedSdp, NothingToCarry or NoPorts; then all is as it was.
        """
        described = read(body)
        self._make_streams(call, which, described, now)
        self._apply(call, which, described, now)
        return write(body, [_change(call, 1 - which, index, each) for index, each in enumerate(described)])

    def undo(self, call: RelayedCall, which: int, last: tuple[MediaLine, ...], now: float) -> None:
        """A description was refused: what that side had said before (`call.last`) holds as if it had not been."""
        if call in self:
            self._apply(call, which, last, now)

    def answered(self, call: RelayedCall, now: float) -> None:
        """From now on both sides should be heard."""
        if call in self and call.answered_at is None:
            call.answered_at = now
            self._timers.set(call, now + self._limits.idle_s, IDLE)
            for stream in call.carried:
                stream.expect(now)
            if call.engine_call is not None:
                call.engine_call.engine.watch(call.engine_call, now)

    def explain(self, call: RelayedCall, lacks: str) -> None:
        """Nothing may come from the other peer, and this is why, in words."""
        call.lacks = lacks
        for side in call.path_sides:
            side.lacks = lacks

    def end(self, call: RelayedCall, reason: str, now: float) -> None:
        """It is over; what became of it is told. No matter if it was over before."""
        if call not in self._calls:
            return
        self.forget(call)
        if call.engine_call is not None:
            self._in_engine[call.engine_call] = (call, reason)
            call.engine_call.engine.end(call.engine_call, now)
            self._take_from_engine(now)
        else:
            lacks = "" if any(side.tally.packets for side in call.path_sides) else call.lacks
            self._effects.append(RelayEnded(call.name, reason, call.reports, lacks=lacks))

    def found_at(self, call: RelayedCall, far: FarPeer) -> None:
        """Another peer than the one that was asked has the other phone: what is for that goes there."""
        first, second = (far if isinstance(party, FarPeer) else party for party in call.parties)
        call.parties = (first, second)
        for side in call.path_sides:
            if (far.path, side.number) not in self._by_number:
                self._by_number[far.path, side.number] = self._by_number.pop((side.path, side.number))
                side.path, side.label = far.path, far.label

    def forget(self, call: RelayedCall) -> None:
        """Nothing has come of it between two peers: there is nothing to be told."""
        if call in self._calls:
            self._calls.remove(call)
            self._timers.cancel(call)
            for stream in call.carried:
                self._release(stream)

    # Inputs

    def handle_datagram(self, port: int, source: Address, data: bytes, now: float) -> None:
        """A datagram came to one of our ports."""
        self._take(self._by_port.get(port), source, data, now)

    def handle_frame(self, path: Hashable, frame: bytes, now: float) -> None:
        """A frame came over a path to another peer; what is none is dropped."""
        try:
            component, number, data = Frame.decode(frame)
        except MalformedFrame:
            self.dropped += 1
            return
        way = self._by_number.get((path, number))
        self._take(None if way is None else way._replace(component=component), None, data, now)

    def handle_ports(self, port: int, is_open: bool, now: float) -> None:
        """What became of `OpenPorts`."""
        self._ports.opened(port, is_open)

    def handle_engine(self, data: bytes, now: float) -> None:
        """A datagram came from where the engine is."""
        assert self.engine is not None, "who is not asked does not answer"
        self.engine.handle_datagram(data, now)
        self._take_from_engine(now)

    def handle_timeout(self, now: float) -> None:
        """End the calls of which nothing has come for long, and look after the engine."""
        if self.engine is not None:
            self.engine.handle_timeout(now)
            self._take_from_engine(now)
        for call in self._timers.pop_due(now):
            idle_s = self._limits.idle_s if any(stream.is_flowing for stream in call.carried) else self._limits.held_s
            assert call.answered_at is not None, "a call that rings has no timer here"
            over_at = max([call.answered_at, *(stream.heard_at for stream in call.carried)]) + idle_s
            if now >= over_at:
                self.end(call, f"nothing has come from either side for {idle_s:g} s", now)
            else:
                self._timers.set(call, over_at, IDLE)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self._timers.next_deadline(), None if self.engine is None else self.engine.next_deadline()])

    def drain(self) -> list[Effect]:
        """What is to be sent, opened and closed, and told, in order."""
        effects, self._effects = [*self._effects, *self._ports.drain()], []
        return effects

    # Inside

    def _take_from_engine(self, now: float) -> None:
        for effect in self.engine.drain() if self.engine is not None else ():
            if isinstance(effect, EngineCounted):
                self._on_counted(effect.call, effect.is_last, now)
            else:
                self._effects.append(effect)

    def _on_counted(self, engine_call: EngineCall, is_last: bool, now: float) -> None:
        """The engine says how much has come, if it still has the call."""
        call, reason = self._in_engine[engine_call]
        for index, stream in enumerate(call.streams):
            if isinstance(stream, EngineStream):
                figures = engine_call.figures
                counted = (figures.get((CALLER, index), Counted()), figures.get((CALLEE, index), Counted()))
                self._effects += stream.take(counted, now)
        if is_last:
            del self._in_engine[engine_call]
            self._effects.append(RelayEnded(call.name, reason, call.reports, str(engine_call.engine)))

    def _take(self, way: _Way | None, source: Address | None, data: bytes, now: float) -> None:
        if way is None:
            self.dropped += 1
        else:
            stream, which, component = way
            self._effects += stream.take(which, component, source, data, now)

    def _make_streams(self, call: RelayedCall, which: int, described: Sequence[MediaLine], now: float) -> None:
        """Have a stream for each m= line that is carried."""
        wanted = [each for each in described if not each.is_refused]
        if wanted and call.is_local and all(each.carriage is Carriage.UNKNOWN for each in wanted):
            kinds = ", ".join(dict.fromkeys(each.kind for each in wanted))
            raise NothingToCarry(f"there is no way to carry {kinds} for phones that do not reach each other")
        if call.engine_call is not None and call.engine_call.is_lost:
            self._leave_engine(call, call.engine_call, now)
        call.streams += [None] * (len(described) - len(call.streams))
        made: list[int] = []
        try:
            for index, each in enumerate(described):
                is_direct = isinstance(call.parties[which], FarPeer) and each.number is None
                is_carried = _may_be_carried(each) and not is_direct
                if is_carried and call.streams[index] is None and len(call.carried) < self._limits.streams:
                    call.streams[index] = self._make_engine_stream(call, index) or self._make_stream(call)
                    made.append(index)
                elif is_direct and not each.is_refused:
                    # The other peer carries nothing: the two phones have only each other.
                    self._drop(call, index)
        except NoPorts:
            for index in made:
                self._drop(call, index)
            raise

    def _make_engine_stream(self, call: RelayedCall, index: int) -> EngineStream | None:
        """One that the engine carries; None if it does not."""
        placed = call.engine_call
        if placed is None or index not in placed.wanted.carried:
            return None
        first, second = (EngineSide(call.parties[which].label, placed.address(which, index)) for which in SIDES)
        return EngineStream(call.name, (first, second), self._limits)

    def _leave_engine(self, call: RelayedCall, engine_call: EngineCall, now: float) -> None:
        """From here on it has ports of ours: both phones are told them, by an offer and its answer."""
        call.streams = [None if isinstance(stream, EngineStream) else stream for stream in call.streams]
        call.engine_call = None
        del self._in_engine[engine_call]
        engine_call.engine.forget(engine_call, now)
        self._take_from_engine(now)

    def _make_stream(self, call: RelayedCall) -> RelayedStream:
        first = self._make_side(call.parties[CALLER])
        try:
            second = self._make_side(call.parties[CALLEE])
        except NoPorts:
            self._release_side(first)
            raise
        stream = RelayedStream(call.name, (first, second), self._limits)
        for which, side in enumerate(stream.sides):
            match side:
                case PhoneSide(port=port):
                    self._by_port[port] = _Way(stream, which, RTP)
                    self._by_port[port + 1] = _Way(stream, which, RTCP)
                case PathSide(path=path, number=number):
                    self._by_number[path, number] = _Way(stream, which, RTP)
        return stream

    def _make_side(self, party: Party) -> OwnSide:
        if isinstance(party, Phone):
            port = self._ports.take(6 if ":" in party.host else 4)
            if port is None:
                raise NoPorts(f"no UDP port for media is free on {party.host}")
            return PhoneSide(party, port, self._limits)
        for _ in range(self._limits.port_tries):
            number = self._rng.randint(0, NUMBER_MAX)
            if (party.path, number) not in self._by_number:
                return PathSide(party, number, self._limits)
        raise NoPorts(f"too many streams to {party.label}")

    def _apply(self, call: RelayedCall, which: int, described: tuple[MediaLine, ...], now: float) -> None:
        call.last[which] = described
        for stream, each in zip(call.streams, described, strict=False):
            if stream is not None:
                stream.describe(which, each, now)
                if call.answered_at is not None:
                    stream.expect(now)
        if call.engine_call is not None:
            call.engine_call.engine.describe(call.engine_call, which, described, now)
            self._take_from_engine(now)

    def _drop(self, call: RelayedCall, index: int) -> None:
        if (stream := call.streams[index]) is not None:
            self._release(stream)
            call.streams[index] = None

    def _release(self, stream: RelayedStream | EngineStream) -> None:
        for side in stream.sides:
            self._release_side(side)

    def _release_side(self, side: Side) -> None:
        match side:
            case PhoneSide(port=port):
                self._by_port.pop(port, None)
                self._by_port.pop(port + 1, None)
                self._ports.give_back(port)
            case PathSide(path=path, number=number):
                self._by_number.pop((path, number), None)


def _change(call: RelayedCall, which: int, index: int, described: MediaLine) -> Change:
    """What a description of one side has in it of ours, as it goes to the side `which`."""
    stream = call.streams[index]
    if described.is_refused:
        return Refuse()
    if stream is None:
        return Refuse() if call.is_local or described.number is not None else Keep()
    side = stream.sides[which]
    match side:
        case PhoneSide():
            return At(without_zone(side.phone.host), side.port)
        case EngineSide():
            return At(*side.address)
    assert isinstance(side, PathSide), "there are three kinds of side"
    return Tagged(side.number)


def _hosts_for_engine(caller: Party, callee: Party) -> tuple[str, str] | None:
    """Where two phones are that an engine may serve.

    Between two peers all goes over a path of ours; and of a link-local address an engine does not know the link.
    """
    if not (isinstance(caller, Phone) and isinstance(callee, Phone)) or "%" in caller.seen + callee.seen:
        return None
    return caller.seen, callee.seen


def _may_be_carried(line: MediaLine) -> bool:
    return not line.is_refused and line.carriage is not Carriage.UNKNOWN
