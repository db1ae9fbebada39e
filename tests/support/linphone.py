"""linphonec (Debian's linphone-cli) as a phone for tests: no sound card, driven over its standard input.

It is told nothing but what a user would set: a server, a user and a password. What its version wants:

- A home of its own, with the directory for its database in it; without that it starts and does nothing, silently.
- Files instead of the sound card: it sends what it finds there, nothing, and hears nothing. Who talks with whom is seen
  all the same.
- It writes a prompt without a line end, and what happens in between: everything it says is waited for in order.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from free_ports import free_port

PATIENCE_S = 60.0

needs_linphone = pytest.mark.skipif(
    shutil.which("linphonec") is None, reason="linphonec (Debian: linphone-cli) is not installed"
)

CONFIG = """\
[sip]
sip_port={port}
sip_tcp_port={port}
bind_address={host}
use_ipv6=0
default_proxy=0
{more}
[rtp]
audio_rtp_port={rtp_port}

[sound]
ec=0

[proxy_0]
reg_proxy=<sip:{server};transport={transport}>
reg_identity=sip:{user}@{server}
reg_expires=600
reg_sendregister=1

[auth_info_0]
username={user}
passwd={password}
"""

ALSO = """\

[proxy_1]
reg_proxy=<sip:{server};transport={transport}>
reg_identity=sip:{user}@{server}
reg_expires=600
reg_sendregister=1
"""

TLS = """\
sip_tls_port=-1
root_ca={trusts}
verify_server_certs=1
verify_server_cn={looks_at_name}
"""


class Linphone:
    """One linphonec process, registered with its server."""

    def __init__(
        self,
        directory: Path,
        user: str,
        *,
        server: str,
        password: str,
        host: str = "127.0.0.1",
        transport: str = "udp",
        trusts: Path | None = None,
        looks_at_name: bool = True,
        namespace: str = "",
        also: str = "",
    ) -> None:
        """`namespace` is where it runs, `also` another server, at which its user has a second account. Over TLS it
        believes whom the authority in the file `trusts` has issued one, of that name or not.
        """
        self.user = user
        self._directory = directory / f"linphone-{user}"
        files = ("-l", str(self._directory / "log"), "-c", str(self._directory / "config"))
        self._command = (*(("ip", "netns", "exec", namespace) if namespace else ()), "linphonec", "-d", "5", *files)
        (self._directory / ".local/share/linphone").mkdir(parents=True)
        self._said = ""
        self._read_to = 0
        self._changed = threading.Condition()
        config = CONFIG.format(
            user=user,
            server=server,
            password=password,
            host=host,
            port=free_port(together=2),
            rtp_port=free_port(together=2),
            transport=transport,
            more="" if trusts is None else TLS.format(trusts=trusts, looks_at_name=int(looks_at_name)),
        )
        config += ALSO.format(server=also, user=user, transport=transport) if also else ""
        (self._directory / "config").write_text(config)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(self._directory), "LC_ALL": "C"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.command("soundcard use files")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # It signs off, so that its peer does not take it for a phone that is there.
        self.command("quit")
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    # Commands

    def command(self, text: str) -> None:
        """A line as typed by its user."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()

    def dial(self, uri: str) -> None:
        """Call somebody."""
        self.command(f"call {uri}")

    def hang_up(self) -> None:
        """End the call that is on."""
        self.command("terminate")

    # What it says

    @property
    def said(self) -> str:
        """All of it."""
        with self._changed:
            return self._said

    @property
    def unread(self) -> str:
        """All of it after what was waited for."""
        with self._changed:
            return self._said[self._read_to :]

    def wait(self, pattern: str, timeout_s: float = PATIENCE_S) -> str:
        """The next thing it says that matches, after what was waited for before; its first group, or all of it."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                match = re.compile(pattern).search(self._said, self._read_to)
                if match is not None:
                    self._read_to = match.end()
                    return match[match.re.groups and 1]
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"linphone of {self.user} did not say {pattern!r} in {timeout_s} s:\n{self._said}"
                self._changed.wait(left_s)

    def wait_registered(self) -> None:
        """Until its server has accepted its registration, which it says only when it is asked."""
        deadline = time.monotonic() + PATIENCE_S
        self.command("status register")
        while not self.wait(r"registered(?:=|, )(\S+)").startswith("identity="):
            assert time.monotonic() < deadline, f"linphone of {self.user} is not registered in {PATIENCE_S} s"
            time.sleep(0.1)
            self.command("status register")

    def wait_incoming(self) -> str:
        """Until somebody calls; whom it shows."""
        return self.wait(r"Receiving new incoming call from (\S+), assigned")

    def wait_connected(self) -> str:
        """Until a call is up; with whom."""
        return self.wait(r"Call \d+ with (\S+) connected")

    def wait_ended(self) -> str:
        """Until a call is over; why."""
        return self.wait(r"Call \d+ with \S+ (?:ended \((.*)\)|error)")

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 65536):
            with self._changed:
                self._said += data.decode(errors="replace")
                self._changed.notify_all()
