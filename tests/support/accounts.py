"""Accounts of an enrollment server, for tests."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from p2psip.enrollment.accounts import Account
from p2psip.enrollment.passwords import Cost, hash_password
from p2psip.net.disk.account_database import AccountDatabase
from p2psip.sim.membership import OVERLAY

CHEAP = Cost(log_n=4, r=8, p=1)


def accounts(directory: Path, people: Iterable[tuple[str, str]], *, quota: int = 4) -> AccountDatabase:
    """A database with (name, password) accounts."""
    database = AccountDatabase.create(directory / "accounts.db")
    for name, password in people:
        hashed = hash_password(password, random.Random(name), CHEAP)
        database.add(Account(f"{name}@{OVERLAY}", hashed, quota=quota))
    return database
