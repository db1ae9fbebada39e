"""The trust anchor of an overlay: it makes certificates for members and servers (RFC 6940 section 11.3)."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.reload.security.certificates import CONFIGURATION_SIGNER, X509_ERRORS, fingerprint
from p2psip.reload.security.keys import PrivateKey, PublicKey, algorithm_of, generate_key
from p2psip.reload.security.reload_uri import node_uri
from p2psip.reload.security.signing_keys import IssuerKey, signed
from p2psip.reload.wire.common import SignatureAlgorithm

DAY_S = 86400.0
ANCHOR_LIFETIME_S = 30 * 365 * DAY_S
BACKDATED_S = DAY_S
"""Certificates begin a day early, for members whose clocks are behind."""

NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""RFC 5280 section 4.1.2.5: "To indicate that a certificate has no well-defined expiration date"."""


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a certificate is valid, in seconds since 1970-01-01 UTC."""

    begins: float
    ends: float

    @classmethod
    def at(cls, date: float, lifetime_s: float) -> Validity:
        """`lifetime_s` from `date` on, and a little before it."""
        return cls(date - BACKDATED_S, date + lifetime_s)


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """The key and the certificate that all members of an overlay trust; `rng` makes serial numbers."""

    overlay: str
    key: IssuerKey = field(repr=False)
    certificate: x509.Certificate = field(repr=False)
    url: str | None = None
    """Where its certificate can be got, by who does not have it: told in what it issues, if it is below another."""

    @classmethod
    def create(
        cls,
        overlay: str,
        rng: random.Random,
        date: float,
        *,
        algorithm: SignatureAlgorithm = SignatureAlgorithm.ECDSA,
        lifetime_s: float = ANCHOR_LIFETIME_S,
    ) -> TrustAnchor:
        """A new trust anchor. With RSA this takes a while: not on an event loop."""
        key = generate_key(algorithm)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Trust anchor of {overlay}"[:64])])
        builder = (
            _builder(key.public_key(), name, rng, Validity.at(date, lifetime_s))
            .subject_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        )
        return cls(overlay, key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def load(cls, overlay: str, key: IssuerKey, certificate: bytes) -> TrustAnchor:
        """The trust anchor with this certificate (PEM or DER); LocalMisuse if the key is another's."""
        try:
            is_pem = certificate.lstrip().startswith(b"-----")
            anchor = (x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate)(certificate)
        except X509_ERRORS:
            raise LocalMisuse("the trust anchor's certificate cannot be read") from None
        if anchor.public_key() != key.public_key():
            raise LocalMisuse("the trust anchor's key is not that of its certificate")
        return cls(overlay, key, anchor)

    def delegate(
        self, name: str, rng: random.Random, validity: Validity, *, key: IssuerKey | None = None
    ) -> TrustAnchor:
        """An authority below this one, for a server that makes certificates every day while this key is locked away.

        Raises SigningFailed, as all that signs, if this key is in a token that does not sign.
        Its members bring its certificate with theirs; the document names this one. With `key` it is renewed.
        """
        key = key or generate_key(algorithm_of(self.key.public_key()))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} of {self.overlay}"[:64])])
        builder = (
            _builder(key.public_key(), self.certificate.subject, rng, self._within(validity))
            .subject_name(subject)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return TrustAnchor(self.overlay, key, signed(builder, self.key))

    @property
    def is_delegated(self) -> bool:
        """True if it is below another one, which the document names."""
        return self.certificate.issuer != self.certificate.subject

    @property
    def der(self) -> bytes:
        """The certificate, as a root-cert element carries it."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex: what people hand to each other."""
        return fingerprint(self.der)

    def issue(
        self,
        public_key: PublicKey,
        user: str,
        node_ids: Sequence[NodeId],
        rng: random.Random,
        validity: Validity,
        *,
        signs_configurations: bool = False,
    ) -> bytes:
        """A member's certificate in DER: "exactly" a user name and Node-IDs, and an empty subject (11.3)."""
        names = [x509.RFC822Name(user), *self._node_names(node_ids)]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        if signs_configurations:
            usages.append(CONFIGURATION_SIGNER)
        return self._leaf(public_key, names, usages, rng, validity)

    def issue_server(
        self, public_key: PublicKey, hosts: Iterable[str], rng: random.Random, validity: Validity
    ) -> bytes:
        """The HTTPS server's certificate in DER, for the overlay's name and for host names and IP addresses."""
        # 11.3: "The server certificate MUST match the overlay name as described in [RFC2818]."
        names = [_host_name(host) for host in dict.fromkeys([self.overlay, *hosts])]
        return self._leaf(public_key, names, [ExtendedKeyUsageOID.SERVER_AUTH], rng, validity)

    def _node_names(self, node_ids: Sequence[NodeId]) -> list[x509.GeneralName]:
        return [x509.UniformResourceIdentifier(node_uri(node_id, self.overlay)) for node_id in node_ids]

    def _leaf(
        self,
        public_key: PublicKey,
        names: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        rng: random.Random,
        validity: Validity,
    ) -> bytes:
        within = self._within(validity)
        builder = (
            _builder(public_key, self.certificate.subject, rng, within)
            # "The subject distinguished name in the certificate MUST be empty", so the names are critical (RFC 5280).
            .subject_name(x509.Name([]))
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if self.is_delegated and self.url is not None:
            # RFC 5280 4.2.2.1: "information on how to retrieve certificates issued to the issuer".
            where = x509.UniformResourceIdentifier(self.url)
            access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        return signed(builder, self.key).public_bytes(serialization.Encoding.DER)

    def _within(self, validity: Validity) -> Validity:
        """No certificate outlives its issuer, nor is older."""
        begins = self.certificate.not_valid_before_utc.timestamp()
        ends = self.certificate.not_valid_after_utc.timestamp()
        return Validity(max(validity.begins, begins), min(validity.ends, ends))


def self_signed(
    key: PrivateKey, overlay: str, user: str, node_ids: Sequence[NodeId], rng: random.Random, validity: Validity
) -> bytes:
    """A certificate that nobody else vouches for, in DER (11.3.1); the Node-IDs come of the key."""
    names = [x509.RFC822Name(user), *(x509.UniformResourceIdentifier(node_uri(one, overlay)) for one in node_ids)]
    builder = (
        _builder(key.public_key(), x509.Name([]), rng, validity)
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    public_key: PublicKey, issuer: x509.Name, rng: random.Random, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(rng.getrandbits(158) + 1)
        .not_valid_before(datetime.fromtimestamp(max(validity.begins, 0), UTC))
        .not_valid_after(datetime.fromtimestamp(min(validity.ends, NO_END), UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
