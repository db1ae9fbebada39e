"""RFC 6940 section 6.3.4 and 7.4.2.2: the form of certificates and signatures."""

from __future__ import annotations

from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.message import signature_input
from p2psip.reload.wire.security_block import (
    CertificateType,
    GenericCertificate,
    SecurityBlock,
    Signature,
    SignatureAndHashAlgorithm,
    SignerIdentity,
)

RSA_SHA256 = SignatureAndHashAlgorithm(HashAlgorithm.SHA256, SignatureAlgorithm.RSA)


def test_6_3_4_certificate_types_are_those_of_rfc_6091() -> None:
    """ "The type of the certificate, as defined in [RFC6091].": X.509 is 0."""
    assert GenericCertificate(CertificateType.X509, b"DER").encode() == bytes.fromhex("00 0003 444552")


def test_6_3_4_algorithms_are_those_of_tls() -> None:
    """SignatureAndHashAlgorithm "From TLS": the hash first (RFC 5246 section 7.4.1.4.1), SHA-256 4, RSA 1."""
    assert RSA_SHA256.encode() == b"\4\1"


def test_6_3_4_identity_of_a_certificate_with_one_node_id() -> None:
    """cert_hash: "the hash of the certificate object" """
    identity = SignerIdentity.cert_hash(HashAlgorithm.SHA256, bytes(32))
    assert identity.encode() == bytes.fromhex("01 0022 04 20") + bytes(32)


def test_6_3_4_identity_of_a_certificate_with_several_node_ids() -> None:
    """cert_hash_node_id: "H(NodeId || certificate)" """
    identity = SignerIdentity.cert_hash_node_id(HashAlgorithm.SHA256, bytes(32))
    assert identity.encode() == bytes.fromhex("02 0022 04 20") + bytes(32)


def test_6_3_4_the_bucket_may_be_empty() -> None:
    """ "In systems that have an alternative certificate distribution mechanism, some certificates MAY be omitted." """
    block = SecurityBlock((), Signature.none())
    assert block.encode() == bytes.fromhex("0000 0000 03 0000 0000")
    assert SecurityBlock.decode(block.encode()) == block


def test_6_3_4_signature_input() -> None:
    """ "overlay || transaction_id || MessageContents || SignerIdentity" """
    assert signature_input(1, 2, b"contents") == bytes.fromhex("00000001 0000000000000002") + b"contents"


def test_7_4_2_2_signature_of_what_does_not_exist() -> None:
    """ "the identity_type is set to "none", the SignatureAndHashAlgorithm values are set to {0, 0} ("anonymous" and
    "none", respectively), and the signature value is of zero length" """
    assert Signature.none().encode() == bytes.fromhex("00 00 03 0000 0000")
