"""What a member's X.509 certificate says (RFC 6940 section 11.3): one user name, one or more Node-IDs."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.reload.security.errors import CertificateProblem, UntrustedCertificate
from p2psip.reload.security.keys import PublicKey, algorithm_of, usable
from p2psip.reload.security.reload_uri import parse_node_uri
from p2psip.reload.wire.common import SignatureAlgorithm

CONFIGURATION_SIGNER = x509.ObjectIdentifier("2.25.145668417219073551439417901757094033853")
"""Extended key usage, of ours: the trust anchor means this certificate to sign configuration documents."""

CERTIFICATE_SIZE_MAX = 16384
NODE_IDS_MAX = 32

X509_ERRORS = (
    ValueError,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
"""What `cryptography` raises for bytes that are no certificate that it understands."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A member's certificate, read and not yet believed. Its dates are seconds since 1970-01-01 UTC."""

    x509: x509.Certificate
    key: PublicKey
    user: str
    node_ids: tuple[NodeId, ...]
    overlay: str
    issuer: str
    is_self_signed: bool
    """True if it names itself as its issuer."""
    signs_configurations: bool
    """True if it is marked as a signer of configuration documents."""
    not_before: float
    not_after: float

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """With what its key signs."""
        return algorithm_of(self.key)


@contextmanager
def _in_silence() -> Iterator[None]:
    """Anybody can send a certificate with an odd serial number: no reason to write a warning to stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


def load_certificate(der: bytes) -> x509.Certificate:
    """The certificate in `der`; UntrustedCertificate if it is none."""
    if len(der) > CERTIFICATE_SIZE_MAX:
        raise UntrustedCertificate(CertificateProblem.MALFORMED, f"{len(der)} bytes, {CERTIFICATE_SIZE_MAX} at most")
    try:
        with _in_silence():
            certificate = x509.load_der_x509_certificate(der)
            is_positive = certificate.serial_number > 0
    except X509_ERRORS as error:
        raise UntrustedCertificate(CertificateProblem.MALFORMED, f"not an X.509 certificate: {error}") from None
    if not is_positive:
        # RFC 5280 section 4.1.2.2: "The serial number MUST be a positive integer assigned by the CA".
        raise UntrustedCertificate(CertificateProblem.MALFORMED, "its serial number is not positive")
    return certificate


def read_leaf(der: bytes, node_id_length: int) -> Leaf:
    """A member's certificate; UntrustedCertificate if it is not one that 11.3 describes."""
    certificate = load_certificate(der)
    try:
        with _in_silence():
            return _read(certificate, node_id_length)
    except X509_ERRORS as error:
        raise UntrustedCertificate(CertificateProblem.MALFORMED, str(error)) from None


def _read(certificate: x509.Certificate, node_id_length: int) -> Leaf:
    """All that is ever asked of it: `cryptography` parses each part only when it is asked for, and may fail then."""
    key = usable(certificate.public_key())
    if key is None:
        what = "its key is neither ECDSA on P-256 nor RSA of 2048 to 4096 bits"
        raise UntrustedCertificate(CertificateProblem.WRONG_ALGORITHM, what)
    user, node_ids, overlay = _names(certificate, node_id_length)
    return Leaf(
        certificate,
        key,
        user,
        node_ids,
        overlay,
        issuer=certificate.issuer.rfc4514_string(),
        is_self_signed=certificate.issuer == certificate.subject,
        signs_configurations=_signs_configurations(certificate),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def _names(certificate: x509.Certificate, node_id_length: int) -> tuple[str, tuple[NodeId, ...], str]:
    """The user name, the Node-IDs and the overlay; ValueError if they are not as 11.3 wants them."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    users = names.get_values_for_type(x509.RFC822Name)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    # "A single name (the "user name") [...]. The SubjectAltName field in the certificate MUST NOT contain any
    # identities other than those listed above."
    if len(users) != 1 or not users[0] or len(names) != len(users) + len(uris):
        raise ValueError("its subjectAltName does not hold exactly one user name and Node-IDs")
    if not 1 <= len(uris) <= NODE_IDS_MAX:
        raise ValueError(f"{len(uris)} Node-IDs, 1 to {NODE_IDS_MAX} wanted")
    nodes = [parse_node_uri(uri, node_id_length) for uri in uris]
    node_ids, overlays = tuple(node_id for node_id, _ in nodes), {overlay.lower() for _, overlay in nodes}
    if len(overlays) != 1 or len(set(node_ids)) != len(node_ids) or not all(node_id.is_valid for node_id in node_ids):
        raise ValueError("its Node-IDs are not distinct valid Node-IDs of one overlay")
    return users[0], node_ids, overlays.pop()


def _signs_configurations(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return CONFIGURATION_SIGNER in usage.value


def issuer_url(der: bytes) -> str | None:
    """Where the certificate of who issued this one can be got, if it says so (RFC 5280 section 4.2.2.1)."""
    try:
        access = load_certificate(der).extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except X509_ERRORS:
        return None
    for entry in access:
        is_issuer = entry.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        if is_issuer and isinstance(entry.access_location, x509.UniformResourceIdentifier):
            return entry.access_location.value
    return None


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate in hex, by which people tell trust anchors apart."""
    return hashlib.sha256(der).hexdigest()


def chain_to_pem(chain: Iterable[bytes]) -> bytes:
    """Certificates in DER as the text of one PEM file."""
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in chain)


def chain_from_pem(pem: bytes) -> list[bytes]:
    """The certificates of a PEM file in DER; LocalMisuse if there are none."""
    try:
        with _in_silence():
            return [certificate.public_bytes(Encoding.DER) for certificate in x509.load_pem_x509_certificates(pem)]
    except X509_ERRORS:
        raise LocalMisuse("the certificate file holds no certificate in PEM") from None
