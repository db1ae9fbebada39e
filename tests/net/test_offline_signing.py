"""An enrollment server without any key that signs: requests collected, signed elsewhere, returned, by commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

P2PSIP = [sys.executable, "-c", "from p2psip.cli.main import main; main()"]

pytestmark = pytest.mark.slow(40)


def p2psip(*arguments: object, status: int = 0) -> str:
    """Run the command to its end; what it prints."""
    command = [*P2PSIP, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def test_two_machines_join_and_who_has_the_key_signs_by_hand(tmp_path: Path) -> None:
    club, server, carried, signed = (tmp_path / name for name in ("club", "server", "carried.json", "signed.json"))
    password = tmp_path / "password"
    password.write_text("anchor password")
    founded = json.loads(
        p2psip("overlay", "create", "club.example", club, "--enrollment-url", "https://127.0.0.1:1/", "--json")
    )
    p2psip("enrollment", "delegate", club, server, "--offline")
    assert not list(server.glob("*.key"))
    # The key is encrypted where it is; nothing but the signing asks for it.
    p2psip("enrollment", "protect", club, "--password-file", password)
    (club / "enrollment.toml").write_text(f'key_password_file = "{password}"\n')
    command = [*P2PSIP, "enrollment", "serve", str(server), "--listen", "127.0.0.1:0", "--log-format", "json"]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert running.stdout is not None
        _, url = running.stdout.readline().split()
        p2psip("user", "add", "alice", "--overlay", server, "--password-file", password)
        join = [
            "--config",
            url,
            "--fingerprint",
            founded["fingerprint"],
            "--user",
            "alice",
            "--password-file",
            password,
        ]
        for name in ("garden", "attic"):
            said = p2psip("peer", "init", tmp_path / name, "--name", name, *join, status=1)
            assert "has to sign it: repeat this command later, as it is" in said
        assert "2 to be signed" in p2psip("enrollment", "requests", server, carried)
        assert "say --yes to sign these 2" in p2psip("enrollment", "sign", club, carried, signed, status=2)
        assert "peer-garden@club.example" in p2psip("enrollment", "sign", club, carried, signed, status=2)
        p2psip("enrollment", "sign", club, carried, signed, "--yes")
        returned = json.loads(p2psip("enrollment", "return", server, signed, "--json"))
        assert sorted(returned["returned"]) == ["peer-attic@club.example", "peer-garden@club.example"]
        asked = {each["user"]: each["node_ids"] for each in json.loads(carried.read_text())["requests"]}
        for name in ("garden", "attic"):
            peer = json.loads(p2psip("peer", "init", tmp_path / name, "--name", name, *join, "--json"))
            assert [peer["node_id"]] == asked[peer["user"]]
        assert "0 to be signed" in p2psip("enrollment", "requests", server, carried)
        assert "signs at once" in p2psip("enrollment", "requests", club, carried, status=2)
    finally:
        os.kill(running.pid, signal.SIGTERM)
        running.communicate(timeout=60)
    told = json.loads(p2psip("enrollment", "audit", server, "--json"))
    assert [entry["event"] for entry in told if entry["user"].startswith("peer-")] == ["requested"] * 2
    assert [entry["event"] for entry in told][-2:] == ["signed"] * 2
    outcomes = [json.loads(line).get("outcome") for line in (tmp_path / "log").read_text().splitlines()]
    assert [each for each in outcomes if each] == ["waiting_for_signature"] * 2 + ["issued"] * 2
