"""Peer or client: what a site is whose `role` is "auto" (RFC 6940 section 4.2; docs/decisions/super-peers.md).

Theory of operation. It begins as a client. When surveys say that others can reach it, and go on saying so, it is to be
a peer, and when they say that nobody can any more, a client again; then it starts anew as that. It waits until nobody
speaks. So that a site which is reached now and then does not spend its days with that, it stays what it is for longer
and longer, a day at most.

    CLIENT --can be reached, by two surveys--> PEER
       ^                                         |
       '-- cannot any more, by two surveys; -----'
           and enough others can be
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from p2psip.base.address import Address
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.node.effects import ReachSurveyed
from p2psip.reload.paths.nat.reach import Reach

Role = Literal["peer", "client"]

Standing = Role | Literal["router"]
"""What a site may be by the word of its operator: a router keeps nothing, and passes messages on."""

STEADY_S: Final = 600.0
"""So far apart are the surveys that agree: a router that restarts is another thing for a minute."""

STAY_MIN_S: Final = 1800.0
"""How long it stays what it is at first. The surveys come as often."""

STAY_MAX_S: Final = 86400.0
"""And at most. Who wanted to be nothing else for so long begins with the least time again."""

PUBLIC_MIN: Final = 2
"""So many peers that can be reached from anywhere have to be left for who ceases to be one: one of them may die."""


@dataclass(frozen=True, slots=True)
class KeptRole:
    """What a site is, also after a restart, and how long it stays that. Raises ValueError for no such time."""

    role: Role = "client"
    stay_s: float = STAY_MIN_S

    def __post_init__(self) -> None:
        """A file may say what it likes."""
        if not STAY_MIN_S <= self.stay_s <= STAY_MAX_S:
            raise ValueError(f"stay_s is from {STAY_MIN_S:g} to {STAY_MAX_S:g}")


def fixed_role(
    wish: Standing | Literal["auto"], configuration: OverlayConfiguration, own: Collection[Address]
) -> Standing | None:
    """What a site is for good that is asked for `wish` and dialled at `own` addresses; None if that is to be found out.

    A bootstrap node is a peer in any case, as nobody would find the overlay without; and so is everybody where there
    are none, where clients are not permitted, or where there is no ICE, and so no survey.
    """
    if wish != "auto":
        return wish
    return None if may_be_client(configuration, own) and not configuration.no_ice else "peer"


def may_be_client(configuration: OverlayConfiguration, own: Collection[Address]) -> bool:
    """False of a bootstrap node, where there are none, and where clients are not permitted."""
    nodes = {Address(node.address, node.port) for node in configuration.bootstrap_nodes}
    return configuration.clients_permitted and bool(nodes) and nodes.isdisjoint(own)


class RoleChoice:
    """Of a site that finds it out."""

    def __init__(self, kept: KeptRole, now: float) -> None:
        """It has just begun as what it was when it ended."""
        self._kept = kept
        self._began_at = now
        self._otherwise_since: float | None = None
        """Since when all surveys want it to be the other thing."""
        self._is_settled = False
        self._public = 0

    @property
    def role(self) -> Role:
        """What it is."""
        return self._kept.role

    def surveyed(self, survey: ReachSurveyed, now: float) -> None:
        """A survey is over."""
        wanted = _role_for(survey.reach)
        if wanted is None:
            return
        self._public = survey.open_members
        if wanted == self.role:
            self._otherwise_since, self._is_settled = None, False
        elif self._otherwise_since is None:
            self._otherwise_since = now
        elif now >= self._otherwise_since + STEADY_S:
            self._is_settled = True

    def due(self, now: float, *, is_busy: bool) -> KeptRole | None:
        """As what it is to start anew; None if it goes on. `is_busy`: somebody speaks, or rings."""
        if not self._is_settled or is_busy or now < self._began_at + self._kept.stay_s:
            return None
        if self.role == "peer" and self._public < PUBLIC_MIN:
            return None
        was_content = self._otherwise_since is not None and self._otherwise_since >= self._began_at + STAY_MAX_S
        stay_s = STAY_MIN_S if was_content else min(2 * self._kept.stay_s, STAY_MAX_S)
        return KeptRole("client" if self.role == "peer" else "peer", stay_s)

    def hold(self) -> None:
        """The other thing could not be written down: it is what it is until surveys want it otherwise anew."""
        self._otherwise_since, self._is_settled = None, False


def _role_for(reach: Reach) -> Role | None:
    """What a site is to be that is behind this; None if nobody knows."""
    if reach.is_dialable:
        return "peer"
    return "client" if reach.helpers and reach.is_sure else None
