"""What a site is in its overlay, peer or client: as its operator says, or as it has found out and written down; and a
client for as long as it has no room, or no time, to be a peer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import TypeVar

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.roles.role_choice import KeptRole, RoleChoice, Standing, fixed_role, may_be_client
from p2psip.daemon.roles.shedding import EASE_FACTOR, KeptShedding, Shedding, SheddingTerms, Strain
from p2psip.daemon.state.kept import load_role, load_shedding, save_role, save_shedding
from p2psip.daemon.state.state import PeerState
from p2psip.net.machine_figures import disk_free_bytes, disk_free_percent, load_percent
from p2psip.reload.node.effects import ReachSurveyed
from p2psip.reload.node.settings import LentTerms

T = TypeVar("T")

ROOM_TO_START = 4 * 1024 * 1024
"""So many bytes have to be free for who starts anew: without a file beside it for what is written next, the file with
the records cannot be opened at all.
"""

LEAVE_MAX_S = 5.0
"""Whoever ends a peer does not want to wait."""

HAND_OVER_MAX_S = 60.0
"""Who ends to begin as a client has the time to hand over whatever it keeps."""


class RoleKeeper:
    """Of one run of a peer: its role is the same from beginning to end."""

    def __init__(self, state: PeerState, own: Collection[Address], journal: Journal, now: float) -> None:
        """`own` are the addresses at which others dial it."""
        self._state = state
        self._journal = journal
        fixed = fixed_role(state.settings.role, state.configuration, own)
        kept = None if fixed is not None else self._load("role not read", load_role) or KeptRole()
        self._choice = None if kept is None else RoleChoice(kept, now)
        role: Standing = fixed or (kept or KeptRole()).role
        self._shedding = self._shedding_of(now) if self._may_shed(role, own) else None
        is_shed = self._shedding is not None and self._shedding.is_shed
        self.role: Standing = "client" if is_shed else role
        self._has_said = False
        self.leave_max_s = LEAVE_MAX_S
        """How long it may take to leave."""

    @property
    def shed(self) -> str:
        """That it stores nothing for others for a while, or is to, why, and until when, in words; "" if it does not."""
        if self._shedding is None or not (self._shedding.is_shed or self._shedding.waits_for):
            return ""
        if not self._shedding.is_shed:
            return f"is to store nothing for others: {self._shedding.why}; waits for {self._shedding.waits_for}"
        disk, load = self._state.settings.shed_disk_percent, self._state.settings.shed_load_percent
        ends = [f"{disk * EASE_FACTOR:g} % of the disk are free"] if disk else []
        ends += [f"the load is {load / EASE_FACTOR:g} %"] if load else []
        return f"stores nothing for others for a while: {self._shedding.why}; until {' and '.join(ends)}"

    @property
    def lent_terms(self) -> LentTerms:
        """What it lends its peer in this role, or takes of its clients: who is a client for want of room has none."""
        is_shed = self._shedding is not None and self._shedding.is_shed
        lends = self.role == "client" and not is_shed
        return LentTerms(self._state.settings.lend_bytes if lends else 0, self._state.settings.borrow_bytes)

    def surveyed(self, survey: ReachSurveyed, now: float) -> None:
        """A survey is over."""
        if self._choice is not None:
            self._choice.surveyed(survey, now)

    def look(self, now: float, *, is_busy: bool, neighbors: int) -> bool:
        """True if the peer is to start anew, as what is written down now. It has so many `neighbors`."""
        # For as long as it has shed what it stored, it is a client whoever reaches it.
        is_free = self._shedding is None or not self._shedding.is_shed
        free_bytes = disk_free_bytes(self._state.directory)
        has_room = free_bytes is None or free_bytes >= ROOM_TO_START
        if self._look_at_strain(now, is_busy, has_room, neighbors):
            return True
        return is_free and self._look_at_choice(now, may_start=has_room and not is_busy)

    def _look_at_choice(self, now: float, *, may_start: bool) -> bool:
        if self._choice is None or (other := self._choice.due(now, is_busy=not may_start)) is None:
            return False
        try:
            save_role(self._state.directory, other)
        except LocalMisuse as error:
            # A disk that is full, say.
            self._choice.hold()
            self._journal.warning("not saved", what="role", reason=str(error))
            return False
        why = "others can reach it" if other.role == "peer" else "others cannot reach it any more"
        self._journal.info("starts anew in another role", role=other.role, why=why)
        return True

    def _look_at_strain(self, now: float, is_busy: bool, has_room: bool, neighbors: int) -> bool:
        if self._shedding is None:
            return False
        self._shedding.look(Strain(disk_free_percent(self._state.directory), load_percent()), now)
        other = self._shedding.due(now, is_busy=is_busy, has_room=has_room, neighbors=neighbors)
        if other is None:
            self._say_what_it_waits_for(self._shedding)
            return False
        try:
            save_shedding(self._state.directory, other)
        except LocalMisuse as error:
            self._shedding.hold()
            self._journal.warning("not saved", what="shedding", reason=str(error))
            return False
        if other.is_shed:
            self._journal.warning("stores nothing for others for a while", why=other.why)
            self.leave_max_s = HAND_OVER_MAX_S
        else:
            self._journal.info("stores for others again")
        return True

    def _say_what_it_waits_for(self, shedding: Shedding) -> None:
        """Once, until there is room again: an operator may have to make some."""
        if not shedding.why:
            self._has_said = False
        elif shedding.waits_for and not self._has_said:
            self._has_said = True
            self._journal.warning("is to store nothing for others", why=shedding.why, waits_for=shedding.waits_for)

    def _may_shed(self, role: Standing, own: Collection[Address]) -> bool:
        settings = self._state.settings
        is_asked = bool(settings.shed_disk_percent or settings.shed_load_percent)
        # Who may begin the overlay is not its client: there may be nobody else.
        return is_asked and role == "peer" and not settings.first and may_be_client(self._state.configuration, own)

    def _shedding_of(self, now: float) -> Shedding:
        settings = self._state.settings
        kept = self._load("shedding not read", load_shedding) or KeptShedding()
        terms = SheddingTerms(settings.shed_disk_percent, settings.shed_load_percent)
        return Shedding(terms, kept, random.SystemRandom(), now)

    def _load(self, what: str, load: Callable[..., T | None]) -> T | None:
        try:
            return load(self._state.directory)
        except LocalMisuse as error:
            self._journal.warning(what, reason=str(error))
            return None
