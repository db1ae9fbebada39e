"""The clients that lend a peer storage, and what each of them has (docs/decisions/lending.md)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.facts import LenderFacts
from p2psip.reload.node.limits import LENDERS_MAX, LENT_VALUES_MAX
from p2psip.reload.storage.outline import Outline, Outlined
from p2psip.reload.wire.rejections import DataTooLarge, Forbidden

PAUSE_S = 60.0
"""How long a client that did not serve is asked nothing; after each time in a row twice as long, up to an hour."""

PAUSE_MAX_S = 3600.0

DISTRUST_S = 3600.0
"""How long nothing is placed with a client that gave back something else."""

Location = tuple[ResourceId, int]
"""A Kind at a resource."""


class Lender:
    """A client that lends `room` bytes `until` then, and what it has acknowledged."""

    def __init__(self, room: int, until: float) -> None:
        self.room, self.until = room, until
        self.is_full = False
        """It has refused something."""
        self.asked_from = 0.0
        """Until then it is asked nothing."""
        self.answered = self.failed = 0
        self.count = self.size = 0
        """How many values it has, and how many bytes these have."""
        self._pause_s = PAUSE_S
        self._kept: dict[Location, dict[bytes, Outlined]] = {}

    @property
    def locations(self) -> Iterable[Location]:
        """Where it has values."""
        return self._kept

    def keep(self, location: Location, values: Mapping[bytes, Outlined]) -> None:
        """It has acknowledged these."""
        self._count(location, -1)
        self._kept.setdefault(location, {}).update(values)
        self._count(location, 1)

    def drop(self, location: Location) -> None:
        """What it has there counts no longer."""
        self._count(location, -1)
        self._kept.pop(location, None)

    def at(self, location: Location) -> tuple[int, int]:
        """How many values it has there, and how many bytes these have."""
        values = self._kept.get(location, {}).values()
        return len(values), sum(value.size for value in values)

    def lacks(self, location: Location, values: Iterable[Outlined]) -> dict[bytes, Outlined]:
        """Those of these that it does not have, or has otherwise, by key."""
        kept = self._kept.get(location, {})
        keyed = {value.record.place.key: value for value in values}
        return {key: value for key, value in keyed.items() if key not in kept or kept[key].digest != value.digest}

    def leave_alone(self, now: float) -> None:
        """It has not served: ask it nothing for a while."""
        self.failed += 1
        if self.asked_from <= now:
            self.asked_from = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)

    def has_served(self) -> None:
        """It has given back what was asked for."""
        self.answered += 1
        self._pause_s = PAUSE_S

    def _count(self, location: Location, sign: int) -> None:
        count, size = self.at(location)
        self.count += sign * count
        self.size += sign * size


class Lenders:
    """All of them, and the outlines of what they have, which tell whether it is still what there is."""

    def __init__(self, linked: Container[NodeId], size_max: int) -> None:
        """`linked` are the nodes that we are linked with; `size_max` is how many bytes lenders keep at the most, all
        together.
        """
        self._linked = linked
        self._size_max = size_max
        self._lenders: dict[NodeId, Lender] = {}
        self._distrusted: dict[NodeId, float] = {}
        self.outlines: dict[Location, Outline] = {}

    def __len__(self) -> int:
        return len(self._lenders)

    def get(self, node: NodeId) -> Lender | None:
        """What is known of a client, if it lends."""
        return self._lenders.get(node)

    def facts(self, now: float) -> tuple[LenderFacts, ...]:
        """What an operator wants to know of them."""
        return tuple(
            LenderFacts(
                node,
                lender.room,
                lender.count,
                lender.size,
                lender.answered,
                lender.failed,
                is_asked=self.may_ask(node, now),
            )
            for node, lender in self._lenders.items()
        )

    def lends(self, node: NodeId, room: int, until: float, now: float) -> bool:
        """A client lends, or goes on to; True if it did not before. Raises a Rejection."""
        if self._distrusted.get(node, now) > now:
            raise Forbidden("what was placed with this node came back as something else")
        if (known := self._lenders.get(node)) is not None:
            known.room, known.until, known.is_full = room, until, False
            return False
        if len(self) >= LENDERS_MAX:
            raise DataTooLarge(f"{LENDERS_MAX} others lend this peer storage already")
        self._lenders[node] = Lender(room, until)
        return True

    def remove(self, node: NodeId) -> bool:
        """It lends no longer; True if it did."""
        if self._lenders.pop(node, None) is None:
            return False
        self.outlines = {at: each for at, each in self.outlines.items() if self.keeper_of(at) is not None}
        return True

    def distrust(self, node: NodeId, now: float) -> None:
        """Take nothing from it for a while."""
        self._distrusted = {each: until for each, until in self._distrusted.items() if until > now}
        if len(self._distrusted) < LENDERS_MAX:
            self._distrusted[node] = now + DISTRUST_S

    # What is where

    @property
    def locations(self) -> list[Location]:
        """Where any of them has values."""
        return [location for lender in self._lenders.values() for location in lender.locations]

    def drop(self, location: Location) -> None:
        """Nothing at this place is with a client any more, or is to be."""
        self.outlines.pop(location, None)
        for lender in self._lenders.values():
            lender.drop(location)

    def keeper_of(self, location: Location) -> NodeId | None:
        """The client that has some of the values at a place: it is to have all of them."""
        return next((node for node, lender in self._lenders.items() if location in lender.locations), None)

    def roomiest(self, now: float) -> NodeId | None:
        """The one with the most room, of those that can be asked."""
        free = {
            node: lender.room - lender.size
            for node, lender in self._lenders.items()
            if self.may_ask(node, now) and not lender.is_full
        }
        return max(free, key=lambda node: free[node], default=None)

    def fits(self, node: NodeId, outline: Outline) -> bool:
        """True if a client may have all of these values."""
        lender, lenders = self._lenders[node], self._lenders.values()
        count, size = lender.at((outline.resource, outline.kind))
        more = sum(value.size for value in outline.values.values()) - size
        return (
            lender.size + more <= lender.room
            and sum(each.size for each in lenders) + more <= self._size_max
            and sum(each.count for each in lenders) + len(outline.values) - count <= LENT_VALUES_MAX
        )

    def who_has(self, chosen: Mapping[Location, Iterable[Outlined]], now: float) -> NodeId | None:
        """The client that has all of these, and can be asked."""
        for node, lender in self._lenders.items():
            if self.may_ask(node, now) and not any(lender.lacks(at, values) for at, values in chosen.items()):
                return node
        return None

    def may_ask(self, node: NodeId, now: float) -> bool:
        """True unless it is left alone, or not linked with us."""
        lender = self._lenders[node]
        return lender.until > now and lender.asked_from <= now and node in self._linked
