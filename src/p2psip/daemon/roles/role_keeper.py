"""What a site is in its overlay, peer or client: as its operator says, or as it has found out and written down."""

from __future__ import annotations

from collections.abc import Collection

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.roles.role_choice import KeptRole, Role, RoleChoice, fixed_role
from p2psip.daemon.state.kept import load_role, save_role
from p2psip.daemon.state.state import PeerState
from p2psip.reload.node.effects import ReachSurveyed


class RoleKeeper:
    """Of one run of a peer: its role is the same from beginning to end."""

    def __init__(self, state: PeerState, own: Collection[Address], journal: Journal, now: float) -> None:
        """`own` are the addresses at which others dial it."""
        self._directory = state.directory
        self._journal = journal
        fixed = fixed_role(state.settings.role, state.configuration, own)
        kept = KeptRole(fixed) if fixed is not None else self._load()
        self._choice = None if fixed is not None else RoleChoice(kept, now)
        self.role: Role = kept.role

    def surveyed(self, survey: ReachSurveyed, now: float) -> None:
        """A survey is over."""
        if self._choice is not None:
            self._choice.surveyed(survey, now)

    def look(self, now: float, *, is_busy: bool) -> bool:
        """True if the peer is to start anew, as what is written down now."""
        if self._choice is None or (other := self._choice.due(now, is_busy=is_busy)) is None:
            return False
        try:
            save_role(self._directory, other)
        except LocalMisuse as error:
            # A disk that is full, say.
            self._choice.hold()
            self._journal.warning("not saved", what="role", reason=str(error))
            return False
        why = "others can reach it" if other.role == "peer" else "others cannot reach it any more"
        self._journal.info("starts anew in another role", role=other.role, why=why)
        return True

    def _load(self) -> KeptRole:
        try:
            return load_role(self._directory) or KeptRole()
        except LocalMisuse as error:
            self._journal.warning("role not read", reason=str(error))
            return KeptRole()
