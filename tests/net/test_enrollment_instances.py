"""Two enrollment servers on one PostgreSQL, behind one name: one is killed while many enroll."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from postgresql import Cluster, cluster
from typed_commands import P2PSIP, p2psip

from p2psip.base.errors import RequestFailed
from p2psip.enrollment.client import EnrollmentRefused
from p2psip.enrollment.join_codes import JoinCode
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.net.https.client import enroll, fetch_invited
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import generate_key
from p2psip.reload.wire.common import SignatureAlgorithm

NAMES = 16
"""Machines that want in; each name is wanted by two of them, at the same time."""

KILLED_AFTER = 5
WORKERS = 6
PATIENCE_S = 120.0

pytestmark = pytest.mark.slow(60)


@contextmanager
def serving(directory: Path, at: str) -> Iterator[subprocess.Popen[str]]:
    """A server while it runs."""
    log = directory.parent / f"{directory.name}.log"
    command = [*P2PSIP, "enrollment", "serve", str(directory), "--listen", at, "--log-format", "json"]
    with log.open("w") as written:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=written, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("ready https://"), log.read_text()
        yield server
    finally:
        if server.poll() is None:
            os.kill(server.pid, signal.SIGKILL)
        server.communicate(timeout=60)


def free_port() -> int:
    """Free at two loopback addresses."""
    for _ in range(50):
        port = random.randrange(20000, 30000)
        try:
            for host in ("127.0.0.1", "127.0.0.2"):
                with socket.socket() as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return port
    raise AssertionError("no free port")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Cluster]:
    """One for all tests of this file."""
    with cluster() as there:
        yield there


@dataclass
class Crowd:
    """Who wants in, and who got in."""

    configuration: OverlayConfiguration
    token: bytes
    got: dict[str, list[CertifiedIdentity]]
    refused: Counter[str]
    interrupted: int = 0

    async def enroll(self, user: str) -> None:
        """One machine, which asks until it is told yes or no."""
        private, until = generate_key(SignatureAlgorithm.ECDSA), time.monotonic() + PATIENCE_S
        while True:
            try:
                identity = await enroll(self.configuration, user, private, invitation=self.token)
            except EnrollmentRefused as refused:
                self.refused[refused.token] += 1
                return
            except RequestFailed:
                self.interrupted += 1
            else:
                self.got.setdefault(user, []).append(identity)
                return
            assert time.monotonic() < until, f"{user} was told nothing"
            await asyncio.sleep(0.2)

    async def come(self, killed: subprocess.Popen[str]) -> None:
        """All of them, a few at a time."""
        wanted = [f"peer-{number}@club.example" for number in range(NAMES)]
        waiting = [user for user in wanted for _ in range(2)]

        async def work() -> None:
            while waiting:
                await self.enroll(waiting.pop())
                if len(self.got) >= KILLED_AFTER and killed.poll() is None:
                    killed.kill()
                    killed.wait()

        await asyncio.gather(*(work() for _ in range(WORKERS)))


@contextmanager
def named(name: str, *addresses: str) -> Iterator[None]:
    """DNS, as this process sees it, has several addresses for a name."""
    looked_up = socket.getaddrinfo

    def look_up(host: Any, *rest: Any, **options: Any) -> Any:
        if host not in (name, name.encode()):
            return looked_up(host, *rest, **options)
        return [found for address in addresses for found in looked_up(address, *rest, **options)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        yield


def test_one_of_two_instances_is_killed_while_many_enroll(tmp_path: Path, postgresql: Cluster) -> None:
    club, other, port = tmp_path / "club", tmp_path / "other", free_port()
    url = f"https://enroll.club.example:{port}/enroll"
    p2psip("overlay", "create", "club.example", club, "--enrollment-url", url)
    p2psip("enrollment", "move", club, postgresql.create("killed"))
    shutil.copytree(club, other)
    code = JoinCode.parse(json.loads(p2psip("invite", "--overlay", other, "--uses", 2 * NAMES, "--json"))["code"])
    with ExitStack() as running:
        first = running.enter_context(serving(club, f"127.0.0.1:{port}"))
        second = running.enter_context(serving(other, f"127.0.0.2:{port}"))
        running.enter_context(named("enroll.club.example", "127.0.0.1", "127.0.0.2"))

        async def body() -> Crowd:
            configuration = OverlayDirectory(club).document().configuration
            crowd = Crowd(configuration, code.token, {}, Counter())
            await crowd.come(first)
            assert first.poll() == -signal.SIGKILL
            assert second.poll() is None
            # What was promised is there, at the server that lives: the same Node-ID for the same key.
            for (identity,) in crowd.got.values():
                again = await enroll(configuration, identity.user, identity.key)
                assert again.node_id == identity.node_id
            return crowd

        crowd = asyncio.run(body())
    assert {len(identities) for identities in crowd.got.values()} == {1}
    assert len(crowd.got) == NAMES
    assert crowd.refused == {"username_not_available": NAMES}
    node_ids = [identity.node_id for (identity,) in crowd.got.values()]
    assert len(set(node_ids)) == NAMES
    listed = {entry["name"]: entry for entry in json.loads(p2psip("user", "list", "--overlay", other, "--json"))}
    for (identity,) in crowd.got.values():
        assert [held["node_id"] for held in listed[identity.user]["held"]] == [str(identity.node_id)]
    logs = [(tmp_path / name).read_text() for name in ("club.log", "other.log")]
    assert all('"outcome": "issued"' in log for log in logs), "both have served, the second one when the first was dead"
    assert not any(code.token.hex() in log or str(code) in log for log in logs)


def test_guesses_at_one_instance_count_at_the_other(tmp_path: Path, postgresql: Cluster) -> None:
    """And a database that stops answering is said so, until it is there again."""
    club, other, port = tmp_path / "club", tmp_path / "other", free_port()
    p2psip("overlay", "create", "club.example", club, "--enrollment-url", f"https://127.0.0.1:{port}/enroll")
    p2psip("enrollment", "move", club, postgresql.create("guessed"))
    shutil.copytree(club, other)
    with serving(club, f"127.0.0.1:{port}"), serving(other, f"127.0.0.2:{port}"):
        there = OverlayDirectory(club).document().configuration
        here = replace(there, enrollment_servers=(f"https://127.0.0.2:{port}/enroll",))

        async def said(configuration: OverlayConfiguration, **proof: Any) -> str:
            user, private = "peer-x@club.example", generate_key(SignatureAlgorithm.ECDSA)
            with pytest.raises(RequestFailed) as caught:
                await enroll(configuration, user, private, **proof)
            return caught.value.causes[-1].what

        async def body() -> None:
            for number in range(10):
                assert "no such invitation" in await said(there, invitation=bytes([number]) * 10)
            guess = {"invitation": b"x" * 10}
            assert "too many wrong" in await said(there, **guess)
            assert "too many wrong" in await said(here, **guess)
            postgresql.control("restart", "-m", "immediate")
            # What was counted is in the database, and connections that broke are made anew.
            assert "too many wrong" in await said(here, **guess)
            postgresql.control("stop", "-m", "immediate")
            try:
                assert "cannot serve anybody now" in await said(here, **guess)
                assert (await fetch_invited(f"https://127.0.0.2:{port}", _beginning(club), "club.example"))[1]
            finally:
                postgresql.control("start")
            assert "password is wrong" in await said(here, account="admin", password="guess")

        asyncio.run(body())


def _beginning(club: Path) -> bytes:
    return bytes.fromhex(OverlayDirectory(club).anchor().fingerprint)[:16]


def test_the_accounts_go_to_postgresql_and_back(tmp_path: Path, postgresql: Cluster) -> None:
    """Moved, backed up, lost, restored: what there was is there."""
    club, url = tmp_path / "club", postgresql.create("moved")
    p2psip("overlay", "create", "club.example", club)
    p2psip("user", "add", "alice", "--overlay", club)
    listed = p2psip("user", "list", "--overlay", club, "--json")
    p2psip("enrollment", "move", club, url)
    assert not (club / "accounts.db").exists()
    assert (club / "accounts.db.before").exists()
    assert p2psip("user", "list", "--overlay", club, "--json") == listed
    assert "are there already" in p2psip("enrollment", "move", club, url, status=2)
    p2psip("enrollment", "backup", club, tmp_path / "kept.db")
    p2psip("user", "add", "bob", "--overlay", club)
    again = postgresql.create("again")
    assert "tables of an enrollment server already" in p2psip(
        "enrollment", "restore", club, tmp_path / "kept.db", "--database", url, status=2
    )
    p2psip("enrollment", "restore", club, tmp_path / "kept.db", "--database", again)
    assert p2psip("user", "list", "--overlay", club, "--json") == listed
    p2psip("enrollment", "move", club, "directory")
    assert p2psip("user", "list", "--overlay", club, "--json") == listed
    assert (club / "accounts.db").exists()
    assert not (club / "enrollment.toml").exists()
