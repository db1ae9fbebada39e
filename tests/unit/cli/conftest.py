"""The command line as a function, and a peer's state directory that it may be about."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accounts import CHEAP

from p2psip.cli.main import main
from p2psip.daemon.state.line_files import LineFiles
from p2psip.daemon.state.settings import make_settings
from p2psip.daemon.state.state import save_document, save_identity, save_key, save_settings
from p2psip.enrollment import passwords
from p2psip.reload.config.document import parse
from p2psip.sim.membership import OVERLAY, Club, founding, key, node_id
from p2psip.sip.message.digest import logins


@pytest.fixture(scope="module", autouse=True)
def _cheap_passwords() -> Iterator[None]:
    """What a password costs, tests of enrollment look at; here each would be a tenth of a second or more."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(passwords, "USUAL", CHEAP)
        yield


@pytest.fixture
def p2psip(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command; what it prints, which is one line on stderr if it is to fail."""

    def run(*arguments: object, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["p2psip", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert ended.value.code == status, captured.err
        if status:
            assert captured.out == ""
            assert captured.err.startswith("p2psip: ")
            assert captured.err.count("\n") == 1
            assert len(captured.err) < 400
        return captured.err if status else captured.out

    return run


@pytest.fixture
def peer(tmp_path: Path) -> Path:
    """The state directory of a peer, as `peer init` makes it, with a line for alice."""
    club = Club.of()
    directory = tmp_path / "peer"
    (directory / "lines").mkdir(parents=True)
    document = parse(founding().document)
    save_settings(directory, make_settings({"name": "garden", "fingerprint": club.anchor.fingerprint}, "test"))
    save_document(directory, document)
    save_key(directory, key())
    save_identity(directory, club.member(f"peer-garden@{OVERLAY}", [node_id(1)]))
    alice = club.member(f"alice@{OVERLAY}", [node_id(2)], number=2)
    files = LineFiles(directory, "alice")
    files.save_key(key(number=2))
    files.save(alice, logins(["alice"], OVERLAY, ["phone"]))
    return directory
