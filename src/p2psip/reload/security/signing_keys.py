"""Certificates signed by a key that need not be in this process: in a token (PKCS#11), say.

`cryptography` signs certificates with keys of its own only. So a certificate is made with a key of the moment, and its
signature replaced: what is signed names the issuer and its key by what the builder was told, and nothing else of who
signs but the algorithm, which is the same.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from p2psip.base.errors import P2psipError
from p2psip.reload.security.keys import PrivateKey, PublicKey, algorithm_of, generate_key, is_signature
from p2psip.reload.wire.common import SignatureAlgorithm

_SEQUENCE, _BIT_STRING = 0x30, 0x03


class SigningFailed(P2psipError):
    """Who has the key does not sign now: a token that was pulled out, or is locked."""


class SigningKey(Protocol):
    """A private key that is elsewhere."""

    def public_key(self) -> PublicKey:
        """Its public half."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature of `data` with SHA-256, as X.509 carries it. Raises SigningFailed."""
        ...


IssuerKey = PrivateKey | SigningKey


def signed(builder: x509.CertificateBuilder, key: IssuerKey) -> x509.Certificate:
    """The certificate, signed with SHA-256. Raises SigningFailed."""
    if isinstance(key, PrivateKey):
        return builder.sign(key, hashes.SHA256())
    public = key.public_key()
    made = builder.sign(_key_of_the_moment(algorithm_of(public)), hashes.SHA256())
    what = made.tbs_certificate_bytes
    signature = key.sign(what)
    if not is_signature(public, signature, what):
        raise SigningFailed("the key that signs is not that of the authority's certificate")
    return x509.load_der_x509_certificate(_certificate(what, _algorithm(made), signature))


@cache
def _key_of_the_moment(algorithm: SignatureAlgorithm) -> PrivateKey:
    """One a process: RSA keys take long to make, and what it signs is thrown away."""
    return generate_key(algorithm)


def _algorithm(made: x509.Certificate) -> bytes:
    """The AlgorithmIdentifier that follows what is signed, in DER."""
    _, rest = made.public_bytes(serialization.Encoding.DER).split(made.tbs_certificate_bytes, 1)
    return rest[: 2 + rest[1]]


def _certificate(what: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """RFC 5280 section 4.1: Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }."""
    return _der(_SEQUENCE, what + algorithm + _der(_BIT_STRING, b"\0" + signature))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
