"""`p2psip phone --control` as a phone for tests, driven as a program of its own."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from forked import Forked
from free_ports import free_port

from p2psip.net.sockets.addresses import join_host_port

TOLD_MAX_S = 60.0
"""For a machine that is busy with something else."""


class OurPhone:
    """One `p2psip phone --control`; its calls go to `server`. Any phone can call it at its `uri`."""

    def __init__(
        self,
        user: str,
        *,
        server: str = "127.0.0.1:9",
        registers: bool = True,
        password: str = "",
        plays: float = 440,
        answer_ms: int | None = None,
        transport: str = "udp",
        trusts: Path | None = None,
        host: str = "127.0.0.1",
        namespace: str = "",
    ) -> None:
        """`namespace` is the network where it is on another host: it listens there where the server reaches it. With
        `trusts`, a file of certificates, it connects over TLS.
        """
        self.user = user
        self.told: list[dict[str, Any]] = []
        self.host, self.sip_port = host, free_port()
        options = ["--server", server, "--user", user, "--transport", transport, "--control"]
        options += ["--tone", str(plays), "--password-env", "PHONE_PASSWORD"]
        options += [] if namespace else ["--listen", join_host_port(host, self.sip_port)]
        options += [] if trusts is None else ["--tls", str(trusts)]
        options += [] if registers else ["--no-register"]
        options += [] if answer_ms is None else ["--auto-answer", str(answer_ms)]
        self._arguments = ["phone", *options]
        self._namespace = namespace
        self._environment = {**os.environ, "PHONE_PASSWORD": password}
        self._lines: queue.Queue[str] = queue.Queue()
        self._waiting: list[dict[str, Any]] = []

    @property
    def uri(self) -> str:
        """Where it can be called without a server."""
        return f"sip:{self.user}@{join_host_port(self.host, self.sip_port)}"

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = Forked(
            self._arguments, env=self._environment, namespace=self._namespace, stdin=pipe, stdout=pipe, stderr=pipe
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait("ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.command("quit")
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        # The reader first: it and communicate() must not both read what the phone still says.
        self._reader.join(timeout=10)
        _, complaint = self._process.communicate()
        assert kind is not None or (self._process.returncode, complaint) == (0, "")

    def command(self, line: str) -> None:
        """One command, as `p2psip phone --help` lists them."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def wait(self, event: str, timeout_s: float = TOLD_MAX_S) -> dict[str, Any]:
        """The next event of this name; those before it are left for later."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = next((told for told in self._waiting if told["event"] == event), None)
            if found is not None:
                self._waiting.remove(found)
                return found
            try:
                told = json.loads(self._lines.get(timeout=max(0.01, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"no {event!r} from {self.user} in {timeout_s} s; it told {self.told}") from None
            self.told.append(told)
            self._waiting.append(told)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
