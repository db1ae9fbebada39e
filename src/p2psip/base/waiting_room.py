"""Holding back what must not leave before a question is answered: persist before you answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class WaitingRoom(Generic[T]):
    """Things that wait for a token; what waits for none, or for one that is answered, passes.

    All that is held has at most `size_max`, counted by `size_of`: where there is no room a thing is lost.
    """

    def __init__(self, size_of: Callable[[T], int], size_max: int) -> None:
        self._size_of = size_of
        self._size_max = size_max
        self._size = 0
        self._held: dict[int, list[T]] = {}

    def expect(self, token: int) -> None:
        """From now on what comes after `token` is held."""
        self._held[token] = []

    def passes(self, thing: T, after: int | None) -> bool:
        """True if `thing` may leave now; otherwise it is held, as long as there is room."""
        if after is None or after not in self._held:
            return True
        size = self._size_of(thing)
        if self._size + size <= self._size_max:
            self._size += size
            self._held[after].append(thing)
        return False

    def release(self, token: int) -> list[T]:
        """The token is answered: what was held for it, in order, may leave, or is to be thrown away."""
        held = self._held.pop(token, [])
        self._size -= sum(map(self._size_of, held))
        return held
