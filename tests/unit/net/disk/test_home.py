"""Where `~` is a home directory, and where it is only a character."""

from __future__ import annotations

import pwd

import pytest

from p2psip.net.disk.home import in_home


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("~", "/h/me"),
        ("~/peer", "/h/me/peer"),
        ("~/a=b", "/h/me/a=b"),
        ("--peer=~/peer", "--peer=/h/me/peer"),
        ("root-cert+=~/anchor.crt", "root-cert+=/h/me/anchor.crt"),
        ("~root/peer", f"{pwd.getpwnam('root').pw_dir}/peer"),
        ("~no-such-user/peer", "~no-such-user/peer"),
        ("~root", "~root"),
        ("peer~", "peer~"),
        ("a/~/b", "a/~/b"),
        ("./~/b", "./~/b"),
        ("sip:~/x", "sip:~/x"),
        ("", ""),
    ],
)
def test_what_was_typed(monkeypatch: pytest.MonkeyPatch, typed: str, meant: str) -> None:
    monkeypatch.setenv("HOME", "/h/me")
    assert in_home(typed) == meant
