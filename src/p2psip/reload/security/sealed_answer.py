"""A secret in an answer that others pass on, sealed to a key that is made for one question (RFC 7748, 5869, 8439).

Whose question and whose answer it is, their signatures say. Each key is used once, so the nonce can be zero.
"""

from __future__ import annotations

import random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from p2psip.reload.security.errors import SecurityError

KEY_BYTES = 32
_NONCE = bytes(12)


class CannotUnseal(SecurityError):
    """What was sealed is for another question, or was changed, or the key is none."""


class SealedQuestion:
    """The asking end: one question's key."""

    def __init__(self, rng: random.Random) -> None:
        """`rng` is one that nobody outside can guess."""
        self._key = X25519PrivateKey.from_private_bytes(rng.randbytes(KEY_BYTES))
        self.key = self._key.public_key().public_bytes_raw()
        """What the question says."""

    def unseal(self, key: bytes, sealed: bytes, purpose: bytes) -> bytes:
        """What the answer says. Raises CannotUnseal."""
        try:
            return _cipher(self._key, key, self.key + key + purpose).decrypt(_NONCE, sealed, None)
        except (ValueError, InvalidTag) as error:
            raise CannotUnseal(
                f"a sealed answer cannot be opened: {error or 'it was not made for this question'}"
            ) from None


def seal(key: bytes, secret: bytes, purpose: bytes, rng: random.Random) -> tuple[bytes, bytes]:
    """The answering end: a key, and what is sealed for who asked with `key`. Raises CannotUnseal if that is none."""
    own = X25519PrivateKey.from_private_bytes(rng.randbytes(KEY_BYTES))
    public = own.public_key().public_bytes_raw()
    try:
        return public, _cipher(own, key, key + public + purpose).encrypt(_NONCE, secret, None)
    except ValueError as error:
        raise CannotUnseal(f"no key to seal an answer with: {error}") from None


def _cipher(own: X25519PrivateKey, other: bytes, info: bytes) -> ChaCha20Poly1305:
    shared = own.exchange(X25519PublicKey.from_public_bytes(other))
    return ChaCha20Poly1305(HKDF(SHA256(), KEY_BYTES, None, info).derive(shared))
