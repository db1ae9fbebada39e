"""The log of a process."""

from __future__ import annotations

import errno
import io
import json
import os

import pytest
import structlog

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.log import log_to_stderr


def logged(capsys: pytest.CaptureFixture[str], log_format: str, level: str = "info") -> str:
    """Two events, one of them for debugging, with what a remote might say."""
    log_to_stderr(log_format, level)
    log = structlog.get_logger()
    log.debug("detail")
    log.info("enrollment", user="a\x1b[2J\nfake=line", count=1, words="a b")
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_text_is_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    line = logged(capsys, "text")
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "level=info event=enrollment" in line
    assert 'words="a b"' in line


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(logged(capsys, "json"))
    assert (facts["event"], facts["level"], facts["count"]) == ("enrollment", "info", 1)
    assert facts["user"] == "a\\x1b[2J\\nfake=line"


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    assert "detail" in logged(capsys, "text", "debug")
    assert logged(capsys, "text", "error") == ""


def test_what_there_is_not() -> None:
    with pytest.raises(LocalMisuse, match="choose one of text, json"):
        log_to_stderr("xml")
    with pytest.raises(LocalMisuse, match="choose one of debug"):
        log_to_stderr("text", "loud")


class FullDisk(io.StringIO):
    """A file in which there is no room."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_log_that_cannot_be_written_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said once there is room again is in the log."""
    log_to_stderr("json")
    log = structlog.get_logger()
    monkeypatch.setattr("sys.stderr", FullDisk())
    log.warning("nobody reads this")
    monkeypatch.setattr("sys.stderr", room := io.StringIO())
    log.warning("somebody reads this")
    (line,) = room.getvalue().splitlines()
    assert json.loads(line)["event"] == "somebody reads this"
