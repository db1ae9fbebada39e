"""`p2psip overlay`, `user`, `enrollment` and `peer init`, through the command line as a user has it."""

from __future__ import annotations

import io
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from p2psip.base.ids import NodeId
from p2psip.cli.main import main
from p2psip.enrollment.accounts import Issue
from p2psip.enrollment.client import verify_first
from p2psip.enrollment.passwords import is_password
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.wire.common import SignatureAlgorithm

URL = "https://192.0.2.1:8443"
NODE = "0123456789abcdef0123456789abcdef"


class _Terminal(io.TextIOWrapper):
    """Somebody who types."""

    def __init__(self, typed: bytes) -> None:
        super().__init__(io.BytesIO(typed))

    def isatty(self) -> bool:
        return True


class Command:
    """Runs `p2psip` with arguments; standard input is no terminal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object, stdin: bytes = b"", status: int = 0, is_terminal: bool = False) -> str:
        """What it prints: on standard output, or on standard error if it is to fail."""
        self._monkeypatch.setattr(sys, "argv", ["p2psip", *map(str, arguments)])
        self._monkeypatch.setattr(
            sys, "stdin", _Terminal(stdin) if is_terminal else io.TextIOWrapper(io.BytesIO(stdin))
        )
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self._capsys.readouterr()
        assert ended.value.code == status, captured.err
        if status:
            assert captured.err.startswith("p2psip: ")
            assert captured.err.count("\n") == 1
        return captured.err if status else captured.out

    def json(self, *arguments: object, stdin: bytes = b"") -> Any:
        """The same with --json, read."""
        return json.loads(self(*arguments, "--json", stdin=stdin))


@pytest.fixture
def p2psip(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command."""
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def new_club(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay as `overlay create` makes it; nobody changes this one."""
    directory = tmp_path_factory.mktemp("new") / "club"
    arguments = ["p2psip", "overlay", "create", "club.example", str(directory), "--enrollment-url", URL]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return directory


@pytest.fixture
def club(new_club: Path, tmp_path: Path) -> Path:
    """A new overlay of one's own."""
    return shutil.copytree(new_club, tmp_path / "club")


def test_create_says_all_that_is_needed_next(p2psip: Command, tmp_path: Path) -> None:
    told = p2psip("overlay", "create", "Club.Example", tmp_path / "club", "--enrollment-url", URL)
    overlay = OverlayDirectory(tmp_path / "club")
    fingerprint = overlay.anchor().fingerprint
    assert f"fingerprint:      {fingerprint}" in told
    assert f"p2psip enrollment serve {tmp_path}/club" in told
    assert f"--config {URL} --user admin" in told
    password = next(line.split()[2] for line in told.splitlines() if line.startswith("account password:"))
    admin = overlay.accounts().account("admin@club.example")
    assert admin is not None
    assert is_password(password, admin.password_hash)
    assert admin.is_admin
    document = verify_first(overlay.document_path.read_bytes(), fingerprint, 0.0, False, "club.example")
    assert document.configuration.enrollment_servers == (f"{URL}/enroll",)


def test_create_with_everything(p2psip: Command, tmp_path: Path) -> None:
    facts = p2psip.json(
        "overlay", "create", "club.example", tmp_path / "club", "--key", "rsa", "--admin", "root",
        "--password-file", "-", "--topology", "CHORD-RELOAD", "--node-id-length", "16", "--calls-by", "home",
        "--enrollment-url", URL, "--enrollment-url", "https://[2001:db8::1]/x", "--bootstrap", "192.0.2.9",
        stdin=b"root's secret\nmore\n",
    )  # fmt: skip
    assert "password" not in facts
    assert facts["admin"] == "root@club.example"
    configuration = OverlayDirectory(tmp_path / "club").document().configuration
    assert configuration.signature_algorithms == {SignatureAlgorithm.RSA}
    assert (facts["topology"], configuration.topology_plugin) == ("CHORD-RELOAD", "CHORD-RELOAD")
    assert [(node.address, node.port) for node in configuration.bootstrap_nodes] == [("192.0.2.9", 6084)]
    assert configuration.calls_by is CallsBy.HOME
    admin = OverlayDirectory(tmp_path / "club").accounts().account("root@club.example")
    assert admin is not None
    assert is_password("root's secret", admin.password_hash)


def test_create_without_a_url_takes_this_machine_s_address(p2psip: Command, tmp_path: Path) -> None:
    (url,) = p2psip.json("overlay", "create", "club.example", tmp_path / "club")["enrollment_servers"]
    assert url.startswith("https://")
    assert url.endswith(":8443/enroll")


def test_a_created_overlay_is_left_alone(p2psip: Command, club: Path) -> None:
    before = (club / "config.xml").read_bytes()
    assert "is not empty" in p2psip("overlay", "create", "club.example", club, status=2)
    assert (club / "config.xml").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["overlay"], "Missing command"),
        (["overlay", "create", "club.example"], "Missing argument 'DIR'"),
        (["overlay", "create", "a_b", "x"], "is not a DNS name"),
        (["overlay", "create", "a.b", "x", "--admin", "Root"], "cannot be a user name"),
        (["overlay", "create", "a.b", "x", "--topology", "KADEMLIA"], "KADEMLIA is not installed here"),
        (["overlay", "create", "a.b", "x", "--topology", "onehop"], "CHORD-RELOAD, one-hop): did you mean one-hop?"),
        (["overlay", "create", "a.b", "x", "--topology", "chord-reload"], "did you mean CHORD-RELOAD?"),
        (["overlay", "create", "a.b", "x", "--topology", ""], "topology plug-in '' is not installed here"),
        (
            ["overlay", "create", "a.b", "x", "--node-id-length", "20"],
            "cannot do that: Node-IDs of 20 bytes; --topology one-hop can",
        ),
        (["overlay", "create", "a.b", "x", "--enrollment-url", "http://x"], "write https://HOST:PORT"),
        (["overlay", "create", "a.b", "x", "--bootstrap", "host:1"], "not a name"),
        (["overlay", "create", "a.b", "x", "--password-file", "missing"], "cannot read missing"),
        (["overlay", "create", "a.b", "x", "--password-file", "-"], "holds no password"),
        (["overlay", "show", "missing"], "cannot read missing"),
        (["overlay", "set", "missing", "no-ice=true"], "is not the directory of an overlay"),
        (["overlay", "sign", "missing"], "is not the directory of an overlay"),
        (["overlay", "push", "missing"], "is not the directory of an overlay"),
        (["overlay", "show", "https://[::1/"], "write https://HOST:PORT"),
        (["user", "list", "--overlay", "missing"], "is not the directory of an overlay"),
        (["enrollment", "serve", "missing"], "is not the directory of an overlay"),
        (["peer", "init", "x", "--config", "missing", "--fingerprint", "12"], "64 hex digits"),
        (["peer", "init", "x", "--config", "missing", "--fingerprint", "0" * 64], "cannot read missing"),
        (["peer", "init", "x", "--config", "http://x", "--fingerprint", "0" * 64], "write https://HOST:PORT"),
        (["peer", "init", "x", "--config", "c", "--fingerprint", "0" * 64, "--user", "a"], "give --password-file"),
        (["peer", "init", "x", "--config", "c", "--fingerprint", "0" * 64, "--name", "A B"], "peer init: "),
        (["peer", "renew", "missing"], "is not the state directory of a peer"),
    ],
)
def test_misuse_is_one_line(
    p2psip: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in p2psip(*arguments, status=2)
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_was_never_set(p2psip: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    told = p2psip("overlay", "create", "club.example", tmp_path / "club", status=2)
    assert "the clock of this machine says 1970-01-01: set it first" in told


def test_show_directory_and_file(p2psip: Command, club: Path) -> None:
    facts = p2psip.json("overlay", "show", club)
    assert facts["overlay"] == "club.example"
    assert facts["fingerprints"] == [OverlayDirectory(club).anchor().fingerprint]
    assert p2psip("overlay", "show", club / "config.xml") == p2psip("overlay", "show", club)
    (club / "config.xml").write_bytes(b"<x/>")
    assert "not valid by the grammar" in p2psip("overlay", "show", club, status=2)


def test_set_adds_and_takes_out(p2psip: Command, club: Path) -> None:
    def set_(*changes: str) -> Any:
        p2psip("overlay", "set", club, "--sign", *changes)
        return p2psip.json("overlay", "show", club)

    facts = set_("bootstrap-node+=192.0.2.1", "bootstrap-node+=[2001:db8::1]:7")
    assert (facts["bootstrap_nodes"], facts["sequence"]) == (["192.0.2.1:6084", "[2001:db8::1]:7"], 2)
    facts = set_("bootstrap-node-=192.0.2.1:6084", "bootstrap-node+=[2001:db8::1]:7")
    assert (facts["bootstrap_nodes"], facts["sequence"]) == (["[2001:db8::1]:7"], 3)
    facts = set_("enrollment-server+=https://box", f"enrollment-server-={URL}/enroll")
    assert facts["enrollment_servers"] == ["https://box/enroll"]
    assert set_("bad-node+=" + NODE)["bad_nodes"] == [NODE]
    assert set_("bad-node-=" + NODE.upper())["bad_nodes"] == []
    assert set_("no-ice=1")["sequence"] == 6
    assert "must have 16 bytes" in p2psip("overlay", "set", club, "bad-node+=" + "00" * 17, status=2)
    assert "is no Node-ID" in p2psip("overlay", "set", club, "bad-node+=xyz", status=2)
    signer = str(OverlayDirectory(club).signer().node_id)
    assert "cannot be revoked" in p2psip("overlay", "set", club, f"bad-node+={signer}", status=2)
    assert "must stay a kind-signer" in p2psip("overlay", "set", club, f"kind-signer-={signer}", status=2)


SCALARS = {
    "turn-density=7": ("turn_density", 7),
    "clients-permitted=false": ("clients_permitted", False),
    "no-ice=false": ("no_ice", False),
    "chord-update-interval=60": ("chord_update_interval_s", 60),
    "chord-ping-interval=61": ("chord_ping_interval_s", 61),
    "chord-reactive=0": ("chord_reactive", False),
    "shared-secret=a & b": ("shared_secret", True),
    "max-message-size=9000": ("max_message_size", 9000),
    "initial-ttl=33": ("initial_ttl", 33),
    "overlay-reliability-timer=250": ("overlay_reliability_timer_ms", 250),
    "successors=6": ("successors", 6),
    "expiration=2030-01-02T03:04:05Z": ("expiration", "2030-01-02T03:04:05Z"),
    "self-signed-permitted=sha256": ("self_signed_permitted", "sha256"),
    "topology-plugin=OTHER": ("topology_plugin", "OTHER"),
    "node-id-length=16": ("node_id_length", 16),
    "overlay-link-protocol+=DTLS-UDP-SR-NO-ICE": ("overlay_link_protocols", ["TLS", "DTLS-UDP-SR-NO-ICE"]),
    "mandatory-extension=urn:a,urn:b": ("mandatory_extensions", ["urn:a", "urn:b"]),
    "domain-restriction=own": ("domain_restriction", [False]),
    "domain-restriction=a,b": ("domain_restriction", [True, "a", "b"]),
    "sip-tunnel=false": ("sip_tunnel", False),
    "calls-by=Home": ("calls_by", "home"),
    "route-mode=RPR": ("route_mode", "RPR"),
    "signature-algorithm+=rsa-sha256": ("signatures", ["ecdsa", "rsa"]),
}


@pytest.mark.parametrize("change", SCALARS)
def test_every_element_can_be_set(p2psip: Command, club: Path, change: str) -> None:
    field, value = SCALARS[change]
    difference = p2psip.json("overlay", "set", club, change)["difference"]
    assert (difference == []) == (change == "node-id-length=16")
    if difference:
        p2psip("overlay", "sign", club, "--yes")
    assert p2psip.json("overlay", "show", club)[field] == value


def test_a_draft_is_shown_and_signed_when_told(p2psip: Command, club: Path) -> None:
    before = (club / "config.xml").read_bytes()
    shown = p2psip("overlay", "set", club, "initial-ttl=33")
    assert "-  <initial-ttl>100</initial-ttl>\n+  <initial-ttl>33</initial-ttl>" in shown
    assert "-<configuration instance-name=" in shown
    assert (club / "config.xml").read_bytes() == before
    assert "that is not signed" in p2psip("overlay", "push", club, status=2)
    assert "say --yes" in p2psip("overlay", "sign", club, status=2)
    assert (club / "config.xml").read_bytes() == before
    told = p2psip("overlay", "sign", club, "--yes")
    assert "+  <initial-ttl>33</initial-ttl>" in told
    assert "configuration 2 is signed" in told
    assert OverlayDirectory(club).document().configuration.initial_ttl == 33
    assert "nothing to sign" in p2psip("overlay", "sign", club, "--yes", status=2)
    p2psip("overlay", "set", club, "initial-ttl=34")
    assert "nothing changes" in p2psip("overlay", "set", club, "initial-ttl=33")
    assert not (club / "draft.xml").exists()


def test_kinds_come_and_go(p2psip: Command, club: Path) -> None:
    before = [kind["kind"] for kind in p2psip.json("overlay", "show", club)["kinds"]]
    p2psip("overlay", "set", club, "--sign", "kind+=0xF0000010:DICTIONARY:USER-NODE-MATCH:100:1000")
    p2psip("overlay", "set", club, "--sign", "kind+=REDIR:10:5000", "kind+=0xF0000010:SINGLE:NODE-MATCH:1:9")
    assert "0xf0000010:SINGLE:NODE-MATCH:1:9\n" in p2psip("overlay", "show", club)
    kinds = {kind["kind"]: kind for kind in p2psip.json("overlay", "show", club)["kinds"]}
    assert list(kinds) == [*before, "REDIR", "0xf0000010"]
    assert kinds["0xf0000010"]["max_size"] == 9
    p2psip("overlay", "set", club, "--sign", "kind-=4026531856", "kind-=REDIR")
    assert [kind["kind"] for kind in p2psip.json("overlay", "show", club)["kinds"]] == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("initial-ttl", "is no change"),
        ("speed=9", "there is no element speed; there are bad-node, bootstrap-node"),
        ("initial-ttl=many", "write a whole number"),
        ("initial-ttl+=1", "has one value"),
        ("initial-ttl=0", "initial-ttl must be from 1 to 255"),
        ("overlay-reliability-timer=100", "at least 200 ms"),
        ("chord-reactive=perhaps", "write true or false"),
        ("self-signed-permitted=md5", "write sha1 or sha256"),
        ("expiration=soon", "write a date such as"),
        ("bad-node-=" + NODE, "it is not there"),
        ("kind+=0xF0000010", "is no Kind"),
        ("kind+=0xF0000010:PILE:USER-MATCH:1:1", "write SINGLE or ARRAY or DICTIONARY"),
        ("expiration=2020-01-01", "expiration is in the past"),
        ("enrollment-server+=http://x", "write https://HOST:PORT"),
        ("root-cert+=missing.pem", "cannot read missing.pem"),
    ],
)
def test_a_change_that_is_none(p2psip: Command, club: Path, change: str, says: str) -> None:
    assert says in p2psip("overlay", "set", club, change, status=2)
    assert not (club / "draft.xml").exists()


@pytest.mark.long
def test_accounts(p2psip: Command, club: Path, tmp_path: Path) -> None:
    made_up = p2psip.json("user", "add", "alice", "--overlay", club)
    assert made_up["name"] == "alice@club.example"
    (tmp_path / "pw").write_text("carol's secret\n")
    told = p2psip(
        "user", "add", "carol", "--admin", "--quota", "7", "--overlay", club, "--password-file", tmp_path / "pw"
    )
    assert told == "carol@club.example added.\n"
    assert "`p2psip user password`" in p2psip("user", "add", "alice", "--overlay", club, status=2)
    rows = {row["name"]: row for row in p2psip.json("user", "list", "--overlay", club)}
    assert list(rows) == ["admin@club.example", "alice@club.example", "carol@club.example"]
    assert (rows["carol@club.example"]["admin"], rows["carol@club.example"]["quota"]) == (True, 7)
    assert rows["alice@club.example"]["held"] == []
    signer = str(OverlayDirectory(club).signer().node_id)
    assert [held["node_id"] for held in rows["admin@club.example"]["held"]] == [signer]
    assert f"    admin@club.example  {signer}  until 20" in p2psip("user", "list", "--overlay", club)
    changed = p2psip.json("user", "password", "alice", "--overlay", club)["password"]
    alice = OverlayDirectory(club).accounts().account("alice@club.example")
    assert alice is not None
    assert is_password(changed, alice.password_hash)
    assert "no account" in p2psip("user", "password", "bob", "--overlay", club, status=2)
    removed = p2psip.json("user", "remove", "alice", "--overlay", club, "--yes")
    assert removed == {"name": "alice@club.example", "revoked": []}
    assert "no account" in p2psip("user", "remove", "alice", "--overlay", club, "--yes", status=2)
    assert "no account" in p2psip("user", "remove", "alice", "--overlay", club, status=2)
    assert "cannot be removed" in p2psip("user", "remove", "admin", "--overlay", club, "--yes", status=2)
    assert "at most 64" in p2psip("user", "add", "Alice", "--overlay", club, status=2)
    (tmp_path / "pw").write_text("short")
    assert "8 to" in p2psip("user", "add", "bob", "--overlay", club, "--password-file", tmp_path / "pw", status=2)


def hold(club: Path, name: str, *nodes: NodeId) -> None:
    """As if the account had enrolled a line with these Node-IDs."""
    accounts = OverlayDirectory(club).accounts()
    user = f"{name}@club.example"
    assert accounts.record(Issue(user, user, b"key", nodes, b"certificate", time.time() + 1e6))
    accounts.close()


def test_removing_an_account_says_what_it_ends_and_asks(
    p2psip: Command, club: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    p2psip("user", "add", "alice", "--overlay", club)
    nodes = NodeId(b"a" * 16), NodeId(b"b" * 16)
    hold(club, "alice", *nodes)
    OverlayDirectory(club).revoke(nodes[:1])
    shown = p2psip("user", "list", "--overlay", club)
    assert f"    alice@club.example  {nodes[0]}  revoked\n" in shown
    assert "alice@club.example: 1 of 16 Node-IDs\n" in shown
    rows = {row["name"]: row for row in p2psip.json("user", "list", "--overlay", club)}
    assert [held["revoked"] for held in rows["alice@club.example"]["held"]] == [True, False]
    assert "say --yes to remove alice@club.example, and revoke 1 Node-IDs" in p2psip(
        "user", "remove", "alice", "--overlay", club, status=2
    )
    asked = []

    def answer(said: str, **_: object) -> bool:
        asked.append((said, capsys.readouterr().err))
        return len(asked) > 1

    monkeypatch.setattr("typer.confirm", answer)
    said_no = p2psip("user", "remove", "alice", "--overlay", club, is_terminal=True, status=2)
    assert said_no == "p2psip: nothing was removed\n"
    assert OverlayDirectory(club).accounts().account("alice@club.example") is not None
    said_yes = p2psip("user", "remove", "alice", "--overlay", club, is_terminal=True)
    assert "alice@club.example removed; 1 Node-IDs revoked." in said_yes
    assert OverlayDirectory(club).document().configuration.bad_nodes == set(nodes)
    for said, before in asked:
        assert said == "Remove alice@club.example?"
        assert "holds 1 Node-IDs that will be revoked:" in before
        assert str(nodes[1]) in before
        assert str(nodes[0]) not in before


def test_a_directory_that_is_no_overlay_s(p2psip: Command, club: Path, tmp_path: Path) -> None:
    """A peer's has a configuration document as well."""
    peer = tmp_path / "peer"
    peer.mkdir()
    shutil.copy(club / "config.xml", peer)
    for directory in (peer, tmp_path, tmp_path / "missing"):
        said = p2psip("user", "add", "alice", "--overlay", directory, status=2)
        assert f"{directory} is not the directory of an overlay" in said


def test_the_overlay_here_is_the_default(p2psip: Command, club: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(club)
    assert len(p2psip.json("user", "list")) == 1


def test_a_server_without_its_address(p2psip: Command, club: Path) -> None:
    told = p2psip("enrollment", "serve", club, "--listen", "192.0.2.200:0", status=2)
    assert "cannot listen on 192.0.2.200:0" in told
    assert "--listen ADDRESS:PORT" in told
    assert "choose one of" in p2psip("enrollment", "serve", club, "--log-format", "xml", status=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("overlay",),
        ("overlay", "create"),
        ("overlay", "show"),
        ("overlay", "set"),
        ("overlay", "sign"),
        ("overlay", "push"),
        ("user",),
        ("user", "add"),
        ("user", "password"),
        ("user", "list"),
        ("user", "remove"),
        ("enrollment",),
        ("enrollment", "serve"),
        ("peer",),
        ("peer", "init"),
        ("peer", "renew"),
    ],
)
def test_help_teaches(p2psip: Command, arguments: tuple[str, ...]) -> None:
    assert "Usage: p2psip" in p2psip(*arguments, "--help")


# Who may ask for diagnostics (RFC 7851 section 7)


def test_who_may_ask_for_diagnostics(p2psip: Command, club: Path) -> None:
    """A Kind by its name or number, all or some Node-IDs; a Kind that is given again is replaced."""
    node = "ab" * 16
    changes = ("diagnostic-kind+=MEMORY_FOOTPRINT:all", f"diagnostic-kind+=STATUS_INFO:{node}:all")
    p2psip("overlay", "set", club, "--sign", *changes, f"diagnostic-kind+=0xf001:{node}", "diagnostic-kind-=APP_UPTIME")
    shown = {entry["kind"]: entry["access_nodes"] for entry in p2psip.json("overlay", "show", club)["diagnostic_kinds"]}
    assert shown["MEMORY_FOOTPRINT"] == ["all"]
    assert shown["STATUS_INFO"] == [node, "all"]
    assert shown["unknown(61441)"] == [node]
    assert "APP_UPTIME" not in shown
    assert f"STATUS_INFO:{node}:all" in p2psip("overlay", "show", club)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("diagnostic-kind+=STATUS_INFO", "says not who may ask"),
        ("diagnostic-kind+=WEATHER:all", "is no diagnostic Kind"),
        ("diagnostic-kind+=STATUS_INFO:me", "is no Node-ID"),
        ("diagnostic-kind+=0xffff:all", "out of range"),
        ("diagnostic-kind-=BATTERY_STATUS", "it is not there"),
    ],
)
def test_wrong_diagnostic_kinds(p2psip: Command, club: Path, change: str, says: str) -> None:
    """One line that says what to write."""
    assert says in p2psip("overlay", "set", club, change, status=2)
