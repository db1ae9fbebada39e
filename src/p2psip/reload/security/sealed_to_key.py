"""A short secret that is sealed to the key of a certificate, for whoever has that key later.

To ECDSA keys: a share of P-256 that is made for this one secret, ECDH with the key (SEC 1 section 6.1), HKDF (RFC 5869)
over both shares, AES-256-GCM; that is ECIES. To RSA keys: RSAES-OAEP with SHA-256 (RFC 8017 section 7.1). The keys sign
as well: `purpose` keeps what is sealed for one thing from being opened for another, and no signature is ever made of
what comes out of here (docs/decisions/mailboxes.md).
"""

from __future__ import annotations

import random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from p2psip.reload.security.keys import PrivateKey, PublicKey
from p2psip.reload.security.sealed_answer import CannotUnseal

SHARE_BYTES = 65
"""A point of P-256 as it is, without compression."""

_CURVE = ec.SECP256R1()
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256 (SEC 2 section 2.4.2)."""

_NONCE = bytes(12)
"""Each key seals once."""


def seal_to(key: PublicKey, secret: bytes, purpose: bytes, rng: random.Random) -> bytes:
    """What only the owner of `key` can read; `rng` is one that nobody outside can guess."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return key.encrypt(secret, _oaep(purpose))
    own = ec.derive_private_key(1 + rng.randrange(_ORDER - 1), _CURVE)
    share = _point(own.public_key())
    return share + _cipher(own, key, share + _point(key), purpose).encrypt(_NONCE, secret, None)


def unseal_with(key: PrivateKey, sealed: bytes, purpose: bytes) -> bytes:
    """What was sealed to this key. Raises CannotUnseal."""
    try:
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            return key.decrypt(sealed, _oaep(purpose))
        share = sealed[:SHARE_BYTES]
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, share)
        cipher = _cipher(key, theirs, share + _point(key.public_key()), purpose)
        return cipher.decrypt(_NONCE, sealed[SHARE_BYTES:], None)
    except (ValueError, InvalidTag):
        raise CannotUnseal("what is sealed here is for another key, or was changed") from None


def _cipher(own: ec.EllipticCurvePrivateKey, other: ec.EllipticCurvePublicKey, shares: bytes, purpose: bytes) -> AESGCM:
    shared = own.exchange(ec.ECDH(), other)
    return AESGCM(HKDF(SHA256(), 32, None, purpose + shares).derive(shared))


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _oaep(purpose: bytes) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(SHA256()), SHA256(), purpose)
