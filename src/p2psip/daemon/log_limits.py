"""How many lines of a kind go into the log: what a remote can cause at will does not fill a disk.

Theory of operation. A kind of event has so many lines at once, and one more a second; of these one source has a share.
What is beyond that is counted, and told about a minute later. The first line of a kind is always there.
"""

from __future__ import annotations

from collections import OrderedDict

from p2psip.base.allowance import Allowance, Attempts

OF_KIND = Allowance(burst=200, refill_s=1.0)
OF_SOURCE = Allowance(burst=20, refill_s=10.0)
KINDS_MAX = 256
SOURCES_MAX = 4096
REPORT_S = 60.0
"""How long lines are left out before it is told how many."""


class LogLimits:
    """Which lines are written. Kinds and sources of which none was written for long are forgotten first."""

    def __init__(self) -> None:
        self._kinds: Attempts[str] = Attempts(OF_KIND, KINDS_MAX)
        self._sources: Attempts[tuple[str, str]] = Attempts(OF_SOURCE, SOURCES_MAX)
        self._left_out: OrderedDict[str, int] = OrderedDict()
        self._report_at = 0.0

    def admits(self, kind: str, source: str, now: float) -> bool:
        """True if a line of this kind, caused by this source, is to be written."""
        if not (self._kinds.wait_s(kind, now) or self._sources.wait_s((kind, source), now)):
            self._kinds.charge(kind, now)
            self._sources.charge((kind, source), now)
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
