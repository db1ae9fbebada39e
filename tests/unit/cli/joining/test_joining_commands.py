"""What `p2psip up`, `invite` and `join` say to who has mistyped something, and which directories they are about."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from p2psip.base.errors import Cause
from p2psip.daemon.joining import joiner
from p2psip.daemon.joining.first_machine import found_here
from p2psip.daemon.joining.waiting_members import PendingJoin, save_pending
from p2psip.enrollment.client import EnrollmentRefused
from p2psip.enrollment.join_codes import JoinCode, MeetingPlace

Command = Callable[..., str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with an overlay, as `p2psip up` makes it."""
    for name in ("P2PSIP_PEER", "P2PSIP_OVERLAY"):
        # What a command sets is gone after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found_here(tmp_path / ".p2psip/overlay", "club.example", "192.0.2.1", random.Random(1), time.time())
    return tmp_path


def test_invite_is_about_the_overlay_that_began_here(p2psip: Command) -> None:
    code = json.loads(p2psip("invite", "--phone", "carol", "--uses", 3, "--json"))
    assert code["code"].startswith("carol@club.example/")
    (listed,) = json.loads(p2psip("invite", "--list", "--json"))
    assert (listed["number"], listed["state"], listed["user"]) == (1, "3 lines left", "carol@club.example")
    assert p2psip("invite", "--withdraw", 1) == "Nobody else comes in by invitation 1.\n"
    assert "withdrawn" in p2psip("invite", "--list")
    assert code["code"] not in p2psip("invite", "--list")
    assert p2psip("user", "list").startswith("admin@club.example (administrator)")


def test_a_directory_that_is_named_counts_before(p2psip: Command, home: Path) -> None:
    assert "is not the directory of an overlay" in p2psip("invite", "--overlay", home, status=2)
    os.environ["P2PSIP_OVERLAY"] = str(home / "nowhere")
    assert "nowhere is not the directory of an overlay" in p2psip("invite", status=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["invite", "--expires", "soon"], "'soon' is no time: write 30m, 12h, 1d or 2w"),
        (["invite", "--machine"], "--machine goes with --phone"),
        (["invite", "--phone", "Carol"], "cannot be a user name of"),
        (["invite", "--phone", "peer-x"], "is the name of a machine"),
        (["invite", "--by", "zoe"], "there is no account zoe@club.example"),
        (["invite", "--withdraw", "7"], "there is no invitation 7"),
        (["join", "club.example/nonsense"], "this code is damaged or mistyped"),
        (["join", ""], "this code is damaged or mistyped"),
        (["up", "--listen", "here"], "--listen 'here' is not an IP address"),
        (["up", "--listen", "0.0.0.0"], "every address is what there is without it"),
        (["up", "--listen", "192.0.2.1:x"], "write HOST:PORT, with a port from 0 to 65535"),
        (["join", "club.example/x", "--listen", "192.0.2.1:99"], "is not an IP address of this machine"),
        (["up", "--directory", "new", "--listen", "192.0.2.1", "no_name"], "is not a DNS name"),
    ],
)
def test_what_is_mistyped_ends_in_one_line(p2psip: Command, home: Path, arguments: list[str], said: str) -> None:
    assert said in p2psip(*arguments, status=2)
    assert not (home / "new").exists()
    assert not (home / ".p2psip/peer").exists()


def test_a_code_in_pieces_that_begin_with_a_dash(p2psip: Command) -> None:
    """As a mail program breaks it, and as people type groups; what looks like an option and is none is told."""
    code = json.loads(p2psip("invite", "--phone", "carol", "--json"))["code"]
    pieces = code.replace("-", " -").split()
    assert sum(piece.startswith("-") for piece in pieces) > 5
    assert "there is none in" in p2psip("join", *pieces, status=2)
    assert "there is none in" in p2psip("join", "--name", "hill", *pieces, "--json", status=2)
    assert "there is no option --nmae. Try --help." in p2psip("join", code, "--nmae=hill", status=2)


def test_up_takes_another_port_for_who_enrolls(home: Path, p2psip: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: became.append(arguments))
    p2psip("up", "port.example", "--directory", home / "new", "--listen", "192.0.2.1:9443")
    assert became[0][-2:] == [str(home / "new/overlay"), "9443"]
    document = (home / "new/overlay/config.xml").read_text()
    assert "https://192.0.2.1:9443/enroll" in document
    p2psip("up", "port.example", "--directory", home / "new", "--listen", "[2001:db8::1]:9444")
    assert became[1][-1] == "9444"
    assert json.loads(became[1][-4]) == {"listen": ["2001:db8::1"], "phone_listen": ["2001:db8::1"]}


def test_who_waits_to_come_in_begins_no_overlay(home: Path, p2psip: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of it: nobody is there, or there is no for an answer."""
    code = JoinCode.parse(json.loads(p2psip("invite", "--json"))["code"])
    code = replace(code, places=(MeetingPlace("127.0.0.1", 9, 9),))
    peer = home / "new/peer"
    peer.mkdir(parents=True)
    save_pending(peer, PendingJoin(str(code), "valley", {}))
    assert "does not answer, or is another one" in p2psip("up", "--directory", home / "new", status=1)
    assert "is of club.example already" in p2psip("up", "other.example", "--directory", home / "new", status=2)

    async def refused(*_: object, **__: object) -> None:
        raise EnrollmentRefused("not enrolled", (Cause("https://x", "no", 0.0),), "membership_revoked")

    monkeypatch.setattr(joiner, "join_overlay", refused)
    assert "`p2psip join` with another code, or delete" in p2psip("up", "--directory", home / "new", status=1)
    assert [path.name for path in (home / "new").rglob("*")] == ["peer", "joining.json"]


def test_a_code_for_a_line_wants_a_peer(p2psip: Command) -> None:
    code = json.loads(p2psip("invite", "--phone", "carol", "--json"))["code"]
    # Several words, as from a page with breaks in the line.
    assert "there is none in" in p2psip("join", *code.replace("-", " ", 3).split(), status=2)
