"""Signatures of JSON Web Signatures (RFC 7518): both kinds of keys, and nothing else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from p2psip.reload.security import jws
from p2psip.reload.security.keys import sign
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import DATE, Club, key
from p2psip.sip.entities.callers.passport import from_base64

BOTH = [(SignatureAlgorithm.ECDSA, "ES256", 64), (SignatureAlgorithm.RSA, "RS256", 256)]


@pytest.mark.must("8224 4.1/17", "8225 4.2/1")
@pytest.mark.parametrize(("algorithm", "name", "size"), BOTH)
def test_a_member_signs_and_its_certificate_verifies(algorithm, name, size):
    club = Club.of(algorithm)
    member, verifier = club.member(), club.verifier
    signature = member.sign_jws(b"a.b")
    assert (member.jws_algorithm, len(signature)) == (name, size)
    known = verifier.check([entry.certificate for entry in member.certificates], DATE, True)
    assert verifier.is_jws(known, name, b"a.b", signature)
    assert not verifier.is_jws(known, name, b"a.c", signature)
    other = verifier.check([club.certificate(number=1)], DATE, True)
    assert not verifier.is_jws(other, name, b"a.b", signature)


@pytest.mark.parametrize(("algorithm", "name", "size"), BOTH)
@pytest.mark.parametrize("said", ["none", "None", "", "HS256", "ES384", "PS256", "es256", "ES256", "RS256"])
def test_an_algorithm_is_the_one_of_the_key_or_nothing(algorithm, name, size, said):
    """With HS256 the public key would be the secret; with "none" nothing would be signed."""
    own = key(algorithm)
    signature = jws.sign(own, b"x")
    assert jws.is_signature(own.public_key(), said, b"x", signature) is (said == name)
    assert not jws.is_signature(own.public_key(), said, b"x", b"")


@pytest.mark.parametrize("bad", [b"", b"\0" * 64, b"\xff" * 64, b"\0" * 63, b"\0" * 65, b"x" * 1000])
def test_what_is_no_signature(bad):
    """RFC 7518 3.4: "If it is not a 64-octet sequence, the validation has failed"."""
    for algorithm, name, _ in BOTH:
        assert not jws.is_signature(key(algorithm).public_key(), name, b"x", bad)


def test_der_is_none_either():
    own = key(SignatureAlgorithm.ECDSA)
    assert not jws.is_signature(own.public_key(), "ES256", b"x", sign(own, b"x"))


def test_rfc_7515_a_3() -> None:
    """An example that was not made here."""
    x, y, signature = map(
        from_base64,
        (
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    )
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
    payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    assert jws.is_signature(numbers.public_key(), "ES256", f"eyJhbGciOiJFUzI1NiJ9.{payload}".encode(), signature)
