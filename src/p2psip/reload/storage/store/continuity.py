"""The store's clock, which goes on over restarts, so that a lifetime once granted is never extended.

RFC 6940 section 7: a lifetime starts "from the time the peer receives the StoreReq", and a peer lowers it by
the time the value was stored. Deadlines on disk are in seconds of a clock of the store's own. While a process
runs, that clock is the core's clock plus `epoch`. Over a restart it advances by the time slept, which the
operating system's clock tells as long as the machine has not been rebooted. After a reboot nobody knows how
long it was until the date is trusted: so long the records of before are withheld (neither served nor handed
on, but they still keep older values out). A trusted date, against the last trusted one on disk, then tells how
much older they are; if there was none, or the two contradict each other, they count as expired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from p2psip.reload.storage.store.records import Age, Moment

DATE_STEP_MAX_S = 60.0
"""A trusted date may have been corrected backwards by this much; by more, one of the two was wrong."""

RESTART_S = 0.001
"""What a restart takes at the least: it tells the records of before from those of after."""


@dataclass(frozen=True, slots=True)
class BootClock:
    """Seconds since the machine was booted, asleep or awake, and a name for this boot."""

    boot_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Saved:
    """What a store wrote down with its last commit.

    `dated` is the last moment whose date was trusted; records stored up to `withheld_until` were of unknown age.
    """

    at: float
    boot: BootClock
    dated: Moment | None = None
    withheld_until: float | None = None


@dataclass(frozen=True, slots=True)
class Continuity:
    """How a store's clock goes on in this process: store's clock = core's clock + `epoch`."""

    epoch: float = 0.0
    dated: Moment | None = None
    withheld_until: float | None = None

    def at(self, now: float) -> float:
        """The store's clock."""
        return now + self.epoch

    def withholds(self, stored_at: float) -> bool:
        """True for a record of unknown age."""
        return self.withheld_until is not None and stored_at <= self.withheld_until

    def age(self, date: float, now: float) -> Age | None:
        """What a trusted date says about the records that are withheld; None if there are none."""
        if self.withheld_until is None:
            return None
        return Age(self.withheld_until, _uncounted_s(self.dated, date, self.at(now)))


def resume(saved: Saved, boot: BootClock, now: float) -> Continuity:
    """Go on after a restart."""
    if boot.boot_id == saved.boot.boot_id:
        slept_s = max(RESTART_S, boot.seconds - saved.boot.seconds)
        return Continuity(saved.at + slept_s - now, saved.dated, saved.withheld_until)
    return Continuity(saved.at + RESTART_S - now, saved.dated, saved.at)


def _uncounted_s(dated: Moment | None, date: float, at: float) -> float:
    """How long the machine was off since `dated`: what the store's clock has not counted."""
    if dated is None or dated.date is None:
        return math.inf
    off_s = (date - dated.date) - (at - dated.at)
    return max(0.0, off_s) if off_s > -DATE_STEP_MAX_S else math.inf
