"""A store in memory: for the simulator and for tests; it answers every question that the one on disk answers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.storage.store.records import (
    Age,
    Census,
    Change,
    Commit,
    Committed,
    Holder,
    Place,
    Put,
    Record,
    Remove,
    SetGeneration,
    SetStorageTime,
    Usage,
)


class MemoryStore:
    """Records in dictionaries, by resource and Kind (a RecordReader)."""

    def __init__(self) -> None:
        self._records: dict[ResourceId, dict[int, dict[bytes, Record]]] = {}
        self._resources: defaultdict[int | None, list[ResourceId]] = defaultdict(list)
        """Of each Kind, and under None of all."""
        self._generations: dict[tuple[bytes, int], int] = {}
        self._storage_times_ms: dict[NodeId, int] = {}
        self._certificates: dict[bytes, bytes] = {}
        self._references: Counter[bytes] = Counter()
        self._expiries: list[tuple[float, Place]] = []
        self._counts: Counter[Holder] = Counter()
        self._sizes: Counter[Holder] = Counter()
        self._of_kind: Counter[int] = Counter()

    def commit(self, commit: Commit) -> Committed:
        """Make the changes."""
        for change in commit.changes:
            self._apply(change)
        return Committed()

    def records(self, resource: bytes, kind: int) -> Sequence[Record]:
        """The records of a Kind at a resource, by key."""
        values = self._records.get(ResourceId(resource), {}).get(kind, {})
        return [values[key] for key in sorted(values)]

    def kinds(self, resource: bytes) -> Sequence[int]:
        """The Kinds that have a record at a resource, ascending."""
        return sorted(self._records.get(ResourceId(resource), {}))

    def generation(self, resource: bytes, kind: int) -> int:
        """The generation counter of a Kind at a resource; zero where nothing is stored."""
        return self._generations.get((resource, kind), 0)

    def certificates(self, chain: bytes) -> bytes | None:
        """The certificates with this hash."""
        return self._certificates.get(chain)

    def resources(self, after: bytes, until: bytes, limit: int, kind: int | None = None) -> Sequence[ResourceId]:
        """The resources that have a record (of a Kind), after < resource <= until, ascending, the first `limit`."""
        resources = self._resources[kind]
        first = bisect_right(resources, after)
        last = bisect_right(resources, until)
        return resources[first : min(last, first + limit)]

    def census(self) -> Census:
        """How much there is of what."""
        return Census(len(self._records), tuple(sorted(self._of_kind.items())))

    def expired(self, at: float, limit: int) -> Sequence[Place]:
        """The places of records that expire at or before `at`, the first `limit` of them, earliest first."""
        last = bisect_right(self._expiries, at, key=lambda entry: entry[0])
        return [place for _, place in self._expiries[: min(last, limit)]]

    def earliest_expiry(self) -> float | None:
        """When the next record expires."""
        return self._expiries[0][0] if self._expiries else None

    def storage_time_ms(self, signer: NodeId) -> int:
        """The last storage_time that a signer of ours issued; zero if none."""
        return self._storage_times_ms.get(signer, 0)

    def usage(self, holder: Holder) -> Usage:
        """What a holder's records take."""
        return Usage(self._counts[holder], self._sizes[holder])

    def stored_kinds(self) -> Sequence[int]:
        """The Kinds that have a record at any resource, ascending."""
        return sorted(self._of_kind)

    def _all(self) -> Iterator[Record]:
        return (
            record
            for kinds in self._records.values()
            for values in kinds.values()
            for record in values.values()
        )  # fmt: skip

    def _apply(self, change: Change) -> None:
        match change:
            case Put(record, certificates):
                self._put(record, certificates)
            case Remove(place):
                self._remove(place)
            case SetGeneration(resource, kind, 0):
                self._generations.pop((resource, kind), None)
            case SetGeneration(resource, kind, counter):
                self._generations[resource, kind] = counter
            case SetStorageTime(signer, storage_time_ms):
                self._storage_times_ms[signer] = storage_time_ms
            case Age(stored_until, by_s):
                for record in [record for record in self._all() if record.stored_at <= stored_until]:
                    older = replace(record, expires_at=record.expires_at - by_s)
                    self._put(older, self._certificates[record.chain])

    def _put(self, record: Record, certificates: bytes) -> None:
        self._certificates[record.chain] = certificates
        self._references[record.chain] += 1
        self._remove(record.place)
        place = record.place
        if place.resource not in self._records:
            insort(self._resources[None], place.resource)
        if place.kind not in self._records.get(place.resource, {}):
            insort(self._resources[place.kind], place.resource)
        self._records.setdefault(place.resource, {}).setdefault(place.kind, {})[place.key] = record
        insort(self._expiries, (record.expires_at, place))
        self._count(record, 1)

    def _remove(self, place: Place) -> None:
        kinds = self._records.get(place.resource, {})
        record = kinds.get(place.kind, {}).pop(place.key, None)
        if record is None:
            return
        del self._expiries[bisect_left(self._expiries, (record.expires_at, place))]
        self._count(record, -1)
        self._release(record.chain)
        if not kinds[place.kind]:
            del kinds[place.kind]
            self._leave(place.kind, place.resource)
        if not kinds:
            del self._records[place.resource]
            self._leave(None, place.resource)

    def _leave(self, kind: int | None, resource: ResourceId) -> None:
        resources = self._resources[kind]
        del resources[bisect_left(resources, resource)]

    def _count(self, record: Record, sign: int) -> None:
        self._of_kind[record.place.kind] += sign
        if not self._of_kind[record.place.kind]:
            del self._of_kind[record.place.kind]
        for holder in record.holders:
            self._counts[holder] += sign
            self._sizes[holder] += sign * record.size
            if not self._counts[holder]:
                del self._counts[holder], self._sizes[holder]

    def _release(self, chain: bytes) -> None:
        self._references[chain] -= 1
        if not self._references[chain]:
            del self._references[chain], self._certificates[chain]
