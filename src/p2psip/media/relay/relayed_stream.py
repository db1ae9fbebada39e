"""One m= line of a relayed call: what comes from one side goes to the other, as it came, and who is silent is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from p2psip.base.effects import Effect
from p2psip.media.negotiation import Address
from p2psip.media.relay.description import Carriage, MediaLine
from p2psip.media.relay.limits import RelayLimits
from p2psip.media.relay.multiplex import RTP
from p2psip.media.relay.sides import OwnSide, PathSide, PhoneSide, Side

S = TypeVar("S", bound=Side)

RTP_HEADER_BYTES = 12
RTCP_HEADER_BYTES = 8
FROM_RTP = range(128, 192)
"""RFC 7983 section 7: how RTP and RTCP begin, and SRTP, whose header is in clear (RFC 3711)."""

OF_KEYS = range(16, 64)
"""ZRTP (16 to 19) and DTLS (20 to 63): by them phones agree on the keys of SRTP."""

RTCP_TYPES = range(192, 224)
"""RFC 5761 section 4: by these RTCP is told from RTP where both come to one port."""

NO_SSRC = -1


@dataclass(frozen=True, slots=True)
class SideSilent(Effect):
    """Nothing comes from one side of a call, while the other one sends.

    `strangers` is what was dropped because it came from elsewhere, the last of it from `stranger`; `owner` is whose
    `port` it is.
    """

    call: str
    side: str
    other: str
    port: int | None
    silent_s: float
    was_heard: bool
    strangers: int = 0
    stranger: Address | None = None
    owner: str = "this peer"
    lacks: str = ""
    """Why that is, where it is known."""

    @property
    def words(self) -> str:
        """What that is, and what it may come from."""
        if self.lacks:
            return f"no audio from {self.side}: {self.lacks}"
        where = "" if self.port is None else f" to UDP port {self.port} of {self.owner}"
        since = f"for {self.silent_s:g} s" if self.was_heard else "yet"
        if self.strangers and self.stranger is not None:
            host, port = self.stranger
            why = (
                f"{self.strangers} packets came from {host} port {port}, which is neither the address in its session "
                "description nor the one that it registered from"
            )
        elif self.was_heard:
            why = "it has stopped to send, or has lost its network"
        else:
            why = f"it does not send, sends elsewhere, or a firewall between it and {self.owner} lets UDP not through"
        return f"no audio from {self.side}: nothing has come{where} {since}, while {self.other} sends; {why}"


@dataclass(frozen=True, slots=True)
class SideHeard(Effect):
    """Something comes again from a side that was silent."""

    call: str
    side: str


class CarriedStream(Generic[S]):
    """Both sides of one; `call` is what it belongs to, for people."""

    def __init__(self, call: str, sides: tuple[S, S], limits: RelayLimits) -> None:
        self.call = call
        self.sides = sides
        self.kind = ""
        self.carriage = Carriage.RTP
        self._limits = limits

    @property
    def heard_at(self) -> float:
        """When anything has come last."""
        return max(side.heard_at for side in self.sides)

    @property
    def is_flowing(self) -> bool:
        """False where both sides have said that nothing is to come."""
        return any(side.direction.sends for side in self.sides)

    def describe(self, which: int, described: MediaLine, now: float) -> None:
        """A description of one side says how it is now."""
        self.kind, self.carriage = described.kind, described.carriage
        self.sides[which].name(described, now)

    def expect(self, now: float) -> None:
        """The call is answered, or has changed: who is to send to the other has its time from now."""
        for side, other in (self.sides, self.sides[::-1]):
            is_to_send = self.kind == "audio" and side.direction.sends and other.direction.receives
            side.silent_at = now + self._limits.silent_s if is_to_send else math.inf
            side.is_silent = False

    def _heard(self, side: S, now: float) -> list[Effect]:
        """Something has come from a side; that it was silent is over."""
        side.heard_at = now
        side.silent_at = max(side.silent_at, now + self._limits.silent_s)
        was_silent, side.is_silent = side.is_silent, False
        return [SideHeard(self.call, side.label)] if was_silent else []


class RelayedStream(CarriedStream[OwnSide]):
    """One whose packets go through this peer."""

    def take(self, which: int, component: int, source: Address | None, data: bytes, now: float) -> Sequence[Effect]:
        """A datagram came from one side, from `source` if that is a phone: what passes it on, and what that tells."""
        side, other = self.sides[which], self.sides[1 - which]
        ssrc = self._ssrc(component, data)
        if ssrc is None or not side.is_from_there(component, source, None if ssrc == NO_SSRC else ssrc):
            side.dropped += 1
            return ()
        if not side.is_allowed(now):
            side.dropped += 1
            return ()
        told: list[Effect] = [] if ssrc == NO_SSRC else self._note(side, other, data, now)
        side.heard_at = now
        if (sent := other.send(component, data, now)) is not None:
            told.append(sent)
        return told

    def _ssrc(self, component: int, data: bytes) -> int | None:
        """The SSRC of an RTP packet, NO_SSRC of anything else that belongs here; None of what does not."""
        if self.carriage is not Carriage.RTP:
            return NO_SSRC if data else None
        if len(data) < RTCP_HEADER_BYTES:
            return None
        first = data[0]
        if first in FROM_RTP:
            if component != RTP or data[1] in RTCP_TYPES:
                return NO_SSRC
            return int.from_bytes(data[8:12], "big") if len(data) >= RTP_HEADER_BYTES else None
        return NO_SSRC if first in OF_KEYS else None

    def _note(self, side: OwnSide, other: OwnSide, packet: bytes, now: float) -> list[Effect]:
        """Count an RTP packet. That one side sends is when the other's silence shows."""
        side.tally.note(packet, now)
        if now >= side.pauses_at:
            # Who begins to speak gives the other its time to do so.
            other.silent_at = max(other.silent_at, now + self._limits.silent_s)
        side.pauses_at = now + self._limits.pause_s
        told = self._heard(side, now)
        if now >= other.silent_at and not other.is_silent:
            other.is_silent = True
            told.append(self._silent(other, side))
        return told

    def _silent(self, side: OwnSide, other: OwnSide) -> SideSilent:
        port, stranger = (side.port, side.stranger) if isinstance(side, PhoneSide) else (None, None)
        was_heard = side.tally.packets > 0
        lacks = side.lacks if isinstance(side, PathSide) and not was_heard else ""
        ends, strange = (side.label, other.label), (side.strangers, stranger)
        return SideSilent(self.call, *ends, port, self._limits.silent_s, was_heard, *strange, lacks=lacks)
