"""Who waits for an operator's approval, who has it, and who was revoked: beside the accounts, in the same database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.accounts import Account, HeldNode
from p2psip.enrollment.admission import Applicant, Revocation, has_room, is_another_s, waiting_beside
from p2psip.enrollment.asked.audit import AuditEntry
from p2psip.enrollment.invitations import Invitation
from p2psip.net.accounts.account_engine import AccountEngine
from p2psip.net.accounts.account_tables import ACCOUNT, APPLICANT, REVOCATION, RULE
from p2psip.net.accounts.audit_table import AuditTable

APPROVAL = "approval"


class AdmissionDatabase(ABC):
    """An AdmissionStore, and what operators do with it."""

    _engine: AccountEngine
    _audit: AuditTable

    @abstractmethod
    def account(self, name: str) -> Account | None:
        """The account with this user name."""

    @abstractmethod
    def owner(self, user: str) -> str | None:
        """The account that a user name belongs to, once a certificate was issued for it."""

    @abstractmethod
    def held(self, account: str, date: float) -> list[HeldNode]:
        """The Node-IDs that the account holds in certificates valid at `date`, those that are revoked among them."""

    @abstractmethod
    def invitation_numbered(self, number: int) -> Invitation:
        """One that there was."""

    def requires_approval(self) -> bool:
        """True if the operator wants to approve each new member."""
        return self._engine.one(select(RULE.c.name).where(RULE.c.name == APPROVAL)) is not None

    def require_approval(self, *, required: bool) -> None:
        """From now on so, or not any more."""

        def require() -> None:
            self._engine.write(delete(RULE).where(RULE.c.name == APPROVAL))
            if required:
                self._engine.write(insert(RULE).values(name=APPROVAL))
            self._audit.by_operator("approval", details="on" if required else "off")

        self._engine.atomically(require)

    def administrator(self) -> str:
        """The administrator that has been there the longest; there always is one."""
        admins = select(ACCOUNT.c.name).where(ACCOUNT.c.is_admin).order_by(ACCOUNT.c.created, ACCOUNT.c.name)
        row = self._engine.one(admins.limit(1))
        assert row is not None, "the last administrator cannot be removed"
        return str(row.name)

    def applicant(self, member: str) -> Applicant | None:
        """Who has asked for this user name."""
        found = self._applicants(APPLICANT.c.member == member)
        return found[0] if found else None

    def applicants_of(self, account: str) -> list[Applicant]:
        """Those on one account."""
        return self._applicants(APPLICANT.c.account == account)

    def applicants_by(self, invitation: int) -> list[Applicant]:
        """Those that came by one invitation."""
        return self._applicants(APPLICANT.c.invitation == invitation)

    def applicants(self) -> list[Applicant]:
        """All that there are or were, who has asked first in front."""
        return self._applicants()

    def apply(self, applicant: Applicant, quota: int) -> bool:
        """Remember that it has asked; False if somebody else has asked for the name, or has taken the last place by
        the invitation, or on the account, where `quota` may wait.
        """
        try:
            return self._engine.atomically(lambda: self._apply(applicant, quota))
        except IntegrityError:
            return False

    def _apply(self, new: Applicant, quota: int) -> bool:
        before = self.applicant(new.member)
        if before is not None and is_another_s(before, new.account, new.key_hash):
            return False
        if waiting_beside(self, new.member, new.account) >= quota:
            return False
        if new.invitation is not None:
            invitation, others = self.invitation_numbered(new.invitation), self.applicants_by(new.invitation)
            if not has_room(invitation, others, new.member, new.key_hash):
                return False
        if before is None:
            self._engine.write(insert(APPLICANT).values(asdict(new)))
            by = "" if new.invitation is None else f"by invitation {new.invitation}"
            self._audit.write(AuditEntry("waits", new.asked, new.source, new.account, new.member, by))
        else:
            said = {"key_hash": new.key_hash, "source": new.source, "invitation": new.invitation}
            self._engine.write(update(APPLICANT).where(APPLICANT.c.member == new.member).values(said))
        return True

    def approve(self, member: str, date: float) -> None:
        """It gets its certificate when it asks the next time; LocalMisuse if nobody of this name waits."""
        waits = (APPLICANT.c.member == member) & APPLICANT.c.approved.is_(None)
        approved = update(APPLICANT).where(waits).values(approved=date)

        def approve() -> None:
            if not self._engine.write(approved).rowcount:
                raise LocalMisuse(f"nobody waits as {member}: `p2psip members list` shows who does")
            self._audit.by_operator("approved", user=member)

        self._engine.atomically(approve)

    def revocation(self, member: str) -> Revocation | None:
        """How a member, or an account, was revoked; None if it was not."""
        found = self._revocations(REVOCATION.c.member == member)
        return found[0] if found else None

    def revocations(self) -> list[Revocation]:
        """All of them."""
        return self._revocations()

    def revoke(self, member: str, date: float, until: float) -> Revocation:
        """It gets no certificate any more; what is to be revoked of those that it has.

        If it was revoked before, that again, with the time that it had then.
        """

        def revoke() -> Revocation:
            if (before := self.revocation(member)) is not None:
                return before
            nodes = tuple(held.node_id for held in self.held_as(member, date) if not held.is_revoked)
            listed = " ".join(map(str, nodes))
            values = {"member": member, "date": date, "until": until, "node_ids": listed}
            self._engine.write(insert(REVOCATION).values(values))
            self._audit.by_operator("revoked", user=member, details=listed)
            return Revocation(member, date, until, nodes)

        return self._engine.atomically(revoke)

    def reinstate(self, member: str) -> None:
        """It is none that was revoked."""

        def reinstate() -> None:
            self._forget_revocations([member])
            self._audit.by_operator("reinstated", user=member)

        self._engine.atomically(reinstate)

    def held_as(self, member: str, date: float) -> list[HeldNode]:
        """What an account holds, or a user name on somebody's account, in certificates valid at `date`."""
        if self.account(member) is not None:
            return self.held(member, date)
        owner = self.owner(member)
        return [] if owner is None else [held for held in self.held(owner, date) if held.user == member]

    def _forget(self, account: str, users: Collection[str]) -> None:
        """It is gone: who comes by its name, or those of its lines and machines, is somebody else."""
        self._engine.write(delete(APPLICANT).where(APPLICANT.c.account == account))
        self._forget_revocations([account, *users])

    def _forget_revocations(self, members: Collection[str]) -> None:
        self._engine.write(delete(REVOCATION).where(REVOCATION.c.member.in_(members)))

    def _applicants(self, *which: ColumnElement[bool]) -> list[Applicant]:
        said = APPLICANT.c
        columns = select(
            said.member, said.account, said.key_hash, said.asked, said.source, said.invitation, said.approved
        )
        rows = self._engine.rows(columns.where(*which).order_by(said.asked, said.member))
        return [Applicant(*row) for row in rows]

    def _revocations(self, *which: ColumnElement[bool]) -> list[Revocation]:
        said = REVOCATION.c
        columns = select(said.member, said.date, said.until, said.node_ids)
        rows = self._engine.rows(columns.where(*which).order_by(said.date, said.member))
        return [_revocation(row) for row in rows]


def _revocation(row: Any) -> Revocation:
    nodes = tuple(NodeId(bytes.fromhex(each)) for each in row.node_ids.split())
    return Revocation(row.member, row.date, row.until, nodes)
