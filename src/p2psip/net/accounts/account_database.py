"""The accounts of an enrollment server (RFC 6940 section 11.3) in a database.

Several servers and `p2psip user` may have it open at the same time. No method may be called on an event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, case, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.accounts import Account, HeldNode, Holding, Issue
from p2psip.enrollment.asked.audit import AuditEntry
from p2psip.enrollment.asked.guesses import Charged, Guesser
from p2psip.enrollment.asked.offline import CollectedRequest
from p2psip.enrollment.invitations import Invitation, InvitationUse, Invited
from p2psip.enrollment.user_names import is_peer_name
from p2psip.net.accounts.account_engine import AccountEngine
from p2psip.net.accounts.account_tables import (
    ACCOUNT,
    APPLICANT,
    ATTEMPT,
    HOLDING,
    INVITATION,
    INVITATION_USE,
    NODE,
    REQUEST,
    REVOCATION,
)
from p2psip.net.accounts.admission_database import AdmissionDatabase
from p2psip.net.accounts.audit_table import AuditTable

_HELD = NODE.join(HOLDING, HOLDING.c.id == NODE.c.holding).join(ACCOUNT, ACCOUNT.c.id == HOLDING.c.account)
_OWNED = HOLDING.join(ACCOUNT, ACCOUNT.c.id == HOLDING.c.account)
_ACCOUNTS = select(ACCOUNT.c.name, ACCOUNT.c.password_hash, ACCOUNT.c.is_admin, ACCOUNT.c.quota, ACCOUNT.c.created)
FORGOTTEN_MS = 3_600_000
"""How long an allowance that is whole again is kept: nobody is likely to charge it while it is deleted."""


def _nothing_revoked() -> Collection[NodeId]:
    return ()


class _NotToBeHad(Exception):  # no error
    """What has been written in this transaction is not to stay."""


class _TooMany(Exception):  # no error
    """The attempt is not charged; so many seconds are to be waited."""


class AccountDatabase(AdmissionDatabase):
    """A MembershipStore, and what administrators do with it.

    `revoked` says which Node-IDs the configuration revokes at this moment (bad-node): they count for nothing, and
    whoever renews a certificate that had one gets others.
    """

    def __init__(self, engine: AccountEngine, revoked: Callable[[], Collection[NodeId]] = _nothing_revoked) -> None:
        self._engine = engine
        self._revoked = revoked
        self._upsert = _upsert_of(engine)
        self._audit = AuditTable(engine)

    @classmethod
    def create(cls, path: Path) -> AccountDatabase:
        """A new file, readable by its owner only; LocalMisuse if there is one."""
        return cls(AccountEngine.create(path))

    @classmethod
    def open(cls, path: Path, revoked: Callable[[], Collection[NodeId]] = _nothing_revoked) -> AccountDatabase:
        """An existing file; LocalMisuse if it is not an account database."""
        return cls(AccountEngine.open(path), revoked)

    @classmethod
    def connect(cls, conninfo: str, revoked: Callable[[], Collection[NodeId]] = _nothing_revoked) -> AccountDatabase:
        """Those in PostgreSQL; LocalMisuse if there are none."""
        return cls(AccountEngine.connect(conninfo), revoked)

    def copy(self, path: Path) -> None:
        """The same accounts in a new file, as they are at this moment. What was invited here is invited here only:
        two servers that do not know of each other would both let the guests in.
        """
        engine = AccountEngine.create(path)
        with contextlib.closing(engine):
            self._engine.copy_to(engine)
            engine.atomically(lambda: _uninvite(engine))

    def copy_to(self, engine: AccountEngine) -> None:
        """All of it into another database, which takes the place of this one."""
        self._engine.copy_to(engine)

    def close(self) -> None:
        """No more calls."""
        self._engine.close()

    def moment(self) -> AbstractContextManager[None]:
        """What is read inside it is of one moment."""
        return self._engine.moment()

    def account(self, name: str) -> Account | None:
        """The account with this user name."""
        row = self._engine.one(_ACCOUNTS.where(ACCOUNT.c.name == name))
        return None if row is None else Account(*row)

    def accounts(self) -> list[Account]:
        """All accounts by name."""
        found = [Account(*row) for row in self._engine.rows(_ACCOUNTS)]
        # As Python sorts it, whatever the database's language.
        return sorted(found, key=lambda account: account.name)

    def owner(self, user: str) -> str | None:
        """The account that a user name belongs to, once a certificate was issued for it."""
        row = self._engine.one(select(ACCOUNT.c.name).select_from(_OWNED).where(HOLDING.c.user == user).limit(1))
        return None if row is None else str(row.name)

    def holding(self, user: str, key_hash: bytes) -> Holding | None:
        """What was issued for this user name and key; its Node-IDs without those that are revoked."""
        with self.moment():
            which = (HOLDING.c.user == user) & (HOLDING.c.key_hash == key_hash)
            columns = select(HOLDING.c.id, HOLDING.c.certificate, ACCOUNT.c.name)
            row = self._engine.one(columns.select_from(_OWNED).where(which))
            return None if row is None else Holding(row.name, user, self._nodes(row.id), row.certificate)

    def held_otherwise(self, account: str, user: str, key_hash: bytes, date: float) -> int:
        """How many Node-IDs the account holds in certificates valid at `date`, this user name and key not counted."""
        which = (ACCOUNT.c.name == account) & (NODE.c.not_after > date)
        others = or_(HOLDING.c.user != user, HOLDING.c.key_hash != key_hash)
        rows = self._engine.rows(select(NODE.c.node_id).select_from(_HELD).where(which & others))
        revoked = self._revoked()
        return sum(NodeId(row.node_id) not in revoked for row in rows)

    def held(self, account: str, date: float) -> list[HeldNode]:
        """The Node-IDs that the account holds in certificates valid at `date`, those that are revoked among them."""
        which = (ACCOUNT.c.name == account) & (NODE.c.not_after > date)
        columns = select(HOLDING.c.user, NODE.c.node_id, NODE.c.not_after)
        rows = self._engine.rows(columns.select_from(_HELD).where(which).order_by(NODE.c.id))
        revoked = self._revoked()
        return [HeldNode(user, node, ends, node in revoked) for user, one, ends in rows if (node := NodeId(one))]

    def record(self, issue: Issue) -> bool:
        """Remember a certificate before it is handed out; False if it is no longer to be had."""
        try:
            return self._engine.atomically(lambda: self._record(issue))
        except (IntegrityError, _NotToBeHad):
            return False

    def _record(self, issue: Issue) -> bool:
        account = self._engine.one(select(ACCOUNT.c.id, ACCOUNT.c.quota).where(ACCOUNT.c.name == issue.account))
        if account is None or self.owner(issue.user) not in (None, issue.account):
            return False
        if issue.user != issue.account and self.account(issue.user) is not None:
            return False
        if any(self.revocation(name) is not None for name in dict.fromkeys((issue.user, issue.account))):
            return False
        others = self.held_otherwise(issue.account, issue.user, issue.key_hash, issue.issued)
        if others + len(issue.node_ids) > account.quota:
            return False
        values = {
            "account": account.id,
            "user": issue.user,
            "key_hash": issue.key_hash,
            "certificate": issue.certificate,
        }
        certified = self._upsert(HOLDING).values(values)
        # What is yet to be signed does not take the place of what there is.
        newest = HOLDING.c.certificate if issue.request else certified.excluded.certificate
        certified = certified.on_conflict_do_update(index_elements=["user", "key_hash"], set_={"certificate": newest})
        (holding,) = self._engine.write(certified.returning(HOLDING.c.id)).one()
        if issue.request and not self._collect(issue, holding):
            return True
        node_ids = " ".join(map(str, issue.node_ids))
        event = "requested" if issue.request else "issued"
        self._audit.write(AuditEntry(event, issue.issued, issue.source, issue.account, issue.user, node_ids))
        return self._record_nodes(issue, holding)

    def _collect(self, issue: Issue, holding: int) -> bool:
        """Remember what is to be signed; False if it is remembered already. Who waits asks every few seconds."""
        wanted = {"csr": issue.request, "node_ids": " ".join(map(str, issue.node_ids)), "date": issue.issued}
        asked = self._engine.one(select(REQUEST.c.node_ids).where(REQUEST.c.holding == holding))
        if asked is not None and asked.node_ids == wanted["node_ids"]:
            return False
        collected = self._upsert(REQUEST).values(holding=holding, **wanted)
        self._engine.write(collected.on_conflict_do_update(index_elements=["holding"], set_=wanted))
        return True

    def collected(self) -> list[CollectedRequest]:
        """What is to be signed elsewhere, the oldest first; not of who has been revoked meanwhile, nor with Node-IDs
        that are: who signs would refuse the whole file.
        """
        said = REQUEST.c
        columns = select(said.id, ACCOUNT.c.name, HOLDING.c.user, said.node_ids, said.csr, said.date)
        joined = REQUEST.join(HOLDING, HOLDING.c.id == said.holding).join(ACCOUNT, ACCOUNT.c.id == HOLDING.c.account)
        out = exists().where(REVOCATION.c.member.in_([ACCOUNT.c.name, HOLDING.c.user]))
        rows = self._engine.rows(columns.select_from(joined).where(~out).order_by(said.id))
        revoked = set(map(str, self._revoked()))
        return [
            CollectedRequest(row.id, row.name, row.user, node_ids, row.csr, row.date)
            for row in rows
            if revoked.isdisjoint(node_ids := tuple(row.node_ids.split()))
        ]

    def unsigned(self) -> set[NodeId]:
        """The Node-IDs of those whose first certificate is to be signed elsewhere."""
        joined = REQUEST.join(HOLDING, HOLDING.c.id == REQUEST.c.holding)
        rows = self._engine.rows(select(REQUEST.c.node_ids).select_from(joined).where(HOLDING.c.certificate == b""))
        return {NodeId(bytes.fromhex(node_id)) for row in rows for node_id in row.node_ids.split()}

    def deliver(self, number: int, certificate: bytes, not_after: float) -> bool:
        """The certificate for a request was made; False if the request has gone."""

        def deliver() -> bool:
            asked = self._engine.one(select(REQUEST.c.holding, REQUEST.c.node_ids).where(REQUEST.c.id == number))
            if asked is None:
                return False
            ids = [bytes.fromhex(node_id) for node_id in asked.node_ids.split()]
            certified = update(HOLDING).where(HOLDING.c.id == asked.holding).values(certificate=certificate)
            self._engine.write(certified)
            self._engine.write(update(NODE).where(NODE.c.node_id.in_(ids)).values(not_after=not_after))
            self._engine.write(delete(REQUEST).where(REQUEST.c.id == number))
            self._audit.by_operator("signed", details=f"request {number}: {asked.node_ids}")
            return True

        return self._engine.atomically(deliver)

    def _record_nodes(self, issue: Issue, holding: int) -> bool:
        kept = self._nodes(holding)
        # Those that it has come first: another server may have given it some a moment ago.
        if issue.node_ids[: len(kept)] != kept[: len(issue.node_ids)]:
            raise _NotToBeHad
        for node_id in issue.node_ids:
            if node_id in kept:
                prolonged = update(NODE).where(NODE.c.node_id == bytes(node_id)).values(not_after=issue.not_after)
                self._engine.write(prolonged)
            else:
                values = {"node_id": bytes(node_id), "holding": holding, "not_after": issue.not_after}
                self._engine.write(insert(NODE).values(values))
        return True

    def _nodes(self, holding: int) -> tuple[NodeId, ...]:
        """What is not revoked of it, in order."""
        rows = self._engine.rows(select(NODE.c.node_id).where(NODE.c.holding == holding).order_by(NODE.c.id))
        revoked = self._revoked()
        return tuple(node for row in rows if (node := NodeId(row.node_id)) not in revoked)

    def invite(self, invitation: Invitation, token_hash: bytes) -> Invitation:
        """Remember a new invitation; returns it with its number."""
        values = {
            "token_hash": token_hash,
            "inviter": invitation.inviter,
            "user": invitation.user,
            "admits_machine": invitation.admits_machine,
            "uses": invitation.uses,
            "created": invitation.created,
            "expires": invitation.expires,
        }
        written = insert(INVITATION).values(values).returning(INVITATION.c.id)

        def invite() -> int:
            number: int = self._engine.write(written).scalar_one()
            whom = "machines" if invitation.admits_machine else "lines"
            details = f"invitation {number} for {invitation.uses} {whom}"
            self._audit.by_operator("invited", invitation.inviter, invitation.user, details)
            return number

        return replace(invitation, number=self._engine.atomically(invite))

    def invitation(self, token_hash: bytes) -> Invitation | None:
        """The invitation with this token."""
        found = self._invitations(INVITATION.c.token_hash == token_hash)
        return found[0] if found else None

    def invitations(self) -> list[Invitation]:
        """All that there were, the oldest first."""
        return self._invitations()

    def invitation_numbered(self, number: int) -> Invitation:
        """One that there was."""
        (found,) = self._invitations(INVITATION.c.id == number)
        return found

    def withdraw(self, number: int) -> None:
        """Whom an invitation has admitted stays, and nobody else comes; LocalMisuse if there is no such one."""
        withdrawn = update(INVITATION).where(INVITATION.c.id == number).values(is_withdrawn=True)

        def withdraw() -> None:
            if not self._engine.write(withdrawn).rowcount:
                raise LocalMisuse(f"there is no invitation {number}: `p2psip invite --list` lists them")
            self._audit.by_operator("withdrawn", details=f"invitation {number}")

        self._engine.atomically(withdraw)

    def redeem(self, invitation: Invitation, account: Account, issue: Issue, date: float) -> bool:
        """Remember whom it has admitted; False if somebody else came first."""
        try:
            return self._engine.atomically(lambda: self._redeem(invitation, account, issue, date))
        except (IntegrityError, _NotToBeHad):
            return False

    def _redeem(self, invitation: Invitation, account: Account, issue: Issue, date: float) -> bool:
        found = self.invitation_numbered(invitation.number)
        if found.is_withdrawn or not found.left(machines=is_peer_name(issue.user)):
            return False
        is_new = self.account(account.name) is None
        if not is_new and is_peer_name(account.name):
            return False
        if is_new:
            self._insert(account)
        if not self._record(issue):
            raise _NotToBeHad
        use = {"invitation": invitation.number, "user": issue.user, "key_hash": issue.key_hash, "date": date}
        self._engine.write(insert(INVITATION_USE).values(use))
        details = f"by invitation {invitation.number} of {invitation.inviter}"
        self._audit.write(AuditEntry("admitted", date, issue.source, issue.account, issue.user, details))
        return True

    def invited(self) -> list[Invited]:
        """How the accounts that there are came in, or got lines, by invitations."""
        use = INVITATION_USE.c
        came = INVITATION_USE.join(INVITATION, INVITATION.c.id == use.invitation)
        came = came.join(ACCOUNT, ACCOUNT.c.name == use.user)
        columns = select(use.user, INVITATION.c.inviter, use.invitation, use.date).select_from(came)
        rows = self._engine.rows(columns.where(use.date >= ACCOUNT.c.created).order_by(use.date))
        return [Invited(*row) for row in rows]

    def _invitations(self, *which: ColumnElement[bool]) -> list[Invitation]:
        with self.moment():
            return [self._invitation(row) for row in self._engine.rows(_invitations().where(*which))]

    def _invitation(self, row: Any) -> Invitation:
        use = INVITATION_USE.c
        columns = select(use.user, use.key_hash, use.date).where(use.invitation == row.id).order_by(use.date)
        return replace(Invitation(*row), used=tuple(InvitationUse(*used) for used in self._engine.rows(columns)))

    def add(self, account: Account) -> None:
        """A new account; LocalMisuse if the name is taken."""

        def add() -> None:
            if self.account(account.name) is not None:
                raise LocalMisuse(f"there is an account {account.name} already")
            if (owner := self.owner(account.name)) is not None:
                raise LocalMisuse(f"the name {account.name} belongs to the account {owner}")
            self._insert(account)
            self._audit.by_operator("added", account.name, details="administrator" if account.is_admin else "")

        self._engine.atomically(add)

    def _insert(self, account: Account) -> None:
        values = {
            "name": account.name,
            "password_hash": account.password_hash,
            "is_admin": account.is_admin,
            "quota": account.quota,
            "created": account.created,
        }
        self._engine.write(insert(ACCOUNT).values(values))

    def set_password(self, name: str, password_hash: str) -> None:
        """Another password; LocalMisuse if there is no such account."""
        changed = update(ACCOUNT).where(ACCOUNT.c.name == name).values(password_hash=password_hash)

        def change() -> None:
            if not self._engine.write(changed).rowcount:
                raise LocalMisuse(f"there is no account {name}")
            self._audit.by_operator("password", name)

        self._engine.atomically(change)

    def remove(self, name: str, date: float) -> list[HeldNode]:
        """No more account, no more renewals; returns the Node-IDs that it held."""

        def remove() -> list[HeldNode]:
            account = self.account(name)
            if account is None:
                raise LocalMisuse(f"there is no account {name}")
            others = select(func.count()).where(ACCOUNT.c.is_admin, ACCOUNT.c.name != name)
            if account.is_admin and self._engine.rows(others)[0][0] == 0:
                raise LocalMisuse(f"{name} is the last administrator: make another one first")
            held = self.held(name, date)
            users = self._engine.rows(select(HOLDING.c.user).select_from(_OWNED).where(ACCOUNT.c.name == name))
            self._engine.write(delete(ACCOUNT).where(ACCOUNT.c.name == name))
            self._forget(name, [row.user for row in users])
            self._audit.by_operator("removed", name, details=" ".join(str(each.node_id) for each in held))
            return held

        return self._engine.atomically(remove)

    def refused(self, entry: AuditEntry) -> None:
        """Remember that somebody was refused."""
        self._engine.counting(lambda: self._audit.write_refusal(entry))

    def audit(self, about: str = "", last: int | None = None) -> list[AuditEntry]:
        """What happened, the oldest first: all, or about a user or account, and the last so many."""
        return self._audit.read(about, last)

    def charge(self, guesser: Guesser, date: float) -> float:
        """Charge an attempt; or charge nothing, and return how many seconds are to be waited, if none is left."""
        now_ms = round(date * 1000)

        def charge() -> None:
            self._engine.write(delete(ATTEMPT).where(ATTEMPT.c.whole_at_ms < now_ms - FORGOTTEN_MS))
            wait_ms = max(self._charge(each, now_ms) for each in guesser.charged())
            if wait_ms > 0:
                raise _TooMany(wait_ms / 1000)

        try:
            self._engine.counting(charge)
        except _TooMany as too_many:
            (wait_s,) = too_many.args
            return float(wait_s)
        return 0.0

    def _charge(self, charged: Charged, now_ms: int) -> int:
        """How many milliseconds it was too early for that; whoever charges the same at the same time waits."""
        refill_ms = round(charged.allowance.refill_s * 1000)
        written = self._upsert(ATTEMPT).values(mark=charged.mark, whole_at_ms=now_ms + refill_ms)
        before = ATTEMPT.c.whole_at_ms
        later = case((before > now_ms, before), else_=now_ms) + refill_ms
        written = written.on_conflict_do_update(index_elements=["mark"], set_={"whole_at_ms": later})
        whole_at_ms: int = self._engine.write(written.returning(before)).scalar_one()
        return whole_at_ms - now_ms - charged.allowance.burst * refill_ms

    def refund(self, guesser: Guesser, date: float) -> None:
        """The attempt was right."""

        def refund() -> None:
            for each in guesser.charged():
                less = ATTEMPT.c.whole_at_ms - round(each.allowance.refill_s * 1000)
                self._engine.write(update(ATTEMPT).where(ATTEMPT.c.mark == each.mark).values(whole_at_ms=less))

        self._engine.counting(refund)


def _uninvite(engine: AccountEngine) -> None:
    engine.write(update(INVITATION).values(is_withdrawn=True))
    engine.write(delete(APPLICANT))


def _upsert_of(engine: AccountEngine) -> Any:
    """INSERT with ON CONFLICT: SQL has none, these two have the same."""
    if engine.is_postgresql:
        from sqlalchemy.dialects.postgresql import insert as upsert
    else:
        from sqlalchemy.dialects.sqlite import insert as upsert  # type: ignore[assignment]
    return upsert


def _invitations() -> Select[Any]:
    """In the order of Invitation's fields, but for who was admitted."""
    said = INVITATION.c
    return select(
        said.inviter,
        said.expires,
        said.uses,
        said.admits_machine,
        said.user,
        said.created,
        said.id,
        said.is_withdrawn,
    ).order_by(said.id)
