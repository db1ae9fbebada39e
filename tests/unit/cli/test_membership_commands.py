"""`p2psip overlay`, `user`, `enrollment` and `peer init`, through the command line as a user has it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from p2psip.cli.main import main
from p2psip.enrollment.client import verify_first
from p2psip.enrollment.passwords import is_password
from p2psip.net.overlay_directory import OverlayDirectory
from p2psip.reload.wire.common import SignatureAlgorithm

URL = "https://192.0.2.1:8443"
NODE = "0123456789abcdef0123456789abcdef"


class Command:
    """Runs `p2psip` with arguments; standard input is no terminal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object, stdin: bytes = b"", status: int = 0) -> str:
        """What it prints: on standard output, or on standard error if it is to fail."""
        self._monkeypatch.setattr(sys, "argv", ["p2psip", *map(str, arguments)])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
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


@pytest.fixture
def club(p2psip: Command, tmp_path: Path) -> Path:
    """A new overlay."""
    directory = tmp_path / "club"
    p2psip("overlay", "create", "club.example", directory, "--enrollment-url", URL)
    return directory


def test_create_says_all_that_is_needed_next(p2psip: Command, tmp_path: Path) -> None:
    told = p2psip("overlay", "create", "Club.Example", tmp_path / "club", "--enrollment-url", URL)
    overlay = OverlayDirectory(tmp_path / "club")
    fingerprint = overlay.anchor().fingerprint
    assert f"fingerprint:   {fingerprint}" in told
    assert f"p2psip enrollment serve {tmp_path}/club" in told
    assert f"--config {URL} --user admin" in told
    password = next(line.split()[1] for line in told.splitlines() if line.startswith("password:"))
    admin = overlay.accounts().account("admin@club.example")
    assert admin is not None
    assert is_password(password, admin.password_hash)
    assert admin.is_admin
    document = verify_first(overlay.document_path.read_bytes(), fingerprint, 0.0, False, "club.example")
    assert document.configuration.enrollment_servers == (f"{URL}/enroll",)


def test_create_with_everything(p2psip: Command, tmp_path: Path) -> None:
    facts = p2psip.json(
        "overlay", "create", "club.example", tmp_path / "club", "--key", "rsa", "--admin", "root",
        "--password-file", "-",
        "--enrollment-url", URL, "--enrollment-url", "https://[2001:db8::1]/x", "--bootstrap", "192.0.2.9",
        stdin=b"root's secret\nmore\n",
    )  # fmt: skip
    assert "password" not in facts
    assert facts["admin"] == "root@club.example"
    configuration = OverlayDirectory(tmp_path / "club").document().configuration
    assert configuration.signature_algorithms == {SignatureAlgorithm.RSA}
    assert [(node.address, node.port) for node in configuration.bootstrap_nodes] == [("192.0.2.9", 6084)]
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
        (["overlay", "create", "a.b", "x", "--enrollment-url", "http://x"], "write https://HOST:PORT"),
        (["overlay", "create", "a.b", "x", "--bootstrap", "host:1"], "not a name"),
        (["overlay", "create", "a.b", "x", "--password-file", "missing"], "cannot read missing"),
        (["overlay", "create", "a.b", "x", "--password-file", "-"], "holds no password"),
        (["overlay", "show", "missing"], "cannot read missing"),
        (["overlay", "set", "missing"], "is not the directory of an overlay"),
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
    facts = p2psip.json("overlay", "set", club, "--bootstrap", "192.0.2.1", "--bootstrap", "[2001:db8::1]:7")
    assert (facts["bootstrap_nodes"], facts["sequence"]) == (["192.0.2.1:6084", "[2001:db8::1]:7"], 2)
    facts = p2psip.json("overlay", "set", club, "--no-bootstrap", "192.0.2.1:6084", "--bootstrap", "[2001:db8::1]:7")
    assert (facts["bootstrap_nodes"], facts["sequence"]) == (["[2001:db8::1]:7"], 3)
    facts = p2psip.json(
        "overlay", "set", club, "--enrollment-url", "https://box", "--no-enrollment-url", f"{URL}/enroll"
    )
    assert facts["enrollment_servers"] == ["https://box/enroll"]
    assert p2psip.json("overlay", "set", club)["sequence"] == 4
    facts = p2psip.json("overlay", "set", club, "--bad-node", NODE)
    assert facts["bad_nodes"] == [NODE]
    assert p2psip.json("overlay", "set", club, "--no-bad-node", NODE.upper())["bad_nodes"] == []
    assert "32 hex digits" in p2psip("overlay", "set", club, "--bad-node", "00" * 17, status=2)
    assert "not a Node-ID" in p2psip("overlay", "set", club, "--bad-node", "xyz", status=2)
    signer = str(OverlayDirectory(club).signer().node_id)
    assert "cannot be revoked" in p2psip("overlay", "set", club, "--bad-node", signer, status=2)


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
    assert f"    {signer} admin@club.example" in p2psip("user", "list", "--overlay", club)
    changed = p2psip.json("user", "password", "alice", "--overlay", club)["password"]
    alice = OverlayDirectory(club).accounts().account("alice@club.example")
    assert alice is not None
    assert is_password(changed, alice.password_hash)
    assert "no account" in p2psip("user", "password", "bob", "--overlay", club, status=2)
    assert p2psip.json("user", "remove", "alice", "--overlay", club) == {"name": "alice@club.example", "revoked": []}
    assert "no account" in p2psip("user", "remove", "alice", "--overlay", club, status=2)
    assert "cannot be removed" in p2psip("user", "remove", "admin", "--overlay", club, status=2)
    assert "at most 64" in p2psip("user", "add", "Alice", "--overlay", club, status=2)
    (tmp_path / "pw").write_text("short")
    assert "8 to" in p2psip("user", "add", "bob", "--overlay", club, "--password-file", tmp_path / "pw", status=2)


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
