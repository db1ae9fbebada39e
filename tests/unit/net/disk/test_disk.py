"""The store on disk beyond what every store does: its file, its lock, its clock, its answers."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId, ResourceId
from p2psip.net.disk.record_file import GROUP_MAX, DiskStore, _Job, _Writer, is_damage, mark_damaged, read_boot_clock
from p2psip.reload.storage.store.continuity import BootClock, Continuity
from p2psip.reload.storage.store.records import (
    Age,
    Change,
    Commit,
    CommitAnswer,
    CommitFailed,
    Committed,
    Moment,
    Place,
    Put,
    Record,
    SetStorageTime,
)

PLACE = Place(ResourceId(b"r" * 16), 1, b"")


def put(*, data: bytes = b"data", key: bytes = b"") -> Put:
    return Put(Record(PLACE._replace(key=key), data, "alice", NodeId(b"n" * 16), b"hash", 0.0, 100.0), b"DER")


def commit(store: DiskStore, *changes: Change, at: float = 0.0, date: float | None = None) -> CommitAnswer:
    return store.commit(Commit(changes, Moment(at, date))).result(timeout=60)


def booted(boot_id: str, seconds: float) -> Callable[[], BootClock]:
    return lambda: BootClock(boot_id, seconds)


def test_records_outlive_the_store(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "records", now=0.0)
    assert commit(store, put()) == Committed()
    store.close()
    again = DiskStore(tmp_path / "records", now=0.0)
    assert again.records(PLACE.resource, 1) == [put().record]
    assert again.certificates(b"hash") == b"DER"
    again.close()


def test_closing_commits_what_waits(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "records", now=0.0)
    futures = [store.commit(Commit((put(key=bytes([n])),), Moment(0.0, None))) for n in range(50)]
    store.close()
    assert [future.result(timeout=0) for future in futures] == [Committed()] * 50


def test_answers_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "records", now=0.0)
    answered: list[int] = []
    futures: list[Future[CommitAnswer]] = []
    for n in range(3 * GROUP_MAX):
        futures.append(store.commit(Commit((SetStorageTime(NodeId(b"n" * 16), n),), Moment(0.0, None))))
        futures[-1].add_done_callback(lambda _, n=n: answered.append(n))
    futures[-1].result(timeout=60)
    store.close()
    assert answered == list(range(3 * GROUP_MAX))


def test_a_disk_that_hangs_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much fails at once; what waits is done when the disk goes on."""
    goes_on, begun = threading.Event(), threading.Event()
    write = _Writer._commit

    def hang(writer: _Writer, group: list[_Job]) -> CommitAnswer:
        begun.set()
        assert goes_on.wait(10)
        return write(writer, group)

    monkeypatch.setattr(_Writer, "_commit", hang)
    monkeypatch.setattr("p2psip.net.disk.record_file.WAITING_MAX", 3)
    store = DiskStore(tmp_path / "records", now=0.0)
    first = store.commit(Commit((put(),), Moment(0.0, None)))
    assert begun.wait(10)
    waiting = [store.commit(Commit((put(key=bytes([n])),), Moment(0.0, None))) for n in range(3)]
    refused = store.commit(Commit((put(key=b"one more"),), Moment(0.0, None)))
    assert isinstance(refused.result(timeout=0), CommitFailed)
    assert not any(future.done() for future in (first, *waiting))
    goes_on.set()
    assert [future.result(timeout=60) for future in (first, *waiting)] == [Committed()] * 4
    store.close()


def test_an_event_loop_awaits_a_commit(tmp_path: Path) -> None:
    async def store_one() -> CommitAnswer:
        return await asyncio.wrap_future(store.commit(Commit((put(),), Moment(0.0, None))))

    store = DiskStore(tmp_path / "records", now=0.0)
    assert asyncio.run(store_one()) == Committed()
    store.close()


def test_a_full_disk_fails_the_commit_and_nothing_else(tmp_path: Path) -> None:
    """SQLite's own limit on the size of the file gives the error that a full disk gives."""
    store = DiskStore(tmp_path / "records", now=0.0)
    assert commit(store, put(data=b"small")) == Committed()
    (pages,) = store._writer._connection.execute("PRAGMA page_count").fetchone()
    store._writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    answer = commit(store, SetStorageTime(NodeId(b"n" * 16), 1), put(data=bytes(100_000)))
    assert answer == CommitFailed("the records could not be written: database or disk is full")
    assert store.records(PLACE.resource, 1)[0].data == b"small"
    assert store.storage_time_ms(NodeId(b"n" * 16)) == 0
    assert commit(store, put(data=b"SMALL")) == Committed()
    assert store.records(PLACE.resource, 1)[0].data == b"SMALL"
    store.close()


def test_a_second_owner_is_told_what_to_do(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "records", now=0.0)
    with pytest.raises(LocalMisuse, match="records is in use: stop the other peer"):
        DiskStore(tmp_path / "records", now=0.0)
    store.close()
    DiskStore(tmp_path / "records", now=0.0).close()


@pytest.mark.parametrize("content", [b"no database at all " * 500, b"SQLite format 3\0" + bytes(4096)])
def test_a_damaged_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    """It can be made again: other peers hold copies."""
    path = tmp_path / "records"
    path.write_bytes(content)
    (tmp_path / "records-wal").write_bytes(b"of the damaged one")
    store = DiskStore(path, now=0.0)
    assert store.set_aside is not None
    assert str(tmp_path / "records.damaged") in store.set_aside
    assert (tmp_path / "records.damaged").read_bytes() == content
    commit(store, put())
    store.close()
    again = DiskStore(path, now=0.0)
    assert again.set_aside is None
    assert again.usage(None).records == 1
    again.close()


def test_damage_that_is_found_while_it_is_in_use(tmp_path: Path) -> None:
    """Whoever reads or writes hears of it, and at the next start the file is away, whatever the check then says."""
    path = tmp_path / "records"
    store = DiskStore(path, now=0.0)
    commit(store, *(put(key=n.to_bytes(2, "big"), data=bytes(500)) for n in range(200)))
    store.close()
    store = DiskStore(path, now=0.0)
    content = bytearray(path.read_bytes())
    content[2 * 4096 :] = b"\xa5" * (len(content) - 2 * 4096)
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError) as reading:
        store.records(*PLACE[:2])
    assert is_damage(reading.value)
    # What it has read before, when it was whole, is forgotten.
    store._writer._connection.execute("PRAGMA shrink_memory")
    with pytest.raises(sqlite3.DatabaseError) as writing:
        commit(store, put())
    assert is_damage(writing.value)
    store.close()
    mark_damaged(path)
    fresh = DiskStore(path, now=0.0)
    assert fresh.set_aside is not None
    fresh.close()
    assert DiskStore(path, now=0.0).set_aside is None


def test_damage_inside_the_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "records"
    store = DiskStore(path, now=0.0)
    commit(store, *(put(key=n.to_bytes(2, "big"), data=bytes(500)) for n in range(200)))
    store.close()
    content = bytearray(path.read_bytes())
    content[5 * 4096 : 12 * 4096] = b"\xa5" * (7 * 4096)
    path.write_bytes(content)
    store = DiskStore(path, now=0.0)
    assert store.set_aside is not None
    assert store.usage(None).records == 0
    store.close()


@pytest.mark.parametrize(
    ("pragma", "message"),
    [("application_id = 7", "is another program's: move it away"), ("user_version = 99", "has format 99, not 2")],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, pragma: str, message: str) -> None:
    path = tmp_path / "records"
    DiskStore(path, now=0.0).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA {pragma}")
    connection.close()
    with pytest.raises(LocalMisuse, match=message):
        DiskStore(path, now=0.0)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match="No such file or directory; use a directory of your own"):
        DiskStore(tmp_path / "nowhere" / "records", now=0.0)


def test_a_new_file_starts_a_clock(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "records", now=5.0)
    assert store.continuity == Continuity(epoch=0.0)
    store.close()


def test_a_restart_goes_on_with_the_clock(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "records", now=5.0, boot_clock=booted("this", 1000.0))
    commit(store, put(), at=50.0, date=1.7e9)
    store.close()
    again = DiskStore(tmp_path / "records", now=7.0, boot_clock=booted("this", 1060.0))
    assert again.continuity == Continuity(epoch=103.0, dated=Moment(50.0, 1.7e9))
    assert again.continuity.at(7.0) == 110.0
    again.close()


def test_after_a_reboot_records_are_withheld_until_they_are_aged(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "records", now=5.0, boot_clock=booted("first", 1000.0))
    commit(store, put(), at=50.0, date=1.7e9)
    store.close()
    second = DiskStore(tmp_path / "records", now=0.0, boot_clock=booted("second", 3.0))
    assert second.continuity.withheld_until == 50.0
    commit(second, SetStorageTime(NodeId(b"n" * 16), 1), at=second.continuity.at(1.0))
    second.close()
    third = DiskStore(tmp_path / "records", now=0.0, boot_clock=booted("second", 9.0))
    assert third.continuity.withheld_until == 50.0
    age = third.continuity.age(1.7e9 + 90.0, now=0.0)
    assert age is not None
    assert age.by_s == pytest.approx(90.0 - 7.0, abs=0.01)
    commit(third, age, at=third.continuity.at(0.0))
    assert third.records(PLACE.resource, 1)[0].expires_at == 100.0 - age.by_s
    third.close()
    fourth = DiskStore(tmp_path / "records", now=0.0, boot_clock=booted("second", 10.0))
    assert fourth.continuity.withheld_until is None
    fourth.close()


def test_ageing_that_fails_withholds_as_before(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "records", now=0.0, boot_clock=booted("first", 0.0))
    commit(store, put())
    store.close()
    again = DiskStore(tmp_path / "records", now=0.0, boot_clock=booted("second", 0.0))
    (pages,) = again._writer._connection.execute("PRAGMA page_count").fetchone()
    again._writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    assert isinstance(commit(again, Age(0.0, 1.0), put(data=bytes(100_000))), CommitFailed)
    assert commit(again, SetStorageTime(NodeId(b"n" * 16), 1)) == Committed()
    again.close()
    third = DiskStore(tmp_path / "records", now=0.0, boot_clock=booted("second", 1.0))
    assert third.continuity.withheld_until == 0.0
    third.close()


def test_the_boot_clock_goes_on() -> None:
    first, second = read_boot_clock(), read_boot_clock()
    assert first.boot_id == second.boot_id
    assert 0 < first.seconds <= second.seconds
