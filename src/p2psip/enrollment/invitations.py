"""Invitations: leave to become a member that a member gives away, without an account's password.

An invitation admits so many machines, or so many lines of one user, until a date. It is known by a token, of which the
server keeps a hash only; tokens are made by chance and of 80 bits, so that the hash needs neither salt nor time.

What it admits becomes an account of its own, which has no password: `peer-valley@OVERLAY` can be listed and removed by
name, and nobody else's quota or removal concerns it. A use belongs to a key: who has lost the answer asks again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.accounts import Account, Issue
from p2psip.enrollment.refusals import (
    InvitationExpired,
    InvitationUnknown,
    InvitationUsed,
    InvitationWithdrawn,
    UsernameNotAvailable,
)
from p2psip.enrollment.user_names import is_peer_name

USES_MAX = 1000
LIFETIME_S = 86_400.0
LIFETIME_MAX_S = 366 * 86_400.0

_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_DURATION = re.compile(r"([0-9]{1,6})([mhdw])\Z")


@dataclass(frozen=True, slots=True)
class InvitationUse:
    """Whom an invitation has admitted: a user name in full, and which key."""

    user: str
    key_hash: bytes
    date: float


@dataclass(frozen=True, slots=True)
class Invitation:
    """What somebody may become, and who said so."""

    inviter: str
    """The account of who invites."""
    expires: float
    """Seconds since 1970-01-01 UTC."""
    uses: int = 1
    """How many machines, and how many lines of `user`."""
    admits_machine: bool = True
    user: str = ""
    """Whose lines it admits, as a user name in full; "" for none."""
    created: float = 0.0
    number: int = 0
    """By which an operator calls it."""
    is_withdrawn: bool = False
    used: tuple[InvitationUse, ...] = field(default=())

    def left(self, *, machines: bool) -> int:
        """How many more machines, or lines, it admits."""
        if not (self.admits_machine if machines else self.user):
            return 0
        return max(0, self.uses - sum(is_peer_name(use.user) == machines for use in self.used))


@dataclass(frozen=True, slots=True)
class Invited:
    """How an account came in, for who wants to know."""

    user: str
    inviter: str
    number: int
    date: float


class InvitationStore(Protocol):
    """Invitations beside accounts. What has been recorded when a call returns is durable.

    Every call may raise StoreFailed.
    """

    def invitation(self, token_hash: bytes) -> Invitation | None:
        """The invitation with this token."""
        ...

    def invitation_numbered(self, number: int) -> Invitation:
        """One that there was."""
        ...

    def redeem(self, invitation: Invitation, account: Account, issue: Issue, date: float) -> bool:
        """Remember who was admitted, with the account if it is new, and the certificate: all or nothing.

        False if somebody else has come first, or the names are no longer to be had.
        """
        ...


def token_hash(token: bytes) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(b"p2psip invitation\0" + token).digest()


def check_invitation(
    invitation: Invitation | None, user: str, key_hash: bytes, date: float, *, is_inviter_there: bool
) -> None:
    """Whether it admits this user name with this key. Raises what to answer if it does not."""
    if invitation is None:
        raise InvitationUnknown("no invitation has this token")
    which = f"invitation {invitation.number} of {invitation.inviter}"
    if invitation.is_withdrawn or not is_inviter_there:
        raise InvitationWithdrawn(f"{which}: {'withdrawn' if invitation.is_withdrawn else 'the account has gone'}")
    if date > invitation.expires:
        raise InvitationExpired(f"{which}: expired")
    machines = is_peer_name(user)
    if not (invitation.admits_machine if machines else user == invitation.user):
        raise UsernameNotAvailable(f"{which} is not for {user}")
    before = [use for use in invitation.used if use.key_hash == key_hash and is_peer_name(use.user) == machines]
    if before and before[0].user != user:
        # Who has lost the answer does not know under which name it came in.
        raise UsernameNotAvailable(f"{which}: this key came in as {before[0].user}")
    if before or not invitation.left(machines=machines):
        raise InvitationUsed(f"{which}: has admitted {'this key before' if before else 'as many as it may'}")


def parse_lifetime(text: str) -> float:
    """How long an invitation lasts, as people write it: 30m, 12h, 1d, 2w. Raises LocalMisuse."""
    found = _DURATION.match(text)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0.0
    if not 0 < seconds <= LIFETIME_MAX_S:
        raise LocalMisuse(f"{text!r} is no time: write 30m, 12h, 1d or 2w, a year at most")
    return seconds


def in_words(invitation: Invitation, date: float) -> str:
    """What has become of it."""
    kinds: Sequence[tuple[bool, str]] = [(True, "machine"), (False, "line")]
    left = [(invitation.left(machines=machines), what) for machines, what in kinds]
    if invitation.is_withdrawn:
        return "withdrawn"
    if date > invitation.expires:
        return "expired"
    return ", ".join(f"{count} {what}{'s' * (count != 1)} left" for count, what in left if count) or "used"
