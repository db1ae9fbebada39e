"""The security block (p2psip.reload.wire.security_block)."""

from __future__ import annotations

from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.security_block import (
    BlockWriter,
    CertificateType,
    GenericCertificate,
    SecurityBlock,
    Signature,
    SignatureAndHashAlgorithm,
    SignerIdentity,
    SignerIdentityType,
)


def test_byte_for_byte() -> None:
    """A bucket with one certificate, then the signature with its signer."""
    signature = Signature(
        SignatureAndHashAlgorithm(HashAlgorithm.SHA256, SignatureAlgorithm.RSA),
        SignerIdentity.cert_hash(HashAlgorithm.SHA256, b"HASH"),
        b"SIGN",
    )
    block = SecurityBlock((GenericCertificate(CertificateType.X509, b"DER"),), signature)
    assert block.encode() == bytes.fromhex("0006 00 0003 44455204 0101 0006 04 04 484153480004 5349474e")
    assert SecurityBlock.decode(block.encode()) == block


def test_identities() -> None:
    """Each type with its own length."""
    assert SignerIdentity.cert_hash_node_id(HashAlgorithm.SHA256, b"H").encode() == bytes.fromhex("02 0003 04 01 48")
    assert SignerIdentity.none().encode() == bytes.fromhex("03 0000")


def test_identities_of_tomorrow_are_kept() -> None:
    """ "This structure may be extended with new types"."""
    identity = SignerIdentity.decode(bytes.fromhex("09 0002 abcd"))
    assert identity == SignerIdentity(SignerIdentityType(9), b"\xab\xcd")
    assert identity.encode() == bytes.fromhex("09 0002 abcd")


def test_written_block_after_block() -> None:
    """One writer, with the same signer again and with others in between: always what the structure encodes to."""
    algorithm = SignatureAndHashAlgorithm(HashAlgorithm.SHA256, SignatureAlgorithm.RSA)
    bob, carol = (SignerIdentity.cert_hash(HashAlgorithm.SHA256, name) for name in (b"BOB", b"CAROL"))
    ones, twos = ((GenericCertificate(CertificateType.X509, der),) for der in (b"1", b"22"))
    writer = BlockWriter()
    for certificates, identity in ((ones, bob), (ones, bob), (ones, carol), (twos, carol), (ones, bob)):
        for value in (b"SIGN", b"", bytes(300)):
            signature = Signature(algorithm, identity, value)
            assert writer.write(certificates, signature) == SecurityBlock(certificates, signature).encode()
