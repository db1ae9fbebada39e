"""How much each user's records take, and how much they may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from p2psip.reload.storage.limits import Limits
from p2psip.reload.storage.records import Record, Usage
from p2psip.reload.wire.rejections import DataTooLarge

Replacement = tuple[Record | None, Record | None]
"""What goes and what comes at one place."""


class Accounts:
    """What the records take, user by user and altogether."""

    def __init__(self, usage: Iterable[Usage], limits: Limits) -> None:
        self._limits = limits
        self._records: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        for entry in usage:
            self._records[entry.user] = entry.records
            self._bytes[entry.user] = entry.size
        self.records = self._records.total()
        self.bytes = self._bytes.total()

    def check(self, replacements: Iterable[Replacement]) -> None:
        """Raise DataTooLarge if these replacements would exceed a limit that they bring nearer."""
        records, sizes = _deltas(replacements)
        limits = self._limits
        for user in records:
            self._check(records[user], self._records[user], limits.records_per_user_max, f"values of {user}")
            self._check(sizes[user], self._bytes[user], limits.bytes_per_user_max, f"bytes of {user}")
        self._check(records.total(), self.records, limits.records_max, "values")
        self._check(sizes.total(), self.bytes, limits.bytes_max, "bytes")

    def book(self, replacements: Iterable[Replacement]) -> None:
        """These replacements have been made."""
        records, sizes = _deltas(replacements)
        for user in records:
            self._records[user] += records[user]
            self._bytes[user] += sizes[user]
            if not self._records[user]:
                del self._records[user], self._bytes[user]
        self.records += records.total()
        self.bytes += sizes.total()

    def _check(self, delta: int, before: int, limit: int, what: str) -> None:
        if delta > 0 and before + delta > limit:
            raise DataTooLarge(f"this peer keeps at most {limit} {what}")


def _deltas(replacements: Iterable[Replacement]) -> tuple[Counter[str], Counter[str]]:
    records: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for old, new in replacements:
        for record, sign in ((old, -1), (new, 1)):
            if record is not None:
                records[record.user] += sign
                sizes[record.user] += sign * record.size
    return records, sizes
