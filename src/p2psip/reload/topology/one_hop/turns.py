"""A few things are under way at once, the others wait; all who want something take turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

from p2psip.base.ids import NodeId

T = TypeVar("T")


class Turns(Generic[T]):
    """Things to be done, each about one node and wanted by another: however much one wants, others do not wait for it.

    At most `under_way_max` are under way, half of them of one who wants them, so that there is room for another's at
    once; and `waiting_max` wait: who has the most of these waits with the least.
    """

    def __init__(self, under_way_max: int, waiting_max: int) -> None:
        self._under_way_max = under_way_max
        self._waiting_max = waiting_max
        self._under_way: dict[NodeId, tuple[NodeId, T]] = {}
        self._by_whom: Counter[NodeId] = Counter()
        """Whose are under way."""
        self._waiting: dict[NodeId, dict[NodeId, T]] = {}
        self._length = 0
        """How many wait."""

    def __len__(self) -> int:
        """How many wait or are under way."""
        return self._length + len(self._under_way)

    @property
    def waits(self) -> bool:
        """True if anything has not begun."""
        return self._length > 0

    def under_way(self, node: NodeId) -> T | None:
        """What is under way about `node`."""
        _, thing = self._under_way.get(node, (node, None))
        return thing

    def wait(self, node: NodeId, by: NodeId, thing: T) -> bool:
        """`by` wants this done; False if there is no room for it."""
        if node in self._waiting.get(by, ()):
            return True
        if self._length >= self._waiting_max and not self._make_room(by):
            return False
        self._waiting.setdefault(by, {})[node] = thing
        self._length += 1
        return True

    def begin(self) -> Iterator[tuple[NodeId, T]]:
        """What may begin now, as long as it is asked for; of two that wait about one node one begins."""
        while self._waiting and len(self._under_way) < self._under_way_max:
            by = min(self._waiting, key=self._by_whom.__getitem__)
            if self._by_whom[by] >= self._under_way_max // 2:
                return
            node = next(iter(self._waiting[by]))
            thing = self._take(node, by)
            if node not in self._under_way:
                self._under_way[node] = (by, thing)
                self._by_whom[by] += 1
                yield node, thing

    def end(self, node: NodeId) -> None:
        """What is under way about `node`, and what waits, is not to be done any more."""
        for whose in [whose for whose, things in self._waiting.items() if node in things]:
            self._take(node, whose)
        if node in self._under_way:
            by, _ = self._under_way.pop(node)
            self._by_whom[by] -= 1
            if not self._by_whom[by]:
                del self._by_whom[by]

    def withdraw(self, by: NodeId) -> None:
        """What this one wanted waits no more."""
        self._length -= len(self._waiting.pop(by, ()))

    def clear(self) -> None:
        """Nothing is to be done."""
        self._under_way.clear()
        self._by_whom.clear()
        self._waiting.clear()
        self._length = 0

    def _take(self, node: NodeId, by: NodeId) -> T:
        things = self._waiting[by]
        thing = things.pop(node)
        if not things:
            del self._waiting[by]
        self._length -= 1
        return thing

    def _make_room(self, by: NodeId) -> bool:
        most = max(self._waiting, key=lambda each: len(self._waiting[each]))
        if len(self._waiting[most]) <= len(self._waiting.get(by, ())) + 1:
            return False
        self._take(next(reversed(self._waiting[most])), most)
        return True
