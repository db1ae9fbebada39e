"""Who is a member, and whose a signature is (RFC 6940 section 6.3.4, 7.1, 11.3, 13.3).

On clocks. A certificate has dates, and our users' machines start in 1970. So:

- A trusted date is held against the certificate's dates, and the error names the clock.
- An untrusted date, or one before the trust anchor itself came to be, is not held against anybody: nobody is
  locked out because a Pi has lost its clock. A certificate is then refused as expired only if it ended before
  the youngest trust anchor began, which no clock can explain.

The price is that a node without the date accepts members whose certificates have run out; `bad-node` still works.
"""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification

from p2psip.base.ids import NodeId
from p2psip.reload.security import jws
from p2psip.reload.security.certificates import X509_ERRORS, Leaf, load_certificate, read_leaf
from p2psip.reload.security.errors import (
    BadSignature,
    CertificateMissing,
    CertificateProblem,
    SecurityError,
    UntrustedCertificate,
)
from p2psip.reload.security.keys import digest, is_signature, public_key_der
from p2psip.reload.security.roles import Member, Signer, TrustSettings
from p2psip.reload.security.sealed_to_key import seal_to
from p2psip.reload.wire.common import HashAlgorithm
from p2psip.reload.wire.security_block import (
    CertHash,
    CertHashNodeId,
    CertificateType,
    GenericCertificate,
    Signature,
)

KNOWN_MAX = 1024
"""Verified certificates that are remembered."""

REVOKED_MAX = 16384
"""Certificates of which it is remembered whether they are revoked."""

CHAIN_MAX = 4
BUCKET_MAX = 64
"""Certificates of one security block that are looked at."""

CLOCK_SKEW_S = 300.0
"""How far two set clocks may differ."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A certificate whose chain has been verified; only the date can still spoil it."""

    member: Member
    leaf: Leaf


class CertificateVerifier:
    """The Verifier of an overlay, by its configuration.

    Raises UntrustedCertificate for a trust anchor that is no certificate.
    """

    def __init__(self, settings: TrustSettings) -> None:
        self.use_configuration(settings)

    def use_configuration(self, settings: TrustSettings) -> None:
        """Judge by this configuration from now on; what was judged by the one before is forgotten."""
        anchors = [load_certificate(der) for der in settings.root_certs]
        try:
            self._store = verification.Store(anchors) if anchors else None
            # A date before this is wrong: the overlay did not exist.
            self._beginning = max((_seconds(anchor.not_valid_before_utc) for anchor in anchors), default=0.0)
        except X509_ERRORS as error:
            raise UntrustedCertificate(CertificateProblem.MALFORMED, f"that of a trust anchor: {error}") from None
        self._settings = settings
        self._anchors = anchors
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._revoked: OrderedDict[bytes, bool] = OrderedDict()

    def check(self, chain: Sequence[bytes], date: float, date_trusted: bool) -> Member:
        """The member with this certificate (DER, intermediates after it). Raises UntrustedCertificate."""
        if not chain:
            raise UntrustedCertificate(CertificateProblem.MALFORMED, "none was presented")
        return self._admit(chain[0], chain[1:], date, date_trusted).member

    def verify(
        self,
        prefix: bytes,
        signature: Signature,
        certificates: Sequence[GenericCertificate],
        date: float,
        date_trusted: bool,
    ) -> Signer:
        """Who signed `prefix` and the encoded SignerIdentity. Raises SecurityError: either of its subclasses."""
        self._check_algorithm(signature)
        bucket = [entry.certificate for entry in certificates[:BUCKET_MAX] if entry.type is CertificateType.X509]
        der, node_id = self._find(signature, bucket)
        others = [other for other in bucket if other != der]
        known = self._admit(der, others, date, date_trusted)
        if signature.algorithm.signature is not known.leaf.algorithm:
            raise BadSignature(f"the key of {known.member.user} does not make {_algorithm(signature)} signatures")
        if not is_signature(known.leaf.key, signature.signature_value, prefix + signature.identity.encode()):
            raise BadSignature(f"the signature is not that of {known.member.user}, whom it names")
        return Signer(node_id, known.member)

    def is_jws(self, member: Member, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """roles.Verifier"""
        known = self._known.get(_key(member.certificate))
        leaf = read_leaf(member.certificate, self._settings.node_id_length) if known is None else known.leaf
        return jws.is_signature(leaf.key, algorithm, signing_input, signature)

    @property
    def revokes_some(self) -> bool:
        """True if the configuration revokes anybody's certificate."""
        return bool(self._settings.bad_nodes)

    def revokes(self, der: bytes) -> bool:
        """True if the configuration revokes this certificate (11.1, `bad-node`). Cheap: to be asked for each record."""
        key = _key(der)
        if key not in self._revoked:
            self._revoked[key] = not self._settings.bad_nodes.isdisjoint(self._node_ids(der))
            if len(self._revoked) > REVOKED_MAX:
                self._revoked.popitem(last=False)
        return self._revoked[key]

    def seal(self, member: Member, secret: bytes, purpose: bytes, rng: random.Random) -> bytes:
        """roles.Verifier"""
        return seal_to(read_leaf(member.certificate, self._settings.node_id_length).key, secret, purpose, rng)

    def lacks(self, signature: Signature, certificates: Sequence[GenericCertificate]) -> bool:
        """True if the certificate that a signature names is neither among these nor known."""
        bucket = [entry.certificate for entry in certificates[:BUCKET_MAX] if entry.type is CertificateType.X509]
        try:
            self._find(signature, bucket)
        except CertificateMissing:
            return True
        except SecurityError:
            return False
        return False

    def _check_algorithm(self, signature: Signature) -> None:
        is_permitted = signature.algorithm.signature in self._settings.signature_algorithms
        if not is_permitted or signature.algorithm.hash is not HashAlgorithm.SHA256:
            raise BadSignature(f"{_algorithm(signature)} signatures are not permitted here")

    def _find(self, signature: Signature, bucket: Sequence[bytes]) -> tuple[bytes, NodeId]:
        """The signer's certificate, and as which of its Node-IDs it signed."""
        try:
            match signature.identity.identity:
                case CertHash(hash_alg, wanted):
                    return self._find_sole(hash_alg, wanted, bucket)
                case CertHashNodeId(hash_alg, wanted):
                    return self._find_one_of_several(hash_alg, wanted, bucket)
        except ValueError as error:
            raise BadSignature(str(error)) from None
        raise BadSignature("the signature names no signer")

    def _find_sole(self, hash_alg: HashAlgorithm, wanted: bytes, bucket: Sequence[bytes]) -> tuple[bytes, NodeId]:
        if hash_alg is HashAlgorithm.SHA256 and wanted in self._known:
            leaf = self._known[wanted].leaf
            der = self._known[wanted].member.certificate
        else:
            der = next((der for der in bucket if digest(hash_alg, der) == wanted), b"")
            if not der:
                raise CertificateMissing
            leaf = read_leaf(der, self._settings.node_id_length)
        # 6.3.4: "one for a certificate with only one Node-ID [...] the cert_hash type MUST be used."
        if len(leaf.node_ids) != 1:
            raise BadSignature("the signature does not say which of the certificate's Node-IDs it is for")
        return der, leaf.node_ids[0]

    def _find_one_of_several(
        self, hash_alg: HashAlgorithm, wanted: bytes, bucket: Sequence[bytes]
    ) -> tuple[bytes, NodeId]:
        for der in bucket:
            for node_id in self._node_ids(der):
                # "computed over the NodeId used to sign concatenated with the certificate".
                if digest(hash_alg, node_id + der) == wanted:
                    return der, node_id
        raise CertificateMissing

    def _node_ids(self, der: bytes) -> tuple[NodeId, ...]:
        known = self._known.get(_key(der))
        if known is not None:
            return known.member.node_ids
        try:
            return read_leaf(der, self._settings.node_id_length).node_ids
        except UntrustedCertificate:
            # Others in the bucket (intermediates, somebody else's) are not this signature's business.
            return ()

    def _admit(self, der: bytes, others: Sequence[bytes], date: float, date_trusted: bool) -> _Known:
        key = _key(der)
        known = self._known.get(key) or self._examine(der, others, date)
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        self._check_dates(known.member, date, date_trusted)
        return known

    def _examine(self, der: bytes, others: Sequence[bytes], date: float) -> _Known:
        """All that does not change with the date."""
        leaf = read_leaf(der, self._settings.node_id_length)
        self._check_claims(leaf)
        if leaf.is_self_signed:
            self._check_self_signed(leaf)
            chain = [leaf.x509]
        else:
            chain = self._check_chain(leaf, others, date)
        member = Member(
            leaf.user,
            leaf.node_ids,
            der,
            not_before=max(_seconds(certificate.not_valid_before_utc) for certificate in chain),
            not_after=min(_seconds(certificate.not_valid_after_utc) for certificate in chain),
            issuers=tuple(_der(issuer) for issuer in chain[1:] if issuer not in self._anchors),
            # What one says of oneself is no mark of the trust anchor.
            signs_configurations=leaf.signs_configurations and not leaf.is_self_signed,
        )
        return _Known(member, leaf)

    def _check_claims(self, leaf: Leaf) -> None:
        settings = self._settings
        if leaf.overlay != settings.instance_name.lower():
            what = f"it is for the overlay {leaf.overlay}, this is {settings.instance_name}"
            raise UntrustedCertificate(CertificateProblem.WRONG_OVERLAY, what)
        if leaf.algorithm not in settings.signature_algorithms:
            what = f"this overlay permits no {leaf.algorithm.name} keys"
            raise UntrustedCertificate(CertificateProblem.WRONG_ALGORITHM, what)
        # 11.1: "indicates that the certificate with this Node-ID MUST NOT be considered valid."
        revoked = [str(node_id) for node_id in leaf.node_ids if node_id in settings.bad_nodes]
        if revoked:
            what = f"the configuration revokes Node-ID {', '.join(revoked)} of {leaf.user}"
            raise UntrustedCertificate(CertificateProblem.BAD_NODE, what)

    def _check_self_signed(self, leaf: Leaf) -> None:
        """11.3.1: "nodes MUST check that the Node-ID and public keys match. This prevents Node-ID theft."."""
        algorithm = self._settings.self_signed_digest
        if algorithm is None:
            what = f"{leaf.user} signed it itself, which this overlay does not permit"
            raise UntrustedCertificate(CertificateProblem.UNKNOWN_ISSUER, what)
        try:
            leaf.x509.verify_directly_issued_by(leaf.x509)
        except (InvalidSignature, ValueError, TypeError):
            raise UntrustedCertificate(CertificateProblem.MALFORMED, "its own signature is wrong") from None
        expected = self_signed_node_ids(public_key_der(leaf.key), len(leaf.node_ids), algorithm, len(leaf.node_ids[0]))
        if set(leaf.node_ids) != set(expected):
            what = "its Node-IDs do not come of its public key"
            raise UntrustedCertificate(CertificateProblem.WRONG_NODE_ID, what)

    def _check_chain(self, leaf: Leaf, others: Sequence[bytes], date: float) -> list[x509.Certificate]:
        """The chain from the certificate up to a trust anchor."""
        if self._store is None:
            raise UntrustedCertificate(CertificateProblem.UNKNOWN_ISSUER, "this overlay has no trust anchor")
        # Dates are checked apart, with the clock's merits in view; here an authority counts that is, or was when it
        # made this certificate.
        found = ""
        for at in dict.fromkeys((min(max(date, leaf.not_before), leaf.not_after), leaf.not_before)):
            policy = (
                verification.PolicyBuilder()
                .store(self._store)
                .time(datetime.fromtimestamp(at, UTC))
                .max_chain_depth(CHAIN_MAX)
                .extension_policies(ca_policy=_CA_POLICY, ee_policy=_LEAF_POLICY)
            )
            try:
                return policy.build_client_verifier().verify(leaf.x509, _intermediates(others)).chain
            except (verification.VerificationError, ValueError) as error:
                found = str(error).partition("\n")[0] or type(error).__name__
        issued = f"that of {leaf.user} was issued by {leaf.issuer!r}"
        what = f"{issued}, and leads to no trust anchor of this overlay ({found})"
        raise UntrustedCertificate(CertificateProblem.UNKNOWN_ISSUER, what)

    def _check_dates(self, member: Member, date: float, date_trusted: bool) -> None:
        if not date_trusted or date < self._beginning:
            if member.not_after < self._beginning:
                what = f"that of {member.user} expired on {_day(member.not_after)}, before this overlay's trust anchor"
                raise UntrustedCertificate(CertificateProblem.EXPIRED, what)
        elif date > member.not_after:
            what = f"that of {member.user} expired on {_day(member.not_after)}; the clock here says {_day(date)}"
            raise UntrustedCertificate(CertificateProblem.EXPIRED, what)
        elif date < member.not_before - CLOCK_SKEW_S:
            what = f"that of {member.user} begins on {_day(member.not_before)}, but the clock here says {_day(date)}"
            hint = "one of the two clocks is wrong"
            raise UntrustedCertificate(CertificateProblem.NOT_YET_VALID, f"{what}: {hint}")


def self_signed_node_ids(public_key: bytes, count: int, algorithm: HashAlgorithm, length: int = 16) -> list[NodeId]:
    """The Node-IDs of a self-signed certificate, by its subjectPublicKeyInfo (11.3.1)."""
    # "applying the digest [...] to the DER representation of the user's public key [...] and taking the
    # high-order bits. [...] containing multiple Node-IDs, the index of the Node-ID (from 1 [...]) must be
    # prepended as a 4-byte big-endian integer".
    prefixes = [b""] if count == 1 else [index.to_bytes(4, "big") for index in range(1, count + 1)]
    return [NodeId(digest(algorithm, prefix + public_key)[:length]) for prefix in prefixes]


def _must_be_authority(
    policy: verification.Policy, certificate: x509.Certificate, extension: x509.BasicConstraints
) -> None:
    """11.3: "(including PKIX BasicConstraints checks)"."""
    if not extension.ca:
        raise ValueError("the issuer is no certification authority")


def _must_sign_certificates(
    policy: verification.Policy, certificate: x509.Certificate, extension: x509.KeyUsage | None
) -> None:
    if extension is not None and not extension.key_cert_sign:
        raise ValueError("the issuer's key is not for signing certificates")


_CA_POLICY = (
    verification.ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, _must_be_authority)
    .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _must_sign_certificates)
)
_LEAF_POLICY = verification.ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
)


def _intermediates(others: Sequence[bytes]) -> list[x509.Certificate]:
    """The authorities among the other certificates of a bucket; what is none is not this chain's business."""
    found = []
    for der in others:
        try:
            certificate = load_certificate(der)
            if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                found.append(certificate)
        except (SecurityError, *X509_ERRORS):
            continue
    return found[: CHAIN_MAX * 2]


def _key(der: bytes) -> bytes:
    return hashlib.sha256(der).digest()


def _algorithm(signature: Signature) -> str:
    return f"{signature.algorithm.signature.rfc_name} with {signature.algorithm.hash.rfc_name}"


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _seconds(when: datetime) -> float:
    return when.timestamp()


def _day(date: float) -> str:
    return datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%d %H:%M UTC")
