"""The members of an overlay by name, for its operator: who is in and by whom, who waits, who is out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.accounts import HeldNode
from p2psip.enrollment.admission import Applicant, Revocation
from p2psip.enrollment.user_names import account_name, full_name, peer_name

if TYPE_CHECKING:
    from p2psip.net.accounts.account_database import AccountDatabase


@dataclass(frozen=True, slots=True)
class ListedMember:
    """Somebody who is a member, was one, or wants to be."""

    user: str
    account: str
    inviter: str = ""
    """"" for who came with a password."""
    held: Sequence[HeldNode] = field(default=())
    """Its Node-IDs in certificates that have not ended."""
    is_unsigned: bool = False
    """True if its first certificate is yet to be signed, by hand."""
    asked: Applicant | None = None
    revocation: Revocation | None = None

    @property
    def state(self) -> str:
        """In a word: member, unsigned, revoked; waits, approved, refused."""
        is_in = bool(self.held)
        if self.revocation is not None:
            return "revoked" if is_in else "refused"
        if is_in:
            standing = "unsigned" if self.is_unsigned else "member"
            return "revoked" if all(held.is_revoked for held in self.held) else standing
        if self.asked is None:
            return "no certificate"
        return "waits" if self.asked.approved is None else "approved"


def list_members(accounts: AccountDatabase, date: float) -> list[ListedMember]:
    """All of them by name; an account that has no certificate, and waits for none, is none of them."""
    inviters = {each.user: each.inviter for each in accounts.invited()}
    by_number = {each.number: each.inviter for each in accounts.invitations()}
    asked = {each.member: each for each in accounts.applicants()}
    revoked = {each.member: each for each in accounts.revocations()}
    unsigned = accounts.unsigned()
    held: dict[str, list[HeldNode]] = {}
    owners: dict[str, str] = {each.member: each.account for each in asked.values()}
    for account in accounts.accounts():
        for entry in accounts.held(account.name, date):
            held.setdefault(entry.user, []).append(entry)
            owners[entry.user] = account.name
        if account.name in revoked:
            owners.setdefault(account.name, account.name)
    found = []
    for user, account_of in sorted(owners.items()):
        applicant = asked.get(user)
        by = by_number.get(applicant.invitation or 0, "") if applicant is not None else ""
        out = revoked.get(user) or revoked.get(account_of)
        nodes = tuple(held.get(user, ()))
        is_unsigned = all(each.node_id in unsigned for each in nodes)
        found.append(ListedMember(user, account_of, inviters.get(user, by), nodes, is_unsigned, applicant, out))
    return found


def member_meant(accounts: AccountDatabase, typed: str, overlay: str) -> str:
    """The user name in full of whom an operator means by `carol`, or `valley`. Raises LocalMisuse if there is nobody.

    Where there are a person and a machine of one name, the person is meant; the machine is `peer-NAME`.
    """
    wanted = dict.fromkeys((full_name(typed, overlay), peer_name(typed, overlay) if "@" not in typed else ""))
    for user in filter(None, wanted):
        known = (accounts.account(user), accounts.owner(user), accounts.applicant(user))
        if any(each is not None for each in known):
            return user
    account_name(typed, overlay)
    raise LocalMisuse(f"there is no member {typed}: `p2psip members list` lists them")
