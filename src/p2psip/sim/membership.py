"""Overlays with X.509 certificates and their members: deterministic but for the keys, which are made once a run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from p2psip.base.ids import NodeId
from p2psip.enrollment.founding import Founding, Terms, found
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.security.authority import DAY_S, TrustAnchor, Validity
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey, generate_key
from p2psip.reload.security.verifier import CertificateVerifier
from p2psip.reload.wire.common import SignatureAlgorithm

OVERLAY = "club.example"
DATE = 1_800_000_000.0
"""2027-01-15, when these overlays begin."""

ALGORITHMS = (SignatureAlgorithm.ECDSA, SignatureAlgorithm.RSA)


def node_id(number: int) -> NodeId:
    """A Node-ID that people recognise."""
    return NodeId(number.to_bytes(16, "big"))


def key(algorithm: SignatureAlgorithm = SignatureAlgorithm.ECDSA, number: int = 0) -> PrivateKey:
    """One of several keys; making RSA keys takes time."""
    return _key(algorithm, number)


@cache
def _key(algorithm: SignatureAlgorithm, number: int) -> PrivateKey:
    return generate_key(algorithm)


def founding(algorithm: SignatureAlgorithm = SignatureAlgorithm.ECDSA) -> Founding:
    """An overlay with its trust anchor, signer and document."""
    return _founding(algorithm)


@cache
def _founding(algorithm: SignatureAlgorithm) -> Founding:
    return found(OVERLAY, f"admin@{OVERLAY}", Terms((algorithm,)), random.Random(1), DATE)


@dataclass(frozen=True)
class Club:
    """An overlay, as its members see it."""

    anchor: TrustAnchor
    configuration: OverlayConfiguration
    algorithm: SignatureAlgorithm
    """With what its members sign."""

    @classmethod
    def of(cls, algorithm: SignatureAlgorithm = SignatureAlgorithm.ECDSA, **changes: object) -> Club:
        """A new overlay's configuration, with changes."""
        founded = founding(algorithm)
        return cls(founded.anchor, replace(founded.configuration, **changes), algorithm)  # type: ignore[arg-type]

    @property
    def verifier(self) -> CertificateVerifier:
        """A verifier that knows nobody yet."""
        return CertificateVerifier(self.configuration)

    def certificate(
        self,
        user: str = f"alice@{OVERLAY}",
        node_ids: Sequence[NodeId] = (node_id(1),),
        *,
        number: int = 0,
        begins: float = DATE - DAY_S,
        ends: float = DATE + 365 * DAY_S,
    ) -> bytes:
        """A certificate for key `number`, in DER."""
        public_key = key(self.algorithm, number).public_key()
        return self.anchor.issue(public_key, user, node_ids, random.Random(number), Validity(begins, ends))

    def member(
        self,
        user: str = f"alice@{OVERLAY}",
        node_ids: Sequence[NodeId] = (node_id(1),),
        *,
        number: int = 0,
        signs_as: NodeId | None = None,
    ) -> CertifiedIdentity:
        """Somebody with a certificate and its key."""
        certificate = self.certificate(user, node_ids, number=number)
        return CertifiedIdentity(key(self.algorithm, number), [certificate], signs_as)
