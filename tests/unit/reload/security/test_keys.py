"""Keys and bare signatures."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from p2psip.base.errors import LocalMisuse
from p2psip.reload.security.keys import (
    algorithm_of,
    derive_secret,
    digest,
    is_signature,
    key_from_pem,
    key_to_pem,
    public_key_hash,
    sign,
    usable,
)
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, key


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_is_good_for_its_key_and_its_data_only(algorithm: SignatureAlgorithm) -> None:
    signature = sign(key(algorithm), b"data")
    assert is_signature(key(algorithm).public_key(), signature, b"data")
    assert not is_signature(key(algorithm).public_key(), signature, b"date")
    assert not is_signature(key(algorithm, 1).public_key(), signature, b"data")
    assert not is_signature(key(algorithm).public_key(), b"", b"data")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_survives_pem(algorithm: SignatureAlgorithm) -> None:
    again = key_from_pem(key_to_pem(key(algorithm)))
    assert public_key_hash(again.public_key()) == public_key_hash(key(algorithm).public_key())
    assert algorithm_of(again.public_key()) is algorithm


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_secret_is_derived_from_one_key_for_one_purpose(algorithm: SignatureAlgorithm) -> None:
    secret = derive_secret(key(algorithm), b"this")
    again = key_from_pem(key_to_pem(key(algorithm)))
    assert derive_secret(again, b"this") == secret
    assert derive_secret(again, b"that") != secret
    assert derive_secret(key(algorithm, 1), b"this") != secret


@pytest.mark.parametrize(
    "other", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()], ids=["P-384", "Ed25519"]
)
def test_keys_of_other_kinds_are_not_usable(other: ec.EllipticCurvePrivateKey) -> None:
    assert usable(other.public_key()) is None
    with pytest.raises(LocalMisuse, match="ECDSA on P-256 or RSA"):
        key_from_pem(key_to_pem(other))


def test_a_short_rsa_key_is_not_usable() -> None:
    assert usable(rsa.generate_private_key(65537, 1024).public_key()) is None


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"nonsense",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ),
    ],
    ids=["empty", "text", "broken", "encrypted"],
)
def test_a_file_without_a_plain_key_is_refused(pem: bytes) -> None:
    with pytest.raises(LocalMisuse, match="no unencrypted private key"):
        key_from_pem(pem)


def test_digest_knows_what_reload_uses() -> None:
    assert digest(HashAlgorithm.SHA256, b"").hex().startswith("e3b0c442")
    assert digest(HashAlgorithm.SHA1, b"").hex().startswith("da39a3ee")
    with pytest.raises(ValueError, match="md5"):
        digest(HashAlgorithm.MD5, b"")
