"""`p2psip members`, typed at the overlay's directory."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from p2psip.daemon.joining.first_machine import found_here
from p2psip.enrollment.accounts import Account, Issue
from p2psip.enrollment.admission import Applicant
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.sim.membership import node_id

Command = Callable[..., str]

ALICE, GARDEN, VALLEY = (f"{name}@club.example" for name in ("alice", "peer-garden", "peer-valley"))


@pytest.fixture(autouse=True)
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OverlayDirectory:
    """With alice and her peer; valley waits."""
    monkeypatch.setenv("P2PSIP_OVERLAY", str(tmp_path / "club"))
    monkeypatch.chdir(tmp_path)
    now = time.time()
    made = found_here(tmp_path / "club", "club.example", "192.0.2.1", random.Random(1), now)
    accounts = made.accounts()
    accounts.add(Account(ALICE, ""))
    for number, user in enumerate((ALICE, GARDEN), start=1):
        assert accounts.record(Issue(ALICE, user, bytes([number]), (node_id(number),), b"x", now + 1000.0))
    assert accounts.apply(Applicant(VALLEY, VALLEY, b"v", now, "192.0.2.7"), 1)
    return made


def states(p2psip: Command) -> dict[str, str]:
    """Who is what."""
    return {
        each["name"].partition("@")[0]: each["state"]
        for each in json.loads(p2psip("members", "list", "--json"))["members"]
    }


def test_who_is_in_who_waits_and_who_is_let_in(p2psip: Command) -> None:
    usual = {"admin": "member", "alice": "member", "peer-garden": "member"}
    assert states(p2psip) == usual | {"peer-valley": "waits"}
    listed = p2psip("members", "list")
    assert "peer-valley@club.example  waits since" in listed
    assert "asked from 192.0.2.7" in listed
    assert "need no approval" in listed
    assert "waits for `p2psip members approve" in p2psip("members", "approval", "on")
    assert "have to be approved" in p2psip("members", "list")
    assert p2psip("members", "approve", "valley").startswith(f"{VALLEY} is approved")
    assert states(p2psip) == usual | {"peer-valley": "approved"}
    assert "Nobody has to be" in p2psip("members", "approval", "off")
    assert not json.loads(p2psip("members", "list", "--json"))["approval"]


def test_who_is_granted_and_not_signed(p2psip: Command, overlay: OverlayDirectory) -> None:
    accounts, now = overlay.accounts(), time.time()

    def granted(user: str, number: int) -> bool:
        return accounts.record(Issue(ALICE, user, bytes([number]), (node_id(number),), b"", now + 9.0, request=b"csr"))

    assert granted("peer-shed@club.example", 7)
    # A second phone of somebody who is in.
    assert granted(ALICE, 8)
    assert (states(p2psip)["peer-shed"], states(p2psip)["alice"]) == ("unsigned", "member")
    assert "waits for being signed: `p2psip enrollment requests`" in p2psip("members", "list")


def test_who_is_revoked_and_taken_back(p2psip: Command, overlay: OverlayDirectory) -> None:
    said = json.loads(p2psip("members", "revoke", "garden", "--yes", "--grace", "2h", "--json"))
    assert (said["name"], said["node_ids"], said["pushed"]) == (GARDEN, [str(node_id(2))], False)
    assert overlay.document().configuration.bad_nodes == {node_id(2)}
    assert states(p2psip)["peer-garden"] == "revoked"
    assert ", --undo until" in p2psip("members", "list")
    assert "is welcome again" in p2psip("members", "revoke", GARDEN, "--undo")
    assert overlay.document().configuration.bad_nodes == frozenset()
    assert states(p2psip)["peer-garden"] == "member"
    # alice, and with her the machine that she has enrolled.
    assert "with 2 Node-IDs" in p2psip("members", "revoke", "alice", "--yes")
    assert {states(p2psip)[name] for name in ("alice", "peer-garden")} == {"revoked"}


def test_who_waits_is_refused(p2psip: Command) -> None:
    assert json.loads(p2psip("members", "revoke", "valley", "--yes", "--json"))["node_ids"] == []
    assert states(p2psip)["peer-valley"] == "refused"
    assert "--undo` takes that back" in p2psip("members", "approve", "valley", status=2)
    p2psip("members", "revoke", "valley", "--undo")
    assert states(p2psip)["peer-valley"] == "waits"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["approve", "zoe"], "there is no member zoe: `p2psip members list` lists them"),
        (["approve", "alice"], "nobody waits as alice@club.example"),
        (["approve", "Zoe!"], "cannot be a user name of club.example"),
        (["approval", "maybe"], "'maybe' is neither on nor off"),
        (["revoke", "garden"], "say --yes to revoke peer-garden@club.example, with 1 Node-IDs"),
        (["revoke", "garden", "--yes", "--grace", "ever"], "'ever' is no time"),
        (["revoke", "garden", "--undo"], "peer-garden@club.example was not revoked"),
        (["revoke", "admin", "--yes"], "signs this overlay's configuration"),
        (["list", "--overlay", "/nowhere"], "is not the directory of an overlay"),
    ],
)
def test_what_is_mistyped_ends_in_one_line(
    p2psip: Command, overlay: OverlayDirectory, arguments: list[str], said: str
) -> None:
    assert said in p2psip("members", *arguments, status=2)
    assert overlay.document().configuration.sequence == 1
    assert overlay.accounts().revocations() == []
