"""What a node asks of its security (RFC 6940 section 6.3.4): to sign, and to tell whose word something is.

`p2psip.reload.security.identity` and `.verifier` do it with X.509; a simulator may do it cheaper.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.security_block import GenericCertificate, Signature


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who belongs to the overlay, as a certificate says; its dates are seconds since 1970-01-01 UTC."""

    user: str
    node_ids: tuple[NodeId, ...]
    certificate: bytes = field(repr=False)
    not_before: float
    not_after: float
    issuers: tuple[bytes, ...] = field(default=(), repr=False)
    """The certificates between its own and the trust anchor, in DER: who keeps the one keeps the others with it."""
    signs_configurations: bool = False
    """True if the trust anchor made this certificate for signing configuration documents."""


@frozen
class Signer:
    """Whose a signature is: a member, as one of its Node-IDs."""

    node_id: NodeId
    member: Member

    @property
    def user(self) -> str:
        """The user name in the signer's certificate."""
        return self.member.user


class Identity(Protocol):
    """A node of our own, or a line: it signs."""

    @property
    def node_id(self) -> NodeId:
        """As whom it signs."""
        ...

    @property
    def node_ids(self) -> tuple[NodeId, ...]:
        """All Node-IDs in its certificate."""
        ...

    @property
    def user(self) -> str:
        """The user name in its certificate."""
        ...

    @property
    def certificates(self) -> tuple[GenericCertificate, ...]:
        """What others need to verify its signatures: its certificate first, then intermediates, no trust anchor."""
        ...

    def sign(self, prefix: bytes) -> Signature:
        """The signature over `prefix` and the encoded SignerIdentity (6.3.4, 7.1)."""
        ...

    @property
    def jws_algorithm(self) -> str:
        """What `sign_jws` makes, as a JWS names it (RFC 7518 section 3.1)."""
        ...

    def sign_jws(self, signing_input: bytes) -> bytes:
        """The signature of a JWS, for what is no message of RELOAD (RFC 7515)."""
        ...

    def unseal(self, sealed: bytes, purpose: bytes) -> bytes:
        """What somebody has sealed to its certificate (`Verifier.seal`). Raises CannotUnseal."""
        ...


class Verifier(Protocol):
    """What tells members from strangers, by one overlay's configuration.

    `date` is what the clock says, in seconds since 1970-01-01 UTC; `date_trusted` whether somebody vouches for it.
    """

    def check(self, chain: Sequence[bytes], date: float, date_trusted: bool) -> Member:
        """The member with this certificate (DER, intermediates after it). Raises UntrustedCertificate."""
        ...

    def verify(
        self,
        prefix: bytes,
        signature: Signature,
        certificates: Sequence[GenericCertificate],
        date: float,
        date_trusted: bool,
    ) -> Signer:
        """Who signed `prefix` and the encoded SignerIdentity. Raises SecurityError: either of its subclasses."""
        ...

    def is_jws(self, member: Member, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """True if a member whose certificate has been checked has made this signature of a JWS (RFC 7515)."""
        ...

    def seal(self, member: Member, secret: bytes, purpose: bytes, rng: random.Random) -> bytes:
        """A short secret that nobody reads but who has the key of this certificate, which has been checked."""
        ...

    def lacks(self, signature: Signature, certificates: Sequence[GenericCertificate]) -> bool:
        """True if the certificate that a signature names is neither among these nor known."""
        ...

    @property
    def revokes_some(self) -> bool:
        """True if `revokes` is true of any certificate: who has many to ask about asks this first."""
        ...

    def revokes(self, der: bytes) -> bool:
        """True if the configuration says that this certificate "MUST NOT be considered valid" (11.1, `bad-node`)."""
        ...

    def use_configuration(self, settings: TrustSettings) -> None:
        """Judge by this configuration from now on. Raises UntrustedCertificate, and then nothing has changed."""
        ...


class TrustSettings(Protocol):
    """What an overlay's configuration says about trust (11.1); `OverlayConfiguration` has it all."""

    @property
    def instance_name(self) -> str:
        """The overlay's name."""
        ...

    @property
    def node_id_length(self) -> int:
        """Bytes in a Node-ID."""
        ...

    @property
    def root_certs(self) -> tuple[bytes, ...]:
        """The trust anchors, in DER."""
        ...

    @property
    def bad_nodes(self) -> frozenset[NodeId]:
        """Whose certificates "MUST NOT be considered valid"."""
        ...

    @property
    def self_signed_digest(self) -> HashAlgorithm | None:
        """How a self-signed certificate's Node-ID comes of its key; None if there must be no such certificates."""
        ...

    @property
    def signature_algorithms(self) -> frozenset[SignatureAlgorithm]:
        """With what kinds of key members may sign."""
        ...
