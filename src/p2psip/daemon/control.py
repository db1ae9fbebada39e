"""How the command line talks to a running peer: one JSON object a line, over a socket in the state directory.

    {"command": "lookup", "uri": "sip:bob@club.example"}   ->   {"result": {...}}  or  {"error": "one line"}

Only who may enter the state directory may open the socket.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
import structlog

from p2psip.base.errors import LocalMisuse, P2psipError
from p2psip.daemon.control_client import SOCKET_FILE, short_path
from p2psip.net.sockets.addresses import words
from p2psip.net.sockets.tcp import StreamListener

LINE_BYTES_MAX = 1 << 22
"""A configuration document is handed over in one line."""

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
            with short_path(self._path) as path:
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
        except asyncio.CancelledError:
            # The peer ends, and whoever asks is told by the end of the connection. The streams of asyncio would log a
            # cancelled task as an error.
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
