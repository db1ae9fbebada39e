"""When a peer stores nothing for others for a while (draft-ietf-p2psip-concepts-01 section 5.5: "a client is simply a
peer that is not currently offering some or all services to the overlay, possibly due to a run-time decision about
available resources such as bandwidth or storage capacity"; docs/decisions/shedding.md).

Theory of operation. A peer whose disk is nearly full, or that has more to do than its operator permits, goes on as a
client, which keeps nothing: it leaves as one that stops, so that what it keeps goes to its successor, and starts anew.
When there is room again it comes back as it was.

    STORING --strained for a minute, enough others remain--> SHED
       ^                                                      |
       '--at ease for ten minutes, and half an hour or more --'

It does not go back and forth: at ease is something else than not strained, and each time it stays away for longer.
Nor do all go at the same time: each waits for a while of its own, and the last few stay.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from p2psip.daemon.roles.role_choice import STAY_MAX_S, STAY_MIN_S

STRAINED_S: Final = 60.0
"""How long it has to be strained: a backup or a log that is turned over is another thing."""

TURN_MAX_S: Final = 60.0
"""Peers on one machine, or in one flood, are strained at the same moment: each waits up to so long for its turn."""

AT_EASE_S: Final = 600.0
"""How long it has to be at ease."""

EASE_FACTOR: Final = 2.0
"""At ease is twice as much free as it takes to be strained, or half as much to do."""

NEIGHBORS_MIN: Final = 3
"""So many neighbours remain for who ceases to store: whoever is responsible for a record, and two with copies."""


@dataclass(frozen=True, slots=True)
class Strain:
    """How a machine does, in percent: what is free of the disk with the records, and how much its processors have to do
    (above 100 more than they can); None for what it does not tell.
    """

    disk_free_percent: float | None = None
    load_percent: float | None = None


@dataclass(frozen=True, slots=True)
class SheddingTerms:
    """With less free than `disk_percent`, or a load of `load_percent`, it is strained; 0 is never."""

    disk_percent: float
    load_percent: float

    def strained(self, strain: Strain) -> str:
        """Why it is, in words; "" if it is not."""
        free, load = strain.disk_free_percent, strain.load_percent
        if free is not None and free < self.disk_percent:
            return f"{free:.1f} % of the disk are free, less than {self.disk_percent:g} %"
        if self.load_percent and load is not None and load >= self.load_percent:
            return f"the load is {load:.0f} %, not below {self.load_percent:g} %"
        return ""

    def is_at_ease(self, strain: Strain) -> bool:
        """True if it may store again; not if the machine does not say how it does."""
        free, load = strain.disk_free_percent, strain.load_percent
        has_room = not self.disk_percent or (free is not None and free >= EASE_FACTOR * self.disk_percent)
        is_idle = not self.load_percent or (load is not None and load * EASE_FACTOR <= self.load_percent)
        return has_room and is_idle


@dataclass(frozen=True, slots=True)
class KeptShedding:
    """Whether it has shed what it stored, also after a restart, why, and how long it stays so at least.

    Raises ValueError for no such time.
    """

    is_shed: bool = False
    stay_s: float = 0.0
    why: str = ""

    def __post_init__(self) -> None:
        """A file may say what it likes."""
        if not 0.0 <= self.stay_s <= STAY_MAX_S:
            raise ValueError(f"stay_s is from 0 to {STAY_MAX_S:g}")


class Shedding:
    """Of a peer that would be storing."""

    def __init__(self, terms: SheddingTerms, kept: KeptShedding, rng: random.Random, now: float) -> None:
        """It has just begun as what it was when it ended."""
        self._terms = terms
        self._kept = kept
        self._turn_s = rng.uniform(0.0, TURN_MAX_S)
        self._began_at = now
        self._otherwise_since: float | None = None
        self._why = kept.why
        self.waits_for = ""
        """What it waits for, in words, that would have shed else; "" if that is nothing."""

    @property
    def is_shed(self) -> bool:
        """True while it stores nothing."""
        return self._kept.is_shed

    @property
    def why(self) -> str:
        """Why it is shed or is to be, in words; "" if nothing is the matter."""
        return self._why

    def look(self, strain: Strain, now: float) -> None:
        """So its machine does."""
        reason = self._terms.strained(strain)
        if self.is_shed:
            self._why = reason or self._why
            is_otherwise = self._terms.is_at_ease(strain)
        else:
            self._why = reason
            is_otherwise = bool(reason)
        if not is_otherwise:
            self._otherwise_since = None
        elif self._otherwise_since is None:
            self._otherwise_since = now

    def due(self, now: float, *, is_busy: bool, has_room: bool, neighbors: int) -> KeptShedding | None:
        """As what it is to start anew; None if it goes on. `is_busy`: somebody speaks, or rings. `has_room`: there is
        enough on the disk for a start. It has so many `neighbors`.
        """
        self.waits_for = ""
        if self._otherwise_since is None:
            return None
        if self.is_shed:
            is_due = now >= self._otherwise_since + AT_EASE_S and now >= self._began_at + self._kept.stay_s
            return KeptShedding(False, self._kept.stay_s) if is_due and has_room and not is_busy else None
        if now < self._otherwise_since + STRAINED_S + self._turn_s:
            return None
        if neighbors < NEIGHBORS_MIN:
            self.waits_for = f"{NEIGHBORS_MIN} neighbours that would keep its records, and has {neighbors}"
        elif not has_room:
            self.waits_for = "room on the disk to start anew"
        elif is_busy:
            self.waits_for = "the end of the calls here"
        if self.waits_for:
            return None
        was_content = self._otherwise_since >= self._began_at + STAY_MAX_S
        stay_s = STAY_MIN_S if was_content else min(max(2 * self._kept.stay_s, STAY_MIN_S), STAY_MAX_S)
        return KeptShedding(True, stay_s, self._why)

    def hold(self) -> None:
        """The other thing could not be written down: it goes on as it is, and looks anew."""
        self._otherwise_since = None
