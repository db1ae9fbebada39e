"""Between the files of lines and the peer that serves them."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from p2psip.coupling.line import Line
from p2psip.coupling.line_records.withdrawals import LineWithdrawn
from p2psip.daemon.lines.line_keeper import LineKeeper
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.state.line_files import LineFiles
from p2psip.reload.security.roles import Identity
from p2psip.sim.membership import OVERLAY, Club, key, node_id
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.handling.handlings import HandlingChanged, Handlings
from p2psip.sip.message.digest import logins


class FakePublisher:
    """The lines that are served."""

    def __init__(self) -> None:
        self.served: dict[str, Line] = {}

    @property
    def lines(self) -> list[Line]:
        return list(self.served.values())

    def get(self, name: str) -> Line | None:
        return self.served.get(name)


class FakePeer:
    """A peer that remembers what it was told, and the host that tells it."""

    def __init__(self) -> None:
        self.publisher, self.handlings = FakePublisher(), Handlings()
        self.told: list[str] = []

    def call(self, run) -> None:
        run(0.0)

    def add_line(self, line: Line, now: float, handling: CallHandling | None = None) -> None:
        self.told.append("add")
        self.publisher.served[line.name] = line
        self.handlings.set(line.name, handling or self.handlings.of(line.name) or CallHandling())

    def remove_line(self, name: str, now: float) -> None:
        self.told.append("remove")
        del self.publisher.served[name]

    def finish_removal(self, identity: Identity, now: float) -> None:
        self.told.append(f"remove the record of {identity.node_id}")

    def handle_calls(self, name: str, handling: CallHandling, now: float) -> None:
        self.told.append("calls")
        self.handlings.set(name, handling)


@pytest.fixture
def files(tmp_path: Path) -> LineFiles:
    """Alice's line."""
    files = LineFiles(tmp_path, "alice")
    files.save_key(key(number=2))
    files.save(Club.of().member(f"alice@{OVERLAY}", [node_id(2)], number=2), logins(["alice"], OVERLAY, ["a"]))
    return files


@pytest.fixture
def peer() -> FakePeer:
    return FakePeer()


@pytest.fixture
def keeper(files: LineFiles, peer: FakePeer) -> LineKeeper:
    return LineKeeper(files.directory, peer, peer, Journal())  # type: ignore[arg-type]


def load(keeper: LineKeeper) -> list[str]:
    return keeper.load(Club.of().configuration)


def test_lines_are_served_as_their_files_say(keeper: LineKeeper, peer: FakePeer, files: LineFiles) -> None:
    files.save_handling(CallHandling(always="bob"))
    assert load(keeper) == []
    assert peer.handlings.of("alice") == CallHandling(always="bob")
    assert load(keeper) == []
    assert peer.told == ["add"], "what is as it was is left alone"
    files.save_handling(CallHandling(busy="bob"))
    load(keeper)
    assert peer.told == ["add", "calls"]
    files.remove()
    load(keeper)
    assert peer.told == ["add", "calls", "remove", f"remove the record of {node_id(2)}"]
    assert not files.path("calls").exists()
    assert files.key() is None


def test_the_record_of_a_line_that_was_removed_goes_at_the_next_start(
    keeper: LineKeeper, peer: FakePeer, files: LineFiles
) -> None:
    """While the peer did not run, or was killed before anybody had taken the removal."""
    files.remove()
    aside = files.directory / "lines" / "removed"
    assert {each.suffix: stat.S_IMODE(each.stat().st_mode) for each in aside.iterdir()}[".key"] == 0o600
    for _ in range(2):
        load(keeper)
    assert peer.told == 2 * [f"remove the record of {node_id(2)}"]
    keeper.keep(LineWithdrawn(node_id(3)))
    assert len(list(aside.iterdir())) == 2
    keeper.keep(LineWithdrawn(node_id(2)))
    assert list(aside.iterdir()) == []
    load(keeper)
    assert len(peer.told) == 2


def test_what_takes_no_record_out_is_forgotten(keeper: LineKeeper, peer: FakePeer, files: LineFiles) -> None:
    """A line without a certificate, as of an enrollment that failed; and a key that cannot be read."""
    files.path("crt").unlink()
    files.remove()
    aside = files.directory / "lines" / "removed"
    aside.joinpath("0123.key").write_text("damaged")
    assert load(keeper) == []
    assert (peer.told, list(aside.iterdir())) == ([], [])


def test_what_is_dialled_is_there_again(keeper: LineKeeper, peer: FakePeer, files: LineFiles) -> None:
    load(keeper)
    wanted = CallHandling(no_answer="bob", do_not_disturb=True)
    peer.handlings.set("alice", wanted)
    keeper.keep(HandlingChanged("alice", wanted))
    assert files.load_handling() == wanted
    load(keeper)
    assert peer.told == ["add"]


def test_wishes_that_cannot_be_read_do_not_silence_the_line(
    keeper: LineKeeper, peer: FakePeer, files: LineFiles
) -> None:
    files.save_handling(CallHandling(always="bob"))
    files.path("calls").write_text("{")
    (problem,) = load(keeper)
    assert "alice.calls" in problem
    assert peer.handlings.of("alice") == CallHandling()
    peer.handlings.set("alice", CallHandling(busy="bob"))
    load(keeper)
    assert peer.handlings.of("alice") == CallHandling(busy="bob"), "it goes on as it was"
    assert peer.told == ["add"]


def test_a_disk_that_takes_nothing_ends_nothing(keeper: LineKeeper, files: LineFiles) -> None:
    files.remove()
    shutil.rmtree(files.directory / "lines")
    keeper.keep(HandlingChanged("alice", CallHandling(always="bob")))
