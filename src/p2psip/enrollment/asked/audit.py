"""The audit log of an enrollment server: who became a member by whose word, who was refused, what its operators did.

It is in the store, beside what it tells of: what was issued is in it by the same transaction. No password or token is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

TEXT_MAX = 256
"""Characters of what a requester has written that are kept."""

REFUSALS_MAX = 100_000
"""The oldest refusals make room; nothing else ever goes."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of it."""

    event: str
    """issued, admitted, waits, requested, signed, refused; added, password, removed, invited, withdrawn; approval,
    approved, revoked, reinstated.
    """
    date: float
    """In seconds since 1970-01-01 UTC."""
    actor: str
    """Where a request came from, or which user of which machine gave the command."""
    account: str = ""
    user: str = ""
    details: str = ""
    """Node-IDs, the invitation, why it was refused."""


class AuditStore(Protocol):
    """What is told of refusals; all else the store tells by itself. May raise StoreFailed."""

    def refused(self, entry: AuditEntry) -> None:
        """Remember that somebody was refused."""
        ...
