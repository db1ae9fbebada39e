"""The files of a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.line_files import LineFiles
from p2psip.sim.membership import OVERLAY, Club, key, node_id
from p2psip.sip.message.digest import ha1_by_algorithm, logins


@pytest.fixture
def files(tmp_path: Path) -> LineFiles:
    """Alice's line."""
    files = LineFiles(tmp_path, "alice")
    files.save_key(key(number=2))
    files.save(Club.of().member(f"alice@{OVERLAY}", [node_id(2)], number=2), logins(["alice"], OVERLAY, ["a", "A"]))
    return files


def test_what_was_saved_is_there_again(files: LineFiles) -> None:
    line = files.load(Club.of().configuration)
    assert (line.aor, line.name) == (f"alice@{OVERLAY}", "alice")
    assert line.logins == logins(["alice"], OVERLAY, ["a", "A"])
    assert line.is_as(files.load(Club.of().configuration))


def test_a_line_of_release_0_1_goes_on_working(files: LineFiles) -> None:
    kept = {"user": f"alice@{OVERLAY}", "ha1s": ha1_by_algorithm("alice", OVERLAY, "jje4-5qf8-7e3x-jqrz")}
    files.path("json").write_text(json.dumps(kept, indent=1))
    line = files.load(Club.of().configuration)
    assert line.logins == logins(["alice"], OVERLAY, ["jje4-5qf8-7e3x-jqrz"])


def test_another_password_is_another_line_to_serve(files: LineFiles) -> None:
    before = files.load(Club.of().configuration)
    files.save(Club.of().member(f"alice@{OVERLAY}", [node_id(2)], number=2), logins(["alice"], OVERLAY, ["b"]))
    assert not before.is_as(files.load(Club.of().configuration))


@pytest.mark.parametrize(
    "text", ["", "{}", '{"user": 1}', '{"user": "a"}', '{"user": "a", "logins": {"alice": 3}}', '{"user": "a", "x": 1}']
)
def test_damaged_files_are_one_line(files: LineFiles, text: str) -> None:
    files.path("json").write_text(text)
    with pytest.raises(LocalMisuse):
        files.load(Club.of().configuration)
