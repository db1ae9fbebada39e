"""Knot DNS (Debian's knot) on loopback, with zones of a test.

The package's own service is another matter: nothing here starts, asks or ends it.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
import dns.query
import pytest
from free_ports import free_port

from p2psip.base.address import Address

needs_knot = pytest.mark.skipif(shutil.which("knotd") is None, reason="no DNS server (Debian: knot)")

PATIENCE_S = 30.0

_CONFIGURATION = """\
server:
    rundir: "{directory}"
    listen: [ {listen} ]
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{directory}"
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "{directory}"
zone:
"""

_ZONE = """\
$ORIGIN {domain}.
$TTL 60
@ SOA ns.{domain}. admin.{domain}. 1 3600 600 86400 60
@ NS ns.{domain}.
ns A 127.0.0.1
{records}
"""


class Knot:
    """One process. `zones` are the records of each domain, as they stand in a zone file, names relative to it."""

    def __init__(self, directory: Path, zones: Mapping[str, Sequence[str]], also_at: str = "") -> None:
        """It answers at a port of its own, and at port 53 of `also_at` as well, for whoever asks nowhere else."""
        self.address = Address("127.0.0.1", free_port())
        self._first = next(iter(zones))
        self._log = directory / "knot.log"
        self._file = directory / "knot.conf"
        listen = f"{self.address.host}@{self.address.port}" + (f", {also_at}@53" if also_at else "")
        text = _CONFIGURATION.format(directory=directory, listen=listen)
        for domain, records in zones.items():
            (directory / f"{domain}.zone").write_text(_ZONE.format(domain=domain, records="\n".join(records)))
            text += f'  - domain: {domain}\n    file: "{domain}.zone"\n'
        self._file.write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            command = ["knotd", "-c", str(self._file)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """From now on nobody answers there."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        query = dns.message.make_query(self._first, "SOA")
        try:
            return bool(dns.query.udp(query, self.address.host, 0.3, self.address.port).answer)
        except (dns.exception.DNSException, OSError):
            return False
