"""`p2psip phone`: wrong input is one line and exit status 2."""

import sys
from pathlib import Path

import pytest

from p2psip.cli.main import main

Capture = pytest.CaptureFixture[str]


def phone(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The exit status."""
    monkeypatch.setattr(sys, "argv", ["p2psip", "phone", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


SERVER = ["--server", "127.0.0.1:9", "--user", "alice"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["register"], "--server HOST"),
        (SERVER, "or --control"),
        ([*SERVER, "--control", "register"], "leave out register"),
        ([*SERVER, "--transport", "tls", "register"], "write udp or tcp, or --tls FILE for TLS"),
        ([*SERVER, "--tls", "/not/there", "register"], "cannot read /not/there"),
        ([*SERVER, "--tls", __file__, "register"], "test_cli_phone.py: "),
        ([*SERVER, "--password-env", "NOT_THERE", "register"], "export it first"),
        ([*SERVER, "--password-file", "/not/there", "register"], "No such file"),
        ([*SERVER, "--password-file", "x", "--password-env", "HOME", "register"], "exclude each other"),
        ([*SERVER, "--no-register", "call", "tel:1"], "cannot call"),
        ([*SERVER, "dance"], "No such command"),
    ],
)
def test_misuse(monkeypatch: pytest.MonkeyPatch, capsys: Capture, arguments: list[str], says: str) -> None:
    assert phone(monkeypatch, *arguments) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert (told.err.count("\n"), told.out) == (1, "")


def test_a_failure_is_one_line_and_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    secret = tmp_path / "password"
    secret.write_text("sesame\n")
    assert phone(monkeypatch, *SERVER, "--transport", "tcp", "--password-file", str(secret), "register") == 1
    told = capsys.readouterr()
    assert "cannot connect to tcp 127.0.0.1:9" in told.err
    assert told.err.count("\n") == 1


def test_help_of_a_command_needs_no_server(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert phone(monkeypatch, "call", "--help") == 0
    assert "--expect-tone" in capsys.readouterr().out
