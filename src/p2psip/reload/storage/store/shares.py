"""How much each holder's records take, and how much they may take (RFC 6940 section 13.5.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from p2psip.base.ids import NodeId
from p2psip.reload.storage.limits import Limits
from p2psip.reload.storage.store.records import Holder, Record, RecordReader, Usage
from p2psip.reload.wire.rejections import DataTooLarge

Replacement = tuple[Record | None, Record | None]
"""What goes and what comes at one place."""


class Accounts:
    """What the records take: those of each user, those signed as each Node-ID, and all.

    Both of the first two, because neither bounds the other: one user may have many keys, and where certificates are
    self-signed one key may have any number of user names. What is committed the reader tells, holder by holder as
    it is asked for; what is not is booked here under the token of its commit. Between a commit and its answer both
    count it, so for that moment a limit is off by as much as is under way.
    """

    def __init__(self, reader: RecordReader, limits: Limits) -> None:
        self._reader = reader
        self._limits = limits
        self._booked: dict[int, tuple[Counter[Holder], Counter[Holder]]] = {}
        self._records: Counter[Holder] = Counter()
        self._bytes: Counter[Holder] = Counter()

    def use_limits(self, limits: Limits) -> None:
        """Check by these from now on."""
        self._limits = limits

    def usage(self, holder: Holder) -> Usage:
        """What a holder's records take."""
        committed = self._reader.usage(holder)
        return Usage(committed.records + self._records[holder], committed.size + self._bytes[holder])

    def check(self, replacements: Iterable[Replacement]) -> None:
        """Raise DataTooLarge if these replacements would exceed a limit that they bring nearer."""
        records, sizes = _deltas(replacements)
        limits = self._limits
        for holder in records:
            if records[holder] <= 0 and sizes[holder] <= 0:
                continue
            usage = self.usage(holder)
            match holder:
                case None:
                    whose, records_max, bytes_max = "", limits.records_max, limits.bytes_max
                case str():
                    whose = f" of {holder}"
                    records_max, bytes_max = limits.records_per_user_max, limits.bytes_per_user_max
                case NodeId():
                    whose = f" signed by {holder.short}"
                    records_max, bytes_max = limits.records_per_node_max, limits.bytes_per_node_max
            _check(records[holder], usage.records, records_max, f"values{whose}")
            _check(sizes[holder], usage.size, bytes_max, f"bytes{whose}")

    def book(self, token: int, replacements: Iterable[Replacement]) -> None:
        """These replacements have been asked for in a commit."""
        records, sizes = _deltas(replacements)
        self._booked[token] = (records, sizes)
        self._records.update(records)
        self._bytes.update(sizes)

    def settle(self, token: int) -> None:
        """The commit has been answered, or given up: what the reader tells counts."""
        records, sizes = self._booked.pop(token, (Counter(), Counter()))
        for total, part in ((self._records, records), (self._bytes, sizes)):
            total.subtract(part)
            for holder in part:
                if not total[holder]:
                    del total[holder]

    def rebook(self, booked: Iterable[tuple[int, list[Replacement]]]) -> None:
        """A commit has failed: those after it replace something else than had been thought."""
        for token in list(self._booked):
            self.settle(token)
        for token, replacements in booked:
            self.book(token, replacements)


def _check(delta: int, before: int, limit: int, what: str) -> None:
    if delta > 0 and before + delta > limit:
        raise DataTooLarge(f"this peer keeps at most {limit} {what}")


def _deltas(replacements: Iterable[Replacement]) -> tuple[Counter[Holder], Counter[Holder]]:
    records: Counter[Holder] = Counter()
    sizes: Counter[Holder] = Counter()
    for old, new in replacements:
        for record, sign in ((old, -1), (new, 1)):
            if record is not None:
                for holder in record.holders:
                    records[holder] += sign
                    sizes[holder] += sign * record.size
    return records, sizes
