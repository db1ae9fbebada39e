"""The session keys of connections, written down for who debugs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import structlog

from p2psip.base.errors import LocalMisuse
from p2psip.net.disk.files import PRIVATE
from p2psip.net.disk.home import in_home


def keylogger() -> Callable[[bytes], None] | None:
    """SSLKEYLOGFILE, as other software has it: the session keys, so that tshark can read a capture."""
    path = in_home(os.environ.get("SSLKEYLOGFILE", ""))
    if not path:
        return None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise LocalMisuse(f"SSLKEYLOGFILE: cannot write {path}: {error.strerror}") from None
    structlog.get_logger().warning("session keys are written down", file=path, means="who has them can listen in")
    return lambda line: _write_line(descriptor, line)


def _write_line(descriptor: int, line: bytes) -> None:
    with contextlib.suppress(OSError):
        # A full disk: what is not written down cannot be read later, and that is all.
        os.write(descriptor, line + b"\n")
