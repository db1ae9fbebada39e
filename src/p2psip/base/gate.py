"""Holding back what must not leave before a question is answered: persist before you answer."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Gate(Generic[T]):
    """Things that wait for a token; what waits for none, or for one that is answered, passes."""

    def __init__(self) -> None:
        self._held: dict[int, list[T]] = {}

    def expect(self, token: int) -> None:
        """From now on what comes after `token` is held."""
        self._held[token] = []

    def passes(self, thing: T, after: int | None) -> bool:
        """True if `thing` may leave now; otherwise it is held."""
        if after is None or after not in self._held:
            return True
        self._held[after].append(thing)
        return False

    def release(self, token: int) -> list[T]:
        """The token is answered: what was held for it, in order, may leave, or is to be thrown away."""
        return self._held.pop(token, [])
