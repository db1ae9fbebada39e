"""The accounts of an enrollment server in one SQLite file (RFC 6940 section 11.3).

The server and `p2psip user` have it open at the same time: a write-ahead log, short transactions, and a wait of up
to five seconds for the other. `synchronous=FULL`: what was recorded survives the power cut that follows.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.accounts import Account, Holding, Issue, StoreFailed
from p2psip.enrollment.invitations import Invitation, InvitationUse, Invited
from p2psip.enrollment.user_names import is_peer_name
from p2psip.net.disk.admission_tables import ADMISSION, AdmissionTables, HeldNode

Row = tuple[Any, ...]

APPLICATION_ID = 0x50325041
"""Marks the file as ours ("P2PA")."""

SCHEMA_VERSION = 3
BEFORE_INVITATIONS = 1
BEFORE_ADMISSION = 2
BUSY_TIMEOUT_S = 5.0

# A Node-ID stays when its account goes: nobody else may ever get it.
_INVITATIONS = """
CREATE TABLE invitation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token_hash BLOB NOT NULL UNIQUE,
    inviter TEXT NOT NULL,
    user TEXT NOT NULL,
    admits_machine INTEGER NOT NULL,
    uses INTEGER NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    is_withdrawn INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE invitation_use (
    invitation INTEGER NOT NULL REFERENCES invitation (id),
    user TEXT NOT NULL,
    key_hash BLOB NOT NULL,
    date REAL NOT NULL,
    UNIQUE (invitation, user, key_hash)
);
"""
_SCHEMA = f"""
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    is_admin INTEGER NOT NULL,
    quota INTEGER NOT NULL,
    created REAL NOT NULL
);
CREATE TABLE holding (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    user TEXT NOT NULL,
    key_hash BLOB NOT NULL,
    certificate BLOB NOT NULL,
    UNIQUE (user, key_hash)
);
CREATE INDEX holding_account ON holding (account);
CREATE TABLE node (
    id INTEGER PRIMARY KEY,
    node_id BLOB NOT NULL UNIQUE,
    holding INTEGER REFERENCES holding (id) ON DELETE SET NULL,
    not_after REAL NOT NULL
);
CREATE INDEX node_holding ON node (holding);
{_INVITATIONS}
{ADMISSION}
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


def _nothing_revoked() -> Collection[NodeId]:
    return ()


class _NotToBeHad(Exception):  # no error
    """What has been written in this transaction is not to stay."""


class AccountDatabase(AdmissionTables):
    """An AccountStore on disk, and what administrators do with it.

    `revoked` says which Node-IDs the configuration revokes at this moment (bad-node): they count for nothing, and
    whoever renews a certificate that had one gets others.
    """

    def __init__(
        self, connection: sqlite3.Connection, revoked: Callable[[], Collection[NodeId]] = _nothing_revoked
    ) -> None:
        self._connection = connection
        self._revoked = revoked

    @classmethod
    def create(cls, path: Path) -> AccountDatabase:
        """A new file, readable by its owner only; LocalMisuse if there is one."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise LocalMisuse(f"cannot make {path}: {error.strerror}") from None
        connection = _connect(path)
        connection.executescript(_SCHEMA)
        return cls(connection)

    def copy(self, path: Path) -> None:
        """The same accounts in a new file, as they are at this moment. What was invited here is invited here only:
        two servers that do not know of each other would both let the guests in.
        """
        other = AccountDatabase.create(path)
        with contextlib.closing(other):
            self._connection.backup(other._connection)
            other._execute("UPDATE invitation SET is_withdrawn = 1")
            other._execute("DELETE FROM applicant")

    @classmethod
    def open(cls, path: Path, revoked: Callable[[], Collection[NodeId]] = _nothing_revoked) -> AccountDatabase:
        """An existing file; LocalMisuse if it is not an account database."""
        if not path.is_file():
            raise LocalMisuse(f"{path} is not there: `p2psip overlay create` makes it")
        try:
            connection = _connect(path)
            marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        except sqlite3.Error as error:
            raise LocalMisuse(f"{path} cannot be read: {error}") from None
        if marks[0] != APPLICATION_ID or not BEFORE_INVITATIONS <= marks[1] <= SCHEMA_VERSION:
            connection.close()
            raise LocalMisuse(f"{path} is not an account database of this release")
        database = cls(connection, revoked)
        if marks[1] < SCHEMA_VERSION:
            database._add_tables()
        return database

    def close(self) -> None:
        """No more calls."""
        self._connection.close()

    def account(self, name: str) -> Account | None:
        """The account with this user name."""
        row = self._one("SELECT name, password_hash, is_admin, quota, created FROM account WHERE name = ?", name)
        return None if row is None else _account(row)

    def accounts(self) -> list[Account]:
        """All accounts by name."""
        rows = self._execute("SELECT name, password_hash, is_admin, quota, created FROM account ORDER BY name")
        return [_account(row) for row in rows]

    def owner(self, user: str) -> str | None:
        """The account that a user name belongs to, once a certificate was issued for it."""
        row = self._one(
            "SELECT account.name FROM holding JOIN account ON account.id = holding.account WHERE user = ? LIMIT 1", user
        )
        return None if row is None else str(row[0])

    def holding(self, user: str, key_hash: bytes) -> Holding | None:
        """What was issued for this user name and key; its Node-IDs without those that are revoked."""
        row = self._one(
            "SELECT holding.id, account.name FROM holding JOIN account ON account.id = holding.account"
            " WHERE user = ? AND key_hash = ?",
            user,
            key_hash,
        )
        if row is None:
            return None
        nodes = self._execute("SELECT node_id FROM node WHERE holding = ? ORDER BY id", (row[0],))
        revoked = self._revoked()
        return Holding(row[1], user, tuple(node for (one,) in nodes if (node := NodeId(one)) not in revoked))

    def held_otherwise(self, account: str, user: str, key_hash: bytes, date: float) -> int:
        """How many Node-IDs the account holds in certificates valid at `date`, this user name and key not counted."""
        rows = self._execute(
            "SELECT node_id FROM node JOIN holding ON holding.id = node.holding"
            " JOIN account ON account.id = holding.account"
            " WHERE account.name = ? AND node.not_after > ? AND NOT (user = ? AND key_hash = ?)",
            (account, date, user, key_hash),
        )
        revoked = self._revoked()
        return sum(NodeId(node_id) not in revoked for (node_id,) in rows)

    def held(self, account: str, date: float) -> list[HeldNode]:
        """The Node-IDs that the account holds in certificates valid at `date`, those that are revoked among them."""
        rows = self._execute(
            "SELECT user, node_id, not_after FROM node JOIN holding ON holding.id = node.holding"
            " JOIN account ON account.id = holding.account WHERE account.name = ? AND not_after > ? ORDER BY node.id",
            (account, date),
        )
        revoked = self._revoked()
        return [HeldNode(user, node, ends, node in revoked) for user, one, ends in rows if (node := NodeId(one))]

    def is_taken(self, node_id: NodeId) -> bool:
        """True if somebody has or had this Node-ID."""
        return self._one("SELECT 1 FROM node WHERE node_id = ?", bytes(node_id)) is not None

    def record(self, issue: Issue) -> bool:
        """Remember a certificate before it is handed out; False if its account or its names are no longer to be had."""
        try:
            with self._transaction():
                return self._record(issue)
        except sqlite3.IntegrityError:
            return False

    def _record(self, issue: Issue) -> bool:
        owner = self._one("SELECT id FROM account WHERE name = ?", issue.account)
        if owner is None or self.owner(issue.user) not in (None, issue.account):
            return False
        if issue.user != issue.account and self.account(issue.user) is not None:
            return False
        if any(self.revocation(name) is not None for name in (issue.user, issue.account)):
            return False
        (holding,) = self._execute(
            "INSERT INTO holding (account, user, key_hash, certificate) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (user, key_hash) DO UPDATE SET certificate = excluded.certificate RETURNING id",
            (owner[0], issue.user, issue.key_hash, issue.certificate),
        ).fetchone()
        kept = {node_id for (node_id,) in self._execute("SELECT node_id FROM node WHERE holding = ?", (holding,))}
        for node_id in issue.node_ids:
            if bytes(node_id) in kept:
                self._execute("UPDATE node SET not_after = ? WHERE node_id = ?", (issue.not_after, bytes(node_id)))
            else:
                self._execute(
                    "INSERT INTO node (node_id, holding, not_after) VALUES (?, ?, ?)",
                    (bytes(node_id), holding, issue.not_after),
                )
        return True

    def invite(self, invitation: Invitation, token_hash: bytes) -> Invitation:
        """Remember a new invitation; returns it with its number."""
        with self._transaction():
            (number,) = self._execute(
                "INSERT INTO invitation (token_hash, inviter, user, admits_machine, uses, created, expires)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (
                    token_hash,
                    invitation.inviter,
                    invitation.user,
                    invitation.admits_machine,
                    invitation.uses,
                    invitation.created,
                    invitation.expires,
                ),
            ).fetchone()
        return replace(invitation, number=number)

    def invitation(self, token_hash: bytes) -> Invitation | None:
        """The invitation with this token."""
        found = self._invitations("WHERE token_hash = ?", token_hash)
        return found[0] if found else None

    def invitations(self) -> list[Invitation]:
        """All that there were, the oldest first."""
        return self._invitations("ORDER BY id")

    def invitation_numbered(self, number: int) -> Invitation:
        """One that there was."""
        (found,) = self._invitations("WHERE id = ?", number)
        return found

    def withdraw(self, number: int) -> None:
        """Whom an invitation has admitted stays, and nobody else comes; LocalMisuse if there is no such one."""
        with self._transaction():
            if not self._execute("UPDATE invitation SET is_withdrawn = 1 WHERE id = ?", (number,)).rowcount:
                raise LocalMisuse(f"there is no invitation {number}: `p2psip invite --list` lists them")

    def redeem(self, invitation: Invitation, account: Account, issue: Issue, date: float) -> bool:
        """Remember whom it has admitted; False if somebody else came first."""
        try:
            with self._transaction():
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
                use = (invitation.number, issue.user, issue.key_hash, date)
                self._execute("INSERT INTO invitation_use (invitation, user, key_hash, date) VALUES (?, ?, ?, ?)", use)
                return True
        except (sqlite3.IntegrityError, _NotToBeHad):
            return False

    def invited(self) -> list[Invited]:
        """How the accounts that there are came in, or got lines, by invitations."""
        rows = self._execute(
            "SELECT invitation_use.user, inviter, invitation, date FROM invitation_use"
            " JOIN invitation ON invitation.id = invitation JOIN account ON account.name = invitation_use.user"
            " WHERE date >= account.created ORDER BY date"
        )
        return [Invited(*row) for row in rows]

    def _invitations(self, which: str, *values: object) -> list[Invitation]:
        rows = self._execute(
            "SELECT inviter, expires, uses, admits_machine, user, created, id, is_withdrawn FROM invitation " + which,
            values,
        ).fetchall()
        return [self._invitation(row) for row in rows]

    def _invitation(self, row: Row) -> Invitation:
        inviter, expires, uses, admits_machine, user, created, number, is_withdrawn = row
        used = self._execute("SELECT user, key_hash, date FROM invitation_use WHERE invitation = ?", (number,))
        admitted = tuple(InvitationUse(*use) for use in used)
        return Invitation(
            inviter, expires, uses, bool(admits_machine), user, created, number, bool(is_withdrawn), admitted
        )

    def _add_tables(self) -> None:
        """A file of a release that had fewer."""
        with self._transaction():
            (version,) = self._one("PRAGMA user_version") or (SCHEMA_VERSION,)
            for before, tables in ((BEFORE_INVITATIONS, _INVITATIONS), (BEFORE_ADMISSION, ADMISSION)):
                for statement in filter(str.strip, tables.split(";") if version <= before else ()):
                    self._execute(statement)
            self._execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def add(self, account: Account) -> None:
        """A new account; LocalMisuse if the name is taken."""
        with self._transaction():
            if self.account(account.name) is not None:
                raise LocalMisuse(f"there is an account {account.name} already")
            if (owner := self.owner(account.name)) is not None:
                raise LocalMisuse(f"the name {account.name} belongs to the account {owner}")
            self._insert(account)

    def _insert(self, account: Account) -> None:
        self._execute(
            "INSERT INTO account (name, password_hash, is_admin, quota, created) VALUES (?, ?, ?, ?, ?)",
            (account.name, account.password_hash, account.is_admin, account.quota, account.created),
        )

    def set_password(self, name: str, password_hash: str) -> None:
        """Another password; LocalMisuse if there is no such account."""
        with self._transaction():
            changed = self._execute("UPDATE account SET password_hash = ? WHERE name = ?", (password_hash, name))
            if not changed.rowcount:
                raise LocalMisuse(f"there is no account {name}")

    def remove(self, name: str, date: float) -> list[HeldNode]:
        """No more account, no more renewals; returns the Node-IDs that it held."""
        with self._transaction():
            account = self.account(name)
            if account is None:
                raise LocalMisuse(f"there is no account {name}")
            others = self._one("SELECT count(*) FROM account WHERE is_admin AND name != ?", name)
            if account.is_admin and others == (0,):
                raise LocalMisuse(f"{name} is the last administrator: make another one first")
            held = self.held(name, date)
            users = self._execute(
                "SELECT user FROM holding JOIN account ON account.id = holding.account WHERE account.name = ?", (name,)
            ).fetchall()
            self._execute("DELETE FROM account WHERE name = ?", (name,))
            self._forget(name, [user for (user,) in users])
        return held

    def _one(self, query: str, *values: object) -> Row | None:
        row: Row | None = self._execute(query, values).fetchone()
        return row

    def _execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise StoreFailed(f"the account database fails: {error}") from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; reads inside it see no other writer."""
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            raise


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _account(row: Row) -> Account:
    name, password_hash, is_admin, quota, created = row
    return Account(name, password_hash, bool(is_admin), quota, created)
