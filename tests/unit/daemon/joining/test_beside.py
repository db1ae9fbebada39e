"""An enrollment server beside a peer: it runs in a thread, and keeps no peer from running."""

from __future__ import annotations

import random
import socket
import threading
import time
from pathlib import Path

import pytest

from p2psip.daemon.joining import beside
from p2psip.daemon.joining.beside import EnrollmentBeside
from p2psip.daemon.joining.first_machine import found_here

PATIENCE_S = 30.0


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """The directory of an overlay."""
    return found_here(tmp_path / "overlay", "club.example", "192.0.2.1", random.Random(1), time.time()).path


def test_it_runs_inside_the_context_and_not_after(overlay: Path) -> None:
    told: list[str] = []
    with EnrollmentBeside(overlay, "127.0.0.1:0", told.append):
        (url,) = told
        host, port = url.removeprefix("https://").split(":")
        socket.create_connection((host, int(port)), PATIENCE_S).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), PATIENCE_S)


def test_a_port_that_another_program_has_is_tried_again(
    overlay: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The peer begins meanwhile."""
    monkeypatch.setattr(beside, "RETRY_S", 0.02)
    is_ready = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as other:
        at = f"127.0.0.1:{other.getsockname()[1]}"
        server = EnrollmentBeside(overlay, at, lambda url: is_ready.set())
        server.__enter__()
        assert not is_ready.wait(0.2)
    try:
        assert is_ready.wait(PATIENCE_S)
    finally:
        server.__exit__(None, None, None)
    said = capsys.readouterr()
    assert (said.out + said.err).count("nobody can be enrolled now") == 1


def test_it_ends_also_while_it_cannot_run(overlay: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        EnrollmentBeside(overlay, f"127.0.0.1:{other.getsockname()[1]}", lambda url: None) as server,
    ):
        assert server._thread.is_alive()
    assert not server._thread.is_alive()
