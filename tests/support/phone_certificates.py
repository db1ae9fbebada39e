"""Certificates as an operator has them for a peer: from an authority that phones trust."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from p2psip.reload.security.authority import TrustAnchor, Validity
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.security.keys import PrivateKey, generate_key, key_to_pem
from p2psip.reload.wire.common import SignatureAlgorithm

DAY_S = 86_400.0


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    der: bytes
    key: PrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return chain_to_pem([self.der])

    @property
    def key_pem(self) -> bytes:
        return key_to_pem(self.key)


class PhoneAuthority:
    """Whom phones trust."""

    def __init__(self, name: str = "phones.example") -> None:
        self._anchor = TrustAnchor.create(name, random.Random(1), time.time())

    @property
    def der(self) -> bytes:
        return self._anchor.der

    @property
    def pem(self) -> bytes:
        return chain_to_pem([self.der])

    def issue(self, *hosts: str) -> Issued:
        """For these names and addresses."""
        key = generate_key(SignatureAlgorithm.ECDSA)
        validity = Validity.at(time.time(), DAY_S)
        return Issued(self._anchor.issue_server(key.public_key(), hosts, random.SystemRandom(), validity), key)
