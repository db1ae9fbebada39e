"""The key of an authority in a file, encrypted, and elsewhere."""

from __future__ import annotations

import random
import stat
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.accounts import Account
from p2psip.net.disk import authority_keys
from p2psip.net.disk.enrollment_file import EnrollmentFile, read_enrollment, write_enrollment
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.reload.security.authority import DAY_S, Validity
from p2psip.reload.security.signing_keys import SigningFailed
from p2psip.sim.membership import DATE, OVERLAY, founding, key, node_id

PASSWORD = "correct horse battery"


@pytest.fixture
def overlay(tmp_path: Path) -> OverlayDirectory:
    """A new one."""
    admin = Account(f"admin@{OVERLAY}", "scrypt$4$8$1$00$00", is_admin=True)
    return OverlayDirectory.create(tmp_path / "club", founding(), admin)


def issue(overlay: OverlayDirectory) -> bytes:
    """Something signed."""
    validity = Validity.at(DATE, DAY_S)
    return overlay.anchor().issue(key().public_key(), f"alice@{OVERLAY}", [node_id(1)], random.Random(1), validity)


def test_an_encrypted_key_is_opened_with_its_password(overlay: OverlayDirectory, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    overlay.protect(PASSWORD)
    assert b"ENCRYPTED" in (overlay.path / "anchor.key").read_bytes()
    assert stat.S_IMODE((overlay.path / "anchor.key").stat().st_mode) == 0o600
    with pytest.raises(LocalMisuse, match="encrypted already"):
        overlay.protect(PASSWORD)
    # Whose it is, and what it is called, is known without.
    assert overlay.anchor().fingerprint == founding().anchor.fingerprint
    assert not overlay.anchor().is_delegated
    assert overlay.signer().user == f"admin@{OVERLAY}"
    with pytest.raises(LocalMisuse, match='key_password_file = "FILE" into'):
        issue(overlay)
    write_enrollment(overlay.path, EnrollmentFile(key_password_file=str(tmp_path / "password")))
    assert issue(overlay)
    (tmp_path / "password").write_text("another")
    with pytest.raises(LocalMisuse, match="holds no private key that this password opens"):
        issue(overlay)
    (tmp_path / "password").write_text("\n")
    with pytest.raises(LocalMisuse, match="holds nothing in its first line"):
        issue(overlay)


def test_the_password_s_file_may_be_where_systemd_puts_it(
    overlay: OverlayDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "anchor-key").write_text(PASSWORD)
    overlay.protect(PASSWORD)
    write_enrollment(overlay.path, EnrollmentFile(key_password_file="${CREDENTIALS_DIRECTORY}/anchor-key"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert issue(overlay)


def test_the_password_is_asked_for_once(overlay: OverlayDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    overlay.protect(PASSWORD)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(authority_keys.getpass, "getpass", lambda prompt: asked.append(prompt) or PASSWORD)
    anchor = overlay.anchor()
    assert asked == []
    for number in range(3):
        anchor.issue(key().public_key(), "x", [node_id(number)], random.Random(1), Validity.at(DATE, DAY_S))
    assert asked == [f"Password of {overlay.path}/anchor.key: "]


def test_another_directory_s_key_is_found_out(overlay: OverlayDirectory, tmp_path: Path) -> None:
    server = overlay.delegate(tmp_path / "server", random.Random(1), DATE, DAY_S)
    server.protect(PASSWORD)
    (overlay.path / "anchor.key").write_bytes((server.path / "anchor.key").read_bytes())
    (tmp_path / "password").write_text(PASSWORD)
    write_enrollment(overlay.path, EnrollmentFile(key_password_file=str(tmp_path / "password")))
    with pytest.raises(LocalMisuse, match=r"is not the key of anchor\.crt"):
        issue(overlay)


def test_an_authority_whose_key_is_elsewhere_signs_nothing(overlay: OverlayDirectory, tmp_path: Path) -> None:
    server = overlay.delegate(tmp_path / "server", random.Random(1), DATE, DAY_S, key="offline")
    assert not (server.path / "anchor.key").exists()
    assert read_enrollment(server.path).key == "offline"
    assert server.anchor().fingerprint == overlay.anchor().fingerprint
    with pytest.raises(SigningFailed, match="the key is elsewhere"):
        issue(server)
    with pytest.raises(LocalMisuse, match="is not in a file: offline"):
        server.protect(PASSWORD)
    assert server.server_certificate([], random.Random(1), DATE).read_bytes().startswith(b"-----BEGIN PRIVATE KEY")
    (server.path / "server.pem").unlink()
    with pytest.raises(LocalMisuse, match="delegate --offline"):
        server.server_certificate([], random.Random(1), DATE)
    with pytest.raises(LocalMisuse, match="is of an enrollment server itself"):
        server.delegate(tmp_path / "third", random.Random(1), DATE, DAY_S)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('key = "vault"', 'key = "vault" is neither "offline" nor that of a token'),
        ('key = "pkcs11:token=x"', "is no address of a key in a token: write pkcs11:token=TOKEN;object=LABEL"),
        ('key = "pkcs11:token=x;object=y?module-path=/z&pin-value=1"', "a PIN stands in no address"),
        ("keys = 1", "enrollment.toml: Object contains unknown field"),
        ("key =", "enrollment.toml: "),
    ],
)
def test_what_is_wrong_in_the_file_is_said(overlay: OverlayDirectory, text: str, words: str) -> None:
    (overlay.path / "enrollment.toml").write_text(text)
    with pytest.raises(LocalMisuse) as caught:
        overlay.anchor()
    assert words in str(caught.value)
