"""Signatures of JSON Web Signatures: ES256 and RS256 (RFC 7518 sections 3.3 and 3.4), the two kinds of keys there are.

With these keys a member may sign for others than RELOAD: a PASSporT of SIP (RFC 8225).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from p2psip.reload.security import keys
from p2psip.reload.security.keys import PrivateKey, PublicKey

_HALF = 32
"""3.4: R and S of P-256 "as 32-octet" integers each, one after the other: 64 octets."""


def algorithm_of(key: PublicKey) -> str:
    """The one algorithm that a key signs with: what a token says must be that, or it is not looked at."""
    return "RS256" if isinstance(key, rsa.RSAPublicKey) else "ES256"


def sign(key: PrivateKey, signing_input: bytes) -> bytes:
    """The signature over a signing input."""
    signature = keys.sign(key, signing_input)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return signature
    r, s = decode_dss_signature(signature)
    return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")


def is_signature(key: PublicKey, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
    """True if it was made with the private half of `key`, by this algorithm."""
    if algorithm != algorithm_of(key):
        return False
    if isinstance(key, ec.EllipticCurvePublicKey):
        # 3.4: "if it is not a 64-octet sequence, the validation has failed".
        if len(signature) != 2 * _HALF:
            return False
        r, s = (int.from_bytes(half, "big") for half in (signature[:_HALF], signature[_HALF:]))
        signature = encode_dss_signature(r, s)
    return keys.is_signature(key, signature, signing_input)
