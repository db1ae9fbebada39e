"""The security block (RFC 6940 section 6.3.4): certificates and a signature."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.language.codec import Prefixed, Select, Struct, Vector, structure
from p2psip.reload.wire.language.primitives import Opaque8, Opaque16, WireEnum


class CertificateType(WireEnum, width=1, is_open=True):
    """IANA's TLS CertificateType registry (RFC 6091); RELOAD uses X.509 only."""

    X509 = 0, "X.509"
    OPENPGP = 1, "OpenPGP"
    RAW_PUBLIC_KEY = 2, "RawPublicKey"


class SignerIdentityType(WireEnum, width=1, is_open=True):
    """Types of SignerIdentity."""

    CERT_HASH = 1
    CERT_HASH_NODE_ID = 2
    NONE = 3


@structure
class GenericCertificate(Struct):
    """A certificate; of X.509 in DER."""

    type: CertificateType
    certificate: Opaque16


@structure
class SignatureAndHashAlgorithm(Struct):
    """How a signature is made (RFC 5246 section 7.4.1.4.1: the hash comes first)."""

    hash: HashAlgorithm
    signature: SignatureAlgorithm


@structure
class CertHash(Struct):
    """The signer's certificate, which has only one Node-ID: its hash."""

    hash_alg: HashAlgorithm
    certificate_hash: Opaque8


@structure
class CertHashNodeId(Struct):
    """The signer's certificate, which has several Node-IDs: H(NodeId || certificate)."""

    hash_alg: HashAlgorithm
    certificate_node_id_hash: Opaque8


@structure
class NoIdentity(Struct):
    """Nobody signed: a value synthesized by the storing peer (section 7.4.2.2)."""


@structure
class SignerIdentity(Struct):
    """Who signed."""

    identity_type: SignerIdentityType
    identity: Annotated[
        CertHash | CertHashNodeId | NoIdentity | bytes,
        Prefixed(
            2,
            Select(
                "identity_type",
                {
                    SignerIdentityType.CERT_HASH: CertHash,
                    SignerIdentityType.CERT_HASH_NODE_ID: CertHashNodeId,
                    SignerIdentityType.NONE: NoIdentity,
                },
            ),
        ),
    ]

    @classmethod
    def cert_hash(cls, hash_alg: HashAlgorithm, certificate_hash: bytes) -> SignerIdentity:
        """The signer of a certificate with one Node-ID."""
        return cls(SignerIdentityType.CERT_HASH, CertHash(hash_alg, certificate_hash))

    @classmethod
    def cert_hash_node_id(cls, hash_alg: HashAlgorithm, certificate_node_id_hash: bytes) -> SignerIdentity:
        """The signer of a certificate with several Node-IDs."""
        return cls(SignerIdentityType.CERT_HASH_NODE_ID, CertHashNodeId(hash_alg, certificate_node_id_hash))

    @classmethod
    def none(cls) -> SignerIdentity:
        """Nobody."""
        return cls(SignerIdentityType.NONE, NoIdentity())


@structure
class Signature(Struct):
    """A signature and whose it is."""

    algorithm: SignatureAndHashAlgorithm
    identity: SignerIdentity
    signature_value: Opaque16

    @classmethod
    def none(cls) -> Signature:
        """The empty signature of a value that does not exist (section 7.4.2.2)."""
        algorithm = SignatureAndHashAlgorithm(HashAlgorithm.NONE, SignatureAlgorithm.ANONYMOUS)
        return cls(algorithm, SignerIdentity.none(), b"")


@structure
class SecurityBlock(Struct):
    """The third part of a message: all certificates that its signatures need, and its own signature."""

    certificates: Annotated[tuple[GenericCertificate, ...], Vector(2)]
    signature: Signature


@lru_cache(maxsize=256)
def _up_to_signature(certificates: tuple[GenericCertificate, ...]) -> bytes:
    nobody = Signature.none()
    return SecurityBlock(certificates, nobody).encode().removesuffix(nobody.encode())


class BlockWriter:
    """Writes the SecurityBlocks of one signer, which mostly differ in nothing but the signature's value."""

    def __init__(self) -> None:
        self._last: tuple[object, ...] = ()
        self._beginning = b""

    def write(self, certificates: tuple[GenericCertificate, ...], signature: Signature) -> bytes:
        """The bytes of a SecurityBlock."""
        last = self._last
        if not (last and last[0] is certificates and last[1] is signature.algorithm and last[2] is signature.identity):
            self._last = certificates, signature.algorithm, signature.identity
            unsigned = Signature(signature.algorithm, signature.identity, b"")
            self._beginning = encode_block(certificates, unsigned)[:-VALUE_LENGTH_BYTES]
        value = signature.signature_value
        return self._beginning + len(value).to_bytes(VALUE_LENGTH_BYTES, "big") + value


VALUE_LENGTH_BYTES = 2
"""Of a signature's value, the last field of a SecurityBlock."""


def encode_block(certificates: tuple[GenericCertificate, ...], signature: Signature) -> bytes:
    """The bytes of a SecurityBlock. Whoever signs much has the same certificates each time: they are written once."""
    return _up_to_signature(certificates) + signature.encode()
