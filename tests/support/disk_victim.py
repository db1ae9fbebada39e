"""Stores records until it is killed, time and again: the other half of test_disk_kill.

For each line on stdin it forks a child, which tells its process id, then stores without pause and tells each commit
that has been acknowledged; the line `dead` follows when somebody has killed it. Forking saves starting Python anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from concurrent.futures import Future
from pathlib import Path

from p2psip.base.ids import NodeId, ResourceId
from p2psip.net.disk.record_file import DiskStore
from p2psip.reload.storage.store.records import (
    Commit,
    CommitAnswer,
    Committed,
    Moment,
    Place,
    Put,
    Record,
    Remove,
    SetGeneration,
    SetStorageTime,
)

PLACES = 40
IN_FLIGHT = 8
SIGNER = NodeId(b"s" * 16)


def place(number: int, key: bytes) -> Place:
    return Place(ResourceId(number.to_bytes(16, "big")), 1, key)


def put(at: Place, version: int) -> Put:
    """A record that tells its version and proves it."""
    head = version.to_bytes(8, "big")
    data = head + hashlib.sha256(repr(at).encode() + head).digest() * (1 + version % 60)
    certificates = b"certificates %d" % (version // 3)
    chain = hashlib.sha256(certificates).digest()
    return Put(Record(at, data, f"user {version % 5}", SIGNER, chain, 0.0, 1e9 + version), certificates)


def commit(version: int) -> Commit:
    """All of it or nothing: two records, the counter and the storage time; every fifth removes one record."""
    number = version % PLACES
    left, right = place(number, b"left"), place(number, b"right")
    second = Remove(right) if version % 5 == 0 else put(right, version)
    counter = SetGeneration(left.resource, 1, version)
    changes = (put(left, version), second, counter, SetStorageTime(SIGNER, version))
    return Commit(changes, Moment(float(version), None))


def main() -> None:
    path = Path(sys.argv[1])
    version = 0
    for line in sys.stdin:
        version = int(line)
        child = os.fork()
        if child == 0:
            os.write(1, b"pid %d\n" % os.getpid())
            store_for_ever(path, version)
        os.waitpid(child, 0)
        os.write(1, b"dead\n")


def store_for_ever(path: Path, version: int) -> None:
    store = DiskStore(path, now=0.0)
    # Checkpoints as often as possible: that is when the database file itself is written.
    store._writer._connection.execute("PRAGMA wal_autocheckpoint = 8")
    waiting: deque[tuple[int, Future[CommitAnswer]]] = deque()
    while True:
        version += 1
        waiting.append((version, store.commit(commit(version))))
        if len(waiting) == IN_FLIGHT:
            number, future = waiting.popleft()
            assert future.result() == Committed()
            os.write(1, b"%d\n" % number)


if __name__ == "__main__":
    main()
