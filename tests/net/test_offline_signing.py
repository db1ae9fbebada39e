"""An enrollment server without any key that signs: requests collected, signed elsewhere, returned, by commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typed_commands import P2PSIP, as_account, p2psip

pytestmark = pytest.mark.slow(60)

PATIENCE_S = 120.0


class Waiting:
    """A command that waits for people."""

    def __init__(self, *arguments: object) -> None:
        command = [*P2PSIP, *map(str, arguments), "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)

    def told(self) -> Any:
        """What it says next."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        """Whatever it waits for yet."""
        self.process.kill()
        self.process.communicate(timeout=PATIENCE_S)


@contextmanager
def offline_server(tmp_path: Path) -> Iterator[list[str]]:
    """What a machine says to enroll as alice at a server whose key is in `club`; in `server` there is none."""
    club, server, password = (tmp_path / name for name in ("club", "server", "password"))
    password.write_text("anchor password")
    founded = json.loads(
        p2psip("overlay", "create", "club.example", club, "--enrollment-url", "https://127.0.0.1:1/", "--json")
    )
    p2psip("enrollment", "delegate", club, server, "--offline")
    assert not list(server.glob("*.key"))
    # The key is encrypted where it is; nothing but the signing asks for it.
    p2psip("enrollment", "protect", club, "--password-file", password)
    p2psip("user", "add", "alice", "--overlay", server, "--password-file", password)
    (club / "enrollment.toml").write_text(f'key_password_file = "{password}"\n')
    command = [*P2PSIP, "enrollment", "serve", str(server), "--listen", "127.0.0.1:0", "--log-format", "json"]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert running.stdout is not None
        _, url = running.stdout.readline().split()
        yield as_account("alice", password, url=url, fingerprint=founded["fingerprint"])
    finally:
        os.kill(running.pid, signal.SIGTERM)
        running.communicate(timeout=PATIENCE_S)


def test_two_machines_wait_for_being_approved_and_signed_by_hand(tmp_path: Path) -> None:
    club, server, carried, signed = (tmp_path / name for name in ("club", "server", "carried.json", "signed.json"))
    users = {name: f"peer-{name}@club.example" for name in ("attic", "garden")}
    with offline_server(tmp_path) as join:
        p2psip("members", "approval", "on", "--overlay", server)
        waiting = {name: Waiting("peer", "init", tmp_path / name, "--name", name, *join) for name in users}
        try:
            for name, machine in waiting.items():
                approval = {"waiting": True, "user": name, "for": "approval", "approver": "admin@club.example"}
                assert machine.told() == approval
            # What is not approved is not there to be signed.
            p2psip("members", "approve", "garden", "--overlay", server)
            signature = {"waiting": True, "user": "garden", "for": "signature", "approver": None}
            assert waiting["garden"].told() == signature
            assert "1 to be signed" in p2psip("enrollment", "requests", server, carried)
            assert states(server) == {"peer-attic": "waits", "peer-garden": "unsigned"}
            assert "say --yes to sign these 1" in p2psip("enrollment", "sign", club, carried, signed, status=2)
            assert users["garden"] in p2psip("enrollment", "sign", club, carried, signed, status=2)
            p2psip("enrollment", "sign", club, carried, signed, "--yes")
            returned = json.loads(p2psip("enrollment", "return", server, signed, "--json"))
            assert returned["returned"] == [users["garden"]]
            # Nothing is typed where the machine is.
            (asked,) = json.loads(carried.read_text())["requests"]
            peer = waiting["garden"].told()
            assert ([peer["node_id"]], peer["user"]) == (asked["node_ids"], users["garden"])
            assert waiting["garden"].process.wait(PATIENCE_S) == 0
        finally:
            for machine in waiting.values():
                machine.end()
        assert states(server) == {"peer-attic": "waits", "peer-garden": "member"}
        assert "0 to be signed" in p2psip("enrollment", "requests", server, carried)
        assert p2psip("enrollment", "sign", club, carried, signed).startswith("0 are signed"), (
            "nothing to be asked about"
        )
        assert "not what `p2psip enrollment sign` has written" in p2psip(
            "enrollment", "return", server, carried, status=2
        )
        assert "signs at once" in p2psip("enrollment", "requests", club, carried, status=2)
    told = json.loads(p2psip("enrollment", "audit", server, "--json"))
    of_machines = [(entry["event"], entry["user"]) for entry in told if entry["user"].startswith("peer-")]
    assert sorted(of_machines[:2]) == [("waits", user) for user in users.values()]
    # However often it has asked.
    assert of_machines[2:] == [("approved", users["garden"]), ("requested", users["garden"])]
    assert told[-1]["event"] == "signed"
    outcomes = [json.loads(line).get("outcome") for line in (tmp_path / "log").read_text().splitlines()]
    expected = ["approval_pending"] * 2 + ["waiting_for_signature", "issued"]
    assert [each for each in outcomes if each] == expected


def states(server: Path) -> dict[str, str]:
    """Which machine is what, by name."""
    listed = json.loads(p2psip("members", "list", "--overlay", server, "--json"))["members"]
    return {name: each["state"] for each in listed if (name := each["name"].partition("@")[0]).startswith("peer-")}
