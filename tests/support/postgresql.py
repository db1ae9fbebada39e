"""A PostgreSQL of the tests' own, from Debian's packages: a cluster in a temporary directory, on a port of loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_UNPRIVILEGED = "nobody"
_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{directory}'
fsync = off
dynamic_shared_memory_type = mmap
max_connections = 60
shared_buffers = 16MB
"""


@dataclass(frozen=True)
class Cluster:
    """One that runs."""

    binaries: Path
    data: Path
    port: int
    user: str | None

    def url(self, database: str) -> str:
        """What p2psip is told."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """A new empty database; its URL."""
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", database)
        return self.url(database)

    def control(self, *words: str) -> None:
        """pg_ctl."""
        self.run("pg_ctl", "-w", "-t", "60", "-D", str(self.data), "-l", str(self.data / "log"), *words)

    def run(self, program: str, *words: str) -> None:
        """One of PostgreSQL's programs; the server among them refuses to run as root."""
        command = [str(self.binaries / program), *words]
        done = (
            subprocess.run(
                command,
                user=self.user,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
                check=False,
            )
            if program != "pg_ctl"
            else _detached(command, self.user)
        )
        assert done.returncode == 0, done.stdout


def _detached(command: list[str], user: str | None) -> subprocess.CompletedProcess[str]:
    """What it starts keeps what it is given as its output."""
    done = subprocess.run(
        command,
        user=user,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    return subprocess.CompletedProcess(command, done.returncode, f"{command}: see the log beside the data")


def binaries() -> Path | None:
    """Where PostgreSQL's programs are; Debian has them in no PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


@contextmanager
def cluster() -> Iterator[Cluster]:
    """PostgreSQL while it runs; skips where it is not installed."""
    there = binaries()
    if there is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    user = _UNPRIVILEGED if os.getuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="p2psip-pg-"))
    try:
        if user is not None:
            os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        made = Cluster(there, directory / "data", port, user)
        made.run("initdb", "-D", str(made.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        with (made.data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS.format(port=port, directory=directory))
        made.control("start")
        try:
            yield made
        finally:
            made.control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(directory)
