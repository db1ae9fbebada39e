"""Certificates and requests with OpenSSL's own tools, which were not written here."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from p2psip.enrollment.csr import make_request, read_request
from p2psip.reload.security.authority import DAY_S, Validity
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, DATE, OVERLAY, Club, founding, key, node_id

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command")


def openssl(*arguments: object, cwd: Path, data: bytes = b"") -> str:
    """What the command says; it must not fail."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)], cwd=cwd, input=data, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_openssl_verifies_what_the_trust_anchor_issues(tmp_path: Path, algorithm: SignatureAlgorithm) -> None:
    club = Club.of(algorithm)
    (tmp_path / "root.pem").write_bytes(chain_to_pem([club.anchor.der]))
    (tmp_path / "member.pem").write_bytes(chain_to_pem([club.certificate(node_ids=[node_id(1), node_id(2)])]))
    server = club.anchor.issue_server(
        key(algorithm).public_key(), ["192.0.2.1"], random.Random(1), Validity.at(DATE, DAY_S)
    )
    (tmp_path / "server.pem").write_bytes(chain_to_pem([server]))
    verify = ["verify", "-x509_strict", "-attime", int(DATE), "-CAfile", "root.pem"]
    openssl(*verify, "-purpose", "sslclient", "member.pem", cwd=tmp_path)
    openssl(*verify, "-purpose", "sslserver", "member.pem", cwd=tmp_path)
    openssl(*verify, "-purpose", "sslserver", "-verify_hostname", OVERLAY, "server.pem", cwd=tmp_path)
    openssl(*verify, "-purpose", "sslserver", "-verify_ip", "192.0.2.1", "server.pem", cwd=tmp_path)
    text = openssl("x509", "-in", "member.pem", "-noout", "-text", cwd=tmp_path)
    assert f"email:alice@{OVERLAY}, URI:reload://0110{node_id(1)}@{OVERLAY}/, URI:reload://0110{node_id(2)}" in text
    assert "Subject: \n" in text.replace("Subject:\n", "Subject: \n")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_openssl_reads_our_requests(tmp_path: Path, algorithm: SignatureAlgorithm) -> None:
    (tmp_path / "request.der").write_bytes(make_request(key(algorithm), f"alice@{OVERLAY}"))
    text = openssl("req", "-inform", "DER", "-in", "request.der", "-verify", "-noout", "-text", cwd=tmp_path)
    assert "verify OK" in text
    assert f"email:alice@{OVERLAY}" in text


@pytest.mark.parametrize(
    ("new_key", "algorithm"),
    [
        (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], SignatureAlgorithm.ECDSA),
        (["-newkey", "rsa:2048"], SignatureAlgorithm.RSA),
    ],
    ids=["ECDSA", "RSA"],
)
@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_we_read_openssl_s_requests(
    tmp_path: Path, new_key: list[str], algorithm: SignatureAlgorithm, form: str
) -> None:
    make = ["req", "-new", *new_key, "-nodes", "-keyout", "key.pem", "-outform", form, "-out", "request"]
    openssl(*make, "-subj", f"/CN=alice@{OVERLAY}", cwd=tmp_path)
    request = read_request((tmp_path / "request").read_bytes())
    assert (request.user, request.algorithm) == (f"alice@{OVERLAY}", algorithm)
    openssl(*make, "-subj", "/", "-addext", f"subjectAltName=email:bob@{OVERLAY}", cwd=tmp_path)
    assert read_request((tmp_path / "request").read_bytes()).user == f"bob@{OVERLAY}"


def test_openssl_finds_the_fingerprint_that_we_print(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(chain_to_pem([founding().anchor.der]))
    text = openssl("x509", "-in", "root.pem", "-noout", "-fingerprint", "-sha256", cwd=tmp_path)
    assert text.rpartition("=")[2].strip().replace(":", "").lower() == founding().anchor.fingerprint
