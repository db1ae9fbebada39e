"""rtpengine 10.5 (Debian's rtpengine-daemon) on loopback, with ports of its own, and without its module for the kernel.

The package's own service is another matter: nothing here starts, asks or ends it.
"""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from free_ports import free_port

from p2psip.base.address import Address
from p2psip.media.relay.rtpengine.bencode import Sent, Value, decode, encode

needs_rtpengine = pytest.mark.skipif(
    shutil.which("rtpengine") is None, reason="no rtpengine (Debian: rtpengine-daemon)"
)

HOST = "127.0.0.1"
PORTS = 16
PATIENCE_S = 30.0
_cookies = itertools.count(1)


class RtpengineProcess:
    """One process; it may be killed, and started again at the same port."""

    def __init__(self, directory: Path) -> None:
        self.address = Address(HOST, free_port())
        self.media_ports = range(first := free_port(together=PORTS), first + PORTS)
        self.log = directory / "rtpengine.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def start(self, *options: str) -> None:
        """Run, until it answers a ping."""
        command = [
            *("rtpengine", "--config-file=none", "--table=-1", "--foreground", "--log-stderr", "--log-level=6"),
            *(f"--interface={HOST}", f"--listen-ng={self.address}"),
            *(f"--port-min={self.media_ports[0]}", f"--port-max={self.media_ports[-1]}", *options),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while self._ask({"command": "ping"}, 0.2) is None:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "rtpengine does not answer"

    def kill(self) -> None:
        """End it at once; its calls are gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def calls(self) -> list[str]:
        """The IDs of the calls that it has now."""
        answer = self._ask({"command": "list"}, PATIENCE_S)
        assert isinstance(answer, dict), answer
        calls = answer["calls"]
        assert isinstance(calls, list), answer
        return [str(each) for each in calls]

    def query(self, call_id: str) -> dict[str, Value]:
        """What it says of one of them."""
        answer = self._ask({"command": "query", "call-id": call_id}, PATIENCE_S)
        assert isinstance(answer, dict), answer
        return answer

    def _ask(self, fields: dict[str, Sent], limit_s: float) -> Value | None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(limit_s)
            asker.connect(self.address)
            try:
                # What has a cookie that it knows it answers as it has before.
                asker.send(b"%d " % next(_cookies) + encode(fields))
                return decode(asker.recv(1 << 16).partition(b" ")[2])
            except (TimeoutError, ConnectionRefusedError):
                time.sleep(limit_s / 4)
                return None
