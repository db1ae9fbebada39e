"""Accounts of an enrollment server, for tests."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from p2psip.base.effects import Ask, Effect
from p2psip.enrollment.accounts import Account
from p2psip.enrollment.asked.server_errands import ServerErrand, ServerErrands
from p2psip.enrollment.passwords import Cost, hash_password
from p2psip.enrollment.server import EnrollmentServer
from p2psip.net.accounts.account_database import AccountDatabase
from p2psip.sim.membership import OVERLAY

CHEAP = Cost(log_n=4, r=8, p=1)


def accounts(directory: Path, people: Iterable[tuple[str, str]], *, quota: int = 4) -> AccountDatabase:
    """A database with (name, password) accounts."""
    database = AccountDatabase.create(directory / "accounts.db")
    for name, password in people:
        hashed = hash_password(password, random.Random(name), CHEAP)
        database.add(Account(f"{name}@{OVERLAY}", hashed, quota=quota))
    return database


def settled(server: EnrollmentServer, errands: ServerErrands, now: float) -> list[Effect]:
    """What the server wants done when each of its questions is answered at once; these left out."""
    done: list[Effect] = []
    while effects := server.drain():
        for effect in effects:
            if isinstance(effect, Ask):
                assert isinstance(effect.question, ServerErrand)
                server.handle_answer(effect.token, errands.run(effect.question), now)
            else:
                done.append(effect)
    return done
