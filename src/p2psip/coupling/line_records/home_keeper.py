"""The home peers of this peer's lines (docs/decisions/ways-of-calls.md).

Theory of operation. Where the overlay's calls go by home peers, each line that has some registers with the first of
them that takes it, and again every `REFRESH_S`; its record leads by that one. Who does not answer, or takes none, is
left out until the next time. A peer that slept says at once where it is, which its home knows sooner than the overlay.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.coupling.lines import Publisher
from p2psip.reload.node.node import Node
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.private_messages import PrivateReq
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.usages.home_registration import HOME, HomeReq

LIFETIME_S = 300
REFRESH_S = 100.0
"""Two may be lost before it runs out."""

TRANSMISSIONS_MAX = 2
"""Who does not answer to two within six seconds is not there now; the next home is asked."""


@dataclass(slots=True)
class _Homed:
    """A line: its homes in the order of preference, and which of them are still to be asked this time."""

    name: str
    homes: tuple[NodeId, ...]
    untried: tuple[NodeId, ...] = ()
    is_asking: bool = False


@dataclass(frozen=True, slots=True)
class HomeContext:
    """A line registers with a home; without `homed` it takes that back."""

    home: NodeId
    homed: _Homed | None = None


class HomeKeeper:
    """Registers lines with their homes."""

    def __init__(self, node: Node, publisher: Publisher, queue: TimerQueue | None = None) -> None:
        self._node = node
        self._publisher = publisher
        self._lines: dict[str, _Homed] = {}
        self._timers: Timers[str] = Timers(queue)

    def use(self, name: str, homes: tuple[NodeId, ...], now: float) -> None:
        """A line has these homes from now on, the preferred one first."""
        known = self._lines.get(name)
        if homes == (known.homes if known is not None else ()):
            return
        self.forget(name, now)
        self._publisher.lead_by(name, None, now)
        if homes:
            self._lines[name] = _Homed(name, homes)
            self._timers.set(name, now, "register with a home peer")

    def forget(self, name: str, now: float) -> None:
        """A line has no homes any more, or is gone."""
        homed = self._lines.pop(name, None)
        self._timers.cancel(name)
        for home in homed.homes if homed is not None else ():
            self._say(name, home, HomeContext(home), 0, now)

    def reconsider(self, now: float) -> None:
        """The overlay's configuration has changed, or it can be reached again."""
        for name in self._lines:
            self._timers.set(name, now, "register with a home peer")

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Register those whose time it is."""
        for name in self._timers.pop_due(now):
            homed = self._lines[name]
            self._timers.set(name, now + REFRESH_S, "register with a home peer")
            if not self._node.configuration.calls_by.has_homes:
                self._publisher.lead_by(name, None, now)
            elif self._node.is_connected and not homed.is_asking:
                homed.untried = homed.homes
                self._ask_next(homed, now)

    def handle_done(self, context: HomeContext, result: Answer | RequestFailed, now: float) -> None:
        """What a home has said."""
        homed = context.homed
        if homed is None:
            return
        homed.is_asking = False
        if self._lines.get(homed.name) is not homed:
            return
        if isinstance(result, Answer):
            self._publisher.lead_by(homed.name, context.home, now)
        else:
            self._ask_next(homed, now)

    def _ask_next(self, homed: _Homed, now: float) -> None:
        while homed.untried and not homed.is_asking:
            home, *rest = homed.untried
            homed.untried = tuple(rest)
            homed.is_asking = self._say(homed.name, home, HomeContext(home, homed), LIFETIME_S, now)
        if not homed.is_asking:
            self._publisher.lead_by(homed.name, None, now)

    def _say(self, name: str, home: NodeId, context: HomeContext, lifetime_s: int, now: float) -> bool:
        line = self._publisher.get(name)
        if line is None or home == self._node.node_id:
            return False
        try:
            issued = self._node.issue_storage_time(line.identity.node_id, now)
        except Rejection:
            return False
        body = HomeReq(issued.storage_time_ms, lifetime_s, self._node.node_id)
        asked = OverlayRequest(
            [Destination.node(home)],
            MessageCode.PRIVATE_REQ,
            PrivateReq(HOME, body.encode()),
            line.identity,
            transmissions_max=TRANSMISSIONS_MAX,
            after=issued.after,
        )
        self._node.request(asked, context, now)
        return True
