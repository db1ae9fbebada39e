"""What the store on disk touches to answer a question: an index, and of the records no more than it answers with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2psip.base.ids import NodeId, ResourceId
from p2psip.net.disk.record_file import DiskStore
from p2psip.reload.storage.store.records import Change, Commit, Committed, Moment, Place, Put, Record, SetGeneration

FEW, MANY = 300, 6000
QUESTIONS: dict[str, Callable[[DiskStore], object]] = {
    "records": lambda store: store.records(place(7).resource, 1),
    "kinds": lambda store: store.kinds(place(7).resource),
    "generation": lambda store: store.generation(place(7).resource, 1),
    "certificates": lambda store: store.certificates(hashlib.sha256(b"certificate 7").digest()),
    "resources": lambda store: store.resources(b"\x80" * 16, b"\x90" * 16, 5),
    "resources of a Kind": lambda store: store.resources(b"\x80" * 16, b"\x90" * 16, 5, 2),
    "expired": lambda store: store.expired(1e9, 5),
    "earliest expiry": lambda store: store.earliest_expiry(),
    "storage time": lambda store: store.storage_time_ms(NodeId(b"n" * 16)),
    "usage of a user": lambda store: store.usage("user 7"),
    "usage of a node": lambda store: store.usage(node(7)),
    "usage of all": lambda store: store.usage(None),
    "census": lambda store: store.census(),
    "stored kinds": lambda store: store.stored_kinds(),
}


def node(number: int) -> NodeId:
    return NodeId(hashlib.sha256(b"node %d" % number).digest()[:16])


def place(number: int) -> Place:
    return Place(ResourceId(hashlib.sha256(b"%d" % number).digest()[:16]), 1 + number % 3, b"")


def put(number: int) -> Put:
    certificate = b"certificate %d" % number
    chain = hashlib.sha256(certificate).digest()
    return Put(Record(place(number), b"data", f"user {number}", node(number), chain, 0.0, 1e6 + number), certificate)


def fill(path: Path, count: int) -> DiskStore:
    store = DiskStore(path, now=0.0)
    changes: list[Change] = []
    for number in range(count):
        changes += [put(number), SetGeneration(*place(number)[:2], 1)]
    assert store.commit(Commit(tuple(changes), Moment(0.0, None))).result(timeout=60) == Committed()
    return store


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DiskStore, DiskStore]]:
    """The same with few records and with many."""
    few, many = (fill(tmp_path_factory.mktemp("disk") / "records", count) for count in (FEW, MANY))
    yield few, many
    few.close()
    many.close()


def steps(store: DiskStore, question: Callable[[DiskStore], object]) -> int:
    """How many instructions of SQLite's machine an answer takes."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    store._reader.set_progress_handler(count, 1)
    question(store)
    store._reader.set_progress_handler(None, 1)
    return counted


def asked(store: DiskStore, question: Callable[[DiskStore], object]) -> list[str]:
    """The statements that a question makes."""
    statements: list[str] = []
    store._reader.set_trace_callback(statements.append)
    question(store)
    store._reader.set_trace_callback(None)
    return statements


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_scans_a_table(stores: tuple[DiskStore, DiskStore], name: str) -> None:
    """The plan of each statement searches by an index; a scan would visit every row."""
    _, many = stores
    statements = asked(many, QUESTIONS[name])
    assert statements
    for statement in statements:
        plan = [row[3] for row in many._reader.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()]
        assert not [step for step in plan if step.startswith("SCAN")], (statement, plan)


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_takes_no_more_work_where_there_are_more_records(
    stores: tuple[DiskStore, DiskStore], name: str
) -> None:
    """Twenty times the records, and the same instructions but for a handful."""
    few, many = stores
    assert steps(many, QUESTIONS[name]) <= steps(few, QUESTIONS[name]) + 60
