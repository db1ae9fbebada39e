"""The kinds of side that a relayed stream has: a phone, at ports of ours, and another peer, over a path.

What a phone at an engine's ports has in common with them is here, too (engine_stream.py).
"""

from __future__ import annotations

import abc
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeAlias

from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen
from p2psip.media.latch import Latch
from p2psip.media.negotiation import Address, Direction
from p2psip.media.relay.description import MediaLine
from p2psip.media.relay.limits import RelayLimits
from p2psip.media.relay.multiplex import RTP, Frame
from p2psip.media.relay.tally import Tally

PAST = -math.inf


@frozen
class SendFrom(Effect):
    """Send this datagram from our port, at the address `host` by which the phone knows us."""

    port: int
    host: str
    remote: Address
    data: bytes


@frozen
class SendFrame(Effect):
    """Send this frame over a path to another peer."""

    path: Hashable
    frame: bytes


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone that has a side of a call here.

    `label` is for people; `host` is our address as the phone knows it; `seen` is where its signalling comes from: its
    own address, or that of a NAT within the site.
    """

    label: str
    host: str
    seen: str


@dataclass(frozen=True, slots=True)
class FarPeer:
    """The phone at the other side is another peer's: its packets go over a path to that."""

    label: str
    path: Hashable


Party: TypeAlias = Phone | FarPeer


@dataclass(frozen=True, slots=True)
class SideReport:
    """What came from one side of a stream, and how; None of what nobody has measured."""

    side: str
    kind: str
    packets: int
    octets: int
    lost: int | None
    jitter_ms: float | None
    dropped: int

    def __str__(self) -> str:
        figures = [f"{self.packets} packets"]
        if self.lost is not None and self.jitter_ms is not None:
            figures += [f"{self.lost} lost", f"jitter {self.jitter_ms:.1f} ms"]
        return f"{self.kind} of {self.side}: {', '.join([*figures, f'{self.dropped} dropped'])}"


class Side(abc.ABC):
    """What all have: whether something should come from there, and when something has."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.direction = Direction.SENDRECV
        self.heard_at = PAST
        self.silent_at = math.inf
        """From when on it is silent, if nothing comes; never, where nothing is to come."""
        self.is_silent = False
        """True from when that has been told, until something comes."""

    def name(self, described: MediaLine, now: float) -> None:
        """What its description says now."""
        self.direction = Direction.INACTIVE if described.is_refused else described.direction

    @abc.abstractmethod
    def report(self, kind: str) -> SideReport:
        """What came from there, of a stream of this kind."""


class OwnSide(Side):
    """One whose packets come to us: how many, and how."""

    def __init__(self, label: str, limits: RelayLimits) -> None:
        super().__init__(label)
        self.tally = Tally({})
        self.dropped = self.strangers = 0
        """Packets that went no further; those of them that came from somewhere else."""
        self.pauses_at = PAST
        """From when on it has paused, if nothing comes."""
        self._limits = limits
        self._allowance, self._allowance_at = float(limits.packets_burst), 0.0

    def name(self, described: MediaLine, now: float) -> None:
        """sides.Side"""
        super().name(described, now)
        self.tally.rates = described.rates

    def report(self, kind: str) -> SideReport:
        """sides.Side"""
        t = self.tally
        return SideReport(self.label, kind, t.packets, t.octets, t.lost, t.jitter_ms, self.dropped)

    def is_allowed(self, now: float) -> bool:
        """False for the packets of a flood."""
        limits = self._limits
        gained = (now - self._allowance_at) * limits.packets_per_s
        self._allowance, self._allowance_at = min(limits.packets_burst, self._allowance + gained), now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    @abc.abstractmethod
    def is_from_there(self, component: int, source: Address | None, ssrc: int | None) -> bool:
        """True for what that side has sent; `source` is None of what came over a path."""

    @abc.abstractmethod
    def send(self, component: int, data: bytes, now: float) -> Effect | None:
        """What takes a datagram there; None where nobody knows the way."""


class PhoneSide(OwnSide):
    """A phone, at a pair of our ports."""

    def __init__(self, phone: Phone, port: int, limits: RelayLimits) -> None:
        super().__init__(phone.label, limits)
        self.phone = phone
        self.port = port
        self.stranger: Address | None = None
        """Who has sent last what was dropped for its source."""
        self._latches = [Latch(None, frozenset({phone.seen})) for _ in range(2)]
        self._named_at = PAST
        self._is_own_address = False
        self._is_off = False

    def name(self, described: MediaLine, now: float) -> None:
        """sides.Side"""
        super().name(described, now)
        self._is_off = described.is_refused or described.is_held
        if self._is_off:
            # Where the phone was it will be again, if this is a hold.
            return
        rtp, rtcp = self._reached(described.rtp), self._reached(described.rtcp)
        for latch, named in zip(self._latches, (rtp, rtcp), strict=True):
            latch.name(named)
            latch.reopen()
        self._named_at = now
        self._is_own_address = rtp is not None and rtp[0] == self.phone.seen

    def is_from_there(self, component: int, source: Address | None, ssrc: int | None) -> bool:
        """sides.Side"""
        assert source is not None, "a phone's datagram comes from an address"
        if self._latches[component - RTP].accepts(source, ssrc):
            return True
        self.strangers += 1
        self.stranger = source
        return False

    def send(self, component: int, data: bytes, now: float) -> SendFrom | None:
        """sides.Side"""
        latch = self._latches[component - RTP]
        if latch.remote is None or self._is_off:
            return None
        # Whoever can call here could have us send to anybody (RFC 8445 section 19.5.1, the "voice hammer").
        if not (latch.is_shut or self._is_own_address or now < self._named_at + self._limits.unproven_s):
            return None
        return SendFrom(self.port + component - RTP, self.phone.host, latch.remote, data)

    def _reached(self, named: Address | None) -> Address | None:
        """What a phone names, as we reach it: at a link-local address only the way by which it comes to us."""
        if named is not None and self.phone.seen.partition("%")[0] == named[0]:
            return (self.phone.seen, named[1])
        return named


class PathSide(OwnSide):
    """Another peer, over a path; `number` is what we have given out, for what comes."""

    def __init__(self, far: FarPeer, number: int, limits: RelayLimits) -> None:
        super().__init__(far.label, limits)
        self.path = far.path
        self.number = number
        self.number_there: int | None = None
        """What the other peer has given out; None where it carries nothing for us."""
        self.lacks = ""
        """Why nothing may come from there, in words; empty if nobody knows of a reason."""

    def name(self, described: MediaLine, now: float) -> None:
        """sides.Side"""
        super().name(described, now)
        self.number_there = described.number

    def is_from_there(self, component: int, source: Address | None, ssrc: int | None) -> bool:
        """sides.Side: the path is that peer's, and nobody else's."""
        return True

    def send(self, component: int, data: bytes, now: float) -> SendFrame | None:
        """sides.Side"""
        if self.number_there is None:
            return None
        return SendFrame(self.path, Frame(component, self.number_there, data).encode())
