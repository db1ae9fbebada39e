"""Ask a running peer, over the socket in its state directory (control.py says how).

Commands that only ask load nothing of a peer.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from p2psip.base.errors import LocalMisuse, RequestFailed

SOCKET_FILE = "control.sock"
ANSWER_MAX_S = 120.0
ADDRESS_BYTES_MAX = 108
"""unix(7): of sun_path, with a zero at its end."""


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
def short_path(path: Path) -> Iterator[str]:
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
        with short_path(directory / SOCKET_FILE) as path:
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
        from p2psip.daemon.state.settings import SETTINGS_FILE

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
