"""The bounds of event notification: one table."""

from __future__ import annotations

from dataclasses import dataclass

DOCUMENT_BYTES = 16_384
"""What is published, or translated at the edge, at most; a phone's presence has less than 1 KB."""

NOTE_CHARACTERS = 200
"""What is kept of a note that a phone publishes."""


@dataclass(frozen=True, slots=True)
class EventLimits:
    """What watchers and publishers can make grow, and for how long."""

    subscriptions: int = 5000
    per_watcher: int = 250
    """Of one user, on all of that user's phones: a phone with lamps for a whole club has some 100."""
    publications: int = 2000
    publications_per_line: int = 10
    calls_per_line: int = 20
    expires_min_s: int = 60
    expires_max_s: int = 600
    """How long a lamp may show what was, where the peer that told it has died."""
    published_min_s: int = 60
    published_max_s: int = 3600
