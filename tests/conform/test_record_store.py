"""What every record store must do, whatever it keeps its records in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from effort import times
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2psip.base.ids import NodeId, ResourceId
from p2psip.net.disk.record_file import DiskStore
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import (
    Age,
    Census,
    Change,
    Commit,
    CommitAnswer,
    Committed,
    Moment,
    Place,
    Put,
    Record,
    RecordReader,
    Remove,
    SetGeneration,
    SetStorageTime,
    Usage,
)


class Store(RecordReader, Protocol):
    """A store as this suite sees it: its changes are made when `commit` returns."""

    def commit(self, commit: Commit) -> CommitAnswer: ...


class PatientDisk(DiskStore):
    """The store on disk, whose commits the caller waits for."""

    def commit(self, commit: Commit) -> CommitAnswer:  # type: ignore[override]
        return super().commit(commit).result(timeout=10)


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    disk = PatientDisk(tmp_path / "records", now=0.0)
    yield disk
    disk.close()


NODE = NodeId(b"n" * 16)


def resource(number: int) -> ResourceId:
    return ResourceId(number.to_bytes(16, "big"))


def record(
    number: int, *, kind: int = 1, key: bytes = b"", data: bytes = b"data", user: str = "alice@example.org",
    node: NodeId = NODE, certificates: bytes = b"DER", stored_at: float = 1.0, expires_at: float = 100.0,
) -> Put:  # fmt: skip
    place = Place(resource(number), kind, key)
    chain = hashlib.sha256(certificates).digest()
    return Put(Record(place, data, user, node, chain, stored_at, expires_at), certificates)


def apply(store: Store, *changes: Change) -> None:
    assert store.commit(Commit(changes, Moment(1.0, None))) == Committed()


def test_an_empty_store_answers_every_question(store: Store) -> None:
    assert store.records(resource(1), 1) == []
    assert store.kinds(resource(1)) == []
    assert store.generation(resource(1), 1) == 0
    assert store.certificates(b"hash") is None
    assert store.resources(b"", b"\xff" * 17, 10) == []
    assert store.expired(1e9, 10) == []
    assert store.earliest_expiry() is None
    assert store.storage_time_ms(NodeId(bytes(16))) == 0
    assert store.usage(None) == store.usage("alice@example.org") == store.usage(NODE) == Usage(0, 0)
    assert store.stored_kinds() == []


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    put = record(1, kind=0xFFFFFFFE, key=b"\x00\xff", data=b"\x00" * 3000, user="zoë@example.org", expires_at=1.1)
    apply(store, put)
    assert store.records(resource(1), 0xFFFFFFFE) == [put.record]
    assert store.certificates(put.record.chain) == b"DER"
    assert store.records(resource(1), 1) == []


def test_records_of_a_kind_come_by_key(store: Store) -> None:
    apply(store, record(1, key=b"b"), record(1, key=b""), record(1, key=b"\xff"), record(1, key=b"a"), record(2))
    assert [found.place.key for found in store.records(resource(1), 1)] == [b"", b"a", b"b", b"\xff"]


def test_a_record_replaces_the_one_at_its_place(store: Store) -> None:
    new = record(1, data=b"new", user="bob@example.org", certificates=b"other", stored_at=2.0, expires_at=200.0)
    apply(store, record(1), new)
    assert store.records(resource(1), 1) == [new.record]
    assert store.usage("bob@example.org") == Usage(1, 3)
    assert store.usage("alice@example.org") == Usage(0, 0)
    assert store.earliest_expiry() == 200.0


def test_certificates_stay_as_long_as_a_record_needs_them(store: Store) -> None:
    first, second = record(1), record(2)
    chain = first.record.chain
    apply(store, first, second)
    apply(store, Remove(first.record.place))
    assert store.certificates(chain) == b"DER"
    apply(store, record(2, certificates=b"renewed"))
    assert store.certificates(chain) is None
    assert store.certificates(hashlib.sha256(b"renewed").digest()) == b"renewed"


def test_certificates_stay_when_a_record_is_replaced_under_the_same(store: Store) -> None:
    apply(store, record(1))
    apply(store, record(1, data=b"new"))
    assert store.certificates(record(1).record.chain) == b"DER"


def test_certificates_come_back_within_one_commit(store: Store) -> None:
    apply(store, record(1))
    apply(store, Remove(record(1).record.place), record(2))
    assert store.certificates(record(1).record.chain) == b"DER"


def test_removing_what_is_not_there_does_nothing(store: Store) -> None:
    apply(store, record(1))
    apply(store, Remove(Place(resource(1), 1, b"other")), Remove(Place(resource(7), 1, b"")))
    assert store.kinds(resource(1)) == [1]


def test_kinds_at_a_resource(store: Store) -> None:
    apply(store, record(1, kind=0x10), record(1, kind=3), record(1, kind=3, key=b"k"), record(2, kind=5))
    assert store.kinds(resource(1)) == [3, 0x10]


def test_resources_in_a_range_exclude_its_start_and_include_its_end(store: Store) -> None:
    apply(store, *(record(number) for number in (5, 1, 3, 200)), record(3, kind=9))
    assert store.resources(resource(1), resource(5), 10) == [resource(3), resource(5)]
    assert store.resources(b"", resource(5), 2) == [resource(1), resource(3)]
    assert store.resources(resource(5), b"\xff" * 16, 10) == [resource(200)]
    assert store.resources(resource(6), resource(5), 10) == []


def test_a_resource_without_records_is_not_listed(store: Store) -> None:
    apply(store, record(1), record(2), SetGeneration(resource(1), 1, 4))
    apply(store, Remove(record(1).record.place))
    assert store.resources(b"", b"\xff" * 16, 10) == [resource(2)]
    assert store.kinds(resource(1)) == []


def test_the_expired_come_earliest_first(store: Store) -> None:
    apply(store, record(1, expires_at=30.0), record(2, expires_at=10.0), record(3, expires_at=20.0))
    assert store.earliest_expiry() == 10.0
    assert [place.resource for place in store.expired(20.0, 10)] == [resource(2), resource(3)]
    assert [place.resource for place in store.expired(99.0, 2)] == [resource(2), resource(3)]
    assert store.expired(9.99, 10) == []
    apply(store, Remove(record(2).record.place))
    assert store.earliest_expiry() == 20.0


def test_a_generation_counter_is_of_one_kind_at_one_resource(store: Store) -> None:
    apply(store, SetGeneration(resource(1), 1, 2**62), SetGeneration(resource(1), 2, 5))
    assert store.generation(resource(1), 1) == 2**62
    assert store.generation(resource(1), 2) == 5
    assert store.generation(resource(2), 1) == 0
    apply(store, SetGeneration(resource(1), 1, 3), SetGeneration(resource(1), 2, 0))
    assert store.generation(resource(1), 1) == 3
    assert store.generation(resource(1), 2) == 0


def test_the_last_storage_time_of_each_signer(store: Store) -> None:
    apply(store, SetStorageTime(NodeId(b"a" * 16), 1_700_000_000_000), SetStorageTime(NodeId(b"b" * 16), 7))
    apply(store, SetStorageTime(NodeId(b"a" * 16), 1_700_000_000_001))
    assert store.storage_time_ms(NodeId(b"a" * 16)) == 1_700_000_000_001
    assert store.storage_time_ms(NodeId(b"b" * 16)) == 7


def test_a_census_counts_resources_once_and_records_by_kind(store: Store) -> None:
    """RFC 6940 section 6.4.2.5.1: "multiple values under the same Resource-ID are counted only once"."""
    assert store.census() == Census(0, ())
    apply(store, record(1), record(1, key=b"b"), record(1, kind=9), record(2))
    assert store.census() == Census(2, ((1, 3), (9, 1)))
    apply(store, record(1, data=b"other"), Remove(record(1, kind=9).record.place))
    assert store.census() == Census(2, ((1, 3),))
    apply(store, Remove(record(2).record.place))
    assert store.census() == Census(1, ((1, 2),))


def test_usage_is_summed_by_user_by_node_and_altogether(store: Store) -> None:
    other = NodeId(b"other Node-ID ..")
    apply(store, record(1, data=b"12345"), record(2, data=b"123", node=other), record(3, user="bob", data=b""))
    assert store.usage("alice@example.org") == Usage(2, 8)
    assert store.usage("bob") == Usage(1, 0)
    assert store.usage(NODE) == Usage(2, 5)
    assert store.usage(other) == Usage(1, 3)
    assert store.usage(None) == Usage(3, 8)
    apply(store, record(1, data=b"1", user="bob", node=other), Remove(record(2).record.place))
    assert store.usage("alice@example.org") == Usage(0, 0)
    assert store.usage("bob") == Usage(2, 1)
    assert store.usage(other) == Usage(1, 1)
    assert store.usage(None) == Usage(2, 1)


def test_resources_of_one_kind(store: Store) -> None:
    apply(store, record(1), record(2, kind=2), record(3, kind=2), record(3, kind=2, key=b"k"), record(4))
    assert store.resources(b"", b"\xff" * 17, 10, 2) == [resource(2), resource(3)]
    assert store.resources(resource(2), b"\xff" * 17, 10, 2) == [resource(3)]
    assert store.resources(b"", b"\xff" * 17, 1, 1) == [resource(1)]
    assert store.resources(b"", b"\xff" * 17, 10, 3) == []
    assert store.stored_kinds() == [1, 2]
    apply(store, Remove(record(2, kind=2).record.place), Remove(record(1).record.place), Remove(record(4).record.place))
    assert store.resources(b"", b"\xff" * 17, 10, 2) == [resource(3)]
    assert store.stored_kinds() == [2]


def test_ageing_shortens_the_life_of_what_was_stored_before(store: Store) -> None:
    apply(store, record(1, stored_at=5.0, expires_at=100.0), record(2, stored_at=6.0, expires_at=100.0))
    apply(store, Age(stored_until=5.0, by_s=30.0))
    assert [found.expires_at for found in store.records(resource(1), 1)] == [70.0]
    assert [found.expires_at for found in store.records(resource(2), 1)] == [100.0]
    assert store.earliest_expiry() == 70.0
    apply(store, Age(stored_until=9.0, by_s=float("inf")))
    assert len(store.expired(-1e300, 10)) == 2


PLACES = [Place(resource(number), kind, key) for number in (1, 2, 9) for kind in (1, 2) for key in (b"", b"k")]

CHANGES = st.one_of(
    st.builds(
        lambda place, data, user, certificates, stored_at, life_s: record(
            int.from_bytes(place.resource, "big"), kind=place.kind, key=place.key, data=data, user=user,
            certificates=certificates, stored_at=stored_at, expires_at=stored_at + life_s,
        ),
        st.sampled_from(PLACES),
        st.sampled_from([b"", b"x", b"yy"]),
        st.sampled_from(["alice", "bob"]),
        st.sampled_from([b"c1", b"c2", b"c3"]),
        st.integers(0, 20).map(float),
        st.integers(0, 20).map(float),
    ),
    st.builds(Remove, st.sampled_from(PLACES)),
    st.builds(SetGeneration, st.sampled_from([resource(1), resource(2)]), st.integers(1, 2), st.integers(0, 3)),
    st.builds(Age, st.integers(0, 20).map(float), st.integers(0, 20).map(float)),
)  # fmt: skip


def everything(store: Store) -> list[object]:
    """All that a store can tell about the places of this test."""
    kinds = sorted({(place.resource, place.kind) for place in PLACES})
    chains = [hashlib.sha256(certificates).digest() for certificates in (b"c1", b"c2", b"c3")]
    return [
        [store.records(*kind) for kind in kinds],
        [store.generation(*kind) for kind in kinds],
        [store.kinds(resource) for resource, _ in kinds],
        [store.certificates(chain) for chain in chains],
        [store.resources(first.resource, last.resource, 2) for first in PLACES for last in PLACES],
        [store.expired(at, limit) for at in (0.0, 10.0, 99.0) for limit in (1, 99)],
        store.earliest_expiry(),
        [store.usage(holder) for holder in (None, "alice", "bob", NODE)],
        [store.resources(b"", resource(9), 9, kind) for kind in (1, 2)],
        store.stored_kinds(),
        store.census(),
    ]


@pytest.fixture(scope="module")
def open_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], PatientDisk]]:
    """Opens disks; all of them in one module, because Hypothesis calls a test's body many times."""
    opened: list[PatientDisk] = []

    def open_one() -> PatientDisk:
        opened.append(PatientDisk(tmp_path_factory.mktemp("disk") / "records", now=0.0))
        return opened[-1]

    yield open_one
    for disk in opened:
        disk.close()


@pytest.mark.long
@settings(max_examples=times(20), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(commits=st.lists(st.lists(CHANGES, min_size=1, max_size=6), max_size=6))
def test_the_stores_agree(open_disk: Callable[[], PatientDisk], commits: list[list[Change]]) -> None:
    memory, disk = MemoryStore(), open_disk()
    for changes in commits:
        apply(memory, *changes)
        apply(disk, *changes)
        assert everything(memory) == everything(disk)
