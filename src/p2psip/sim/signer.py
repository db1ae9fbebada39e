"""Cheap and deterministic identities for simulations: one hash in place of a signature.

A certificate is the user name and the Node-ID in plain bytes, a signature a keyed hash whose key everybody in the
simulation can compute. It tells a mix-up from the truth, which is what a simulation of the protocol needs, at a
fiftieth of the price. Where bytes are counted, both may be as long as real ones.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import lru_cache

from p2psip.base.ids import NodeId
from p2psip.reload.security.errors import BadSignature, CertificateMissing, CertificateProblem, UntrustedCertificate
from p2psip.reload.security.roles import Member, Signer, TrustSettings
from p2psip.reload.security.sealed_answer import CannotUnseal
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.security_block import (
    CertificateType,
    GenericCertificate,
    Signature,
    SignatureAndHashAlgorithm,
    SignerIdentity,
)

_MAGIC = b"p2psip simulated certificate\0"
CERTIFICATE_BYTES = 528
"""Of a peer's with a key on P-256, as an enrollment server of ours issues it to peer-hill@club.example."""

SIGNATURE_BYTES = 71
"""Of ECDSA with P-256: mostly, as one in two numbers begins with a byte more."""

_HASH_BYTES = 32
_FILL = b"\0"
_ALGORITHM = SignatureAndHashAlgorithm(HashAlgorithm.SHA256, SignatureAlgorithm.ECDSA)
_JWS_ALGORITHM = "ES256"


def _jws(certificate: bytes, signing_input: bytes) -> bytes:
    return hashlib.blake2b(certificate + signing_input, digest_size=64).digest()


def _hash(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=_HASH_BYTES).digest()


def _signature(certificate: bytes, prefix: bytes, suffix: bytes) -> bytes:
    signature = _hash(certificate, prefix, suffix)
    return signature.ljust(SIGNATURE_BYTES, _FILL) if certificate.endswith(_FILL) else signature


@lru_cache(maxsize=8192)
def _identity_of(certificate: bytes) -> SignerIdentity:
    """Who signs with it: the few that there are are asked for with every message."""
    return SignerIdentity.cert_hash(HashAlgorithm.SHA256, _hash(certificate))


@lru_cache(maxsize=8192)
def _suffix_of(certificate: bytes) -> bytes:
    return _identity_of(certificate).encode()


@lru_cache(maxsize=8192)
def _member_of(certificate: bytes) -> Member:
    user = certificate[len(_MAGIC) + 16 :].rstrip(_FILL).decode(errors="replace")
    node_id = NodeId(certificate[len(_MAGIC) : len(_MAGIC) + 16])
    return Member(user, (node_id,), certificate, 0.0, float("inf"))


class SimulatedIdentity:
    """An Identity that signs by hashing; one that `is_full_size` has a certificate and signatures of real length."""

    def __init__(self, user: str, node_id: NodeId, *, is_full_size: bool = False) -> None:
        self.user = user
        self.node_id = node_id
        self.node_ids = (node_id,)
        self.certificate = _MAGIC + node_id + user.encode()
        if is_full_size:
            self.certificate = self.certificate.ljust(CERTIFICATE_BYTES, _FILL)
        self.certificates = (GenericCertificate(CertificateType.X509, self.certificate),)
        self._identity = _identity_of(self.certificate)
        self._suffix = _suffix_of(self.certificate)

    def sign(self, prefix: bytes) -> Signature:
        """The keyed hash over `prefix` and the SignerIdentity."""
        return Signature(_ALGORITHM, self._identity, _signature(self.certificate, prefix, self._suffix))

    def unseal(self, sealed: bytes, purpose: bytes) -> bytes:
        """What was sealed to this certificate. Raises CannotUnseal."""
        mark, secret = sealed[:_HASH_BYTES], sealed[_HASH_BYTES:]
        if mark != _hash(self.certificate, purpose, secret):
            raise CannotUnseal("what is sealed here is for another certificate, or was changed")
        return secret

    @property
    def jws_algorithm(self) -> str:
        """The same name and size as in an overlay with ECDSA keys."""
        return _JWS_ALGORITHM

    def sign_jws(self, signing_input: bytes) -> bytes:
        """The keyed hash over it."""
        return _jws(self.certificate, signing_input)


class SimulatedVerifier:
    """The Verifier for those identities; `bad_nodes` are refused."""

    def __init__(self, bad_nodes: frozenset[NodeId] = frozenset()) -> None:
        self._bad_nodes = bad_nodes

    def use_configuration(self, settings: TrustSettings) -> None:
        """Refuse the bad nodes of this configuration from now on."""
        self._bad_nodes = settings.bad_nodes

    @property
    def revokes_some(self) -> bool:
        """True if there are bad nodes."""
        return bool(self._bad_nodes)

    def revokes(self, der: bytes) -> bool:
        """True if this is the certificate of a bad node."""
        return NodeId(der[len(_MAGIC) : len(_MAGIC) + 16]) in self._bad_nodes

    def check(self, chain: Sequence[bytes], date: float, date_trusted: bool) -> Member:
        """The member of a simulated certificate. Raises UntrustedCertificate."""
        certificate = chain[0] if chain else b""
        if not certificate.startswith(_MAGIC) or len(certificate) < len(_MAGIC) + 16:
            raise UntrustedCertificate(CertificateProblem.MALFORMED, "not of this simulation")
        member = _member_of(certificate)
        if self._bad_nodes and member.node_ids[0] in self._bad_nodes:
            raise UntrustedCertificate(CertificateProblem.BAD_NODE, str(member.node_ids[0]))
        return member

    def is_jws(self, member: Member, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """roles.Verifier"""
        return algorithm == _JWS_ALGORITHM and signature == _jws(member.certificate, signing_input)

    def seal(self, member: Member, secret: bytes, purpose: bytes, rng: random.Random) -> bytes:
        """The secret as it is, with a mark that says whose it is: no secret from who looks at the bytes."""
        return _hash(member.certificate, purpose, secret) + secret

    def lacks(self, signature: Signature, certificates: Sequence[GenericCertificate]) -> bool:
        """True if the certificate that a signature names is not among these."""
        return _named_by(signature, certificates) is None

    def verify(
        self,
        prefix: bytes,
        signature: Signature,
        certificates: Sequence[GenericCertificate],
        date: float,
        date_trusted: bool,
    ) -> Signer:
        """Who signed. Raises SecurityError."""
        certificate = _named_by(signature, certificates)
        if certificate is None:
            raise CertificateMissing
        member = self.check([certificate], date, date_trusted)
        if signature.signature_value != _signature(certificate, prefix, _suffix_of(certificate)):
            raise BadSignature(f"the signature is not that of {member.user}")
        return Signer(member.node_ids[0], member)


def _named_by(signature: Signature, certificates: Sequence[GenericCertificate]) -> bytes | None:
    wanted = signature.identity
    for entry in certificates:
        identity = _identity_of(entry.certificate)
        # Within one process it is mostly the very same.
        if identity is wanted or identity == wanted:
            return entry.certificate
    return None
