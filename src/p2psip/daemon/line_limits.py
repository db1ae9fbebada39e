"""How many lines of a kind go into the log: what a remote can cause at will does not fill a disk.

Theory of operation. A kind of event has so many lines at once, and one more a second; of these one source has a share.
What is beyond that is counted, and told about a minute later. The first line of a kind is always there.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K")

KIND_BURST = 200
KIND_SPACING_S = 1.0
SOURCE_BURST = 20
SOURCE_SPACING_S = 10.0
KINDS_MAX = 256
SOURCES_MAX = 4096
REPORT_S = 60.0
"""How long lines are left out before it is told how many."""


@dataclass(slots=True)
class _Bucket:
    """Lines that may still be written: `burst` at the most, and one more each `spacing_s`."""

    burst: int
    spacing_s: float
    lines: float
    at: float

    def has_room(self, now: float) -> bool:
        """True if a line may be written now."""
        self.lines = min(self.burst, self.lines + (now - self.at) / self.spacing_s)
        self.at = now
        return self.lines >= 1.0


class LineLimits:
    """Which lines are written. Kinds and sources that were not met for long are forgotten first."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[str, _Bucket] = OrderedDict()
        self._sources: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._left_out: OrderedDict[str, int] = OrderedDict()
        self._report_at = 0.0

    def admits(self, kind: str, source: str, now: float) -> bool:
        """True if a line of this kind, caused by this source, is to be written."""
        buckets = (
            _bucket(self._kinds, kind, KIND_BURST, KIND_SPACING_S, KINDS_MAX, now),
            _bucket(self._sources, (kind, source), SOURCE_BURST, SOURCE_SPACING_S, SOURCES_MAX, now),
        )
        if sum(bucket.has_room(now) for bucket in buckets) == len(buckets):
            for bucket in buckets:
                bucket.lines -= 1.0
            return True
        if not self._left_out:
            self._report_at = now + REPORT_S
        self._left_out[kind] = self._left_out.get(kind, 0) + 1
        while len(self._left_out) > KINDS_MAX:
            self._left_out.popitem(last=False)
        return False

    def due(self, now: float) -> dict[str, int]:
        """How many lines of each kind were left out, if it is time to tell; each is told once."""
        return self.take() if self._left_out and now >= self._report_at else {}

    def take(self) -> dict[str, int]:
        """The same at once."""
        left_out, self._left_out = self._left_out, OrderedDict()
        return dict(left_out)


def _bucket(
    buckets: OrderedDict[K, _Bucket], key: K, burst: int, spacing_s: float, count_max: int, now: float
) -> _Bucket:
    found = buckets.pop(key, None) or _Bucket(burst, spacing_s, burst, now)
    buckets[key] = found
    if len(buckets) > count_max:
        buckets.popitem(last=False)
    return found
