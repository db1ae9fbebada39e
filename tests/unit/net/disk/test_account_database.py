"""Accounts on disk."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.accounts import Account, Holding, Issue, StoreFailed
from p2psip.net.disk.account_database import AccountDatabase
from p2psip.net.disk.admission_tables import HeldNode
from p2psip.sim.membership import DATE, OVERLAY, node_id

ALICE = Account(f"alice@{OVERLAY}", "hash a", quota=3, created=DATE)
ADMIN = Account(f"admin@{OVERLAY}", "hash b", is_admin=True)
GARDEN = f"peer-garden@{OVERLAY}"


@pytest.fixture
def database(tmp_path: Path) -> AccountDatabase:
    """With alice and an administrator."""
    made = AccountDatabase.create(tmp_path / "accounts.db")
    made.add(ALICE)
    made.add(ADMIN)
    return made


def issue(
    user: str = ALICE.name, *nodes: NodeId, account: str = ALICE.name, key: bytes = b"k", until: float = DATE + 10
) -> Issue:
    """A certificate."""
    return Issue(account, user, key, nodes or (node_id(1),), b"certificate", until)


def test_accounts_are_kept(database: AccountDatabase, tmp_path: Path) -> None:
    again = AccountDatabase.open(tmp_path / "accounts.db")
    assert again.accounts() == [ADMIN, ALICE]
    assert again.account(ALICE.name) == ALICE
    assert again.account(f"bob@{OVERLAY}") is None


def test_the_file_is_the_owner_s(database: AccountDatabase, tmp_path: Path) -> None:
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_accounts_cannot_have_one_name(database: AccountDatabase) -> None:
    with pytest.raises(LocalMisuse, match="there is an account alice"):
        database.add(ALICE)
    assert database.record(issue(GARDEN))
    with pytest.raises(LocalMisuse, match="belongs to the account alice"):
        database.add(Account(GARDEN, "x"))


def test_what_was_issued_is_held_in_order(database: AccountDatabase) -> None:
    nodes = (node_id(9), node_id(3), node_id(5))
    assert database.record(issue(ALICE.name, *nodes))
    assert database.holding(ALICE.name, b"k") == Holding(ALICE.name, ALICE.name, nodes)
    assert database.holding(ALICE.name, b"other") is None
    assert database.owner(ALICE.name) == ALICE.name
    assert database.owner(GARDEN) is None
    assert all(database.is_taken(node) for node in nodes)
    assert not database.is_taken(node_id(1))
    assert database.held(ALICE.name, DATE) == [HeldNode(ALICE.name, node, DATE + 10) for node in nodes]


def test_a_renewal_prolongs(database: AccountDatabase) -> None:
    database.record(issue())
    database.record(issue(ALICE.name, node_id(1), node_id(2), until=DATE + 20))
    assert [(held.node_id, held.not_after) for held in database.held(ALICE.name, DATE)] == [
        (node_id(1), DATE + 20),
        (node_id(2), DATE + 20),
    ]


def test_the_quota_counts_valid_certificates_of_other_keys(database: AccountDatabase) -> None:
    database.record(issue(ALICE.name, node_id(1), node_id(2)))
    database.record(issue(GARDEN, node_id(3), key=b"g"))
    assert database.held_otherwise(ALICE.name, ALICE.name, b"k", DATE) == 1
    assert database.held_otherwise(ALICE.name, ALICE.name, b"new", DATE) == 3
    assert database.held_otherwise(ALICE.name, ALICE.name, b"new", DATE + 11) == 0
    assert database.held_otherwise(ADMIN.name, ALICE.name, b"new", DATE) == 0


def test_a_node_id_is_issued_once(database: AccountDatabase) -> None:
    database.record(issue())
    assert not database.record(issue(ADMIN.name, account=ADMIN.name))
    assert database.holding(ADMIN.name, b"k") is None


def test_names_of_others_are_not_recorded(database: AccountDatabase) -> None:
    assert not database.record(issue(ADMIN.name))
    assert database.record(issue(GARDEN))
    assert not database.record(issue(GARDEN, node_id(2), account=ADMIN.name, key=b"z"))
    assert not database.record(issue(account=f"nobody@{OVERLAY}"))


def test_a_removed_account_leaves_its_node_ids_taken(database: AccountDatabase) -> None:
    database.record(issue(ALICE.name, node_id(1)))
    database.record(issue(GARDEN, node_id(2), key=b"g", until=DATE - 1))
    assert [held.node_id for held in database.remove(ALICE.name, DATE)] == [node_id(1)]
    assert database.account(ALICE.name) is None
    assert database.holding(ALICE.name, b"k") is None
    assert database.is_taken(node_id(1))
    assert database.is_taken(node_id(2))
    database.add(ALICE)
    assert not database.record(issue(ALICE.name, node_id(1)))


def test_the_last_administrator_stays(database: AccountDatabase) -> None:
    with pytest.raises(LocalMisuse, match="last administrator"):
        database.remove(ADMIN.name, DATE)
    with pytest.raises(LocalMisuse, match="no account"):
        database.remove(f"bob@{OVERLAY}", DATE)
    database.add(Account(f"root@{OVERLAY}", "x", is_admin=True))
    assert database.remove(ADMIN.name, DATE) == []


def test_passwords_change(database: AccountDatabase) -> None:
    database.set_password(ALICE.name, "other")
    changed = database.account(ALICE.name)
    assert changed is not None
    assert changed.password_hash == "other"


def test_revoked_node_ids_are_kept_in_mind_and_count_for_nothing(database: AccountDatabase, tmp_path: Path) -> None:
    database.record(issue(ALICE.name, node_id(1), node_id(2)))
    revoked = {node_id(1)}
    again = AccountDatabase.open(tmp_path / "accounts.db", lambda: revoked)
    assert again.holding(ALICE.name, b"k") == Holding(ALICE.name, ALICE.name, (node_id(2),))
    assert again.held_otherwise(ALICE.name, GARDEN, b"z", DATE) == 1
    assert [(held.node_id, held.is_revoked) for held in again.held(ALICE.name, DATE)] == [
        (node_id(1), True),
        (node_id(2), False),
    ]
    assert again.is_taken(node_id(1))
    revoked.clear()
    assert again.held_otherwise(ALICE.name, GARDEN, b"z", DATE) == 2


def test_two_processes_write_in_turn(database: AccountDatabase, tmp_path: Path) -> None:
    other = AccountDatabase.open(tmp_path / "accounts.db")
    other._connection.execute("PRAGMA busy_timeout = 20")
    with database._transaction():
        assert other.account(ALICE.name) == ALICE
        with pytest.raises(StoreFailed, match="locked"):
            other.record(issue())
    assert other.record(issue())
    assert database.holding(ALICE.name, b"k") is not None


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match="is not there"):
        AccountDatabase.open(tmp_path / "missing")
    (tmp_path / "text").write_text("no database, but long enough to look at" * 10)
    with pytest.raises(LocalMisuse, match="cannot be read"):
        AccountDatabase.open(tmp_path / "text")
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE x (y)")
    with pytest.raises(LocalMisuse, match="not an account database"):
        AccountDatabase.open(tmp_path / "other")
    with pytest.raises(LocalMisuse, match="cannot make"):
        AccountDatabase.create(tmp_path / "text")
