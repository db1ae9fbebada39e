"""The configuration document of a state directory: what is believed when it is read back."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.init import obtain_document
from p2psip.daemon.state.state import DOCUMENT_FILE, VERIFIED_FILE, load_document, save_document
from p2psip.enrollment.founding import Terms, found
from p2psip.reload.config.document import parse
from p2psip.reload.config.write import build
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.sim.membership import OVERLAY, founding


def test_a_document_whose_trust_anchor_was_replaced_by_updates(tmp_path: Path) -> None:
    """It was verified when it came, by the one before; the operator's fingerprint is that of an old anchor."""
    renewed = parse(build(replace(founding().configuration, sequence=7), founding().signer))
    save_document(tmp_path, renewed)
    assert load_document(tmp_path, "00" * 32).raw == renewed.raw
    # Another file in its place is believed by the fingerprint only.
    (tmp_path / DOCUMENT_FILE).write_bytes(founding().document)
    assert load_document(tmp_path, founding().anchor.fingerprint).configuration.sequence == 1
    with pytest.raises(LocalMisuse, match="the trust anchor of"):
        load_document(tmp_path, "00" * 32)


@pytest.mark.parametrize("content", [b"{}", b"", b"\xff\xfe\0", b'{"sha256": "'])
def test_what_is_noted_of_a_document_can_be_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    """The file is set aside; the document is believed by the fingerprint, or not at all."""
    save_document(tmp_path, parse(founding().document))
    (tmp_path / VERIFIED_FILE).write_bytes(content)
    assert load_document(tmp_path, founding().anchor.fingerprint).raw == founding().document
    assert capsys.readouterr().err.count("file set aside") == 1
    assert not (tmp_path / VERIFIED_FILE).exists()
    assert (tmp_path / f"{VERIFIED_FILE}.damaged").read_bytes() == content
    with pytest.raises(LocalMisuse, match="the trust anchor of"):
        load_document(tmp_path, "00" * 32)


def test_a_document_that_an_editor_has_saved(tmp_path: Path) -> None:
    """Its bytes are what is signed: they are found again behind other ends of line, a mark, or UTF-16."""
    save_document(tmp_path, parse(founding().document))
    text = founding().document.decode().replace("\n", "\r\n")
    for edited in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16")):
        (tmp_path / DOCUMENT_FILE).write_bytes(edited)
        assert load_document(tmp_path, founding().anchor.fingerprint).raw == founding().document
    (tmp_path / DOCUMENT_FILE).write_bytes(text.replace("club", "clup").encode())
    with pytest.raises(LocalMisuse, match=DOCUMENT_FILE):
        load_document(tmp_path, founding().anchor.fingerprint)


def test_a_document_with_several_overlays(tmp_path: Path) -> None:
    ours = founding().document
    theirs = build(replace(founding().configuration, instance_name="other.example"), founding().signer)
    both = ours.replace(b"</overlay>", theirs[theirs.index(b"<configuration") :])
    save_document(tmp_path, parse(both, OVERLAY))
    assert load_document(tmp_path, founding().anchor.fingerprint).configuration.instance_name == OVERLAY


def test_nobody_begins_with_a_document_that_has_expired(tmp_path: Path) -> None:
    file = tmp_path / "config.xml"
    file.write_bytes(build(replace(founding().configuration, expiration=1_000_000_000.0), founding().signer))
    with pytest.raises(LocalMisuse, match="the configuration has expired on 2001-09-09: ask"):
        asyncio.run(obtain_document(str(file), founding().anchor.fingerprint))
    file.write_bytes(founding().document)
    assert asyncio.run(obtain_document(str(file), founding().anchor.fingerprint)).raw == founding().document
    with pytest.raises(LocalMisuse, match="compare the fingerprint"):
        asyncio.run(obtain_document(str(file), "00" * 32))


def test_another_fingerprint_is_told_where_members_sign_their_own_certificates(tmp_path: Path) -> None:
    terms = Terms((SignatureAlgorithm.ECDSA,), HashAlgorithm.SHA256)
    made = found(OVERLAY, f"admin@{OVERLAY}", terms, random.Random(1), 1e9)
    file = tmp_path / "config.xml"
    file.write_bytes(made.document)
    assert asyncio.run(obtain_document(str(file), made.anchor.fingerprint)).raw == made.document
    with pytest.raises(LocalMisuse, match=f"the trust anchor of {OVERLAY} is {made.anchor.fingerprint}, not 0000"):
        asyncio.run(obtain_document(str(file), "00" * 32))
