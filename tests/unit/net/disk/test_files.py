"""Files that people write on systems of every kind."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.net.disk.files import read_text, set_aside, text_of, unedited

TEXT = 'name = "gärtner"\nlisten = []\n'


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    ],
)
def test_text_by_any_editor(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert read_text(tmp_path / "file") == TEXT


@pytest.mark.parametrize("data", [TEXT.encode("latin-1"), TEXT.encode("cp1252"), codecs.BOM_UTF16_LE + b"a"])
def test_what_is_no_unicode_is_named_with_its_line(data: bytes) -> None:
    with pytest.raises(LocalMisuse, match=r"^peer\.toml: line 1 is not UTF-8: save the file as UTF-8"):
        text_of(data, "peer.toml")


def test_a_document_is_what_was_signed_again() -> None:
    raw = b'<?xml version="1.0" encoding="UTF-8"?>\n<overlay>\n</overlay>\n'
    text = raw.decode().replace("\n", "\r\n")
    for edited in (codecs.BOM_UTF8 + text.encode(), text.encode("utf-16"), b"\r\n" + text.encode(), raw):
        assert unedited(edited) == raw


def test_a_damaged_file_is_out_of_the_way(tmp_path: Path) -> None:
    path = tmp_path / "phones.json"
    for content in ("first", "second"):
        path.write_text(content)
        assert set_aside(path) == tmp_path / "phones.json.damaged"
        assert not path.exists()
    assert (tmp_path / "phones.json.damaged").read_text() == "second"
    with pytest.raises(LocalMisuse, match="cannot be moved away: No such file"):
        set_aside(path)
