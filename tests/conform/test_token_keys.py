"""Keys in a token: SoftHSM, as another program has set it up."""

from __future__ import annotations

import random
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.accounts import Account
from p2psip.net.disk.authority_keys import token_key
from p2psip.net.disk.enrollment_file import EnrollmentFile, write_enrollment
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.reload.security.authority import DAY_S, Validity
from p2psip.reload.security.keys import is_signature
from p2psip.reload.security.signing_keys import SigningFailed
from p2psip.reload.security.verifier import CertificateVerifier
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, DATE, OVERLAY, founding, key, node_id

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "4711-0815"

pytestmark = [
    pytest.mark.slow(20),
    pytest.mark.skipif(
        not (MODULE.exists() and shutil.which("softhsm2-util")), reason="SoftHSM is not installed (Debian: softhsm2)"
    ),
]


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A token called `club`, and the file with its PIN; the library reads its settings once a process."""
    directory = tmp_path_factory.mktemp("softhsm")
    (directory / "tokens").mkdir()
    (directory / "softhsm2.conf").write_text(f"directories.tokendir = {directory}/tokens\nlog.level = ERROR\n")
    (directory / "pin").write_text(f"{PIN}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(directory / "softhsm2.conf"))
        softhsm("--init-token", "--free", "--label", "club", "--so-pin", "12345678", "--pin", PIN)
        yield directory


def softhsm(*words: str) -> None:
    """Debian's own program."""
    subprocess.run(["softhsm2-util", *words], check=True, capture_output=True, timeout=60)


def uri(label: str) -> str:
    """Where the key of this name is."""
    return f"pkcs11:token=club;object={label}?module-path={MODULE}"


def new_overlay(path: Path, algorithm: SignatureAlgorithm) -> OverlayDirectory:
    admin = Account(f"admin@{OVERLAY}", "scrypt$4$8$1$00$00", is_admin=True)
    return OverlayDirectory.create(path, founding(algorithm), admin)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_authority_whose_key_never_leaves_the_token(
    token: Path, tmp_path: Path, algorithm: SignatureAlgorithm
) -> None:
    """Made there; members and the server's own certificate are signed by it, also after a restart."""
    overlay = new_overlay(tmp_path / "club", algorithm)
    name, pin = f"server-{algorithm.name}", str(token / "pin")
    made = overlay.delegate(tmp_path / "server", random.Random(1), DATE, DAY_S, key=uri(name), password_file=pin)
    assert not (made.path / "anchor.key").exists()
    verifier = CertificateVerifier(overlay.document().configuration)
    for server in (made, OverlayDirectory(made.path)):
        anchor = server.anchor()
        validity = Validity.at(DATE, DAY_S)
        leaf = anchor.issue(key(algorithm).public_key(), f"alice@{OVERLAY}", [node_id(1)], random.Random(2), validity)
        assert verifier.check([leaf, anchor.der], DATE, True).user == f"alice@{OVERLAY}"
        assert server.server_certificate(["localhost"], random.Random(3), DATE).exists()
    # A second server has the same key: it is not made anew.
    second = overlay.delegate(tmp_path / "second", random.Random(1), DATE, DAY_S, key=uri(name), password_file=pin)
    assert second.anchor().certificate.public_key() == made.anchor().certificate.public_key()


def test_a_key_that_another_program_has_put_there_is_the_trust_anchor_s(token: Path, tmp_path: Path) -> None:
    """The way of who has an overlay already: import the key, say where it is, and keep the file in a safe."""
    overlay = new_overlay(tmp_path / "club", SignatureAlgorithm.ECDSA)
    path = overlay.path / "anchor.key"
    softhsm("--import", str(path), "--token", "club", "--label", "anchor", "--id", "a1", "--pin", PIN)
    path.unlink()
    write_enrollment(overlay.path, EnrollmentFile(key=uri("anchor"), key_password_file=str(token / "pin")))
    anchor = OverlayDirectory(overlay.path).anchor()
    assert anchor.fingerprint == founding().anchor.fingerprint
    leaf = anchor.issue(key().public_key(), f"bob@{OVERLAY}", [node_id(1)], random.Random(2), Validity.at(DATE, DAY_S))
    assert CertificateVerifier(overlay.document().configuration).check([leaf], DATE, True).user == f"bob@{OVERLAY}"


def test_another_key_than_the_certificate_s_signs_nothing(token: Path, tmp_path: Path) -> None:
    overlay = new_overlay(tmp_path / "club", SignatureAlgorithm.ECDSA)
    token_key(uri("wrong"), None, str(token / "pin")).make(SignatureAlgorithm.ECDSA)
    write_enrollment(overlay.path, EnrollmentFile(key=uri("wrong"), key_password_file=str(token / "pin")))
    with pytest.raises(SigningFailed, match="is not that of the authority"):
        overlay.server_certificate(["localhost"], random.Random(3), DATE)


def test_what_the_library_leaves_in_openssl_s_queue_is_taken_for_no_error_of_ours(token: Path) -> None:
    """SoftHSM, as it is loaded, asks for an engine that is not there: the next certificate was refused for it."""
    asked = token_key(uri("queue"), None, str(token / "pin"))
    asked.make(SignatureAlgorithm.ECDSA)
    with pytest.raises(SigningFailed, match="NoSuchToken"):
        token_key(uri("queue").replace("token=club", "token=nobody-s"), None, str(token / "pin")).public_key()
    for _ in range(2):
        asked.sign(b"data")
        ssl.create_default_context(cadata=founding().anchor.der)


def test_a_token_that_is_taken_away_and_comes_back(token: Path) -> None:
    """What its library knows of the session is gone: a new one is opened."""
    import pkcs11

    mine = token_key(uri("back"), None, str(token / "pin"))
    assert mine.make(SignatureAlgorithm.ECDSA)
    assert not mine.make(SignatureAlgorithm.ECDSA)
    assert is_signature(mine.public_key(), mine.sign(b"before"), b"before")
    pkcs11.lib(str(MODULE)).reinitialize()
    assert is_signature(mine.public_key(), mine.sign(b"after"), b"after")


def test_a_wrong_pin_is_tried_once(token: Path, tmp_path: Path) -> None:
    """Three wrong ones, and many a card is locked for ever."""
    import pkcs11

    # What other tests have opened is closed: one login is for a whole process.
    pkcs11.lib(str(MODULE)).reinitialize()
    (tmp_path / "pin").write_text("0000")
    mine = token_key(uri("back"), None, str(tmp_path / "pin"))
    with pytest.raises(SigningFailed, match=r"the token club \(.*\): PinIncorrect"):
        mine.sign(b"x")
    (tmp_path / "pin").write_text(PIN)
    with pytest.raises(SigningFailed, match="PinIncorrect"):
        mine.sign(b"x")
    assert token_key(uri("back"), None, str(tmp_path / "pin")).sign(b"x")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (f"pkcs11:token=elsewhere;object=x?module-path={MODULE}", "NoSuchToken"),
        (f"pkcs11:token=club;object=nobody?module-path={MODULE}", "NoSuchKey"),
        ("pkcs11:token=club;object=x?module-path=/nowhere.so", "/nowhere.so"),
    ],
)
def test_what_is_not_there_is_named(token: Path, address: str, words: str) -> None:
    with pytest.raises(SigningFailed) as caught:
        token_key(address, key().public_key(), str(token / "pin")).sign(b"x")
    assert words in str(caught.value)
    assert PIN not in str(caught.value)


@pytest.mark.parametrize("address", ["pkcs11:", "pkcs11:token=;object=x?module-path=y", "pkcs11:token=a;objekt=b"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(LocalMisuse, match="is no address of a key in a token"):
        token_key(address, None, "")
