"""The date, which is not the clock: our users' machines start in 1970 and jump when the network comes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WallClock:
    """What the date is, for a core whose `now` is another clock.

    `offset` is seconds to add to `now` to get seconds since 1970-01-01 UTC; `is_trusted` says whether
    somebody vouches for it (a set clock, not one that starts in 1970). The driver gives a new value
    whenever the date jumps.
    """

    offset: float
    is_trusted: bool = True

    def date(self, now: float) -> float:
        """Seconds since 1970-01-01 UTC."""
        return now + self.offset

    def date_ms(self, now: float) -> int:
        """Milliseconds since 1970-01-01 UTC, the unit of RELOAD's times (RFC 6940 section 7)."""
        return int((now + self.offset) * 1000)
