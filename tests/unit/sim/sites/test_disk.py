"""p2psip.sim.sites.disk: what was not synced is lost at a power cut; full, broken, slow and lying disks."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.storage.store.records import Commit, CommitAnswer, CommitFailed, Committed, Moment, SetStorageTime
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.network import Internet
from p2psip.sim.sites.disk import GROUP_S, Disk

SIGNER = NodeId(bytes(16))


class Bench:
    """A machine with a disk; commits are numbers."""

    def __init__(self) -> None:
        self.internet = Internet(1)
        self.machine = Machine(self.internet, "m")
        self.disk = Disk(self.machine)
        self.continuity = self.disk.open()
        self.answers: list[CommitAnswer] = []

    def commit(self, number: int) -> None:
        change = SetStorageTime(SIGNER, number)
        moment = Moment(self.continuity.at(self.machine.now), 1_800_000_000.0 + self.internet.now)
        self.disk.commit(Commit((change,), moment), self.answers.append)

    @property
    def kept(self) -> int:
        """The last number that is there after a power cut at this moment."""
        return self.disk.synced.storage_time_ms(SIGNER)


def test_a_commit_is_answered_once_it_is_synced_with_its_group() -> None:
    """And is not to be seen before."""
    bench = Bench()
    bench.commit(1)
    bench.internet.run_for(0.01)
    bench.commit(2)
    assert bench.kept == 0
    bench.internet.run_for(GROUP_S)
    assert bench.answers == [Committed(), Committed()]
    assert bench.kept == 2


def test_a_power_cut_loses_what_was_not_synced_and_nothing_else() -> None:
    """Nobody has been told that it is there."""
    bench = Bench()
    bench.commit(1)
    bench.internet.run_for(1.0)
    bench.commit(2)
    bench.internet.run_for(0.001)
    bench.machine.cut_power()
    bench.internet.run_for(5.0)
    bench.machine.boot()
    bench.disk.open()
    assert bench.answers == [Committed()]
    assert bench.kept == 1


def test_a_disk_that_lies_loses_what_it_has_answered() -> None:
    """So that a test can see that it would notice."""
    bench = Bench()
    bench.disk.state.lies = True
    bench.commit(1)
    bench.internet.run_for(0.001)
    bench.machine.cut_power()
    bench.machine.boot()
    bench.disk.open()
    assert bench.answers == [Committed()]
    assert bench.kept == 0


@pytest.mark.parametrize(("state", "words"), [("failure", "input/output error"), ("capacity_bytes", "no space left")])
def test_a_disk_that_fails_or_is_full_keeps_nothing_of_a_commit(state: str, words: str) -> None:
    """And is of use again afterwards."""
    bench = Bench()
    setattr(bench.disk.state, state, "input/output error" if state == "failure" else 100)
    for number in (1, 2, 3):
        bench.commit(number)
        bench.internet.run_for(1.0)
    refused = [answer for answer in bench.answers if isinstance(answer, CommitFailed)]
    assert len(refused) == (3 if state == "failure" else 2)
    assert all(words in answer.reason for answer in refused)
    setattr(bench.disk.state, state, "" if state == "failure" else None)
    bench.commit(4)
    bench.internet.run_for(1.0)
    assert bench.kept == 4


def test_a_slow_disk() -> None:
    """Each sync takes its time."""
    bench = Bench()
    bench.disk.state.sync_s = 3.0
    bench.commit(1)
    bench.internet.run_for(2.9)
    assert bench.answers == []
    bench.internet.run_for(0.2)
    assert bench.answers == [Committed()]


def test_the_clock_of_the_store_goes_on_over_restarts() -> None:
    """A program that was killed knows how long it was away; after a boot the age of records is not known."""
    bench = Bench()
    bench.internet.run_for(100.0)
    bench.commit(1)
    bench.internet.run_for(1.0)
    bench.machine.kill()
    bench.internet.run_for(49.0)
    continuity = bench.disk.open()
    assert continuity.at(bench.machine.now) == pytest.approx(150.0)
    assert continuity.withheld_until is None
    bench.machine.cut_power()
    bench.internet.run_for(50.0)
    bench.machine.boot()
    continuity = bench.disk.open()
    assert continuity.withheld_until == pytest.approx(100.0)
    age = continuity.age(1_800_000_000.0 + bench.internet.now, bench.machine.now)
    assert age is not None
    assert age.by_s == pytest.approx(100.0, abs=1.0)
