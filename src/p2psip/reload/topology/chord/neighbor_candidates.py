"""Candidates: nodes that we were told of, until each has shown that it is a peer (RFC 6940 section 10.7.3).

A name enters the Routing Table only after we are linked with it and it has sent an Update itself. Who cannot be linked
with, or says nothing, is left alone for a while, however often it is named.
"""

from __future__ import annotations

from collections.abc import Container

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.reload.topology.actions import Connect
from p2psip.reload.topology.chord.messages import NeighborView
from p2psip.reload.topology.chord.routing_table import RoutingTable

ATTACH_MAX_S = 30.0
"""How long all of an attempt to be linked with a candidate may take."""

UPDATE_WAIT_S = 5.0
"""How long a candidate that we are linked with may take to say that it is a peer."""

CANDIDATES_MAX = 256


class Candidates:
    """Whom we are getting to know: `under_way`. `views` are what those that we hear from see."""

    def __init__(self, table: RoutingTable, queue: TimerQueue | None = None) -> None:
        self.under_way: set[NodeId] = set()
        self.views: dict[NodeId, NeighborView] = {}
        self._table = table
        self._named: set[NodeId] = set()
        self._silent_until: Timers[NodeId] = Timers(queue)
        self._shunned: dict[NodeId, float] = {}
        self._retry: Timers[None] = Timers(queue)

    def next_deadline(self) -> Deadline | None:
        """When `take_silent` or `take_retry` is wanted."""
        return earliest((self._silent_until.next_deadline(), self._retry.next_deadline()))

    def take_silent(self, now: float) -> list[NodeId]:
        """Those that did not come, or have not said that they are peers, in their time."""
        return [node for node in self._silent_until.pop_due(now) if node in self.under_way]

    def take_retry(self, now: float) -> bool:
        """True, once each time, if somebody was left alone for long enough."""
        return bool(list(self._retry.pop_due(now)))

    def linked(self, node: NodeId, now: float) -> None:
        """There is a link: now it has to say that it is a peer."""
        if node in self.under_way:
            self._silent_until.set(node, now + UPDATE_WAIT_S, "candidate says nothing")

    def heard(self, node: NodeId, view: NeighborView | None) -> None:
        """It is a peer, and sees this."""
        self.drop(node)
        if view is not None:
            self.views[node] = view
            self._drop_unnamed()

    def drop(self, node: NodeId) -> None:
        """It is a candidate no more."""
        self.under_way.discard(node)
        self._silent_until.cancel(node)

    def lost(self, node: NodeId) -> None:
        """The link to it is gone, and what it saw with it."""
        self.drop(node)
        self.views.pop(node, None)

    def shun(self, node: NodeId, pause_s: float, now: float) -> None:
        """Leave it alone for a while."""
        if node in self._shunned or len(self._shunned) < CANDIDATES_MAX:
            self._shunned[node] = now + pause_s
            self._wake_for_shunned()

    def start_over(self, linked: Container[NodeId]) -> None:
        """Whoever is not linked with us is as good as any other now: those under way, and those left alone."""
        for node in [node for node in self.under_way if node not in linked]:
            self.drop(node)
        self._shunned.clear()

    def forgive(self, node: NodeId) -> None:
        """It is there: whatever it was shunned for is over."""
        self._shunned.pop(node, None)

    def add(self, node: NodeId, via: NodeId | None, now: float) -> list[Connect]:
        """Get to know this one, unless that is under way, or too much else is."""
        if node in self.under_way or len(self.under_way) >= CANDIDATES_MAX:
            return []
        self.under_way.add(node)
        self._silent_until.set(node, now + ATTACH_MAX_S, "candidate does not come")
        return [Connect(node, node, via)]

    def consider(self, view: NeighborView, via: NodeId | None, left: Container[NodeId], now: float) -> list[Connect]:
        """10.7.3: "x MUST attempt to Attach to the new peers"; but to none of those that have `left`."""
        named = [node for node in view.nodes if self._shunned.get(node, now) <= now and node not in left]
        wanted = self._table.wanted_among([*self.under_way, *named])
        attaches = [attach for node in wanted for attach in self.add(node, via, now)]
        if via is not None:
            self._named.update(self.under_way.intersection(view.predecessors + view.successors))
        return attaches

    def consider_again(self, left: Container[NodeId], now: float) -> list[Connect]:
        """What those we hear from name, now that a peer is gone, or was left alone for long enough."""
        return [attach for sender, view in self.views.items() for attach in self.consider(view, sender, left, now)]

    def end_pauses(self, now: float) -> None:
        """Who was left alone for long enough is as good as any other; look again when the next has been."""
        self._shunned = {node: until for node, until in self._shunned.items() if until > now}
        self._wake_for_shunned()

    def _wake_for_shunned(self) -> None:
        if self._shunned:
            self._retry.set(None, min(self._shunned.values()), "try candidates again")

    def _drop_unnamed(self) -> None:
        """Candidates that nobody names any more are gone: they keep no place from the next best."""
        for node in self._named & self.under_way:
            if not any(node in view.predecessors or node in view.successors for view in self.views.values()):
                self.drop(node)
        self._named &= self.under_way
