"""Placing values with the clients that lend a peer storage (docs/decisions/lending.md).

Theory of operation. What is new is placed a moment later, when it is on disk; what else there is, some places at a
time, when a client begins to lend, and every few minutes. All values of a Kind at a resource are with one client, or
none of them; they go there by Stores, as to a replica (RFC 6940 section 7.4.1.1), a few at a time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.base.timers import Timers
from p2psip.reload.node.data.lending.lenders import Lenders, Location
from p2psip.reload.node.exchange import Exchange, failure_of
from p2psip.reload.node.limits import LENT_WANTED_MAX, LENT_WINDOW
from p2psip.reload.storage.outline import Outlined
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.records import Place
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome, Refused
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination

LENT_SIZE_MIN = 4096
"""A Kind whose values have so many bytes at the most is not placed with clients: what a call waits for is small, and is
read here at once.
"""

SETTLE_S = 2.0
"""A new value is placed after this: it is on disk by then, and those that come with it are there."""

PLACE_BYTES = 64 * 1024
"""What is placed in one step at one resource."""

WALK_AGAIN_S = 300.0
"""How often this peer looks at all that it has."""

WALK_PAGE = 32
"""Places that are looked at in one step."""


@dataclass(frozen=True, slots=True)
class LentStoreContext:
    """A Store of values with a client; `values` are what it will have, by key."""

    node: NodeId
    location: Location
    values: Mapping[bytes, Outlined]


class Placing:
    """What clients do not have yet, and are to have."""

    def __init__(self, exchange: Exchange, topology: Topology, storage: Storage, lenders: Lenders) -> None:
        self._exchange = exchange
        self._topology = topology
        self._storage = storage
        self._lenders = lenders
        self._wanted: dict[Location, None] = {}
        self._walk: list[tuple[int, bytes]] = []
        """Kinds whose places are still to be looked at, and after which resource."""
        self._walked_at = -math.inf
        self._under_way: Counter[Location] = Counter()
        """Stores with clients."""
        self.timers: Timers[None] = exchange.queue.scope()

    @property
    def lendable_kinds(self) -> list[int]:
        """The Kinds whose values are placed with clients."""
        kinds = self._storage.rules.kinds
        return [kind for kind in kinds if kinds[kind].max_size > LENT_SIZE_MIN]

    def changed(self, places: Iterable[Place], now: float) -> None:
        """There are new values at these places."""
        for place in places:
            location = place.resource, place.kind
            self._lenders.outlines.pop(location, None)
            if len(self._lenders) and place.kind in self.lendable_kinds and len(self._wanted) < LENT_WANTED_MAX:
                self._wanted[location] = None
                self._go_on_later(now)

    def look_at_all(self, now: float, *, at_once: bool) -> None:
        """See what no client has yet, and what clients have and is no more."""
        if at_once or (not self._walk and now >= self._walked_at + WALK_AGAIN_S):
            self._walked_at = now
            self._walk = [(kind, b"") for kind in self.lendable_kinds]
            self._wanted.update(dict.fromkeys(self._lenders.locations))
            self._go_on_later(now)

    def forget(self) -> None:
        """Nobody lends any more."""
        self._wanted.clear()
        self._walk.clear()

    def handle_timeout(self, now: float) -> None:
        """Go on."""
        for _ in self.timers.pop_due(now):
            self._place_some(now)

    def handle_outcome(self, context: LentStoreContext, outcome: Outcome, now: float) -> None:
        """A client has them, or not."""
        location, outlines = context.location, self._lenders.outlines
        self._under_way -= Counter([location])
        lender = self._lenders.get(context.node)
        if lender is not None and isinstance(outcome, Answer):
            lender.keep(location, context.values)
            outline = outlines.get(location)
            if outline is not None and lender.lacks(location, outline.values.values()):
                self._wanted[location] = None
        elif lender is not None and not isinstance(outcome, Answer):
            if isinstance(outcome, Refused):
                lender.is_full = True
            else:
                lender.leave_alone(now)
            self._exchange.note("not placed with a client", node=context.node, why=str(failure_of(outcome)))
        self._forget_unplaced(location)
        if self._wanted or self._walk:
            self._place_some(now)

    def _go_on_later(self, now: float) -> None:
        if None not in self.timers:
            self.timers.set(None, now + SETTLE_S, "values are placed with clients")

    def _place_some(self, now: float) -> None:
        """Keep a window of Stores under way."""
        for _ in range(WALK_PAGE):
            if self._under_way.total() >= LENT_WINDOW:
                # The end of one goes on from here.
                return
            self._walk_on()
            location = next((each for each in self._wanted if each not in self._under_way), None)
            if location is None:
                break
            del self._wanted[location]
            self._place(location, now)
        if self._wanted or self._walk:
            self._go_on_later(now)

    def _walk_on(self) -> None:
        while self._walk and not self._wanted:
            kind, after = self._walk.pop()
            page = self._storage.resources_of(kind, after, WALK_PAGE)
            if len(page) == WALK_PAGE:
                self._walk.append((kind, page[-1]))
            self._wanted.update(dict.fromkeys((resource, kind) for resource in page))

    def _place(self, location: Location, now: float) -> None:
        """Give a client what it has not yet of the values at a place, as much as goes in one step."""
        node = self._lenders.keeper_of(location) or self._lenders.roomiest(now)
        lender = None if node is None else self._lenders.get(node)
        if node is None or lender is None or self._has_all(node, location, now):
            return
        outline = self._storage.outline(*location, now) if self._topology.is_responsible(location[0]) else None
        if outline is None or not self._lenders.fits(node, outline):
            self._lenders.drop(location)
            return
        self._lenders.outlines[location] = outline
        chosen = _as_much_as_goes(lender.lacks(location, outline.values.values()))
        if chosen and self._lenders.may_ask(node, now) and not lender.is_full:
            self._send(node, location, chosen, now)
        self._forget_unplaced(location)

    def _forget_unplaced(self, location: Location) -> None:
        """Keep no outline of what no client has, or is about to."""
        if self._lenders.keeper_of(location) is None and location not in self._under_way:
            self._lenders.outlines.pop(location, None)

    def _has_all(self, node: NodeId, location: Location, now: float) -> bool:
        """True if there is nothing to be done: then none of the values need be read."""
        lender, outline = self._lenders.get(node), self._lenders.outlines.get(location)
        if lender is None or outline is None or not self._topology.is_responsible(location[0]):
            return False
        return self._storage.is_current(outline, now) and not lender.lacks(location, outline.values.values())

    def _send(self, node: NodeId, location: Location, chosen: Mapping[bytes, Outlined], now: float) -> None:
        places, size_max = [value.record.place for value in chosen.values()], self._exchange.values_size_max
        for transfer in self._storage.transfers(location[0], 1, now, size_max=size_max, places=places):
            asked = OverlayRequest(
                [Destination.node(node)],
                MessageCode.STORE_REQ,
                transfer.request,
                certificates=transfer.certificates,
                transmissions_max=2,
            )
            values = {place.key: chosen[place.key] for place in transfer.places}
            if self._exchange.request(asked, LentStoreContext(node, location, values), now) is not None:
                self._under_way[location] += 1


def _as_much_as_goes(values: Mapping[bytes, Outlined]) -> dict[bytes, Outlined]:
    """Of these the first that go in one step."""
    left = PLACE_BYTES
    chosen: dict[bytes, Outlined] = {}
    for key, value in values.items():
        left -= value.size
        if chosen and left < 0:
            break
        chosen[key] = value
    return chosen
