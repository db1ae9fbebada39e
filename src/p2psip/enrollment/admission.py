"""Who of those that may enroll is let in: new members that wait for their operator, members that he has revoked.

Theory of operation. Where the operator wants to approve each new member, whoever has proven a password or an invitation
for a user name that has no certificate yet becomes an applicant, and is told so instead of getting a certificate. From
then on its key proves who asks, so that it can ask again and again, after a restart as well, with nothing else. When
its name is approved the next such request gets the certificate.

Who is revoked gets nothing, neither by a renewal nor by a password, and its Node-IDs are bad-nodes of the configuration
(RFC 6940 section 11.1). Until a date both can be taken back. An applicant that is revoked has been refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from p2psip.base.ids import NodeId
from p2psip.enrollment.invitations import Invitation
from p2psip.enrollment.refusals import EnrollmentRejected, InvitationUsed, UsernameNotAvailable
from p2psip.enrollment.user_names import is_peer_name

GRACE_S = 86_400.0
"""How long a revocation can be taken back, unless the operator says otherwise."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """Somebody who may enroll as `member`, a user name in full, as soon as the operator says so."""

    member: str
    account: str
    """On whose account; one of an invitation may not be there yet."""
    key_hash: bytes
    asked: float
    """Seconds since 1970-01-01 UTC."""
    source: str = ""
    """From which address."""
    invitation: int | None = None
    """The number of the invitation that it came by."""
    approved: float | None = None
    """When the operator said so."""

    @property
    def is_own(self) -> bool:
        """True for a machine that was invited: its name is its key's, as nobody has a password for it."""
        return self.member == self.account and is_peer_name(self.member)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A member, by user name, or a whole account, that is one no more."""

    member: str
    date: float
    until: float
    """Until when it can be taken back."""
    node_ids: tuple[NodeId, ...] = ()
    """What was revoked with it, and not before."""


@dataclass(frozen=True, slots=True)
class MemberStanding:
    """What an operator has said, at one moment, that concerns who asks for a user name."""

    revoked: str = ""
    """That name, or that of its account, if it was revoked."""
    applicant: Applicant | None = None
    """Who has asked for the name."""
    by_invitation: tuple[Applicant, ...] = ()
    """Those that came by the same invitation."""
    requires_approval: bool = False
    waiting: int = 0
    """How many others of the account have no certificate yet; 0 where nobody has to be approved."""
    administrator: str = ""
    """By whom; "" where nobody has to be."""


class AdmissionStore(Protocol):
    """What an operator has said of members. What has been recorded when a call returns is durable.

    Every call may raise StoreFailed. Several servers may have one store, and write at the same time.
    """

    def owner(self, user: str) -> str | None:
        """The account that a user name belongs to, once a certificate was issued for it."""
        ...

    def requires_approval(self) -> bool:
        """True if the operator wants to approve each new member."""
        ...

    def administrator(self) -> str:
        """The administrator that has been there the longest; there always is one."""
        ...

    def applicant(self, member: str) -> Applicant | None:
        """Who has asked for this user name."""
        ...

    def applicants_of(self, account: str) -> list[Applicant]:
        """Those on one account."""
        ...

    def applicants_by(self, invitation: int) -> list[Applicant]:
        """Those that came by one invitation."""
        ...

    def apply(self, applicant: Applicant, quota: int) -> bool:
        """Remember that it has asked; False if somebody else has asked for the name, or has taken the last place by
        the invitation, or on the account, where `quota` may wait.
        """
        ...

    def revocation(self, member: str) -> Revocation | None:
        """How a member, or an account, was revoked; None if it was not."""
        ...


def standing_of(store: AdmissionStore, user: str, account: str, invitation: Invitation | None) -> MemberStanding:
    """Of who asks for a user name on an account, by an invitation."""
    names = dict.fromkeys((user, account))
    required = store.requires_approval()
    return MemberStanding(
        next((name for name in names if store.revocation(name) is not None), ""),
        store.applicant(user),
        () if invitation is None else tuple(store.applicants_by(invitation.number)),
        required,
        waiting_beside(store, user, account) if required else 0,
        store.administrator() if required else "",
    )


def waiting_beside(store: AdmissionStore, user: str, account: str) -> int:
    """How many others of the account have no certificate yet."""
    others = [each.member for each in store.applicants_of(account) if each.member != user]
    return sum(store.owner(member) is None for member in others)


def is_another_s(applicant: Applicant, account: str, key_hash: bytes) -> bool:
    """True if the name that is asked for was asked for by somebody else."""
    return applicant.account != account or (applicant.is_own and applicant.key_hash != key_hash)


def has_room(invitation: Invitation, applicants: Iterable[Applicant], user: str, key_hash: bytes) -> bool:
    """Whether an invitation admits one more, with those that wait by it."""
    try:
        check_room(invitation, applicants, user, key_hash)
    except EnrollmentRejected:
        return False
    return True


def check_room(invitation: Invitation, applicants: Iterable[Applicant], user: str, key_hash: bytes) -> None:
    """The same. Raises what to answer if it does not."""
    machines, used = is_peer_name(user), {use.user for use in invitation.used}
    waiting = [
        each
        for each in applicants
        if is_peer_name(each.member) == machines and each.member not in used and each.member != user
    ]
    which = f"invitation {invitation.number} of {invitation.inviter}"
    if same := [each.member for each in waiting if each.key_hash == key_hash]:
        # Who has lost the answer does not know under which name it waits.
        raise UsernameNotAvailable(f"{which}: this key waits as {same[0]}")
    if len(waiting) >= invitation.left(machines=machines):
        raise InvitationUsed(f"{which}: as many wait as it may admit")
