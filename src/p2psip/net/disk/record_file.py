"""The records of a peer on disk: one SQLite file, one writer, group commit.

Commits wait in a queue. One thread takes what has come in within 20 ms (at most 200 commits), applies it in one
transaction and only then answers. If that cannot be done (the disk is full, say), all of them fail together and
the file is as it was before.

The journal is a write-ahead log with synchronous=FULL: each transaction ends with a sync of the log. NORMAL
would sync at checkpoints only; that survives the death of the process but not of the power, after which
acknowledged transactions may be missing.

Reading goes over a second connection, in the thread of the loop, and sees what has been committed.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId, ResourceId
from p2psip.net.disk.files import set_aside
from p2psip.reload.storage.store.continuity import BootClock, Continuity, Saved, resume
from p2psip.reload.storage.store.records import (
    Age,
    Census,
    Change,
    Commit,
    CommitAnswer,
    CommitFailed,
    Committed,
    Holder,
    Moment,
    Place,
    Put,
    Record,
    Remove,
    SetGeneration,
    SetStorageTime,
    Usage,
)

GROUP_S: Final = 0.020
GROUP_MAX: Final = 200
WAITING_MAX: Final = 4096
"""Commits that wait; a disk that hangs for minutes must not fill the memory with them."""

SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0x50325053
"""Marks the file as ours ("P2PS")."""

DAMAGES: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

ALL: Final = 0
RESOURCES: Final = -1
"""What is counted besides what is a user's (by name, as text), a node's (a blob) and of a Kind (by its number): all
records, and as "records" of this holder the resources that have any."""

ENTER: Final = f"""
    INSERT INTO account (holder, records, size) VALUES
        ({ALL}, 1, length(new.data)), (new.kind, 1, length(new.data)),
        (new.user, 1, length(new.data)), (new.node, 1, length(new.data))
    ON CONFLICT (holder) DO UPDATE SET records = records + 1, size = size + excluded.size;
"""
LEAVE: Final = f"""
    UPDATE account SET records = records - 1, size = size - length(old.data)
        WHERE holder IN ({ALL}, old.kind, old.user, old.node);
    DELETE FROM account WHERE holder IN (old.kind, old.user, old.node) AND records = 0;
"""
FIRST_COMES: Final = f"""
    INSERT INTO account (holder, records, size) VALUES ({RESOURCES}, 1, 0)
    ON CONFLICT (holder) DO UPDATE SET records = records + 1;
"""
LAST_GOES: Final = f"UPDATE account SET records = records - 1 WHERE holder = {RESOURCES};"

# Rowid tables with a UNIQUE index: WITHOUT ROWID is three times slower for rows of this size.
SCHEMA: Final = f"""
CREATE TABLE chain (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    certificates BLOB NOT NULL
);
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    resource BLOB NOT NULL,
    kind INTEGER NOT NULL,
    key BLOB NOT NULL,
    data BLOB NOT NULL,
    user TEXT NOT NULL,
    node BLOB NOT NULL,
    chain INTEGER NOT NULL REFERENCES chain (id),
    stored_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    UNIQUE (resource, kind, key)
);
CREATE INDEX record_expiry ON record (expires_at);
CREATE INDEX record_chain ON record (chain);
CREATE INDEX record_kind ON record (kind, resource);
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    holder NOT NULL UNIQUE,
    records INTEGER NOT NULL,
    size INTEGER NOT NULL
);
CREATE TRIGGER record_comes AFTER INSERT ON record BEGIN {ENTER} END;
CREATE TRIGGER record_goes AFTER DELETE ON record BEGIN {LEAVE} END;
CREATE TRIGGER record_changes AFTER UPDATE OF data ON record BEGIN {LEAVE} {ENTER} END;
CREATE TRIGGER resource_comes AFTER INSERT ON record
    WHEN NOT EXISTS (SELECT 1 FROM record WHERE resource = new.resource AND id <> new.id) BEGIN {FIRST_COMES} END;
CREATE TRIGGER resource_goes AFTER DELETE ON record
    WHEN NOT EXISTS (SELECT 1 FROM record WHERE resource = old.resource) BEGIN {LAST_GOES} END;
CREATE TABLE generation (
    id INTEGER PRIMARY KEY,
    resource BLOB NOT NULL,
    kind INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    UNIQUE (resource, kind)
);
CREATE TABLE signer (
    id INTEGER PRIMARY KEY,
    node_id BLOB NOT NULL UNIQUE,
    storage_time_ms INTEGER NOT NULL
);
CREATE TABLE moment (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    at REAL NOT NULL,
    boot_id TEXT NOT NULL,
    boot_s REAL NOT NULL,
    dated_at REAL,
    date REAL,
    withheld_until REAL
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

PUT_RECORD = """
INSERT INTO record (resource, kind, key, data, user, node, chain, stored_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, (SELECT id FROM chain WHERE hash = ?), ?, ?)
ON CONFLICT (resource, kind, key) DO UPDATE SET data = excluded.data, user = excluded.user, node = excluded.node,
    chain = excluded.chain, stored_at = excluded.stored_at, expires_at = excluded.expires_at
"""
PUT_CHAIN = "INSERT INTO chain (hash, certificates) VALUES (?, ?) ON CONFLICT DO NOTHING"
FREE_CHAIN = "DELETE FROM chain WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM record WHERE chain = ?1)"
PUT_GENERATION = "INSERT OR REPLACE INTO generation (resource, kind, counter) VALUES (?, ?, ?)"
PUT_SIGNER = "INSERT OR REPLACE INTO signer (node_id, storage_time_ms) VALUES (?, ?)"
AT_PLACE = "WHERE resource = ? AND kind = ? AND key = ?"


def read_boot_clock() -> BootClock:
    """The operating system's clock, which goes on over restarts of a process and while the machine sleeps."""
    return BootClock(_boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME))


BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@cache
def _boot_id() -> str:
    """Which run of this machine it is. Where /proc is closed (a hardened unit) each process counts as one: how long it
    was down is then known by the date alone.
    """
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return secrets.token_hex(16)


class _Damaged(Exception):  # no error
    """What is in the file is no database, or not whole."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A commit that waits, and when it was asked for."""

    commit: Commit
    boot: BootClock
    future: Future[CommitAnswer]


class DiskStore:
    """Records in a file (a RecordReader). `continuity` says how the clock of the store goes on.

    A damaged file is moved away, as `set_aside` says then: other peers hold copies of what was in it.
    """

    def __init__(self, path: Path, now: float, *, boot_clock: Callable[[], BootClock] = read_boot_clock) -> None:
        self._boot_clock = boot_clock
        self._lock = _lock(path)
        self.set_aside: str | None = None
        try:
            connection = self._open(path)
        except LocalMisuse:
            os.close(self._lock)
            raise
        self._reader = _connect(path)
        saved = _read_saved(self._reader)
        self.continuity = Continuity() if saved is None else resume(saved, boot_clock(), now)
        self._writer = _Writer(connection, self.continuity)
        self._writer.start()

    def _open(self, path: Path) -> sqlite3.Connection:
        """The file, or a new one in the place of a damaged one."""
        mark = _mark_of(path)
        try:
            if mark.exists():
                raise _Damaged("found while it was in use")
            return _open(path)
        except _Damaged as damaged:
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            self.set_aside = f"{set_aside(path)}: {damaged}"
            mark.unlink(missing_ok=True)
        return _open(path)

    def commit(self, commit: Commit) -> Future[CommitAnswer]:
        """Have the changes made durable. Futures end in the order of the calls; asyncio.wrap_future awaits one.

        Where too many wait already it fails at once.
        """
        assert self._writer.is_alive(), "the store is closed, or its writer died of a bug"
        if self._writer.jobs.qsize() >= WAITING_MAX:
            refused: Future[CommitAnswer] = Future()
            refused.set_result(CommitFailed(f"the disk has not done the last {WAITING_MAX} commits"))
            return refused
        job = _Job(commit, self._boot_clock(), Future())
        self._writer.jobs.put(job)
        return job.future

    def close(self) -> None:
        """Commit what waits, and let go of the file."""
        self._writer.jobs.put(None)
        self._writer.join()
        self._reader.close()
        os.close(self._lock)

    def records(self, resource: bytes, kind: int) -> Sequence[Record]:
        """The records of a Kind at a resource, by key."""
        sql = """SELECT key, data, user, node, hash, stored_at, expires_at
                 FROM record JOIN chain ON chain.id = record.chain WHERE resource = ? AND kind = ? ORDER BY key"""
        rows = self._reader.execute(sql, (resource, kind)).fetchall()
        return [
            Record(Place(ResourceId(resource), kind, key), data, user, NodeId(node), *rest)
            for key, data, user, node, *rest in rows
        ]

    def kinds(self, resource: bytes) -> Sequence[int]:
        """The Kinds that have a record at a resource, ascending."""
        rows = self._reader.execute("SELECT DISTINCT kind FROM record WHERE resource = ? ORDER BY kind", (resource,))
        return [kind for (kind,) in rows.fetchall()]

    def generation(self, resource: bytes, kind: int) -> int:
        """The generation counter of a Kind at a resource; zero where nothing is stored."""
        return self._number("SELECT counter FROM generation WHERE resource = ? AND kind = ?", resource, kind)

    def certificates(self, chain: bytes) -> bytes | None:
        """The certificates with this hash."""
        row = self._reader.execute("SELECT certificates FROM chain WHERE hash = ?", (chain,)).fetchone()
        return None if row is None else bytes(row[0])

    def resources(self, after: bytes, until: bytes, limit: int, kind: int | None = None) -> Sequence[ResourceId]:
        """The resources that have a record (of a Kind), after < resource <= until, ascending, the first `limit`."""
        if kind is None:
            sql = "SELECT DISTINCT resource FROM record WHERE resource > ? AND resource <= ? ORDER BY resource LIMIT ?"
            rows = self._reader.execute(sql, (after, until, limit))
        else:
            sql = """SELECT DISTINCT resource FROM record WHERE kind = ? AND resource > ? AND resource <= ?
                     ORDER BY resource LIMIT ?"""
            rows = self._reader.execute(sql, (kind, after, until, limit))
        return [ResourceId(resource) for (resource,) in rows.fetchall()]

    def census(self) -> Census:
        """How much there is of what."""
        resources = self._number("SELECT records FROM account WHERE holder = ?", RESOURCES)
        return Census(resources, tuple(self._of_kinds()))

    def expired(self, at: float, limit: int) -> Sequence[Place]:
        """The places of records that expire at or before `at`, the first `limit` of them, earliest first."""
        sql = """SELECT resource, kind, key FROM record WHERE expires_at <= ?
                 ORDER BY expires_at, resource, kind, key LIMIT ?"""
        rows = self._reader.execute(sql, (at, limit)).fetchall()
        return [Place(ResourceId(resource), kind, key) for resource, kind, key in rows]

    def earliest_expiry(self) -> float | None:
        """When the next record expires."""
        (earliest,) = self._reader.execute("SELECT min(expires_at) FROM record").fetchone()
        return None if earliest is None else float(earliest)

    def storage_time_ms(self, signer: NodeId) -> int:
        """The last storage_time that a signer of ours issued; zero if none."""
        return self._number("SELECT storage_time_ms FROM signer WHERE node_id = ?", signer)

    def usage(self, holder: Holder) -> Usage:
        """What a holder's records take."""
        sql = "SELECT records, size FROM account WHERE holder = ?"
        row = self._reader.execute(sql, (ALL if holder is None else holder,)).fetchone()
        return Usage(0, 0) if row is None else Usage(*row)

    def stored_kinds(self) -> Sequence[int]:
        """The Kinds that have a record at any resource, ascending."""
        return [kind for kind, _ in self._of_kinds()]

    def _of_kinds(self) -> list[tuple[int, int]]:
        """How many records there are of each Kind."""
        # In the order of SQLite numbers come first, then texts, then blobs.
        sql = "SELECT holder, records FROM account WHERE holder > ? AND holder < '' ORDER BY holder"
        return self._reader.execute(sql, (ALL,)).fetchall()

    def _number(self, sql: str, *arguments: bytes | int) -> int:
        row = self._reader.execute(sql, arguments).fetchone()
        return 0 if row is None else int(row[0])


class _Writer(threading.Thread):
    """The one thread that writes."""

    def __init__(self, connection: sqlite3.Connection, continuity: Continuity) -> None:
        super().__init__(name="disk", daemon=True)
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection = connection
        self._dated = continuity.dated
        self._withheld_until = continuity.withheld_until
        self._loose_chains: set[int] = set()
        self._is_closing = False

    def run(self) -> None:
        """Commit group after group until closed."""
        group: list[_Job] = []
        try:
            while not self._is_closing:
                group = self._next_group()
                try:
                    answer = self._commit(group)
                except sqlite3.DatabaseError as error:
                    for job in group:
                        job.future.set_exception(error)
                    continue
                for job in group:
                    job.future.set_result(answer)
        finally:
            self._abandon(group)
            self._connection.close()

    def _next_group(self) -> list[_Job]:
        job = self.jobs.get()
        closes_at = time.monotonic() + GROUP_S
        group: list[_Job] = []
        while job is not None:
            group.append(job)
            if len(group) == GROUP_MAX:
                return group
            try:
                job = self.jobs.get(timeout=max(0.0, closes_at - time.monotonic()))
            except queue.Empty:
                return group
        self._is_closing = True
        return group

    def _abandon(self, group: list[_Job]) -> None:
        """After a bug nobody shall wait for ever."""
        while not self.jobs.empty():
            group += [job for job in [self.jobs.get()] if job is not None]
        for job in group:
            if not job.future.done():
                job.future.set_exception(AssertionError("the writer died of a bug"))

    def _commit(self, group: list[_Job]) -> CommitAnswer:
        if not group:
            return Committed()
        before = self._dated, self._withheld_until
        self._loose_chains.clear()
        try:
            with _transaction(self._connection):
                for change in itertools.chain.from_iterable(job.commit.changes for job in group):
                    self._apply(change)
                self._free_chains()
                self._note(group)
                self._save_moment(group[-1])
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            self._dated, self._withheld_until = before
            return CommitFailed(f"the records could not be written: {error}")
        return Committed()

    def _apply(self, change: Change) -> None:
        execute = self._connection.execute
        match change:
            case Put(record, certificates):
                execute(PUT_CHAIN, (record.chain, certificates))
                self._loosen(record.place)
                row = (record.data, record.user, record.node, record.chain, record.stored_at, record.expires_at)
                execute(PUT_RECORD, (*record.place, *row))
            case Remove(place):
                self._loosen(place)
                execute(f"DELETE FROM record {AT_PLACE}", place)
            case SetGeneration(resource, kind, 0):
                execute("DELETE FROM generation WHERE resource = ? AND kind = ?", (resource, kind))
            case SetGeneration(resource, kind, counter):
                execute(PUT_GENERATION, (resource, kind, counter))
            case SetStorageTime(signer, storage_time_ms):
                execute(PUT_SIGNER, (signer, storage_time_ms))
            case Age(stored_until, by_s):
                execute("UPDATE record SET expires_at = expires_at - ? WHERE stored_at <= ?", (by_s, stored_until))

    def _loosen(self, place: Place) -> None:
        """The record here is about to go: perhaps its certificates can go as well."""
        rows = self._connection.execute(f"SELECT chain FROM record {AT_PLACE}", place).fetchall()
        self._loose_chains.update(chain for (chain,) in rows)

    def _free_chains(self) -> None:
        self._connection.executemany(FREE_CHAIN, [(chain,) for chain in self._loose_chains])

    def _note(self, group: list[_Job]) -> None:
        """What has become known about the date and about the age of records."""
        for job in group:
            if job.commit.moment.date is not None:
                self._dated = job.commit.moment
            if any(isinstance(change, Age) for change in job.commit.changes):
                self._withheld_until = None

    def _save_moment(self, last: _Job) -> None:
        dated_at, date = (None, None) if self._dated is None else (self._dated.at, self._dated.date)
        row = (last.commit.moment.at, last.boot.boot_id, last.boot.seconds, dated_at, date, self._withheld_until)
        self._connection.execute("INSERT OR REPLACE INTO moment VALUES (0, ?, ?, ?, ?, ?, ?)", row)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_damage(error: object) -> bool:
    """True for what SQLite says of a file that is no database, or not whole."""
    return isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 0) in DAMAGES


def mark_damaged(path: Path) -> None:
    """Have the file moved away when it is opened the next time: the check at opening does not find everything."""
    _mark_of(path).touch()


def _mark_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.is-damaged")


def _lock(path: Path) -> int:
    """Become the one process that uses this file."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LocalMisuse(f"cannot write in {path.parent}: {error.strerror}; use a directory of your own") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise LocalMisuse(f"{path} is in use: stop the other peer that runs in {path.parent} first") from None
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    with ExitStack() as on_failure:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        on_failure.callback(connection.close)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        on_failure.pop_all()
    return connection


def _open(path: Path) -> sqlite3.Connection:
    """Open the file for writing, and make its tables if it is new."""
    try:
        with ExitStack() as on_failure:
            connection = _connect(path)
            on_failure.callback(connection.close)
            _check(connection, path)
            on_failure.pop_all()
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise _Damaged(str(error)) from None
        raise LocalMisuse(f"{path} cannot be used: {error}") from None
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    ((finding,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    if finding != "ok":
        raise _Damaged(finding)
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == 0 and tables == 0:
        connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
    elif application != APPLICATION_ID:
        raise LocalMisuse(f"{path} is another program's: move it away and start again")
    elif version != SCHEMA_VERSION:
        raise LocalMisuse(f"{path} has format {version}, not {SCHEMA_VERSION}: it needs another version of p2psip")


def _read_saved(connection: sqlite3.Connection) -> Saved | None:
    sql = "SELECT at, boot_id, boot_s, dated_at, date, withheld_until FROM moment"
    row = connection.execute(sql).fetchone()
    if row is None:
        return None
    at, boot_id, boot_s, dated_at, date, withheld_until = row
    dated = None if date is None else Moment(dated_at, date)
    return Saved(at, BootClock(boot_id, boot_s), dated, withheld_until)
