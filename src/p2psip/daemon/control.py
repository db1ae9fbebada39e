"""How the command line talks to a running peer: one JSON object a line, over a socket in the state directory.

    {"command": "lookup", "uri": "sip:bob@club.example"}   ->   {"result": {...}}  or  {"error": "one line"}

Only who may enter the state directory may open the socket.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog

from p2psip.base.errors import LocalMisuse, P2psipError, RequestFailed
from p2psip.daemon.state.settings import SETTINGS_FILE
from p2psip.net.sockets.addresses import words
from p2psip.net.sockets.tcp import StreamListener

SOCKET_FILE = "control.sock"
LINE_BYTES_MAX = 1 << 22
"""A configuration document is handed over in one line."""

ANSWER_MAX_S = 120.0
ADDRESS_BYTES_MAX = 108
"""unix(7): of sun_path, with a zero at its end."""

Command = Callable[[Mapping[str, object]], Awaitable[object]]


class ControlServer:
    """Serves commands of the running peer."""

    def __init__(self, directory: Path, commands: Mapping[str, Command]) -> None:
        self._path = directory / SOCKET_FILE
        self._commands = commands
        self._server: StreamListener | None = None
        self._log = structlog.get_logger()

    async def listen(self) -> None:
        """Open the socket. The records' lock has shown that no other peer runs in this directory."""
        mask = os.umask(0o177)
        sock = socket.socket(socket.AF_UNIX)
        try:
            self._path.unlink(missing_ok=True)
            with _short(self._path) as path:
                sock.bind(path)
            self._server = StreamListener(sock, self._connection, self._not_accepted)
        except OSError as error:
            sock.close()
            raise LocalMisuse(f"cannot open {self._path}: {words(error)}") from None
        finally:
            os.umask(mask)

    def close(self) -> None:
        """Close it."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    def _connection(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(LINE_BYTES_MAX), self._serve)

    def _not_accepted(self, reason: str) -> None:
        self._log.warning("commands are not taken", reason=reason)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await _line_of(reader):
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except OSError:
            # The client has gone.
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, object]:
        try:
            # Stricter than the json module: no half of a surrogate pair, which cannot be written as UTF-8.
            asked = msgspec.json.decode(line)
            command = self._commands[asked["command"]]
        except (msgspec.DecodeError, KeyError, TypeError, RecursionError):
            return {"error": "this peer does not know that command"}
        try:
            return {"result": await command(asked)}
        except LocalMisuse as error:
            return {"misuse": str(error)}
        except P2psipError as error:
            return {"error": str(error)}
        except ValueError as error:
            # What was asked for makes no sense to somebody further down; it shall cost nobody a call.
            self._log.warning("command failed", command=asked["command"], reason=str(error))
            return {"misuse": f"{asked['command']}: {error}"}
        except OSError as error:
            self._log.warning("command failed", command=asked["command"], reason=words(error))
            return {"error": f"{asked['command']}: {words(error)}"}


async def _line_of(reader: asyncio.StreamReader) -> bytes:
    """The next line; empty at the end, and where a line has none."""
    try:
        return await reader.readline()
    except ValueError:
        return b""


def ask_peer(directory: Path, command: str, **arguments: object) -> object:
    """Ask the peer that runs in a state directory.

    Raises LocalMisuse if none runs there or the arguments are wrong, RequestFailed with the peer's words if it failed.
    """
    answer = _exchange(directory, {"command": command, **arguments})
    if "misuse" in answer:
        raise LocalMisuse(str(answer["misuse"]))
    if "error" in answer:
        raise RequestFailed(str(answer["error"]))
    return answer["result"]


def is_running(directory: Path) -> bool:
    """True if a peer runs in this state directory."""
    try:
        with _connect(directory):
            return True
    except OSError:
        return False


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """The address of a socket has room for a hundred bytes: a longer path goes by way of its open directory."""
    if len(os.fsencode(path)) < ADDRESS_BYTES_MAX:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def _connect(directory: Path) -> socket.socket:
    """Raises OSError if nobody listens there."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(ANSWER_MAX_S)
        with _short(directory / SOCKET_FILE) as path:
            connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _exchange(directory: Path, question: Mapping[str, object]) -> dict[str, object]:
    try:
        connection = _connect(directory)
    except PermissionError:
        raise LocalMisuse(f"{directory / SOCKET_FILE} is another user's: be who runs the peer, or root") from None
    except OSError:
        if not (directory / SETTINGS_FILE).is_file():
            raise LocalMisuse(
                f"{directory} is not the state directory of a peer: say with --peer where that is"
            ) from None
        raise LocalMisuse(f"no peer runs in {directory}: `p2psip peer run {directory}` starts it") from None
    with connection:
        try:
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as file:
                line = file.readline()
        except TimeoutError:
            raise RequestFailed(f"the peer did not answer in {ANSWER_MAX_S:.0f} s") from None
        except OSError as error:
            raise RequestFailed(f"the peer did not answer: {error.strerror or error}") from None
    if not line:
        raise RequestFailed("the peer stopped before it answered")
    answer = json.loads(line)
    assert isinstance(answer, dict), "a peer answers with an object"
    return answer
