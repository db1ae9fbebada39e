"""Output that cannot be written: a full disk, a reader that has gone, a stream that was closed beforehand."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from free_ports import free_port
from live_overlay import P2PSIP, LiveOverlay, eventually

from p2psip.cli.main import COMMANDS
from p2psip.daemon.control_client import is_running

pytestmark = pytest.mark.slow(40)

SINKS = {"full": ">/dev/full", "closed": ">&-", "both closed": ">&- 2>&-", "both full": ">/dev/full 2>/dev/full"}


def run(arguments: list[str], sink: str) -> subprocess.CompletedProcess[str]:
    """A command with its output in a sink, as a shell does that."""
    script = f'"$@" {sink}'
    return subprocess.run(
        ["sh", "-c", script, "sh", *P2PSIP, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def run_into_a_reader_that_goes(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        [*P2PSIP, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    return subprocess.CompletedProcess(arguments, process.wait(120), "", error)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_a_command_whose_output_is_lost_ends_in_one_line_at_most(command: str) -> None:
    arguments = [*command.split(), "--help"]
    ways: list[Callable[[], subprocess.CompletedProcess[str]]] = [
        *(lambda sink=sink: run(arguments, sink) for sink in SINKS.values()),  # type: ignore[misc]
        lambda: run_into_a_reader_that_goes(arguments),
    ]
    with ThreadPoolExecutor(2) as pool:
        full, closed, both_closed, both_full, gone = pool.map(lambda way: way(), ways)
    assert (full.returncode, full.stderr) == (1, "p2psip: cannot write the output: No space left on device\n")
    assert (gone.returncode, gone.stderr) == (1, "")
    assert (closed.returncode, closed.stderr) == (0, "")
    assert both_closed.returncode == 0
    assert both_full.returncode == 1


def test_the_reason_for_a_failure_has_no_other_way_out_than_the_status() -> None:
    assert run(["peer", "run", "/nowhere"], SINKS["both full"]).returncode == 2
    assert run(["peer", "run", "/nowhere"], SINKS["both closed"]).returncode == 2


def test_what_is_printed_while_it_runs() -> None:
    """A phone that waits for a call, and hears that nobody listens to it any more."""
    arguments = ["phone", "--server", f"127.0.0.1:{free_port()}", "--user", "alice", "--no-register", "--control"]
    assert run(arguments, SINKS["full"]).returncode == 1
    assert run_into_a_reader_that_goes(arguments).returncode == 1


@pytest.mark.parametrize("sink", SINKS)
def test_no_sink_keeps_a_peer_or_an_enrollment_server_from_running(tmp_path: Path, sink: str) -> None:
    with LiveOverlay(tmp_path, peers=1) as live:
        (peer,) = live.peers
        peer.stop()
        commands = {
            "peer": ["peer", "run", str(peer.directory)],
            "server": ["enrollment", "serve", str(tmp_path / "overlay"), "--listen", f"127.0.0.1:{free_port()}"],
        }
        processes = {
            name: subprocess.Popen(["sh", "-c", f'exec "$@" {SINKS[sink]}', "sh", *P2PSIP, *arguments])
            for name, arguments in commands.items()
        }
        try:
            eventually("the peer answers", lambda: is_running(peer.directory))
            assert {name: process.poll() for name, process in processes.items()} == {"peer": None, "server": None}
        finally:
            statuses = {}
            for name, process in processes.items():
                process.send_signal(signal.SIGTERM)
                statuses[name] = process.wait(60)
        assert statuses == {"peer": 0, "server": 0}
