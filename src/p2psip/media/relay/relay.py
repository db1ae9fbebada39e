"""A relay of calls: the phones' packets go through this peer, and over a path to another one.

Theory of operation. A call has two sides (`Phone`, `FarPeer`), and a stream for each m= line. Whatever description
passes from one side to the other passes `describe`: it says where the one wants its packets, and goes on with our own
ports in it, those that the other side sees. So offers and answers, early and late ones, holds and changes are all the
same here. A phone has a pair of ports of its own for each stream; another peer numbers, on one path for all calls
(multiplex.py). Several phones that ring for one call are as many calls here, as they are dialogs of the caller's.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from p2psip.base.address import without_zone
from p2psip.base.effects import Effect
from p2psip.base.errors import P2psipError, RemoteProtocolError
from p2psip.base.timers import Deadline, Timers
from p2psip.media.negotiation import Address
from p2psip.media.relay.description import At, Carriage, Change, Keep, MediaLine, Refuse, Tagged, read, write
from p2psip.media.relay.limits import RelayLimits
from p2psip.media.relay.multiplex import NUMBER_MAX, RTCP, RTP, Frame, MalformedFrame
from p2psip.media.relay.ports import Ports
from p2psip.media.relay.relayed_stream import RelayedStream
from p2psip.media.relay.sides import FarPeer, Party, PathSide, Phone, PhoneSide, Side

CALLER, CALLEE = 0, 1

IDLE = "does anything come of a relayed call"


class NothingToCarry(RemoteProtocolError):
    """A description has no stream that a relay can carry."""


class NoPorts(P2psipError):
    """There are no ports, or no room for a call, any more."""


@dataclass(frozen=True, slots=True)
class SideReport:
    """What came from one side of a stream, and how."""

    side: str
    kind: str
    packets: int
    octets: int
    lost: int
    jitter_ms: float
    dropped: int

    def __str__(self) -> str:
        lost, jitter, dropped = f"{self.lost} lost", f"jitter {self.jitter_ms:.1f} ms", f"{self.dropped} dropped"
        return f"{self.kind} of {self.side}: {self.packets} packets, {lost}, {jitter}, {dropped}"


@dataclass(frozen=True, slots=True)
class RelayEnded(Effect):
    """A call is relayed no more."""

    call: str
    reason: str
    sides: tuple[SideReport, ...]


class _Way(NamedTuple):
    """Where a datagram of a port or a frame belongs."""

    stream: RelayedStream
    which: int
    component: int


class RelayedCall:
    """One call; `name` is for people."""

    def __init__(self, name: str, parties: tuple[Party, Party]) -> None:
        self.name = name
        self.parties = parties
        self.streams: list[RelayedStream | None] = []
        """By m= line; None of one that is not carried."""
        self.answered_at: float | None = None
        self.last: list[tuple[MediaLine, ...]] = [(), ()]
        """What each side has said last."""

    @property
    def is_local(self) -> bool:
        """True if both phones are this peer's."""
        return all(isinstance(party, Phone) for party in self.parties)

    @property
    def carried(self) -> list[RelayedStream]:
        """The streams that there are."""
        return [stream for stream in self.streams if stream is not None]


class Relay:
    """All relayed calls of a peer. Sans-I/O, as every core."""

    def __init__(self, rng: random.Random, limits: RelayLimits | None = None) -> None:
        self._limits = limits or RelayLimits()
        self._ports = Ports(self._limits, rng)
        self._rng = rng
        self._calls: set[RelayedCall] = set()
        self._by_port: dict[int, _Way] = {}
        self._by_number: dict[tuple[Hashable, int], _Way] = {}
        self._timers: Timers[RelayedCall] = Timers()
        self._effects: list[Effect] = []
        self.dropped = 0
        """Datagrams and frames that belong to no call."""

    def __len__(self) -> int:
        return len(self._calls)

    # Calls

    def start(self) -> None:
        """Have ports opened beforehand."""
        self._ports.fill()

    def begin(self, name: str, caller: Party, callee: Party) -> RelayedCall:
        """A call is to be relayed. Raises NoPorts if there are too many."""
        if len(self._calls) >= self._limits.calls:
            raise NoPorts(f"{len(self._calls)} calls are relayed already")
        call = RelayedCall(name, (caller, callee))
        self._calls.add(call)
        return call

    def __contains__(self, call: object) -> bool:
        """True for a call that is not over."""
        return call in self._calls

    def has_port(self, port: int) -> bool:
        """True for one of our own ports."""
        return port in self._ports

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

    def end(self, call: RelayedCall, reason: str) -> None:
        """It is over; what became of it is told. No matter if it was over before."""
        if call not in self._calls:
            return
        reports = [_report(stream, side) for stream in call.carried for side in stream.sides]
        self.forget(call)
        self._effects.append(RelayEnded(call.name, reason, tuple(reports)))

    def forget(self, call: RelayedCall) -> None:
        """Nothing has come of it: there is nothing to be told."""
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

    def handle_timeout(self, now: float) -> None:
        """End the calls of which nothing has come for long."""
        for call in self._timers.pop_due(now):
            idle_s = self._limits.idle_s if any(stream.is_flowing for stream in call.carried) else self._limits.held_s
            assert call.answered_at is not None, "a call that rings has no timer here"
            over_at = max([call.answered_at, *(stream.heard_at for stream in call.carried)]) + idle_s
            if now >= over_at:
                self.end(call, f"nothing has come from either side for {idle_s:g} s")
            else:
                self._timers.set(call, over_at, IDLE)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def drain(self) -> list[Effect]:
        """What is to be sent, opened and closed, and told, in order."""
        effects, self._effects = [*self._effects, *self._ports.drain()], []
        return effects

    # Inside

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
        call.streams += [None] * (len(described) - len(call.streams))
        made: list[int] = []
        try:
            for index, each in enumerate(described):
                is_direct = isinstance(call.parties[which], FarPeer) and each.number is None
                is_carried = not (each.is_refused or is_direct) and each.carriage is not Carriage.UNKNOWN
                if is_carried and call.streams[index] is None and len(call.carried) < self._limits.streams:
                    call.streams[index] = self._make_stream(call)
                    made.append(index)
                elif is_direct and not each.is_refused:
                    # The other peer carries nothing: the two phones have only each other.
                    self._drop(call, index)
        except NoPorts:
            for index in made:
                self._drop(call, index)
            raise

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

    def _make_side(self, party: Party) -> Side:
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

    def _drop(self, call: RelayedCall, index: int) -> None:
        if (stream := call.streams[index]) is not None:
            self._release(stream)
            call.streams[index] = None

    def _release(self, stream: RelayedStream) -> None:
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
    if isinstance(side, PhoneSide):
        return At(without_zone(side.phone.host), side.port)
    assert isinstance(side, PathSide), "there are two kinds of side"
    return Tagged(side.number)


def _report(stream: RelayedStream, side: Side) -> SideReport:
    t = side.tally
    return SideReport(side.label, stream.kind, t.packets, t.octets, t.lost, t.jitter_ms, side.dropped)
