"""When a path that is in use is in doubt, and how soon what is done about it.

RFC 7675 notices after thirty seconds that a path is gone, and RFC 8445 makes another by a restart, which RELOAD does
not have (RFC 6940 section 6.5.1.12). So a path on which data has no echo is checked at once, then all other pairs
besides; one of them may take its place, as a better one may (section 8.1.1 of RFC 5245, which RELOAD cites). Only where
none works a new Attach has to make another.

            data has no echo for a second; the other end checks from elsewhere; our addresses are others
    TRUSTED ------------------------------------------------------------------------------------------> DOUBTED
       ^ ^                                                                                                 |
       | '-- the path answers -----------------------------------------------------------------------------+
       '---- another pair works and the path has not answered meanwhile: that one is the path -------------'
"""

from __future__ import annotations

import enum
import math
from typing import Final

SILENCE_S: Final = 1.0
"""How long data may have no echo of any kind."""

STREAM_GAP_S: Final = 0.1
"""What comes so soon after what came before is of a stream, as audio is, which sends each 20 ms or so."""

STREAM_SILENCE_S: Final = 0.5
"""How long a stream may bring nothing: somebody listens to it. Loss of ten packets in a hundred does that never."""

WIDEN_S: Final = 0.3
"""How long the path has to answer before other pairs are checked as well."""

TELL_S: Final = 0.7
"""How long after it came up a doubt is told to who can make a new Attach."""

AGAIN_S: Final = 1.0
"""How often a doubted path is checked: a NAT that is back is to be noticed soon. RFC 7675 section 5.1 bounds how often
consent is asked for; these are connectivity checks, of which RFC 8445 section 14.3 wants no two within 500 ms."""

GRACE_S: Final = 0.1
"""How much longer than its last round trip the path has to answer before another pair takes its place."""

SETTLED_S: Final = 2.0
"""Checks of other pairs that come so soon after the choice were under way before it."""


class Silence:
    """Whether what is sent on one path has an echo. Nothing is computed, and no timer moved, for each datagram."""

    def __init__(self) -> None:
        self._since = self._heard_at = -math.inf
        """When the first datagram was sent after the last one that came; when that was."""
        self._gap_s = math.inf
        """How long before that the one before had come."""
        self._is_watched = False

    @property
    def limit_s(self) -> float:
        """How long it may last."""
        return STREAM_SILENCE_S if self._gap_s < STREAM_GAP_S else SILENCE_S

    def sent(self, now: float) -> bool:
        """Data was sent; True if the silence is to be looked at in `limit_s`."""
        if self._since <= self._heard_at:
            self._since = now
        if self._is_watched:
            return False
        self._is_watched = True
        return True

    def heard(self, now: float) -> None:
        """Something has come."""
        self._gap_s, self._heard_at = now - self._heard_at, now

    def look_at(self) -> float:
        """When the silence is too long, or when it is to be looked at again; infinite if there is none."""
        if self._since <= self._heard_at:
            self._is_watched = False
            return math.inf
        return self._since + self.limit_s

    def begin_anew(self, now: float) -> None:
        """It has been too long: the next one begins now."""
        self._heard_at, self._gap_s, self._is_watched = now, math.inf, False


class DoubtStep(enum.Enum):
    """What is done about a doubt, beside that the path is checked."""

    NOTHING = "nothing"
    WIDEN = "check all pairs"
    TELL = "tell who can make a new Attach"


_STEPS: Final = (
    (DoubtStep.NOTHING, WIDEN_S),
    (DoubtStep.WIDEN, TELL_S - WIDEN_S),
    (DoubtStep.TELL, AGAIN_S),
    (DoubtStep.NOTHING, AGAIN_S),
)
"""One after the other, and how long after each comes the next; the last goes on."""


class Doubt:
    """Of one path."""

    def __init__(self, rtt_s: float, now: float, *, is_certain: bool = False) -> None:
        """One that comes up now; `is_certain`: that path has no end here any more."""
        self.move_from = now if is_certain else now + rtt_s + GRACE_S
        """When another pair may take its place: by then it should have answered."""
        self._taken = 1 if is_certain else 0

    def step(self) -> tuple[DoubtStep, float]:
        """What is next, and how long after it comes the step after that."""
        found = _STEPS[min(self._taken, len(_STEPS) - 1)]
        self._taken += 1
        return found
