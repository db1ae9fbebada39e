"""A process that stores is killed hundreds of times: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import disk_victim
import pytest
from disk_victim import PLACES, SIGNER, commit, place
from effort import times

from p2psip.net.disk.record_file import DiskStore
from p2psip.reload.storage.store.records import Put, Record

ROUNDS = times(300)
LIFE_MAX_S = 0.1


class Victim:
    """The process that forks the ones to be killed."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, disk_victim.__file__, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def live_and_die(self, version: int, life_s: float) -> list[int]:
        """Let a child store from this version on, kill it, and return what it said was acknowledged."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{version}\n")
        self._process.stdin.flush()
        word, pid = self._process.stdout.readline().split()
        assert word == "pid"
        time.sleep(life_s)
        os.kill(int(pid), signal.SIGKILL)
        return [int(line) for line in iter(self._process.stdout.readline, "dead\n")]

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    victim = Victim(tmp_path / "records")
    yield victim
    victim.close()


def expected(version: int) -> list[Record]:
    """The records that the commit of this version leaves at its resource."""
    return [change.record for change in commit(version).changes if isinstance(change, Put)]


def last_before(version: int, number: int) -> int:
    """The newest version, up to this one, that was written at a resource."""
    return version - (version - number) % PLACES


def check(path: Path, acknowledged: int) -> int:
    """Look at all that is there; returns the newest version."""
    store = DiskStore(path, now=0.0)
    newest = store.storage_time_ms(SIGNER)
    assert newest >= acknowledged, f"{newest} is the newest, but {acknowledged} was acknowledged"
    for number in range(PLACES):
        resource = place(number, b"").resource
        version = last_before(newest, number)
        assert store.generation(resource, 1) == max(version, 0)
        records = store.records(resource, 1)
        assert records == (expected(version) if version > 0 else [])
        assert all(store.certificates(record.chain) is not None for record in records)
    certificates = store._reader.execute("SELECT count(*) FROM chain").fetchone()[0]
    needed = store._reader.execute("SELECT count(DISTINCT chain) FROM record").fetchone()[0]
    assert certificates == needed
    store.close()
    return newest


@pytest.mark.slow(40)
def test_nothing_acknowledged_is_lost(tmp_path: Path, victim: Victim) -> None:
    """Each life ends at a random moment: while the file is made, opened, written, synced or checkpointed."""
    rng = random.Random("test_disk_kill")
    version = acknowledged = acknowledgements = 0
    lives = itertools.count()
    while (life := next(lives)) < ROUNDS or acknowledgements <= ROUNDS:
        # On a machine that is busy with something else they would hardly store anything before they are killed.
        longest_s = LIFE_MAX_S * (1 + life // ROUNDS)
        told = victim.live_and_die(version, rng.uniform(0.0, longest_s) ** 2 / longest_s)
        acknowledged = max([acknowledged, *told])
        acknowledgements += len(told)
        version = check(tmp_path / "records", acknowledged)
