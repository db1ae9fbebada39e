"""`p2psip enrollment serve` and `peer init` as processes, as an operator runs them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typed_commands import P2PSIP, as_account, p2psip

from p2psip.daemon.enrollment import is_reached

PASSWORD = "alice's secret"


@contextmanager
def serving(directory: Path, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The server while it runs, and where it is."""
    command = [*P2PSIP, "enrollment", "serve", str(directory), "--listen", f"127.0.0.1:{port}", "--log-format", "json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        word, url = server.stdout.readline().split()
        assert word == "ready"
        yield url, server
    finally:
        if server.poll() is None:
            os.kill(server.pid, signal.SIGKILL)
        server.communicate(timeout=60)


@pytest.mark.slow(40)
def test_found_serve_join_remove_and_stop(tmp_path: Path) -> None:
    club, password = tmp_path / "club", tmp_path / "password"
    password.write_text(PASSWORD)
    founded = json.loads(p2psip("overlay", "create", "club.example", club, "--json"))
    with serving(club) as (url, server):
        # The accounts are changed beside the running server.
        p2psip("user", "add", "alice", "--overlay", club, "--password-file", password)
        join = as_account("alice", password, url=url, fingerprint=founded["fingerprint"])
        peer = json.loads(p2psip("peer", "init", tmp_path / "peer", "--name", "garden", *join, "--json"))
        assert peer["user"] == "peer-garden@club.example"
        p2psip("overlay", "set", club, "--sign", f"enrollment-server={url}")
        again = json.loads(p2psip("peer", "init", tmp_path / "peer2", "--name", "attic", *join, "--json"))
        assert json.loads(p2psip("peer", "renew", tmp_path / "peer2", "--json"))["node_id"] == again["node_id"]
        removed = json.loads(p2psip("user", "remove", "alice", "--overlay", club, "--yes", "--json"))
        assert sorted(removed["revoked"]) == sorted([peer["node_id"], again["node_id"]])
        assert "nothing to renew" in p2psip("peer", "renew", tmp_path / "peer2", status=1)
        assert "is wrong" in p2psip("peer", "init", tmp_path / "peer3", *join, status=1)
        server.send_signal(signal.SIGTERM)
        out, log = server.communicate(timeout=60)
        assert (server.returncode, out) == (0, "")
    elsewhere, *decisions = [json.loads(line) for line in log.splitlines()]
    assert elsewhere["event"] == "members look for the server elsewhere"
    assert [line["outcome"] for line in decisions] == [
        "issued",
        "issued",
        "issued",
        "failed_authentication",
        "failed_authentication",
    ]
    assert {line["account"] for line in decisions} == {"alice@club.example", ""}
    assert PASSWORD not in log


@pytest.mark.slow(40)
def test_a_server_that_is_not_where_members_look_says_so_and_what_to_do(tmp_path: Path) -> None:
    """The command that it prints is the one that mends it, to the letter."""
    club = tmp_path / "club"
    p2psip("overlay", "create", "club.example", club, "--enrollment-url", "https://192.0.2.9:8443")
    with serving(club) as (url, server):
        assert server.stderr is not None
        said = json.loads(server.stderr.readline())
    assert (said["level"], said["event"]) == ("warning", "members look for the server elsewhere")
    assert (said["configuration"], said["here"]) == ("https://192.0.2.9:8443/enroll", url)
    program, *arguments = shlex.split(said["else_run"])
    assert program == "p2psip"
    p2psip(*arguments)
    with serving(club, int(url.rpartition(":")[2])) as (_, server):
        server.send_signal(signal.SIGTERM)
        assert server.communicate(timeout=60) == ("", "")


@pytest.mark.parametrize(
    ("places", "own", "is_found"),
    [
        ({("192.168.7.1", 8443)}, {"127.0.0.1", "192.168.7.1"}, True),
        ({("192.168.7.1", 443)}, {"192.168.7.1"}, False),
        ({("192.168.7.1", 8443)}, {"127.0.0.1"}, False),
        ({("192.0.2.9", 8443), ("2001:db8::1", 8443)}, {"2001:db8::1"}, True),
    ],
)
def test_whether_members_find_it(places: set[tuple[str, int]], own: set[str], is_found: bool) -> None:
    assert is_reached(places, own, 8443) is is_found
