"""The table of one peer when it changes: who is told, what moves, which links are made (docs/decisions/one-hop.md)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue, Timers
from p2psip.reload.topology.actions import (
    Action,
    Connect,
    Detach,
    Forget,
    HandOver,
    NeighborsChanged,
    ProbePartition,
    Tell,
)
from p2psip.reload.topology.one_hop.circle import middle
from p2psip.reload.topology.one_hop.copies import REPLICAS
from p2psip.reload.topology.one_hop.enquiries import Enquiries
from p2psip.reload.topology.one_hop.links import WATCHED
from p2psip.reload.topology.one_hop.messages import NAMES_MAX, OneHopQuery, OneHopUpdate, Standing, UpdateType
from p2psip.reload.topology.one_hop.place import OneHopPlace
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.topology_messages import RouteQueryReq

NEWS_DELAY_S = 0.1
"""News that come within this time go out as one Update."""
SYNC_S = 30.0
"""How often a peer compares its table with that of another, on average; also the turn of the clock for links."""
SOON_S = 3.0
"""How long after a change of the table the next two times come, for whom it asks first may have heard no more, or have
just sent what it knew; after them in twice the time, and so on."""

UPKEEP_S = 600.0
"""How often another part of the overlay is looked for, and what others keep by now is forgotten."""
CONNECT_MAX_S = 30.0
"""How long an attempt to be linked with a member may take."""
PRUNE_DELAY_S = 5.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """Our question to a node by which we came in: who is there?"""

    node: NodeId


class Table(OneHopPlace):
    """Changes it, and says and does what follows."""

    def __init__(self, node_id: NodeId, rng: random.Random, now: float, queue: TimerQueue | None = None) -> None:
        super().__init__(node_id, rng, queue)
        self.enquiries = Enquiries(self.members, self._queue)
        self._rng = rng
        self._began_at = now
        self._sought: set[NodeId] = set()
        self._probed: set[NodeId] = set()
        """Those of other parts, perhaps, with whom we are linked to find that out."""
        self._awaited: Timers[NodeId] = self._queue.scope()
        self._shunned: Timers[NodeId] = self._queue.scope()
        self._left: Timers[NodeId] = self._queue.scope()
        self._told_by: dict[NodeId, NodeId] = {}
        """Through whom a member can be reached that was first met in another part of the overlay."""
        self._named: set[NodeId] = set()
        self._paged: dict[NodeId, float] = {}
        self._news: dict[NodeId, bool] = {}
        self._is_near_new = False
        self._pace_s = SYNC_S
        self._timers: Timers[str] = self._queue.scope()
        self._is_leaving = False
        self._actions: list[Action] = []

    # The table

    def _came(self, node: NodeId, now: float, *, is_news: bool = False) -> None:
        """A member has shown itself."""
        has_data = node in self._admitting
        # Whoever was told that it has gone is to hear that it has not, or is here again.
        is_back = self.enquiries.standing(node, self._heard, now) is Standing.GONE
        is_news |= is_back
        self._admitting.discard(node)
        self.enquiries.forget(node)
        before = self.members.region
        if node in self._left or not self.members.add(node):
            return
        if is_back:
            self.enquiries.is_back(node, now)
        if not has_data:
            self._hand_over(node, before)
        self._copies.came(now)
        self._changed(node, now)
        if is_news:
            self._tell_later(node, now, has_come=True)

    def _hand_over(self, node: NodeId, before: tuple[bytes, bytes]) -> None:
        """6.4.2.3: "When a peer detects through an Update that it is no longer responsible for any data value it is
        storing, it MUST attempt to Store a copy to the correct node".
        """
        low, high = self.members.region
        if before[0] == before[1]:
            self._actions.append(HandOver(node, high, low))
            return
        if low != before[0]:
            self._actions.append(HandOver(node, before[0], low))
        if high != before[1]:
            self._actions.append(HandOver(node, high, before[1]))

    def _lost(self, node: NodeId, now: float) -> None:
        """We have no link to a member any more. That of a neighbour nobody closes without reason: it may be dead."""
        self._heard.discard(node)
        self._doubt(node, self.node_id, now, says_so=node in self.members.beside(WATCHED))
        self._alone_if_cut_off(now)

    def _went(self, node: NodeId, now: float) -> None:
        """A member is none any more: tell others."""
        self.enquiries.bury(node, now)
        was_near = node in self.members.beside(WATCHED)
        if not self.members.remove(node):
            return
        self._told_by.pop(node, None)
        self._copies.went(node, now)
        self._changed(node, now, was_near=was_near)
        self._tell_later(node, now, has_come=False)

    def _doubt(self, node: NodeId, teller: NodeId, now: float, *, says_so: bool = True) -> None:
        """Make sure that a member has gone that `teller`, perhaps we, lost sight of, or does not know."""
        if self.enquiries.gone(node, teller, now, says_so=says_so):
            self._is_gone(node, now)

    def _is_gone(self, node: NodeId, now: float) -> None:
        """That is certain."""
        self._heard.discard(node)
        self._went(node, now)
        self._alone_if_cut_off(now)

    def _changed(self, node: NodeId, now: float, *, was_near: bool = False) -> None:
        if was_near or node in self.members.beside(WATCHED):
            self._actions.append(NeighborsChanged())
            self._is_near_new = True
            self._timers.set("news", now + NEWS_DELAY_S, "tell others")
        self._timers.set("prune", now + PRUNE_DELAY_S, "links no longer of use")
        # Others may have come or gone at the same moment, whom we, or those who have told us, do not know of.
        self._compare_soon(now)

    def _may_be_back(self, node: NodeId) -> None:
        """A leaving peer says nothing more; who speaks by its Node-ID after that is another, or is here again."""
        if node in self._links:
            self._ask_for_pages(node)

    # What we say

    @property
    def _may_speak(self) -> bool:
        return self.is_serving and not self._is_leaving

    def _tell(
        self,
        node: NodeId,
        kind: UpdateType,
        now: float,
        came: Iterable[NodeId] = (),
        gone: Iterable[NodeId] = (),
    ) -> None:
        update = OneHopUpdate(self._uptime_s(now), self.members.digest, kind, tuple(came), tuple(gone))
        self._actions.append(Tell(node, MessageCode.UPDATE_REQ, update))

    def _send_pages(self, node: NodeId, now: float) -> None:
        self._paged[node] = now
        for page, following in self.members.pages(NAMES_MAX, node):
            self._send_page(node, page, following, now)

    def _send_page(self, node: NodeId, page: Iterable[NodeId], following: NodeId, now: float) -> None:
        update = OneHopUpdate(
            self._uptime_s(now), self.members.digest, UpdateType.PAGE, members=tuple(page), next=(following,)
        )
        self._actions.append(Tell(node, MessageCode.UPDATE_REQ, update))

    def _ask_for_pages(self, node: NodeId) -> None:
        is_member = self.joining.is_member and not self._is_leaving
        query = RouteQueryReq(True, Destination.node(node), OneHopQuery(is_member).encode())
        self._actions.append(Tell(node, MessageCode.ROUTE_QUERY_REQ, query, Gateway(node)))

    def _tell_later(self, node: NodeId, now: float, *, has_come: bool) -> None:
        self._news[node] = has_come
        if "news" not in self._timers:
            self._timers.set("news", now + NEWS_DELAY_S, "tell others")

    def _spread_news(self, now: float) -> None:
        """Members hear who has come and gone; who is none, a client, hears who is around it now."""
        if not self.joining.is_member or self._is_leaving:
            return
        came = [node for node, has_come in self._news.items() if has_come][:NAMES_MAX]
        gone = [node for node, has_come in self._news.items() if not has_come][:NAMES_MAX]
        self._news.clear()
        around, following = next(self.members.pages(1 + 2 * WATCHED, self.node_id))
        for node in sorted(self._links):
            if node in self.members and (came or gone):
                self._tell(node, UpdateType.NEWS, now, came, gone)
            elif node not in self.members and self._is_near_new:
                self._send_page(node, around, following, now)
        self._is_near_new = False

    def _compare_soon(self, now: float) -> None:
        self._pace_s = SOON_S
        self._timers.set("sync", now + SOON_S * self._rng.uniform(0.5, 1.5), "compare tables")

    def _sync(self, now: float) -> None:
        self._timers.set("sync", now + self._pace_s * self._rng.uniform(0.8, 1.2), "compare tables")
        if self._pace_s == SYNC_S:
            self._wanted.turn()
        self._pace_s = min(SYNC_S, 2 * self._pace_s)
        others = sorted(node for node in self._heard if node in self.members)
        if others and self._may_speak:
            self._tell(self._rng.choice(others), UpdateType.SYNC, now)
        self._timers.set("prune", now + PRUNE_DELAY_S, "links no longer of use")

    def _keep_up(self, now: float) -> None:
        """10.7.4.4: "To detect that a partitioning has occurred and to heal the overlay, a peer P MUST periodically
        repeat the discovery process used in the initial join"; and forget what three others keep.
        """
        self._timers.set("upkeep", now + UPKEEP_S * self._rng.uniform(0.8, 1.2), "look around")
        if self._is_leaving:
            return
        keepers = 1 + REPLICAS
        if len(self.members) > 2 * keepers:
            low = middle(self.members.at(-keepers), self.node_id)
            high = middle(self.node_id, self.members.at(keepers))
            self._actions.append(Forget(high, low))
        self._actions.append(ProbePartition())

    def _uptime_s(self, now: float) -> int:
        return int(now - self._began_at)

    # Links

    def _want_links(self, now: float) -> None:
        """Attach to whom we want to be linked with and are not."""
        if self._is_leaving:
            return
        wanted = self._wanted.wanted(self._heard)
        if self._links.issuperset(wanted):
            # As after almost every message.
            return
        for node in wanted:
            if node not in self._links and node not in self._awaited and node not in self._shunned:
                self._connect(node, now)

    def _connect(self, node: NodeId, now: float) -> None:
        via = self._told_by.get(node)
        self._sought.add(node)
        self._awaited.set(node, now + CONNECT_MAX_S, "a link that does not come")
        self._actions.append(Connect(node, node, via if via in self._links else self.way_round(node)))

    def _prune(self) -> None:
        """Let go of links that we made and that serve no purpose any more; others' are theirs to close."""
        if not self.joining.is_member:
            return
        self._probed.clear()
        kept = {*self._wanted.wanted(self._heard), *self._wanted.worth_keeping(), *self._admitting}
        for node in sorted(self._sought & self._links):
            if node not in kept and node not in self._awaited:
                self._unlink(node)
                self._actions.append(Detach(node))

    def _unlink(self, node: NodeId) -> None:
        for collection in (self._links, self._heard, self._sought, self._probed):
            collection.discard(node)
        self._paged.pop(node, None)

    # Alone

    def _alone_if_cut_off(self, now: float) -> None:
        """Who is linked with no member is an overlay of one until it has found the others."""
        if self.joining.is_member and not self._heard and not self._admitting:
            self._serve_alone(now)

    def _serve_alone(self, now: float) -> None:
        had_others = len(self.members) > 1
        self._serves_alone = True
        self._timers.clear()
        self._news.clear()
        self._told_by.clear()
        self.members.clear()
        self.enquiries.start_over()
        self._copies.alone()
        self.joining.retry_now(now)
        if had_others:
            self._actions.append(NeighborsChanged())
