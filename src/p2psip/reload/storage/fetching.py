"""What a Fetch selects (RFC 6940 section 7.4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from p2psip.reload.config.configuration import Kind
from p2psip.reload.storage.store.records import Record
from p2psip.reload.storage.stored_values import nonexistent
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.rejections import InvalidMessage
from p2psip.reload.wire.storage_messages import (
    APPEND_INDEX,
    ArrayEntry,
    ArrayRange,
    ArraySpecifier,
    DataValue,
    DictionaryEntry,
    DictionarySpecifier,
    SingleSpecifier,
    StoredData,
    StoredDataSpecifier,
    StoredDataValue,
)

LIFETIME_MAX_S = 0xFFFFFFFF
CLOCK_GRAIN_S = 0.001
"""What rounding may take from the difference of two readings of a clock; a lifetime loses no second by it."""

Selected = Record | StoredDataValue
"""A record, or the value that stands in the answer where there is none."""


def all_values(kind: Kind) -> StoredDataSpecifier:
    """The specifier for every value of a Kind at a resource."""
    match kind.data_model:
        case DataModel.SINGLE:
            return StoredDataSpecifier(kind.kind_id, 0, SingleSpecifier())
        case DataModel.ARRAY:
            return StoredDataSpecifier(kind.kind_id, 0, ArraySpecifier((ArrayRange(0, APPEND_INDEX),)))
        case DataModel.DICTIONARY:
            return StoredDataSpecifier(kind.kind_id, 0, DictionarySpecifier(()))


def select(kind: Kind, specifier: StoredDataSpecifier, records: dict[bytes, Record]) -> list[Selected]:
    """What the specifier asks for. Raises InvalidMessage if it does not fit the Kind."""
    match specifier.model_specifier:
        case SingleSpecifier():
            return [records.get(b"", DataValue.nonexistent())]
        case DictionarySpecifier(()):
            # 7.4.2.1: "If no keys are specified, then this is a wildcard fetch and all key-value pairs are returned."
            return list(records.values())
        case DictionarySpecifier(keys):
            return [records.get(key, DictionaryEntry(key, DataValue.nonexistent())) for key in dict.fromkeys(keys)]
        case ArraySpecifier(ranges):
            return list(_elements(kind, ranges, records))
    raise InvalidMessage(f"this is no specifier of Kind {kind.kind_id:#x}")


def to_stored_data(kind: Kind, selected: Selected, at: float) -> StoredData:
    """A value as it goes to others: with what is left of its lifetime."""
    if not isinstance(selected, Record):
        return nonexistent(selected)
    stored = StoredData.decode(selected.data, model=kind.data_model)
    return replace(stored, lifetime=remaining_s(selected, at))


def size_of(selected: Selected) -> int:
    """How many bytes it takes in an answer."""
    return selected.size if isinstance(selected, Record) else len(nonexistent(selected).encode())


def remaining_s(record: Record, at: float) -> int:
    """What is left of a record's lifetime.

    7.4.1.1: "it MUST adjust the lifetime value downward to reflect the amount of time the value was stored".
    """
    return max(0, min(int(record.expires_at - at + CLOCK_GRAIN_S), LIFETIME_MAX_S))


def _elements(kind: Kind, ranges: Iterable[ArrayRange], records: dict[bytes, Record]) -> Iterator[Selected]:
    length = 1 + int.from_bytes(max(records), "big") if records else 0
    for first, last in _checked(ranges):
        # 7.4.2.1: "0xffffffff [is used to indicate] the final element."
        low = length - 1 if first == APPEND_INDEX else first
        high = length - 1 if last == APPEND_INDEX else min(last, kind.max_count - 1)
        for index in range(max(low, 0), high + 1):
            yield records.get(index.to_bytes(4, "big"), ArrayEntry(index, DataValue.nonexistent()))


def _checked(ranges: Iterable[ArrayRange]) -> list[tuple[int, int]]:
    """7.4.2.1: "The first integer MUST be less than or equal to the second. [...] they MUST NOT overlap."."""
    ordered = sorted((entry.first, entry.last) for entry in ranges)
    if any(first > last for first, last in ordered):
        raise InvalidMessage("a range ends before it begins")
    if any(last >= first for (_, last), (first, _) in pairwise(ordered)):
        raise InvalidMessage("ranges overlap")
    return ordered
