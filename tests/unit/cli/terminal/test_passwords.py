"""Passwords in files, whoever wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.passwords import known_password, new_password

PASSWORD = "gärtners läuten"
APART = "ga\u0308rtners la\u0308uten"
"""The same in NFD, as some systems write it."""


@pytest.mark.parametrize(
    "data",
    [
        f"{PASSWORD}\n".encode(),
        f"{PASSWORD}\r\n".encode(),
        f"\ufeff{PASSWORD}\r\nanother line\r\n".encode(),
        f" {PASSWORD} \t\n".encode(),
        f"{PASSWORD}\r\n".encode("utf-16"),
        APART.encode(),
    ],
)
def test_one_password_however_it_was_written(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(data)
    assert known_password(str(file), "alice") == PASSWORD
    assert new_password(str(file), "account password of alice") == (PASSWORD, False)


@pytest.mark.parametrize("data", [b"", b"\n", b"   \nsecond line", b"\xef\xbb\xbf"])
def test_no_password(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "password").write_bytes(data)
    with pytest.raises(LocalMisuse, match="holds no password in its first line"):
        known_password(str(tmp_path / "password"), "alice")


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(PASSWORD.encode("latin-1"))
    with pytest.raises(LocalMisuse, match="line 1 is not UTF-8: save the file as UTF-8"):
        known_password(str(tmp_path / "password"), "alice")
