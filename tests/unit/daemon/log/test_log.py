"""The log of a process."""

from __future__ import annotations

import errno
import io
import json
import logging
import os

import pytest
import structlog

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.log.limits import OF_SOURCE, REPORT_S
from p2psip.daemon.log.log import FACT_MAX, log_to_stderr


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


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_one_address_cannot_fill_the_log_and_what_is_left_out_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """From whatever port it comes; others are still to be read."""
    now = 0.0
    log_to_stderr("json", clock=lambda: now)
    log = structlog.get_logger()
    for port in range(1000):
        log.warning("link refused", remote=f"192.0.2.1:{port}", reason="a stranger")
        log.warning("phone refused", source=f"udp [2001:db8::{port:x}]:5060", why="wrong password")
    log.warning("link refused", remote="192.0.2.2:1", reason="a stranger")
    written = lines(capsys)
    assert len(written) == 2 * OF_SOURCE.burst + 1
    assert written[-1]["remote"] == "192.0.2.2:1"
    now = REPORT_S
    log.info("joined")
    told = {line["of"]: line["count"] for line in lines(capsys) if line["event"] == "lines left out"}
    assert told == {"link refused": 1000 - OF_SOURCE.burst, "phone refused": 1000 - OF_SOURCE.burst}


def test_one_who_knocks_without_end_does_not_hide_the_phone_that_does_not_trust(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each phone has its share of the lines, as everybody has."""
    log_to_stderr("json", clock=lambda: 0.0)
    log = structlog.get_logger()
    for port in range(1000):
        log.warning("no TLS with a phone", phone=f"192.0.2.9:{port}", reason="closed by the other end")
    log.warning("no TLS with a phone", phone="192.0.2.1:5061", reason="unknown ca")
    assert lines(capsys)[-1]["reason"] == "unknown ca"


def test_failures_do_not_hide_what_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("json")
    log = structlog.get_logger()
    for number in range(1000):
        log.info("enrollment", outcome="failed_authentication", source=f"192.0.{number % 250}.{number // 250}")
    log.info("enrollment", outcome="issued", source="192.0.2.1")
    assert lines(capsys)[-1]["outcome"] == "issued"


def test_a_fact_is_not_longer_than_somebody_reads(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("json")
    structlog.get_logger().info("phone refused", why="x" * 100_000)
    (line,) = lines(capsys)
    assert line["why"] == "x" * FACT_MAX + "... (100000 characters)"


def test_what_libraries_say_is_said_in_our_log(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, limited as ours are; an exception with where it came from."""
    log_to_stderr("json")
    for _ in range(1000):
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.\n%s", "GET\x1b")
    try:
        raise ValueError("a bug")
    except ValueError:
        logging.getLogger("asyncio").exception("Exception in callback")
    logging.getLogger("httpx").info("HTTP Request")
    *invalid, bug = lines(capsys)
    assert len(invalid) == OF_SOURCE.burst
    assert (invalid[0]["event"], invalid[0]["level"]) == ("uvicorn.error", "warning")
    assert invalid[0]["message"] == "Invalid HTTP request received.\\nGET\\x1b"
    assert (bug["event"], bug["level"], bug["message"]) == ("asyncio", "error", "Exception in callback")
    assert "ValueError: a bug" in str(bug["traceback"])
