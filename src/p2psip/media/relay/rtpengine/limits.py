"""How long an engine is waited for, how often it is asked, and for how much at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """All of them, in one table."""

    waits_s: tuple[float, ...] = (0.2, 0.3, 0.5)
    """How long an answer is waited for each time that a request has gone out: a caller waits for it all the while."""
    ping_s: float = 5.0
    """How often an engine is asked whether it is there."""
    requests: int = 16384
    """Open ones: four of each call that a relay may have there."""
    claim_s: float = 4.0
    """A call that is prepared and does not begin by then never will."""
    query_s: float = 3.0
    """How often an engine is asked what has come of a call: as soon as a silence is told."""
