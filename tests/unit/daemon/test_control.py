"""The control socket of a peer: who asks what, and what comes back."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import structlog

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.daemon.control import LINE_BYTES_MAX, ControlServer
from p2psip.daemon.control_client import SOCKET_FILE, ask_peer, is_running
from p2psip.daemon.state.settings import SETTINGS_FILE


async def _add(asked: Mapping[str, object]) -> object:
    return {"sum": int(str(asked["a"])) + int(str(asked["b"]))}


async def _fail(_: Mapping[str, object]) -> object:
    raise RequestFailed("the overlay is down")


async def _refuse(_: Mapping[str, object]) -> object:
    raise LocalMisuse("write it otherwise")


async def _stumble(_: Mapping[str, object]) -> object:
    raise ValueError("no such month")


async def _run_short(_: Mapping[str, object]) -> object:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def _wait(_: Mapping[str, object]) -> object:
    await asyncio.sleep(0.3)
    return "late"


COMMANDS = {"add": _add, "fail": _fail, "refuse": _refuse, "stumble": _stumble, "short": _run_short, "wait": _wait}


def serving(directory: Path, test: Callable[[], object]) -> None:
    """Run a test in a thread while a server serves."""

    async def main() -> None:
        faults: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        commands = {
            "add": _add,
            "fail": _fail,
            "refuse": _refuse,
            "stumble": _stumble,
            "short": _run_short,
            "wait": _wait,
        }
        server = ControlServer(directory, commands)
        await server.listen()
        try:
            await asyncio.to_thread(test)
        finally:
            server.close()
        assert not faults

    asyncio.run(main())


def raw(directory: Path, data: bytes) -> bytes:
    """What comes back to these bytes, until the server closes or has answered a line."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(directory / SOCKET_FILE))
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return b""


def test_commands_results_and_failures(tmp_path: Path) -> None:
    def test() -> None:
        assert is_running(tmp_path)
        assert ask_peer(tmp_path, "add", a=1, b=2) == {"sum": 3}
        with pytest.raises(RequestFailed, match="the overlay is down"):
            ask_peer(tmp_path, "fail")
        with pytest.raises(LocalMisuse, match="write it otherwise"):
            ask_peer(tmp_path, "refuse")
        with pytest.raises(RequestFailed, match="does not know that command"):
            ask_peer(tmp_path, "dance")

    serving(tmp_path, test)
    assert not is_running(tmp_path)
    with pytest.raises(LocalMisuse, match="is not the state directory of a peer: say with --peer where that is"):
        ask_peer(tmp_path, "dance")
    (tmp_path / SETTINGS_FILE).touch()
    with pytest.raises(LocalMisuse, match=r"no peer runs in .*: `p2psip peer run"):
        ask_peer(tmp_path, "add", a=1, b=2)


def test_a_command_that_stumbles_is_answered_and_ends_nothing(tmp_path: Path) -> None:
    def test() -> None:
        with pytest.raises(LocalMisuse, match="stumble: no such month"):
            ask_peer(tmp_path, "stumble")
        with pytest.raises(LocalMisuse, match="add: invalid literal"):
            ask_peer(tmp_path, "add", a="one", b=2)
        with pytest.raises(RequestFailed, match="short: Too many open files"):
            ask_peer(tmp_path, "short")
        assert ask_peer(tmp_path, "add", a=1, b=1) == {"sum": 2}

    with structlog.testing.capture_logs() as log:
        serving(tmp_path, test)
    assert [(line["command"], line["log_level"]) for line in log] == [
        ("stumble", "warning"),
        ("add", "warning"),
        ("short", "warning"),
    ]


def test_it_is_the_owners_alone(tmp_path: Path) -> None:
    def test() -> None:
        assert stat.S_IMODE(os.stat(tmp_path / SOCKET_FILE).st_mode) == 0o600

    serving(tmp_path, test)
    assert not (tmp_path / SOCKET_FILE).exists()


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / SOCKET_FILE))
    assert not is_running(tmp_path)
    serving(tmp_path, lambda: ask_peer(tmp_path, "add", a=1, b=1))


def test_a_directory_with_a_long_name(tmp_path: Path) -> None:
    """The address of a socket has room for 107 bytes; a state directory may be anywhere."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    serving(deep, lambda: ask_peer(deep, "add", a=1, b=1))
    assert not is_running(deep)


def test_no_directory_is_no_running_peer(tmp_path: Path) -> None:
    assert not is_running(tmp_path / "nowhere")
    with pytest.raises(LocalMisuse, match="is not the state directory of a peer"):
        ask_peer(tmp_path / "nowhere", "status")


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"[]",
        b"7",
        b'"add"',
        b"{}",
        b'{"command": []}',
        b'{"command": null}',
        b"[" * 60_000,
        b"\xff\xfe",
        b"{" * 5,
        b'{"command": "add", "a": "\\ud800", "b": 1}',
    ],
)
def test_garbage_is_answered_and_ends_nothing(tmp_path: Path, line: bytes) -> None:
    def test() -> None:
        assert b"does not know that command" in raw(tmp_path, line + b"\n")
        assert ask_peer(tmp_path, "add", a=1, b=1) == {"sum": 2}

    serving(tmp_path, test)


def test_a_line_without_end_is_cut_off(tmp_path: Path) -> None:
    def test() -> None:
        assert raw(tmp_path, b"x" * (2 * LINE_BYTES_MAX)) == b""
        assert ask_peer(tmp_path, "add", a=1, b=1) == {"sum": 2}

    serving(tmp_path, test)


def test_several_at_once_and_one_that_does_not_wait(tmp_path: Path) -> None:
    def test() -> None:
        with socket.socket(socket.AF_UNIX) as hasty:
            hasty.connect(str(tmp_path / SOCKET_FILE))
            hasty.sendall(b'{"command": "wait"}\n')
        with socket.socket(socket.AF_UNIX) as patient:
            patient.settimeout(60)
            patient.connect(str(tmp_path / SOCKET_FILE))
            patient.sendall(b'{"command": "wait"}\n')
            # Served at once, though the other answer is still to come.
            assert ask_peer(tmp_path, "add", a=1, b=1) == {"sum": 2}
            assert patient.makefile("rb").readline() == b'{"result": "late"}\n'

    serving(tmp_path, test)


def test_a_peer_may_end_while_somebody_is_connected(tmp_path: Path) -> None:
    """That is no error of the program's, and nothing for the log."""
    faults: list[dict[str, object]] = []
    client = socket.socket(socket.AF_UNIX)
    client.setblocking(False)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, fault: faults.append(fault))
        server = ControlServer(tmp_path, COMMANDS)
        await server.listen()
        await loop.sock_connect(client, str(tmp_path / SOCKET_FILE))
        await loop.sock_sendall(client, b'{"command": "add", "a": 1, "b": 2}\n')
        assert await loop.sock_recv(client, 100) == b'{"result": {"sum": 3}}\n'
        server.close()

    with client:
        asyncio.run(main())
    assert faults == []
