"""Keys and bare signatures: ECDSA on P-256 and RSASSA-PKCS1-v1_5, both with SHA-256 (RFC 6940 section 6.3.4).

The core does no file I/O: keys go in and out as PEM bytes.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from p2psip.base.errors import LocalMisuse
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.security_block import SignatureAndHashAlgorithm

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

RSA_BITS = 2048
RSA_BITS_RANGE = range(RSA_BITS, 4096 + 1)
"""Above that, a remote's key costs too much to verify with."""

_DIGESTS = {
    HashAlgorithm.SHA1: hashlib.sha1,
    HashAlgorithm.SHA256: hashlib.sha256,
    HashAlgorithm.SHA384: hashlib.sha384,
    HashAlgorithm.SHA512: hashlib.sha512,
}


def digest(algorithm: HashAlgorithm, data: bytes) -> bytes:
    """The hash of `data`; ValueError for an algorithm that RELOAD has no use for."""
    if algorithm not in _DIGESTS:
        raise ValueError(f"hash algorithm {algorithm.rfc_name} is not supported")
    return _DIGESTS[algorithm](data).digest()


def generate_key(algorithm: SignatureAlgorithm) -> PrivateKey:
    """A new key. RSA takes tens to hundreds of milliseconds: not on an event loop."""
    if algorithm is SignatureAlgorithm.ECDSA:
        return ec.generate_private_key(ec.SECP256R1())
    assert algorithm is SignatureAlgorithm.RSA, "the configuration names no other"
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def key_to_pem(key: PrivateKey) -> bytes:
    """The key as unencrypted PKCS#8; whoever writes it to disk keeps it to the owner (mode 0600)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_from_pem(pem: bytes, password: bytes | None = None) -> PrivateKey:
    """The key in a PEM file; LocalMisuse if it holds none that RELOAD can use, or not with this password."""
    try:
        key = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        kind = "unencrypted private key in PEM" if password is None else "private key that this password opens"
        raise LocalMisuse(f"the key file holds no {kind}") from None
    if isinstance(key, PrivateKey) and usable(key.public_key()) is not None:
        return key
    raise LocalMisuse("the key must be ECDSA on P-256 or RSA of 2048 to 4096 bits")


def derive_secret(key: PrivateKey, purpose: bytes) -> bytes:
    """32 bytes that are the same as long as the key is, and tell nothing of it (HKDF, RFC 5869)."""
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return HKDF(hashes.SHA256(), 32, salt=None, info=purpose).derive(der)


def usable(key: PublicKeyTypes) -> PublicKey | None:
    """The key, if it is of a type and size that RELOAD signs with here; None otherwise."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS_RANGE:
        return key
    return None


def algorithm_of(key: PublicKey) -> SignatureAlgorithm:
    """With which algorithm a key of this type signs."""
    return SignatureAlgorithm.RSA if isinstance(key, rsa.RSAPublicKey) else SignatureAlgorithm.ECDSA


def public_key_der(key: PublicKey) -> bytes:
    """Its subjectPublicKeyInfo in DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_key_hash(key: PublicKey) -> bytes:
    """SHA-256 of its subjectPublicKeyInfo: which key it is."""
    return hashlib.sha256(public_key_der(key)).digest()


def signature_algorithm(key: PrivateKey) -> SignatureAndHashAlgorithm:
    """What a signature made with this key says of itself."""
    return SignatureAndHashAlgorithm(HashAlgorithm.SHA256, algorithm_of(key.public_key()))


def sign(key: PrivateKey, data: bytes) -> bytes:
    """The bare signature of `data`."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hashes.SHA256()))
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def is_signature(key: PublicKey, signature: bytes, data: bytes) -> bool:
    """True if `signature` over `data` was made with the private half of `key`."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        else:
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
