"""Who waits for an operator's approval, who has it, and who was revoked: tables beside those of accounts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.accounts import Account
from p2psip.enrollment.admission import Applicant, Revocation

ADMISSION = """
CREATE TABLE admission (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    requires_approval INTEGER NOT NULL
);
INSERT INTO admission (id, requires_approval) VALUES (1, 0);
CREATE TABLE applicant (
    member TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    key_hash BLOB NOT NULL,
    asked REAL NOT NULL,
    source TEXT NOT NULL,
    invitation INTEGER REFERENCES invitation (id),
    approved REAL
);
CREATE TABLE revocation (
    member TEXT PRIMARY KEY,
    date REAL NOT NULL,
    until REAL NOT NULL,
    node_ids TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class HeldNode:
    """A Node-ID that an account holds: as whom, until when its certificate is valid, and whether it is revoked."""

    user: str
    node_id: NodeId
    not_after: float
    is_revoked: bool = False


class AdmissionTables(ABC):
    """An AdmissionStore on disk, and what operators do with it."""

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
    def _execute(self, statement: str, values: Sequence[object] = ()) -> Any: ...

    @abstractmethod
    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None: ...

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]: ...

    def requires_approval(self) -> bool:
        """True if the operator wants to approve each new member."""
        return self._one("SELECT requires_approval FROM admission") == (1,)

    def require_approval(self, *, required: bool) -> None:
        """From now on so, or not any more."""
        self._execute("UPDATE admission SET requires_approval = ?", (int(required),))

    def administrator(self) -> str:
        """The administrator that has been there the longest; there always is one."""
        row = self._one("SELECT name FROM account WHERE is_admin != 0 ORDER BY created, name LIMIT 1")
        assert row is not None, "the last administrator cannot be removed"
        return str(row[0])

    def applicant(self, member: str) -> Applicant | None:
        """Who has asked for this user name."""
        found = self._applicants("WHERE member = ?", member)
        return found[0] if found else None

    def applicants_of(self, account: str) -> list[Applicant]:
        """Those on one account."""
        return self._applicants("WHERE account = ?", account)

    def applicants_by(self, invitation: int) -> list[Applicant]:
        """Those that came by one invitation."""
        return self._applicants("WHERE invitation = ?", invitation)

    def applicants(self) -> list[Applicant]:
        """All that there are or were, who has asked first in front."""
        return self._applicants("ORDER BY asked, member")

    def apply(self, applicant: Applicant) -> bool:
        """Remember that it has asked; False if somebody else has asked for the name."""
        with self._transaction():
            before = self.applicant(applicant.member)
            if before is None:
                self._execute(
                    "INSERT INTO applicant (member, account, key_hash, asked, source, invitation, approved)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        applicant.member,
                        applicant.account,
                        applicant.key_hash,
                        applicant.asked,
                        applicant.source,
                        applicant.invitation,
                        applicant.approved,
                    ),
                )
                return True
            if before.account != applicant.account or (before.is_own and before.key_hash != applicant.key_hash):
                return False
            self._execute(
                "UPDATE applicant SET key_hash = ?, source = ?, invitation = ? WHERE member = ?",
                (applicant.key_hash, applicant.source, applicant.invitation, applicant.member),
            )
            return True

    def approve(self, member: str, date: float) -> None:
        """It gets its certificate when it asks the next time; LocalMisuse if nobody of this name waits."""
        changed = self._execute(
            "UPDATE applicant SET approved = ? WHERE member = ? AND approved IS NULL", (date, member)
        )
        if not changed.rowcount:
            raise LocalMisuse(f"nobody waits as {member}: `p2psip members list` shows who does")

    def revocation(self, member: str) -> Revocation | None:
        """How a member, or an account, was revoked; None if it was not."""
        found = self._revocations("WHERE member = ?", member)
        return found[0] if found else None

    def revocations(self) -> list[Revocation]:
        """All of them."""
        return self._revocations("ORDER BY date, member")

    def revoke(self, member: str, date: float, until: float) -> Revocation:
        """It gets no certificate any more; what is to be revoked of those that it has.

        If it was revoked before, that again, with the time that it had then.
        """
        with self._transaction():
            if (before := self.revocation(member)) is not None:
                return before
            nodes = tuple(held.node_id for held in self.held_as(member, date) if not held.is_revoked)
            self._execute(
                "INSERT INTO revocation (member, date, until, node_ids) VALUES (?, ?, ?, ?)",
                (member, date, until, " ".join(map(str, nodes))),
            )
        return Revocation(member, date, until, nodes)

    def reinstate(self, member: str) -> None:
        """It is none that was revoked."""
        self._execute("DELETE FROM revocation WHERE member = ?", (member,))

    def held_as(self, member: str, date: float) -> list[HeldNode]:
        """What an account holds, or a user name on somebody's account, in certificates valid at `date`."""
        if self.account(member) is not None:
            return self.held(member, date)
        owner = self.owner(member)
        return [] if owner is None else [held for held in self.held(owner, date) if held.user == member]

    def _forget(self, account: str, users: Sequence[str]) -> None:
        """It is gone: who comes by its name, or those of its lines and machines, is somebody else."""
        self._execute("DELETE FROM applicant WHERE account = ?", (account,))
        for name in {account, *users}:
            self._execute("DELETE FROM revocation WHERE member = ?", (name,))

    def _applicants(self, which: str, *values: object) -> list[Applicant]:
        rows = self._execute(
            "SELECT member, account, key_hash, asked, source, invitation, approved FROM applicant " + which, values
        ).fetchall()
        return [Applicant(*row) for row in rows]

    def _revocations(self, which: str, *values: object) -> list[Revocation]:
        rows = self._execute("SELECT member, date, until, node_ids FROM revocation " + which, values).fetchall()
        return [
            Revocation(member, date, until, tuple(NodeId(bytes.fromhex(each)) for each in nodes.split()))
            for member, date, until, nodes in rows
        ]
