"""One m= line of a call that goes through an engine: nothing of it comes here but what the engine has counted."""

from __future__ import annotations

from p2psip.base.effects import Effect
from p2psip.media.negotiation import Address
from p2psip.media.relay.relayed_stream import CarriedStream, SideSilent
from p2psip.media.relay.rtpengine.figures import Counted
from p2psip.media.relay.sides import Side, SideReport


class EngineSide(Side):
    """A phone that sends to `address`, which is the engine's."""

    def __init__(self, label: str, address: Address) -> None:
        super().__init__(label)
        self.address = address
        self.counted = Counted()

    def report(self, kind: str) -> SideReport:
        """sides.Side"""
        figures = self.counted
        return SideReport(self.label, kind, figures.packets, figures.octets, None, None, figures.errors)


class EngineStream(CarriedStream[EngineSide]):
    """Both phones of it."""

    def take(self, figures: tuple[Counted, Counted], now: float) -> list[Effect]:
        """What the engine has counted by now: who is heard, and who is not while the other one sends."""
        told: list[Effect] = []
        pairs = tuple(zip(self.sides, figures, strict=True))
        has_sent = [figure.packets > side.counted.packets for side, figure in pairs]
        for which, (side, figure) in enumerate(pairs):
            side.counted = figure
            if has_sent[which]:
                told += self._heard(side, now)
            elif has_sent[1 - which] and now >= side.silent_at and not side.is_silent:
                side.is_silent = True
                told.append(self._silent(side, self.sides[1 - which]))
        return told

    def _silent(self, side: EngineSide, other: EngineSide) -> SideSilent:
        was_heard, (host, port) = side.counted.packets > 0, side.address
        owner = f"the media engine at {host}"
        return SideSilent(self.call, side.label, other.label, port, self._limits.silent_s, was_heard, owner=owner)
