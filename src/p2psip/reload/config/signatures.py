"""The signatures of a configuration document (RFC 6940 section 11.1, 6.5.4), made and verified.

"a binary blob that MUST be signed using the standard SecurityBlock defined in Section 6.3.4. The SecurityBlock
MUST be base-64 encoded [...] and MUST be put in the signature element". The input of each signature is the blob
followed by the SignerIdentity, as wherever RELOAD signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from p2psip.base.errors import RemoteProtocolError
from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.document import Document, SignedKind
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.sequence import is_newer
from p2psip.reload.wire.security_block import GenericCertificate, SecurityBlock, Signature

SIGNATURES_MAX = 8
"""Signature elements of one configuration that are looked at."""


class DocumentSigner(Protocol):
    """Who signs a document: any Identity will do."""

    @property
    def certificates(self) -> tuple[GenericCertificate, ...]:
        """Its certificate and intermediates."""
        ...

    def sign(self, prefix: bytes) -> Signature:
        """The signature over `prefix` and the SignerIdentity."""
        ...


class Author(Protocol):
    """Whose a signature turned out to be."""

    @property
    def node_id(self) -> NodeId:
        """As whom it was signed."""
        ...


A_co = TypeVar("A_co", bound=Author, covariant=True)
A = TypeVar("A", bound=Author)


class DocumentVerifier(Protocol[A_co]):
    """Who tells the authors of signatures: any Verifier will do."""

    def verify(
        self,
        prefix: bytes,
        signature: Signature,
        certificates: Sequence[GenericCertificate],
        date: float,
        date_trusted: bool,
    ) -> A_co:
        """Who signed `prefix` and the SignerIdentity; a RemoteProtocolError if it is nobody."""
        ...


def security_block(blob: bytes, signer: DocumentSigner) -> bytes:
    """The signature of a blob, as the element carries it before base64."""
    return SecurityBlock(signer.certificates, signer.sign(blob)).encode()


def verify_document(
    document: Document, verifier: DocumentVerifier[A], signers: frozenset[NodeId], date: float, date_trusted: bool
) -> A:
    """The author of a document, one of `signers`, all of whose kind-blocks are signed by one of its kind-signers.

    `signers` are the configuration-signers "from the previous extant configuration". Raises ConfigurationError.
    """
    when = (date, date_trusted)
    node_id_length = document.configuration.node_id_length
    what = f"configuration {document.configuration.sequence} of {document.configuration.instance_name}"
    author = _author(what, document.signed, document.signatures, verifier, signers, node_id_length, when)
    for entry in document.kinds:
        verify_kind(document.configuration, entry, verifier, *when)
    return author


def verify_kind(
    configuration: OverlayConfiguration,
    entry: SignedKind,
    verifier: DocumentVerifier[A],
    date: float,
    date_trusted: bool,
) -> A:
    """The author of a kind-block, one of the kind-signers of a configuration. Raises ConfigurationError."""
    # "kind-block elements MUST be signed by a node listed in the kind-signers block of the current configuration.
    # Receivers MUST verify the signature prior to accepting a kind-block."
    signatures = () if entry.signature is None else (entry.signature,)
    what = f"kind {entry.kind.name or hex(entry.kind.kind_id)}"
    signers, length = configuration.kind_signers, configuration.node_id_length
    return _author(what, entry.signed, signatures, verifier, signers, length, (date, date_trusted))


def verify_update(
    current: OverlayConfiguration, update: Document, verifier: DocumentVerifier[A], date: float, date_trusted: bool
) -> A:
    """The author of an update of `current`, whose verifier is `verifier`; ConfigurationError if it may not be one."""
    new = update.configuration
    if new.instance_name != current.instance_name:
        raise ConfigurationError(f"a configuration of {new.instance_name}, not of {current.instance_name}")
    # 6.5.4.2: "The sequence number in the document is greater than the current configuration sequence number."
    if not is_newer(new.sequence, current.sequence):
        raise ConfigurationError(f"configuration {new.sequence} is not newer than {current.sequence}")
    return verify_document(update, verifier, current.configuration_signers, date, date_trusted)


def _author(
    what: str,
    blob: bytes,
    signatures: Sequence[bytes],
    verifier: DocumentVerifier[A],
    signers: frozenset[NodeId],
    node_id_length: int,
    when: tuple[float, bool],
) -> A:
    """Who signed the blob and may sign it; ConfigurationError with the reason of every signature otherwise."""
    reasons = []
    for encoded in signatures[:SIGNATURES_MAX]:
        try:
            block = SecurityBlock.decode(encoded, node_id_length=node_id_length)
            author = verifier.verify(blob, block.signature, block.certificates, *when)
        except RemoteProtocolError as error:
            reasons.append(str(error))
            continue
        if author.node_id in signers:
            return author
        reasons.append(f"Node-ID {author.node_id} may not sign it")
    raise ConfigurationError(f"{what} is not duly signed: {'; '.join(reasons) or 'no signature'}")
