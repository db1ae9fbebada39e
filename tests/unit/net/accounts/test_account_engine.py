"""The file that accounts are in: whose it is, what is none, and what an older release has left."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.accounts import Account, StoreFailed
from p2psip.net.accounts import account_engine
from p2psip.net.accounts.account_database import AccountDatabase
from p2psip.net.accounts.account_engine import AccountEngine
from p2psip.net.accounts.account_tables import HEAD
from p2psip.sim.membership import DATE, OVERLAY

ALICE = Account(f"alice@{OVERLAY}", "hash a", quota=3, created=DATE)
_OLD = """
CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL,
    is_admin INTEGER NOT NULL, quota INTEGER NOT NULL, created REAL NOT NULL);
CREATE TABLE holding (id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    user TEXT NOT NULL, key_hash BLOB NOT NULL, certificate BLOB NOT NULL, UNIQUE (user, key_hash));
CREATE INDEX holding_account ON holding (account);
CREATE TABLE node (id INTEGER PRIMARY KEY, node_id BLOB NOT NULL UNIQUE,
    holding INTEGER REFERENCES holding (id) ON DELETE SET NULL, not_after REAL NOT NULL);
CREATE INDEX node_holding ON node (holding);
INSERT INTO account (name, password_hash, is_admin, quota, created)
    VALUES ('alice@club.example', 'hash a', 0, 3, {date});
PRAGMA application_id = 0x50325041;
"""
_INVITATIONS = """
CREATE TABLE invitation (id INTEGER PRIMARY KEY AUTOINCREMENT, token_hash BLOB NOT NULL UNIQUE, inviter TEXT NOT NULL,
    user TEXT NOT NULL, admits_machine INTEGER NOT NULL, uses INTEGER NOT NULL, created REAL NOT NULL,
    expires REAL NOT NULL, is_withdrawn INTEGER NOT NULL DEFAULT 0);
CREATE TABLE invitation_use (invitation INTEGER NOT NULL REFERENCES invitation (id), user TEXT NOT NULL,
    key_hash BLOB NOT NULL, date REAL NOT NULL, UNIQUE (invitation, user, key_hash));
INSERT INTO invitation (token_hash, inviter, user, admits_machine, uses, created, expires)
    VALUES (x'00', 'alice@club.example', '', 1, 2, 0, 9);
INSERT INTO invitation_use VALUES (1, 'peer-x@club.example', x'01', 5);
"""


def test_the_file_is_the_owner_s(tmp_path: Path) -> None:
    database = AccountDatabase.create(tmp_path / "accounts.db")
    database.add(ALICE)
    assert len(list(tmp_path.iterdir())) > 1, "the write-ahead log"
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["accounts.db"]


def test_another_process_that_writes_is_waited_for_and_then_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = AccountDatabase.create(tmp_path / "accounts.db")
    monkeypatch.setattr(account_engine, "BUSY_TIMEOUT_S", 0.02)
    other = AccountDatabase.open(tmp_path / "accounts.db")
    with database._engine.transaction():
        assert other.account(ALICE.name) is None
        with pytest.raises(StoreFailed, match="the account database fails: database is locked"):
            other.add(ALICE)
    other.add(ALICE)
    assert database.account(ALICE.name) == ALICE


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match="is not there"):
        AccountDatabase.open(tmp_path / "missing")
    (tmp_path / "text").write_text("no database, but long enough to look at" * 10)
    with pytest.raises(LocalMisuse, match="cannot be read"):
        AccountDatabase.open(tmp_path / "text")
    connection = sqlite3.connect(tmp_path / "other")
    connection.execute("CREATE TABLE x (y)")
    connection.close()
    with pytest.raises(LocalMisuse, match="not an account database"):
        AccountDatabase.open(tmp_path / "other")
    with pytest.raises(LocalMisuse, match="cannot make"):
        AccountDatabase.create(tmp_path / "text")


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_older_release_becomes_one_of_this(tmp_path: Path, version: int) -> None:
    """As releases without invitations, and without what servers share, have made them, to the letter."""
    connection = sqlite3.connect(tmp_path / "accounts.db")
    connection.executescript(_OLD.format(date=DATE))
    if version == 2:
        connection.executescript(_INVITATIONS)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    for _ in range(2):
        database = AccountDatabase.open(tmp_path / "accounts.db")
        assert database.accounts() == [ALICE]
        assert [len(each.used) for each in database.invitations()] == [1] * (version - 1)
        assert (database.applicants(), database.revocations(), database.requires_approval()) == ([], [], False)
        database.close()
    fresh = AccountDatabase.create(tmp_path / "fresh.db")
    AccountDatabase.open(tmp_path / "accounts.db").copy_to(AccountEngine.create(tmp_path / "copy.db"))
    assert columns(tmp_path / "accounts.db") == columns(tmp_path / "fresh.db")
    fresh.close()


def columns(path: Path) -> dict[str, list[str]]:
    """The tables and their columns."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in tables}
    connection.close()
    return found


def test_the_newest_migration_is_the_one_that_is_named() -> None:
    migrations = Path(account_engine.__file__).with_name("migrations")
    assert ScriptDirectory(str(migrations)).get_heads() == [HEAD]


def test_a_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    AccountDatabase.create(tmp_path / "accounts.db").close()
    connection = sqlite3.connect(tmp_path / "accounts.db")
    connection.execute("UPDATE alembic_version SET version_num = '99'")
    connection.commit()
    connection.close()
    with pytest.raises(LocalMisuse, match=r"of a newer release \(revision 99, here"):
        AccountDatabase.open(tmp_path / "accounts.db")


@pytest.mark.parametrize("conninfo", ["nonsense", "postgresql://[::1", "host="])
def test_what_is_no_address_of_a_database(conninfo: str) -> None:
    with pytest.raises(LocalMisuse, match="database"):
        AccountDatabase.connect(conninfo)


def test_a_database_where_nobody_is(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match="the database cannot be used: ") as caught:
        AccountDatabase.connect("postgresql://alice:hush@127.0.0.1:1/club")
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
