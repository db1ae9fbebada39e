"""Certificates signed by a key that is elsewhere."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from cryptography import x509

from p2psip.base.ids import NodeId
from p2psip.reload.security.authority import DAY_S, TrustAnchor, Validity
from p2psip.reload.security.keys import PrivateKey, PublicKey, sign
from p2psip.reload.security.signing_keys import SigningFailed
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, DATE, OVERLAY, Club, key

NODE = NodeId(bytes(15) + b"1")
ALICE = f"alice@{OVERLAY}"


class Elsewhere:
    """A key that says no more than it must."""

    def __init__(self, private: PrivateKey, says: PrivateKey | None = None) -> None:
        self._private = private
        self._says = says or private

    def public_key(self) -> PublicKey:
        return self._says.public_key()

    def sign(self, data: bytes) -> bytes:
        return sign(self._private, data)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_it_signs_is_what_the_key_itself_would_sign(algorithm: SignatureAlgorithm) -> None:
    """To the byte, but for the signature; members, servers, and an authority below it."""
    club = Club.of(algorithm)
    private = club.anchor.key
    assert isinstance(private, PrivateKey)
    there = replace(club.anchor, key=Elsewhere(private))
    validity = Validity.at(DATE, DAY_S)
    for anchor in (club.anchor, there):
        assert club.verifier.check(
            [anchor.issue(key(algorithm).public_key(), ALICE, [NODE], random.Random(1), validity)], DATE, True
        ).node_ids == (NODE,)
    made = [
        x509.load_der_x509_certificate(
            anchor.issue(key(algorithm).public_key(), ALICE, [NODE], random.Random(1), validity)
        )
        for anchor in (club.anchor, there)
    ]
    assert made[0].tbs_certificate_bytes == made[1].tbs_certificate_bytes
    assert made[0].signature_algorithm_oid == made[1].signature_algorithm_oid
    made[1].verify_directly_issued_by(club.anchor.certificate)
    below = there.delegate("Enrollment", random.Random(1), validity, key=Elsewhere(key(algorithm, number=7)))
    below.certificate.verify_directly_issued_by(club.anchor.certificate)
    leaf = below.issue(key(algorithm).public_key(), ALICE, [NODE], random.Random(1), validity)
    assert club.verifier.check([leaf, below.der], DATE, True).user == ALICE
    x509.load_der_x509_certificate(
        there.issue_server(key(algorithm).public_key(), ["x.example"], random.Random(1), validity)
    ).verify_directly_issued_by(club.anchor.certificate)


def test_a_long_certificate_has_its_length_in_three_bytes() -> None:
    club = Club.of()
    private = club.anchor.key
    assert isinstance(private, PrivateKey)
    there = replace(club.anchor, key=Elsewhere(private))
    names = [f"{'x' * 60}{number}.example" for number in range(1200)]
    der = there.issue_server(key().public_key(), names, random.Random(1), Validity.at(DATE, DAY_S))
    assert len(der) > 1 << 16
    x509.load_der_x509_certificate(der).verify_directly_issued_by(club.anchor.certificate)


def test_another_key_s_signature_is_not_handed_out() -> None:
    club = Club.of()
    private = club.anchor.key
    assert isinstance(private, PrivateKey)
    wrong: TrustAnchor = replace(club.anchor, key=Elsewhere(key(number=5), says=private))
    with pytest.raises(SigningFailed, match="is not that of the authority"):
        wrong.issue(key().public_key(), ALICE, [NODE], random.Random(1), Validity.at(DATE, DAY_S))
