"""Why we are not linked with a node, or were not connected with it: remembered for whoever asks, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from p2psip.base.errors import Cause
from p2psip.base.ids import NodeId
from p2psip.reload.node.limits import FAILED_ATTEMPTS_MAX
from p2psip.reload.paths.ice.values import PairReport
from p2psip.reload.paths.values import Purpose

SAME_TIME_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """No connection with a node came about: when that was, why, and with ICE how each pair of addresses ended."""

    node: NodeId
    purpose: Purpose
    at: float
    reason: str
    tried: tuple[PairReport, ...] = ()

    def __str__(self) -> str:
        return "; ".join((f"{self.node.short}: {self.reason}", *map(str, self.tried)))

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The same, as every failure has them."""
        return (Cause("this peer", self.reason, self.at), *(pair.cause(self.at) for pair in self.tried))


def in_words(tried: tuple[PairReport, ...]) -> dict[str, list[str]]:
    """The pairs that were tried, as a fact for the log, if there were any."""
    return {"tried": [*map(str, tried)]} if tried else {}


class FailedAttempts:
    """The last attempt to be connected with each node for each purpose, where it failed; the newest last."""

    def __init__(self) -> None:
        self._last: dict[tuple[NodeId, Purpose], FailedAttempt] = {}

    def __iter__(self) -> Iterator[FailedAttempt]:
        return iter(self._last.values())

    def failed(self, attempt: FailedAttempt) -> None:
        """This came to nothing. Of two at the same time, theirs and ours, the one counts in which pairs were tried."""
        before = self._last.pop((attempt.node, attempt.purpose), None)
        if before is not None and not attempt.tried and attempt.at < before.at + SAME_TIME_S:
            attempt = replace(before, at=attempt.at)
        self._last[attempt.node, attempt.purpose] = attempt
        while len(self._last) > FAILED_ATTEMPTS_MAX:
            del self._last[next(iter(self._last))]

    def succeeded(self, node: NodeId, purpose: Purpose) -> None:
        """We are connected."""
        self._last.pop((node, purpose), None)

    def since(self, began_at: float) -> tuple[FailedAttempt, ...]:
        """Those for links that have failed since then."""
        return tuple(each for each in self if each.purpose is Purpose.RELOAD and each.at >= began_at)
