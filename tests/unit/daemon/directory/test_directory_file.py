"""`directory.bin`: there again after a restart, and harmless when damaged."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
from spreading_peers import SpreadingPeers, entry, line

from p2psip.base.wallclock import WallClock
from p2psip.daemon.directory.directory_file import DIRECTORY_FILE, SAVE_FIRST_S, SAVE_S, DirectoryFile
from p2psip.daemon.log.journal import Journal


def file_of(directory: Path, pair: SpreadingPeers) -> DirectoryFile:
    """That of the first of these peers."""
    node: Any = pair.overlay.node(pair.hosts[0])
    peer: Any = types.SimpleNamespace(node=node)
    return DirectoryFile(directory, peer, Journal())


def test_it_is_written_when_something_is_new_and_not_more_often_than_that(tmp_path: Path) -> None:
    pair, path = SpreadingPeers("file", 1), tmp_path / DIRECTORY_FILE
    kept, now = file_of(tmp_path, pair), pair.overlay.world.now
    kept.load(WallClock(0.0, is_trusted=False), now)
    kept.look(now)
    kept.look(now + 2 * SAVE_FIRST_S)
    assert not path.exists()
    pair.put(0, line(1), entry("Alice"))
    kept.look(now)
    kept.look(now + SAVE_FIRST_S - 1.0)
    assert not path.exists()
    kept.look(now + SAVE_FIRST_S)
    first = path.read_bytes()
    pair.put(0, line(2), entry("Bob"))
    kept.look(now + SAVE_FIRST_S + SAVE_S - 1.0)
    assert path.read_bytes() == first
    kept.look(now + SAVE_FIRST_S + SAVE_S)
    assert len(path.read_bytes()) > len(first)
    assert path.stat().st_mode & 0o077 == 0

    again = SpreadingPeers("file again", 1)
    file_of(tmp_path, again).load(WallClock(0.0, is_trusted=False), again.overlay.world.now)
    assert sorted(copy.user for copy in again.spreading(0).copies) == ["user1@sim.example", "user2@sim.example"]


@pytest.mark.parametrize("keep", [0, 1, 40, 200])
def test_a_damaged_file_is_set_aside_or_left_out(tmp_path: Path, keep: int) -> None:
    pair, path = SpreadingPeers("damaged", 1), tmp_path / DIRECTORY_FILE
    kept = file_of(tmp_path, pair)
    pair.put(0, line(1), entry("Alice"))
    kept.save(pair.overlay.world.now)
    data = path.read_bytes()
    path.write_bytes(data[:keep] + bytes(len(data) - keep))
    again = SpreadingPeers("damaged again", 1)
    file_of(tmp_path, again).load(WallClock(0.0, is_trusted=False), again.overlay.world.now)
    assert not again.spreading(0).copies
