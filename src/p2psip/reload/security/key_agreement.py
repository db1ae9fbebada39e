"""Keys that two nodes agree on by signed messages, and records that are sealed with them.

The construction is the signed Diffie-Hellman exchange of ISO/IEC 9798-3 (STS; the core of the handshakes of IKEv2 and
TLS 1.3): each end's signature covers its own share and the other end's name, the answerer's both shares. Shares are
X25519 (RFC 7748), keys come of HKDF (RFC 5869), records are ChaCha20-Poly1305 (RFC 8439). The signatures are those that
each message of RELOAD has anyway (RFC 6940 section 6.3.4). Nothing here is invented, and no primitive is ours.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from p2psip.base.errors import RemoteProtocolError

SHARE_BYTES = 32
KEY_BYTES = 32
TAG_BYTES = 16
SEQUENCE_MAX = (1 << 32) - 1
"""A nonce is used once: with this record a key is used up."""


class BadRecord(RemoteProtocolError):
    """A share or a record that nobody who follows the protocol sends."""


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """What both ends know of an exchange, whoever they are: all of it goes into the keys."""

    purpose: bytes
    overlay: int
    number: int
    initiator: bytes
    responder: bytes
    initiator_share: bytes
    responder_share: bytes

    @property
    def transcript(self) -> bytes:
        """SHA-256 over all of it, each part with its length."""
        parts = (
            self.purpose,
            self.overlay.to_bytes(4, "big"),
            self.number.to_bytes(8, "big"),
            self.initiator,
            self.responder,
            self.initiator_share,
            self.responder_share,
        )
        return hashlib.sha256(b"".join(len(part).to_bytes(2, "big") + part for part in parts)).digest()


class KeyShare:
    """Our half of one exchange; used once."""

    def __init__(self, rng: random.Random) -> None:
        self._private = X25519PrivateKey.from_private_bytes(rng.randbytes(SHARE_BYTES))

    @property
    def public(self) -> bytes:
        """What the other end is told."""
        return self._private.public_key().public_bytes_raw()

    def agree(self, agreement: KeyExchange, *, is_initiator: bool) -> SealedRecords:
        """The keys for both directions. Raises BadRecord for a share that is none."""
        theirs = agreement.responder_share if is_initiator else agreement.initiator_share
        try:
            # It is all zeros for a share of small order, which the library refuses (RFC 7748 section 6.1).
            secret = self._private.exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError:
            raise BadRecord("the share is no point that keys can be agreed with") from None
        derived = HKDF(hashes.SHA256(), 2 * KEY_BYTES, salt=agreement.transcript, info=agreement.purpose).derive(secret)
        keys = derived[:KEY_BYTES], derived[KEY_BYTES:]
        sending, receiving = keys if is_initiator else reversed(keys)
        return SealedRecords(sending, receiving, agreement.transcript)


class SealedRecords:
    """Seals what goes out, opens what comes in. Each sequence number of ours is used once: the caller counts."""

    def __init__(self, sending_key: bytes, receiving_key: bytes, bound_to: bytes) -> None:
        self._sending = ChaCha20Poly1305(sending_key)
        self._receiving = ChaCha20Poly1305(receiving_key)
        self._bound_to = bound_to

    def seal(self, sequence: int, data: bytes) -> bytes:
        """The record with this number."""
        assert 0 <= sequence <= SEQUENCE_MAX, "a key is good for so many records"
        return self._sending.encrypt(_nonce(sequence), data, self._bound_to)

    def open(self, sequence: int, sealed: bytes) -> bytes:
        """What is in the other end's record with this number. Raises BadRecord if it is not that."""
        try:
            return self._receiving.decrypt(_nonce(sequence), sealed, self._bound_to)
        except InvalidTag:
            raise BadRecord(f"record {sequence} is not what the other end has sealed") from None


def _nonce(sequence: int) -> bytes:
    return sequence.to_bytes(12, "big")
