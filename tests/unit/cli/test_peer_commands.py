"""`p2psip peer`, `line`, `lookup`, `status`: what they say to wrong input, and without a running peer."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2psip.base.address import Address
from p2psip.cli import run_peer
from p2psip.cli.main import COMMANDS
from p2psip.coupling.call_paths import NO_AUDIO
from p2psip.daemon import control_client
from p2psip.daemon.nat_words import SitePorts
from p2psip.daemon.report import nat_report
from p2psip.daemon.state.settings import PeerSettings
from p2psip.reload.node.connecting.nat.port_mapping import PortMappingFacts
from p2psip.reload.paths.nat.reach import Reach
from p2psip.sim.membership import OVERLAY, node_id
from p2psip.sip.message.digest import ha1_by_algorithm

FINGERPRINT = "5" * 64


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(p2psip: Callable[..., str], command: str) -> None:
    said = p2psip(command, "--help")
    assert f"Usage: p2psip {command}" in said
    assert len(said.splitlines()) > 8


@pytest.mark.parametrize(
    "command",
    [
        "peer init",
        "peer run",
        "peer renew",
        "line add",
        "line list",
        "line remove",
        "line renew",
        "lookup",
        "trace",
        "status",
    ],
)
def test_help_teaches(p2psip: Callable[..., str], command: str) -> None:
    said = p2psip(*command.split(), "--help")
    assert f"Usage: p2psip {command}" in said
    assert "--json" in said
    if command not in ("line list", "line remove", "line renew"):
        assert "Example" in said


def test_every_setting_is_a_flag(p2psip: Callable[..., str]) -> None:
    said = p2psip("peer", "run", "--help")
    for name in PeerSettings.__struct_fields__:
        assert f"--{name.replace('_', '-')}" in said


# Wrong input: one line, exit status 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dance"], "No such command 'dance'"),
        (["peer"], "Missing command"),
        (["peer", "dance"], "No such command 'dance'"),
        (["peer", "run"], "Missing argument 'STATE_DIR'"),
        (["peer", "run", "{tmp}/nowhere"], "is not the state directory of a peer: `p2psip peer init` makes one"),
        (["peer", "run", "{tmp}/nowhere", "--dance"], "No such option: --dance"),
        (["peer", "run", "{peer}", "--overlay-port", "high"], "Invalid value for '--overlay-port'"),
        (["peer", "run", "{peer}", "--overlay-port", "70000"], "overlay_port: write a number from 1 to 65535"),
        (["peer", "run", "{peer}", "--overlay-port", "0"], "overlay_port: write a number from 1 to 65535"),
        (["peer", "run", "{peer}", "--sip-port", "6084"], "overlay_port and sip_port are both 6084"),
        (["peer", "run", "{peer}", "--listen", "here"], "'here' is not an IP address"),
        (["peer", "run", "{peer}", "--advertise", "pbx.example"], "'pbx.example' is not an IP address"),
        (["peer", "run", "{peer}", "--no-phone-udp", "--no-phone-tcp", "--no-phone-tls"], "phones need phone_udp"),
        (["peer", "run", "{peer}", "--log-level", "loud"], "log_level: write debug or error"),
        (["peer", "run", "{peer}", "--log-format", "xml"], "log_format: write json or text"),
        (["peer", "run", "{peer}", "--fingerprint", "abc"], "fingerprint"),
        (["peer", "run", "{peer}", "--name", "Two Words"], "name"),
        (["peer", "init", "{tmp}/new"], "Missing option '--config'"),
        (["peer", "init", "{tmp}/new", "--config", "x", "--fingerprint", "abc"], "64 hex digits"),
        (["peer", "init", "{tmp}/new", "--config", "{tmp}/none", "--fingerprint", FINGERPRINT], "cannot read"),
        (["peer", "init", "{tmp}/new", "--config", "", "--fingerprint", FINGERPRINT], "no overlay's name"),
        (["peer", "init", "{tmp}/new", "--config", "192.168.7.300", "--fingerprint", FINGERPRINT], "no HOST"),
        (["peer", "init", "{tmp}/new", "--config", "192.168.7", "--fingerprint", FINGERPRINT], "no overlay's name"),
        (["peer", "init", "{tmp}/new", "--config", "192.0.2.1:99999", "--fingerprint", FINGERPRINT], "no HOST"),
        (["peer", "init", "{overlay}", "--config", "x", "--fingerprint", FINGERPRINT], "the directory of an overlay"),
        (
            [
                *("client", "init", "{overlay}", "--config", "x", "--fingerprint", FINGERPRINT),
                *("--user", "a", "--password-file", "{secret}"),
            ],
            "the directory of an overlay",
        ),
        (
            ["peer", "init", "{tmp}/new", "--config", "http://h", "--fingerprint", FINGERPRINT],
            "write https://HOST:PORT",
        ),
        (
            ["peer", "init", "{tmp}/new", "--config", "https://", "--fingerprint", FINGERPRINT],
            "write https://HOST:PORT",
        ),
        (["peer", "init", "{tmp}/new", "--config", "https://h:x", "--fingerprint", FINGERPRINT], "write https://HOST"),
        (["peer", "init", "{peer}", "--config", "x", "--fingerprint", FINGERPRINT], "is a peer's already"),
        (["peer", "init", "{tmp}/new", "--config", "x", "--fingerprint", FINGERPRINT, "--name", "A B"], "name"),
        (["peer", "init", "{tmp}/new", "--config", "x", "--fingerprint", FINGERPRINT, "--sip-port", "0"], "sip_port"),
        (
            ["peer", "init", "{tmp}/new", "--config", "x", "--fingerprint", FINGERPRINT, "--user", "a"],
            "--password-file",
        ),
        (["peer", "renew", "{tmp}"], "is not the state directory of a peer"),
        (["line"], "Missing command"),
        (["line", "add", "bob", "--peer", "{tmp}"], "is not the state directory of a peer"),
        (["line", "add", "Bob", "--peer", "{peer}"], "cannot be a user name of club.example"),
        (["line", "add", "bob@elsewhere.example", "--peer", "{peer}"], "cannot be a user name of club.example"),
        (["line", "add", "../../etc", "--peer", "{peer}"], "cannot be a user name of club.example"),
        (
            ["line", "add", "bob", "--peer", "{peer}"],
            "the account password of bob@club.example",
        ),
        (["line", "add", "bob", "--peer", "{peer}", "--password-file", "{tmp}/none"], "cannot read"),
        (["line", "add", "bob", "--peer", "{peer}", "--password-file", "{empty}"], "holds no password"),
        (["line", "list", "--peer", "{tmp}"], "is not the state directory of a peer"),
        (["line", "remove", "bob", "--peer", "{peer}"], "bob@club.example has no line here; `p2psip line list"),
        (["line", "renew", "bob", "--peer", "{peer}"], "bob has no line here; `p2psip line list"),
        (["lookup"], "Missing argument 'SIP-URI'"),
        (["lookup", "bob", "--peer", "{tmp}/nowhere"], "is not the state directory of a peer"),
        (["lookup", "bob", "--peer", "{peer}"], "`p2psip peer run"),
        (["trace"], "Missing argument 'SIP-URI|NODE-ID|RESOURCE'"),
        (["trace", "bob", "--peer", "{tmp}/nowhere"], "is not the state directory of a peer"),
        (["status", "--peer", "{peer}"], "no peer runs in"),
        (["status", "--peer", "/etc/passwd"], "is not the state directory of a peer"),
        (["status", "more"], "unexpected extra argument"),
    ],
)
def test_wrong_input_is_one_line(
    p2psip: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    peer: Path,
    arguments: list[str],
    says: str,
) -> None:
    def exec_nothing(*_: object) -> None:
        raise AssertionError("a peer was started")

    monkeypatch.setattr(os, "execv", exec_nothing)
    empty = tmp_path / "empty"
    empty.write_text("")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "anchor.crt").write_text("")
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    places = {
        "{tmp}": str(tmp_path),
        "{peer}": str(peer),
        "{empty}": str(empty),
        "{secret}": str(secret),
        "{overlay}": str(overlay),
    }
    for name, path in places.items():
        arguments = [argument.replace(name, path) for argument in arguments]
    assert says in p2psip(*arguments, status=2)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("peer.toml", b"\xff\xfe", "peer.toml"),
        ("peer.toml", b"name = ", "peer.toml"),
        ("config.xml", b"<not-a-configuration/>", "config.xml"),
        ("config.xml", b"\0\1\2", "config.xml"),
        ("peer.key", b"no key", "PEM"),
        ("peer.crt", b"no certificate", "PEM"),
        ("peer.crt", None, "cannot read"),
    ],
)
def test_a_state_directory_that_is_damaged(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    peer: Path,
    file: str,
    content: bytes | None,
    says: str,
) -> None:
    """What is wrong with which file, in one line; a traceback would tell nobody."""
    if content is None:
        (peer / file).unlink()
    else:
        (peer / file).write_bytes(content)
    monkeypatch.setitem(sys.modules, "rich", None)  # undone afterwards, unlike what the process of a peer does
    with pytest.raises(SystemExit) as ended:
        run_peer.main([str(peer), "{}", "json"])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    lines = [line for line in captured.err.splitlines() if line.startswith("p2psip: ")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in captured.err


# Becoming a peer


def test_the_command_becomes_the_peer(p2psip: Callable[..., str], monkeypatch: pytest.MonkeyPatch, peer: Path) -> None:
    """The flags that were given go on to a process that has none of the command line's libraries."""
    begun: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: begun.append((program, arguments)))
    p2psip("peer", "run", peer, "--phone-port", "5070", "--listen", "192.0.2.1", "--listen", "::1", "--no-phone-tcp")
    ((program, arguments),) = begun
    assert (program, arguments[:4]) == (sys.executable, [sys.executable, "-m", "p2psip.cli.run_peer", str(peer)])
    assert json.loads(arguments[4]) == {"phone_port": 5070, "listen": ["192.0.2.1", "::1"], "phone_tcp": False}
    assert arguments[5] == "text"


# Without a running peer


def lines_of(p2psip: Callable[..., str], peer: Path) -> Any:
    return json.loads(p2psip("line", "list", "--peer", peer, "--json"))


def test_lines_are_listed_from_the_files(p2psip: Callable[..., str], peer: Path) -> None:
    (line,) = lines_of(p2psip, peer)
    assert line == {
        "user": f"alice@{OVERLAY}", "node_id": str(node_id(2)), "phones": [], "record": None, "calls": [], "others": [],
        "problem": "",
    }  # fmt: skip
    assert p2psip("line", "list", "--peer", peer) == (
        f"alice@{OVERLAY}  {node_id(2)}  no record in the overlay  no phone registered\n"
    )


def test_a_line_that_is_damaged_does_not_hide_the_others(p2psip: Callable[..., str], peer: Path) -> None:
    (peer / "lines" / "bob.json").write_text("{}")
    alice, bob = lines_of(p2psip, peer)
    assert (alice["problem"], bob["node_id"]) == ("", None)
    assert "bob.json" in bob["problem"]
    assert "problem: " in p2psip("line", "list", "--peer", peer)


@pytest.mark.parametrize("is_up", [False, True], ids=["from its files", "from the running peer"])
def test_wishes_that_cannot_be_read_are_a_problem_of_the_line(
    p2psip: Callable[..., str], peer: Path, monkeypatch: pytest.MonkeyPatch, *, is_up: bool
) -> None:
    line = {"user": f"alice@{OVERLAY}", "node_id": "00", "phones": [], "calls": [], "others": [], "problem": ""}
    monkeypatch.setattr(control_client, "is_running", lambda directory: is_up)
    monkeypatch.setattr(control_client, "ask_peer", lambda directory, command: [line])
    (peer / "lines" / "alice.calls").write_text("{")
    (said,) = lines_of(p2psip, peer)
    assert "alice.calls" in said["problem"]
    assert "`p2psip line calls alice --reset` begins anew" in said["problem"]


def test_a_line_is_removed(p2psip: Callable[..., str], peer: Path) -> None:
    assert json.loads(p2psip("line", "remove", "alice", "--peer", peer, "--json")) == {
        "user": f"alice@{OVERLAY}",
        "removed": True,
    }
    assert lines_of(p2psip, peer) == []
    assert [each for each in (peer / "lines").iterdir() if each.is_file()] == []
    assert p2psip("line", "list", "--peer", peer) == "no lines; `p2psip line add USER` adds one\n"


def test_the_directory_may_come_from_the_environment(
    p2psip: Callable[..., str], monkeypatch: pytest.MonkeyPatch, peer: Path
) -> None:
    monkeypatch.setenv("P2PSIP_PEER", str(peer))
    assert "alice" in p2psip("line", "list")


def test_home_is_found_where_no_shell_has_looked_for_it(
    p2psip: Callable[..., str], monkeypatch: pytest.MonkeyPatch, peer: Path
) -> None:
    """In quotes, after `--peer=`, in a variable of a systemd unit, in an assignment."""
    monkeypatch.setenv("HOME", str(peer.parent))
    for arguments in (("--peer", "~/peer"), ("--peer=~/peer",), ("--peer", "~/peer/../peer")):
        assert "alice" in p2psip("line", "list", *arguments)
    assert "BEGIN CERTIFICATE" in p2psip("peer", "trust", "~/peer")
    p2psip("peer", "trust", "~/peer", "--out=~/club.pem")
    assert (peer.parent / "club.pem").exists()
    monkeypatch.setenv("P2PSIP_PEER", "~/peer")
    assert "alice" in p2psip("line", "list")
    assert "~no-such-user/peer is not the state directory" in p2psip("status", "--peer", "~no-such-user/peer", status=2)


def test_the_made_up_password_of_a_phone_is_short_and_longer_on_request(
    p2psip: Callable[..., str], tmp_path: Path
) -> None:
    club, peer = tmp_path / "club", tmp_path / "peer"
    created = json.loads(p2psip("overlay", "create", OVERLAY, club, "--self-signed", "sha256", "--json"))
    fingerprint = created["fingerprint"]
    p2psip("peer", "init", peer, "--config", club / "config.xml", "--fingerprint", fingerprint, "--name", "hill")
    told = p2psip("line", "add", "alice", "--peer", peer)
    assert re.search("user = alice, phone password = [a-hjkmnp-z2-9]{10}\n", told)
    made = json.loads(p2psip("line", "add", "alice", "--peer", peer, "--long-password", "--json"))["phone_password"]
    assert re.fullmatch("([a-hjkmnp-z2-9]{4}-){3}[a-hjkmnp-z2-9]{4}", made)
    kept = json.loads((peer / "lines" / "alice.json").read_text())["logins"]
    for typed in (made, made.upper(), made.replace("-", "")):
        assert ha1_by_algorithm("Alice", OVERLAY, typed) in kept["Alice"]
    assert made not in (peer / "lines" / "alice.json").read_text()


def test_status_says_how_many_members_there_are_and_how_links_go_and_why_there_are_none(
    p2psip: Callable[..., str], monkeypatch: pytest.MonkeyPatch, peer: Path
) -> None:
    facts: dict[str, object] = {
        "user": "peer-hill@a.b",
        "node_id": "ab" * 20,
        "configuration": 1,
        "state": "in the overlay",
        "overlay": "a.b",
        "up_s": 1.0,
        "memory_kb": None,
        "lends": {"room_bytes": 5000, "to": "cd" * 20, "user": "peer-v@a.b", "records": 3, "bytes": 900, "reads": 2},
        "lenders": [
            {
                "node_id": "ef" * 20,
                "user": "",
                "room_bytes": 7000,
                "records": 4,
                "bytes": 80,
                "answered": 6,
                "failed": 1,
                "asked": False,
            }
        ],
        "shed": "stores nothing for others for a while: 3.0 % of the disk are free; until 10 % are",
        "trouble": "",
        "ways_in": [
            {"way": "remembered", "address": "10.1.0.9:6084", "result": "no answer", "winner": False, "s_ago": 9.0},
            {"way": "configured", "address": "10.1.0.3:6084", "result": "linked", "winner": True, "s_ago": 4.0},
        ],
        "roles": [
            {
                "role": "joining peer",
                "node_id": "cd" * 20,
                "user": "peer-valley@a.b",
                "did": "was let in",
                "s_ago": 4.0,
            },
            {"role": "admitting peer", "node_id": "ef" * 20, "user": "", "did": "let in after 9 ms", "s_ago": 1.0},
        ],
        "same_node_id_at": "",
        "date_trusted": True,
        "links": [
            {
                "node_id": "cd" * 20,
                "user": "peer-valley@a.b",
                "address": "198.51.100.11:6084",
                "over": "DTLS",
                "state": "up",
                "rtt_ms": 12.0,
                "local": "10.1.0.2:6084",
                "pair": "host to server reflexive",
            }
        ],
        "failed_attempts": [
            {
                "node_id": "ef" * 20,
                "user": "",
                "purpose": "reload",
                "s_ago": 5.0,
                "reason": "no pair of addresses works",
                "pairs": [
                    {
                        "local": "10.1.0.2:6084",
                        "remote": "198.51.100.12:6084",
                        "types": "host to server reflexive",
                        "outcome": "no answer to 5 checks yet",
                    }
                ],
            }
        ],
        "relays": {"offered": False, "lent_to_others": 0, "known": [], "in_use": []},
        "port_mapping": {"allowed": True, "what": "The router 10.1.0.1 is being asked to let others in."},
        "media_engine": {"engine": "rtpengine at 127.0.0.1:2223", "state": "answers", "calls": 3},
        "tunnels": [{"node_id": "ab" * 20, "user": "peer-hill@a.b", "lacks": f"{NO_AUDIO}: none has been found yet"}],
        "records": {"count": 0, "bytes": 0},
        "overlays": [
            {
                "overlay": "mesh.b",
                "directory": "/srv/mesh",
                "ended": None,
                "member": True,
                "neighbors": 5,
                "lines": ["alice@mesh.b", "bob@mesh.b"],
            },
            {"overlay": "far.c", "directory": "/srv/far", "ended": None, "member": False, "neighbors": 0, "lines": []},
            {"overlay": "old.d", "directory": "/srv/old", "ended": "its certificate is revoked"},
            {"overlay": "new.e", "directory": "/srv/new", "ended": None},
        ],
        "lines": [],
        "trunks": [{"name": "provider", "state": "registered", "calls": 1, "calls_max": 2}],
        "rooms": [{"room": "801", "mixed_by": "", "mixed_at": None, "people": [], "here": ["alice"]}],
        "dundi": {
            "peers": [
                {"name": "near", "state": "answers", "rtt_ms": 11.8, "last_failure": None},
                {"name": "far", "state": "silent", "rtt_ms": None, "last_failure": "no answer"},
            ]
        },
        "neighbors": [],
        "members": 3,
    }
    monkeypatch.setattr(control_client, "ask_peer", lambda directory, what: facts)
    said = p2psip("status", "--peer", peer)
    assert "  tried:       remembered  10.1.0.9:6084  no answer (9 s ago)\n" in said
    assert "  came in by:  configured  10.1.0.3:6084  linked (4 s ago)\n" in said
    assert "  let in by:           peer-valley (cdcdcdcd)  was let in (4 s ago)\n" in said
    assert "  admitting peer for:  efefefef                let in after 9 ms (1 s ago)\n" in said
    assert "  knows 3 members, itself among them\n  neighbors:    none\n" in said
    assert "  media engine: rtpengine at 127.0.0.1:2223 answers, carries 3 calls\n" in said
    assert "peer-valley (cdcdcdcd)  198.51.100.11:6084  DTLS from 10.1.0.2:6084, host to server reflexive  up" in said
    assert "  no link with efefefef: no pair of addresses works (5 s ago)\n" in said
    tried = "10.1.0.2:6084  to  198.51.100.12:6084  host to server reflexive  no answer to 5 checks yet"
    assert f"    tried {tried}\n" in said
    what = f"calls with peer-hill (abababab) go inside overlay messages; {NO_AUDIO}: none has been found yet"
    assert f"  {what}" in said
    assert "  DUNDi peer near: answers, 11.8 ms\n  DUNDi peer far: silent; no answer\n" in said
    assert "  The router 10.1.0.1 is being asked to let others in.\n" in said
    assert "  lends 5000 bytes to peer-v@a.b: 3 records, read 2 times\n" in said
    assert "  efefefef lends 7000 bytes: 4 records, 80 bytes; served 6 times, failed 1, not asked now\n" in said
    assert "  also in mesh.b: 5 neighbours; lines alice@mesh.b, bob@mesh.b; its peer is in /srv/mesh\n" in said
    assert "  also in far.c: not in it yet; lines none; its peer is in /srv/far\n" in said
    assert "  also in old.d: ended: its certificate is revoked\n  also in new.e: is being started\n" in said
    assert "  stores nothing for others for a while: 3.0 % of the disk are free; until 10 % are\n" in said
    del facts["members"]
    assert "members" not in p2psip("status", "--peer", peer)


def test_nat_says_what_a_peer_is_behind_and_what_its_router_has_given(
    p2psip: Callable[..., str], monkeypatch: pytest.MonkeyPatch, peer: Path
) -> None:
    given = PortMappingFacts(True, "192.168.7.1", "PCP", (("UDP 6084", Address("203.0.113.9", 6084)),))
    here = Address("192.168.7.2", 6084)
    reach = Reach(0.0, helpers=2, local=here, address=Address("203.0.113.9", 6084))
    facts = nat_report(reach, SitePorts(6084, 5062), given, 1.0)
    monkeypatch.setattr(control_client, "ask_peer", lambda directory, what: facts)
    said = p2psip("nat", "--peer", peer)
    assert said.startswith("This peer is behind a router (NAT) of which more is not known")
    assert "\nThe router 192.168.7.1 lets others in: UDP 6084 as 203.0.113.9:6084 (PCP).\n" in said
