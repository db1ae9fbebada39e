"""How often something may happen, in bounded memory: an allowance for each key that refills; and who has to go, where
there is room for so many only.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

KEYS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many at once, and one more every so many seconds."""

    burst: int
    refill_s: float


class Attempts(Generic[K]):
    """The failures of many keys; of too many, the key that was quiet the longest is forgotten first."""

    def __init__(self, allowance: Allowance, keys_max: int = KEYS_MAX) -> None:
        self._allowance = allowance
        self._keys_max = keys_max
        self._refill_ms = _ms(allowance.refill_s)
        # When the bucket would be full again: one number says how full it is at any time. It is in whole milliseconds,
        # so that an allowance is what it says at any reading of the clock.
        self._full_at_ms: OrderedDict[K, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at_ms)

    def wait_s(self, key: K, now: float) -> float:
        """How long until this key may try again; 0 if it may now."""
        now_ms = _ms(now)
        debt_ms = self._full_at_ms.get(key, now_ms) - now_ms
        return max(0, debt_ms - (self._allowance.burst - 1) * self._refill_ms) / 1000

    def charge(self, key: K, now: float) -> None:
        """One attempt that was wrong, or whose outcome is not known yet: then many at once gain nothing."""
        now_ms = _ms(now)
        self._full_at_ms[key] = max(self._full_at_ms.get(key, now_ms), now_ms) + self._refill_ms
        self._full_at_ms.move_to_end(key)
        if len(self._full_at_ms) > self._keys_max:
            self._full_at_ms.popitem(last=False)

    def refund(self, key: K, now: float) -> None:
        """The attempt was right."""
        if key in self._full_at_ms:
            self._full_at_ms[key] -= self._refill_ms
            if self._full_at_ms[key] <= _ms(now):
                del self._full_at_ms[key]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def oldest_of_most(sources: Mapping[int, str]) -> int:
    """Which has to go for one more, by where each comes from: the oldest of those that come from where most do."""
    ((most, _),) = Counter(sources.values()).most_common(1)
    return next(each for each, source in sources.items() if source == most)
