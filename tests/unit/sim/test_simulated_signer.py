"""Cheap identities (p2psip.sim.signer): they tell a mix-up from the truth."""

from __future__ import annotations

import random

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.security.authority import TrustAnchor, Validity
from p2psip.reload.security.errors import BadSignature, CertificateProblem, UntrustedCertificate
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import generate_key
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.signer import SimulatedIdentity, SimulatedVerifier

ALICE = SimulatedIdentity("alice@sim.example", NodeId(b"a" * 16))
RNG, DATE = random.Random(1), 1_800_000_000.0
BOB = SimulatedIdentity("bob@sim.example", NodeId(b"b" * 16))


def test_a_signature_says_who_signed() -> None:
    """The same each time: a seed replays a run exactly."""
    signature = ALICE.sign(b"prefix")
    assert signature == ALICE.sign(b"prefix")
    signer = SimulatedVerifier().verify(b"prefix", signature, [*BOB.certificates, *ALICE.certificates], 0.0, True)
    assert (signer.node_id, signer.user) == (ALICE.node_id, ALICE.user)


def test_another_s_signature_or_text_is_wrong() -> None:
    """As is one whose certificate is missing."""
    verifier, signature = SimulatedVerifier(), ALICE.sign(b"prefix")
    with pytest.raises(BadSignature, match="is not that of alice"):
        verifier.verify(b"another", signature, ALICE.certificates, 0.0, True)
    with pytest.raises(BadSignature, match="is missing"):
        verifier.verify(b"prefix", signature, BOB.certificates, 0.0, True)


def test_strangers_and_the_banned_are_no_members() -> None:
    """With the reasons that real certificates are refused for."""
    verifier = SimulatedVerifier(frozenset([BOB.node_id]))
    assert verifier.check([ALICE.certificate], 0.0, True).user == ALICE.user
    for certificate, problem in [
        (b"x509", CertificateProblem.MALFORMED),
        (b"", CertificateProblem.MALFORMED),
        (BOB.certificate, CertificateProblem.BAD_NODE),
    ]:
        with pytest.raises(UntrustedCertificate) as caught:
            verifier.check([certificate] if certificate else [], 0.0, True)
        assert caught.value.problem is problem


def test_certificates_and_signatures_may_be_as_long_as_real_ones() -> None:
    """Of P-256, as an enrollment server issues them: where bytes are counted."""
    anchor, key = TrustAnchor.create("club.example", RNG, DATE), generate_key(SignatureAlgorithm.ECDSA)
    node = NodeId(b"h" * 16)
    validity = Validity.at(DATE, 3e7)
    real = CertifiedIdentity(key, [anchor.issue(key.public_key(), "peer-hill@club.example", [node], RNG, validity)])
    made = SimulatedIdentity("peer-hill@club.example", node, is_full_size=True)
    sizes = [len(identity.certificates[0].certificate) for identity in (real, made)]
    assert abs(sizes[0] - sizes[1]) <= 3
    signatures = [len(identity.sign(b"prefix").signature_value) for identity in (real, made)]
    assert abs(signatures[0] - signatures[1]) <= 3
    signer = SimulatedVerifier().verify(b"prefix", made.sign(b"prefix"), made.certificates, 0.0, True)
    assert (signer.node_id, signer.user) == (node, "peer-hill@club.example")
    with pytest.raises(BadSignature):
        SimulatedVerifier().verify(b"another", made.sign(b"prefix"), made.certificates, 0.0, True)
