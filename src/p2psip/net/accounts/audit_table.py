"""The audit log as a table; `enrollment.asked.audit` says what is in it."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, insert, or_, select

from p2psip.enrollment.asked.audit import REFUSALS_MAX, TEXT_MAX, AuditEntry
from p2psip.net.accounts.account_engine import AccountEngine
from p2psip.net.accounts.account_tables import AUDIT

TIDIED_EVERY = 1000


class AuditTable:
    """Lines are written in the transaction of what they tell of."""

    def __init__(self, engine: AccountEngine) -> None:
        self._engine = engine

    def write(self, entry: AuditEntry) -> int:
        """One more line; its number."""
        values = {name: value[:TEXT_MAX] if name in _WRITTEN else value for name, value in asdict(entry).items()}
        number: int = self._engine.write(insert(AUDIT).values(values).returning(AUDIT.c.id)).scalar_one()
        return number

    def write_refusal(self, entry: AuditEntry) -> None:
        """The same; now and then the oldest refusals go."""
        number = self.write(entry)
        if number % TIDIED_EVERY == 0:
            old = (AUDIT.c.event == entry.event) & (AUDIT.c.id <= number - REFUSALS_MAX)
            self._engine.write(delete(AUDIT).where(old))

    def by_operator(self, event: str, account: str = "", user: str = "", details: str = "") -> None:
        """What the user of this machine has done."""
        self.write(AuditEntry(event, time.time(), operator(), account, user, details))

    def read(self, about: str, last: int | None) -> list[AuditEntry]:
        """The oldest first."""
        said = AUDIT.c
        columns = select(said.event, said.date, said.actor, said.account, said.user, said.details)
        if about:
            columns = columns.where(or_(said.account == about, said.user == about))
        rows: Sequence[Any] = self._engine.rows(columns.order_by(said.id.desc()).limit(last))
        return [AuditEntry(*row) for row in reversed(rows)]


_WRITTEN = ("account", "user")
"""What a requester may have made up."""


def operator() -> str:
    """Who is at work here, as the machine knows him."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # A user that this machine has no name for, as in many a container.
        name = "unnamed user"
    return f"{name} on {socket.gethostname()}"
