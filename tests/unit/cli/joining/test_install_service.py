"""`p2psip install-service`; the commands of systemd are scripts that write down what they are told."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from p2psip.daemon.joining import service_units

Command = Callable[..., str]

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that systemd runs, and somebody's home with a peer in it; the user of the service is there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SUDO_USER", raising=False)
    for name in ("P2PSIP_PEER", "P2PSIP_OVERLAY"):
        # What a command sets is gone after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    peer = tmp_path / "home/.p2psip/peer"
    peer.mkdir(parents=True)
    (peer / "peer.toml").write_text("")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("systemctl", "useradd"):
        script = f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/typed\n'
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setattr(service_units, "UNITS", tmp_path)
    monkeypatch.setattr(service_units, "MARK", tmp_path)
    monkeypatch.setattr(service_units, "STATE_DIRECTORY", tmp_path / "var/p2psip")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def typed(machine: Path) -> list[str]:
    """What systemd and the system were told."""
    file = machine / "typed"
    return file.read_text().splitlines() if file.exists() else []


def test_a_unit_is_written_and_systemd_told(p2psip: Command, machine: Path) -> None:
    said = p2psip("install-service", "--user", "nobody", "--now")
    unit = (machine / "p2psip.service").read_text()
    assert "User=nobody" in unit
    assert f"up --directory {machine}/home/.p2psip" in unit
    assert typed(machine) == ["systemctl daemon-reload", "systemctl enable --now p2psip.service"]
    assert "journalctl -u p2psip" in said


def test_who_is_to_run_it_is_made(p2psip: Command, machine: Path) -> None:
    (machine / "home/.p2psip").rename(machine / "own")
    (machine / "var/p2psip").mkdir(parents=True)
    (machine / "var/p2psip/peer").symlink_to(machine / "own/peer")
    facts = json.loads(p2psip("install-service", "--json"))
    assert (facts["user"], facts["started"]) == ("p2psip", False)
    assert typed(machine)[-1] == "systemctl enable p2psip.service"
    assert typed(machine)[0].startswith("useradd --system") or pwd.getpwnam("p2psip")


def test_what_is_shown_is_not_done(p2psip: Command, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for flag in ("--print", "--dry-run"):
        unit = p2psip("install-service", "peer", "--directory", machine / "home/.p2psip/peer", "--user", "nobody", flag)
        assert f"peer run {machine}/home/.p2psip/peer" in unit
    assert json.loads(p2psip("install-service", "--user", "nobody", "--print", "--json"))["unit"].startswith(
        "# Written"
    )
    assert typed(machine) == []
    assert not (machine / "p2psip-peer.service").exists()
    assert "this needs root" in p2psip("install-service", "--user", "nobody", status=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["phone"], "'phone' cannot be a service: up, peer or enrollment can"),
        (["peer"], "say which with --directory"),
        (["enrollment", "--directory", "/nowhere"], "there is nothing to run in /nowhere: make it first"),
        (["--user", "root"], "is root's: give it to the user who is to run it"),
        (["--user", "zoe-is-not-here"], "this machine has no user zoe-is-not-here"),
    ],
)
def test_what_cannot_be_a_service_is_none(p2psip: Command, machine: Path, arguments: list[str], said: str) -> None:
    assert said in p2psip("install-service", *arguments, status=2)
    assert typed(machine) == []
    assert not list(machine.glob("*.service"))


def test_a_machine_that_systemd_does_not_run(p2psip: Command, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_units, "MARK", machine / "nothing")
    assert "is not run by systemd" in p2psip("install-service", "--user", "nobody", status=2)


@pytest.mark.skipif(ME != "root", reason="whose the directory is matters where that is root")
def test_what_is_root_s_is_given_away_first(p2psip: Command, machine: Path) -> None:
    assert "is root's: give it to the user" in p2psip("install-service", status=2)


def test_what_fails_is_told_in_its_words(p2psip: Command, machine: Path) -> None:
    (machine / "bin/systemctl").write_text("#!/bin/sh\necho no bus >&2; exit 1\n")
    assert "systemctl daemon-reload: no bus" in p2psip("install-service", "--user", "nobody", status=1)
