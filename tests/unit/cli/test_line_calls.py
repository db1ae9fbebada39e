"""`p2psip line forward`, `p2psip line calls` and `p2psip dial`, for a peer that does not run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2psip.daemon.state.dial_plan_file import DIAL_PLAN_FILE
from p2psip.daemon.state.line_files import LineFiles
from p2psip.sip.entities.handling.call_handling import CallHandling, QuietHours

Command = Callable[..., str]


@pytest.fixture
def plan(peer: Path) -> Path:
    """A dial plan in the state directory."""
    path = peer / DIAL_PLAN_FILE
    path.write_text(
        '[extensions]\n42 = "carol"\n[[rule]]\npattern = "00."\nrefuse = "not abroad"\n'
        '[emergency]\nnumbers = ["112"]\nto = ["desk"]\n'
    )
    return path


def handling(peer: Path) -> CallHandling:
    return LineFiles(peer, "alice").load_handling()


def test_forwarding_is_written_down(p2psip: Command, peer: Path) -> None:
    assert p2psip("line", "forward", "alice", "always", "bob", "--peer", peer) == "alice: always: forwarded to bob\n"
    said = p2psip("line", "forward", "alice", "no-answer", "Zoe", "--peer", peer, "--json")
    assert json.loads(said)["calls"] == ["always: forwarded to bob", "no-answer: forwarded to zoe"]
    assert handling(peer) == CallHandling(always="bob", no_answer="zoe")
    p2psip("line", "forward", "alice", "always", "--off", "--peer", peer)
    assert handling(peer) == CallHandling(no_answer="zoe")
    assert (peer / "lines" / "alice.calls").stat().st_mode & 0o077 == 0
    assert "no-answer: forwarded to zoe" in p2psip("line", "list", "--peer", peer)


def test_who_is_forwarded_to_is_dialled_by_the_plan(p2psip: Command, peer: Path, plan: Path) -> None:
    p2psip("line", "forward", "alice", "busy", "42", "--peer", peer)
    assert handling(peer) == CallHandling(busy="carol")
    assert "not abroad" in p2psip("line", "forward", "alice", "busy", "0049", "--peer", peer, status=2)
    assert handling(peer) == CallHandling(busy="carol")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("bob@club.example", "bob"),
        ("sip:Bob@club.example", "bob"),
        ("tel:42", "carol"),
        ("tel:+49-30-1234", "+49301234"),
    ],
)
def test_however_it_is_written_whom_calls_go_to(
    p2psip: Command, peer: Path, plan: Path, typed: str, meant: str
) -> None:
    p2psip("line", "forward", "alice", "busy", typed, "--peer", peer)
    assert handling(peer) == CallHandling(busy=meant)


@pytest.mark.parametrize("typed", ["112", "tel:112", "urn:service:sos", "112@club.example"])
def test_nobody_forwards_to_an_emergency_number(p2psip: Command, peer: Path, plan: Path, typed: str) -> None:
    said = p2psip("line", "forward", "alice", "always", typed, "--peer", peer, status=2)
    assert "is an emergency number: no calls are forwarded there" in said
    assert handling(peer) == CallHandling()


def test_what_becomes_of_calls_is_written_down(p2psip: Command, peer: Path) -> None:
    arguments = ("--ring", "40", "--quiet", "22:00-07:00", "--quiet", "13:00-14:00", "--allow", "bob", "--deny", "zoe")
    p2psip("line", "calls", "alice", *arguments, "--do-not-disturb", "--only-allowed", "--peer", peer)
    assert handling(peer) == CallHandling(
        ring_s=40,
        do_not_disturb=True,
        allow=("bob",),
        only_allowed=True,
        deny=("zoe",),
        quiet=(QuietHours.parse("22:00-07:00"), QuietHours.parse("13:00-14:00")),
    )
    assert p2psip("line", "calls", "alice", "--peer", peer) == (
        "alice: rings for 40 s; do not disturb; quiet 22:00-07:00, 13:00-14:00; denied: zoe; "
        "allowed: bob (nobody else gets through)\n"
    )
    p2psip("line", "calls", "alice", "--quiet", "", "--deny", "", "--disturb", "--all", "--ring", "0", "--peer", peer)
    assert handling(peer) == CallHandling(allow=("bob",))
    assert p2psip("line", "calls", "alice", "--reset", "--ring", "20", "--peer", peer) == "alice: rings for 20 s\n"
    assert p2psip("line", "calls", "alice", "--reset", "--peer", peer) == "alice: all calls ring\n"
    assert handling(peer) == CallHandling()


def test_the_home_peers_of_a_line_are_written_down(p2psip: Command, peer: Path) -> None:
    homes = ("2026b1b92203f350713c9f92defde47d", "01" * 16)
    p2psip("line", "calls", "alice", "--home", homes[0].upper(), "--home", homes[1], "--peer", peer)
    assert handling(peer) == CallHandling(homes=homes)
    assert p2psip("line", "calls", "alice", "--peer", peer) == f"alice: home: {homes[0]}, {homes[1]}\n"
    p2psip("line", "calls", "alice", "--home", "", "--peer", peer)
    assert handling(peer) == CallHandling()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["line", "forward", "alice", "sometimes", "bob"], "'sometimes' is none of always, busy, no-answer"),
        (["line", "forward", "alice", "always"], "say to whom calls are forwarded, as bob or 42, or --off"),
        (["line", "forward", "alice", "always", "bob", "--off"], "--off forwards to nobody: leave bob out, or --off"),
        (["line", "forward", "alice", "always", "bob@other.example"], "bob@other.example is not of club.example"),
        (["line", "forward", "alice", "always", "alice@club.example"], "alice cannot forward to itself"),
        (["line", "forward", "alice", "always", "mailto:bob"], "'mailto:bob' is no number here: write 42, bob"),
        (["line", "forward", "alice", "always", "alice"], "alice cannot forward to itself"),
        (["line", "forward", "alice", "always", "b b"], "'b b' is no user and no number"),
        (["line", "forward", "bob", "always", "zoe"], "bob@club.example has no line here"),
        (["line", "calls", "alice", "--ring", "3"], "--ring takes 5 to 170 s"),
        (["line", "calls", "alice", "--quiet", "22-7"], "--quiet: '22-7' are no hours: write them as 22:00-07:00"),
        (["line", "calls", "alice", "--deny", "a b"], "'a b' is no user's name"),
        (["line", "calls", "alice", "--home", "me"], "--home: 'me' is no Node-ID: write its 32 hex digits"),
        (["line", "calls", "alice", "--home", "0" * 32], "is no Node-ID"),
        (["line", "calls", "bob"], "bob@club.example has no line here"),
        (["dial", "--explain", "42", "--as", "bob"], "bob has no line here: there are alice"),
        (["dial", "--explain", "mailto:bob"], "is no number here"),
        (["dial", "--explain", ""], "is no number here"),
        (["dial"], "write --explain and a number, or --codes"),
        (["dial", "--codes", "--explain", "42"], "write --explain and a number, or --codes"),
        (["line", "calls", "alice", "--pick-up", "a b"], "'a b' is no user's name"),
        (["line", "calls", "alice", "--deny", "*"], "'*' is no user's name"),
    ],
)
def test_wrong_input_is_one_line(p2psip: Command, peer: Path, arguments: list[str], says: str) -> None:
    assert says in p2psip(*arguments, "--peer", peer, status=2)


def test_damaged_wishes_are_one_line_that_says_what_to_do(p2psip: Command, peer: Path) -> None:
    for wish in ('{"quiet": ["late"]}', '{"homes": ["here"]}', '{"homes": ["00"]}'):
        (peer / "lines" / "alice.calls").write_text(wish)
        said = p2psip("line", "calls", "alice", "--peer", peer, status=2)
        assert "`p2psip line calls alice --reset` begins anew" in said
    p2psip("line", "calls", "alice", "--reset", "--peer", peer)
    assert handling(peer) == CallHandling()


def test_who_picks_up_and_who_speaks_unasked(p2psip: Command, peer: Path) -> None:
    p2psip("line", "calls", "alice", "--pick-up", "bob", "--intercom", "*", "--peer", peer)
    assert handling(peer) == CallHandling(pick_up=("bob",), intercom=("*",))
    said = p2psip("line", "calls", "alice", "--peer", peer)
    assert said == "alice: picked up by: bob; answers by itself to: *\n"


def test_star_codes_are_listed(p2psip: Command, peer: Path) -> None:
    (peer / DIAL_PLAN_FILE).write_text('[codes]\nintercom = ""\nforward = "*21*"\n')
    codes = {each["service"]: each["code"] for each in json.loads(p2psip("dial", "--codes", "--peer", peer, "--json"))}
    assert (codes["forward"], codes["intercom"], codes["echo"]) == ("*21*", "", "*43")
    rows = p2psip("dial", "--codes", "--peer", peer).splitlines()
    assert len(rows) == len(codes) - 1
    assert any(row.startswith("*21* and a number") and row.endswith("all calls are forwarded") for row in rows)


def explained(p2psip: Command, peer: Path, number: str) -> Any:
    return json.loads(p2psip("dial", "--explain", number, "--peer", peer, "--json"))


def test_a_call_is_explained_from_the_files(p2psip: Command, peer: Path, plan: Path) -> None:
    found = explained(p2psip, peer, "42")
    said = {word["resolver"]: word["says"] for word in found["words"] if word["says"]}
    assert said == {"dial plan": "line 2 is for 42: carol is called", "users": "the overlay is asked for carol"}
    assert (found["line"], found["user"], found["refused"]) == ("alice", "carol", False)
    assert found["places"] == ["the peer does not run: the overlay is not asked"]
    assert explained(p2psip, peer, "tel:112")["user"] == "desk"
    assert explained(p2psip, peer, "*43")["end"] == "goes to echo"
    assert explained(p2psip, peer, "*72zoe")["end"] == "goes to *72, all calls are forwarded"


def test_an_explanation_knows_the_lines(p2psip: Command, peer: Path) -> None:
    p2psip("line", "forward", "alice", "always", "bob", "--peer", peer)
    found = explained(p2psip, peer, "alice")
    assert found["user"] == "bob"
    assert "alice forwards all calls to bob" in [word["says"] for word in found["words"]]


def test_a_call_that_is_refused_is_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], peer: Path, plan: Path
) -> None:
    from p2psip.cli.main import main

    monkeypatch.setattr("sys.argv", ["p2psip", "dial", "--explain", "0049", "--peer", str(peer)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().out.endswith("so: refused: 403, not abroad\n")
