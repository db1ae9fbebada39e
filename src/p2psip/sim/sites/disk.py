"""A machine's disk: slow, full, broken, and without what was not synced when the power goes.

Theory of operation. What a program commits is in memory at first, and on the disk once it has been synced: all that
came within a group's time at once, as `p2psip.net.disk` does it. A commit is answered after that. A disk that lies
says so before: it is there so that a test can see that it would notice. The store's clock goes on over restarts as
p2psip.reload.storage.store.continuity says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from p2psip.reload.storage.store.continuity import BootClock, Continuity, Saved, resume
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import Age, Commit, CommitAnswer, CommitFailed, Committed, Put
from p2psip.sim.ip.machine import Machine

GROUP_S = 0.02
CHANGE_BYTES = 64
"""What a change takes that is no record."""


@dataclass(slots=True)
class DiskState:
    """What is the matter with a disk."""

    sync_s: float = 0.005
    """How long a sync takes."""
    capacity_bytes: int | None = None
    failure: str = ""
    """Why nothing can be written."""
    lies: bool = False
    """It says that a commit is synced when it is not."""


@dataclass(slots=True)
class _Waiting:
    commit: Commit
    boot: BootClock
    done: Callable[[CommitAnswer], None]


class Disk:
    """The records of the program on one machine. It outlives the program, and the power."""

    def __init__(self, machine: Machine) -> None:
        self.state = DiskState()
        self.synced = MemoryStore()
        """What survives, and what a program reads."""
        self.used_bytes = 0
        self.commits = 0
        self._machine = machine
        self._saved: Saved | None = None
        self._continuity = Continuity()
        self._waiting: list[_Waiting] = []

    def open(self) -> Continuity:
        """A program begins to use it; how the store's clock goes on. What its predecessor left unsynced is lost."""
        self._waiting.clear()
        clock = self._clock()
        self._continuity = Continuity() if self._saved is None else resume(self._saved, clock, self._machine.now)
        return self._continuity

    def commit(self, commit: Commit, done: Callable[[CommitAnswer], None]) -> None:
        """Make changes durable; `done` is told, unless the machine or its program ends before."""
        self.commits += 1
        if self.state.lies:
            self._machine.at(self._machine.now, lambda: done(Committed()))
        self._waiting.append(_Waiting(commit, self._clock(), _nobody if self.state.lies else done))
        if len(self._waiting) == 1:
            self._machine.at(self._machine.now + GROUP_S + self.state.sync_s, self._sync)

    def _sync(self) -> None:
        group, self._waiting = self._waiting, []
        size = sum(_size_of(waiting.commit) for waiting in group)
        refusal = self.state.failure
        if self.state.capacity_bytes is not None and self.used_bytes + size > self.state.capacity_bytes:
            refusal = refusal or "no space left on device"
        if not refusal:
            self.used_bytes += size
            for waiting in group:
                self.synced.commit(waiting.commit)
            self._save(group)
        self._machine.internet.note(f"{self._machine.name} synced {len(group)} {size} {refusal}")
        for waiting in group:
            waiting.done(CommitFailed(f"the records could not be written: {refusal}") if refusal else Committed())

    def _save(self, group: list[_Waiting]) -> None:
        """What has become known about the date and about the age of records."""
        for commit in (waiting.commit for waiting in group):
            if commit.moment.date is not None:
                self._continuity = replace(self._continuity, dated=commit.moment)
            if any(isinstance(change, Age) for change in commit.changes):
                self._continuity = replace(self._continuity, withheld_until=None)
        last, known = group[-1], self._continuity
        self._saved = Saved(last.commit.moment.at, last.boot, known.dated, known.withheld_until)

    def _clock(self) -> BootClock:
        return BootClock(f"{self._machine.name} boot {self._machine.boots}", self._machine.now)


def _size_of(commit: Commit) -> int:
    return sum(change.record.size if isinstance(change, Put) else CHANGE_BYTES for change in commit.changes)


def _nobody(_: CommitAnswer) -> None:
    """The commit has been answered already."""
