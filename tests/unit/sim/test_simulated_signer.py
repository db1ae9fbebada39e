"""Cheap identities (p2psip.sim.signer): they tell a mix-up from the truth."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.security.errors import BadSignature, CertificateProblem, UntrustedCertificate
from p2psip.sim.signer import SimulatedIdentity, SimulatedVerifier

ALICE = SimulatedIdentity("alice@sim.example", NodeId(b"a" * 16))
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
