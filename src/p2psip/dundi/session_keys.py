"""The keys of two entities, and what they encrypt (draft-mspencer-dundi-01, on encryption).

Theory of operation. Each side has a pair of RSA keys with 1024 bits, and the other's public one. Who begins a
transaction draws a key of AES-128, encrypts it for the other (PKCS #1 OAEP with SHA-1) and signs what has come of that
(PKCS #1 v1.5 with SHA-1); with that key both encrypt in this transaction what has the answers in it: from the command
on, compressed by zlib, filled up to whole blocks, in CBC. The key stays for an hour, and is named by the CRC-32 of its
encrypted form once it has been sent. SHA-1 and 1024 bits are what Asterisk has, and nothing else.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from p2psip.dundi.message import MESSAGE_BYTES_MAX, NotDundi, Said

KEY_BITS: Final = 1024
SESSION_KEY_BYTES: Final = 16
BLOCK: Final = 16

_OAEP: Final = OAEP(mgf=MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)


@dataclass(frozen=True, slots=True)
class EntityKeys:
    """What Asterisk calls inkey, the other's public one, and outkey, our own."""

    inkey: RSAPublicKey = field(repr=False)
    outkey: RSAPrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionKey:
    """A key of AES-128, and how it is told to the other side."""

    key: bytes = field(repr=False)
    encrypted: bytes
    signature: bytes

    @property
    def crc32(self) -> int:
        """By which the other side knows it again."""
        return zlib.crc32(self.encrypted)

    def encrypt(self, said: Said, rng: random.Random) -> bytes:
        """The value of an ENCDATA."""
        plain = zlib.compress(said.encode())
        plain += bytes(-len(plain) % BLOCK)
        vector = rng.randbytes(BLOCK)
        encryptor = Cipher(AES(self.key), CBC(vector)).encryptor()
        return vector + encryptor.update(plain) + encryptor.finalize()

    def decrypt(self, data: bytes) -> Said:
        """What an ENCDATA says. Raises NotDundi."""
        decryptor = Cipher(AES(self.key), CBC(data[:BLOCK])).decryptor()
        compressed = decryptor.update(data[BLOCK:]) + decryptor.finalize()
        expanding = zlib.decompressobj()
        try:
            plain = expanding.decompress(compressed, MESSAGE_BYTES_MAX)
        except zlib.error as error:
            raise NotDundi(f"what was encrypted is not compressed: {error}") from None
        if not expanding.eof:
            raise NotDundi("what was encrypted is too long, or breaks off")
        return Said.decode(plain)


def make_session_key(keys: EntityKeys, rng: random.Random) -> SessionKey:
    """A new one, for the other side."""
    key = rng.randbytes(SESSION_KEY_BYTES)
    encrypted = keys.inkey.encrypt(key, _OAEP)
    return SessionKey(key, encrypted, keys.outkey.sign(encrypted, PKCS1v15(), hashes.SHA1()))


def why_unusable(keys: EntityKeys, rng: random.Random) -> str:
    """Why nothing can be encrypted with these keys here; "" if it can. Some systems do no signatures with SHA-1."""
    try:
        made = make_session_key(keys, rng)
        keys.outkey.public_key().verify(made.signature, made.encrypted, PKCS1v15(), hashes.SHA1())
    except (UnsupportedAlgorithm, InternalError, ValueError) as error:
        return f"this machine does no RSA with SHA-1, which DUNDi is signed with: {error}"
    return ""


def open_session_key(keys: EntityKeys, encrypted: bytes, signature: bytes) -> SessionKey:
    """The other side's. Raises NotDundi if it is not of that side, or not for us."""
    try:
        keys.inkey.verify(signature, encrypted, PKCS1v15(), hashes.SHA1())
    except InvalidSignature:
        raise NotDundi("the key is not signed by the inkey") from None
    try:
        key = keys.outkey.decrypt(encrypted, _OAEP)
    except ValueError:
        raise NotDundi("the key is not for our outkey") from None
    if len(key) != SESSION_KEY_BYTES:
        raise NotDundi(f"a key of {len(key)} bytes")
    return SessionKey(key, encrypted, signature)
