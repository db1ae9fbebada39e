"""What `--key` takes, wherever a key is made."""

from __future__ import annotations

from enum import Enum


class KeyType(Enum):
    """ECDSA on P-256 or RSA of 2048 bits, by the names in `SignatureAlgorithm`."""

    ECDSA = "ecdsa"
    RSA = "rsa"
