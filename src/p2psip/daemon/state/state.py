"""The state directory of a peer: who it is, which overlay it belongs to, how it is set up.

peer.toml    settings, written by `peer init`, for people to edit
config.xml   the overlay's configuration document
verified.json  that it has been verified, and of which overlay it is
peer.key     the peer's private key
peer.crt     its certificate
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import structlog

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.log.log import log_to_stderr
from p2psip.daemon.state.settings import SETTINGS_FILE, PeerSettings, load_settings, write_settings
from p2psip.enrollment.client import verify_kept
from p2psip.net.disk.files import PRIVATE, read_file, set_aside, unedited, write_document, write_file
from p2psip.net.disk.pem_files import read_chain, read_key
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.document import Document, parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.security.errors import CertificateProblem, SecurityError, UntrustedCertificate
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey, key_to_pem
from p2psip.reload.security.verifier import CertificateVerifier

log = structlog.get_logger()

DOCUMENT_FILE = "config.xml"
VERIFIED_FILE = "verified.json"
KEY_FILE = "peer.key"
CERTIFICATE_FILE = "peer.crt"


class Expelled(LocalMisuse):
    """The configuration that is here revokes this peer's certificate."""


class _Verified(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which document has been verified, and of which overlay it is."""

    sha256: str
    overlay: str


@dataclass(frozen=True, slots=True)
class PeerState:
    """All that a peer needs to start."""

    directory: Path
    settings: PeerSettings
    document: Document
    identity: CertifiedIdentity

    @property
    def configuration(self) -> OverlayConfiguration:
        """What the overlay's configuration says."""
        return self.document.configuration


def load_state(directory: Path, overrides: Mapping[str, object] | None = None) -> PeerState:
    """What `peer init` has made; LocalMisuse, in one line, if something is missing or does not fit together."""
    settings = load_settings(directory, overrides)
    document = load_document(directory, settings.fingerprint)
    key = read_key(directory / KEY_FILE)
    identity = load_identity(directory / CERTIFICATE_FILE, key, document.configuration, settings.node_index)
    return PeerState(directory, settings, document, identity)


def load_document(directory: Path, fingerprint: str) -> Document:
    """The configuration document: one that was verified here before, or that leads to the trust anchor."""
    path = directory / DOCUMENT_FILE
    raw = read_file(path)
    try:
        overlay = _verified_overlay(directory, raw)
        if overlay is not None:
            return parse(raw, overlay)
        return verified(raw, lambda raw: verify_kept(raw, fingerprint, time.time(), False))
    except ConfigurationError as error:
        raise LocalMisuse(f"{path}: {error}") from None


def verified(raw: bytes, verify: Callable[[bytes], Document]) -> Document:
    """The document in a file as it is, or as it was before an editor saved it. Raises ConfigurationError."""
    try:
        return verify(raw)
    except ConfigurationError:
        before = unedited(raw)
        if before == raw:
            raise
        return verify(before)


def load_identity(
    path: Path, key: PrivateKey, configuration: OverlayConfiguration, node_index: int = 1
) -> CertifiedIdentity:
    """An identity of this overlay from a certificate file (a peer's, or a line's); LocalMisuse if it is none.

    It acts as the Node-ID number `node_index` of the certificate, counted from 1.
    """
    chain = read_chain(path)
    try:
        # Whether it has expired is for the running peer to say, which knows whether the date is to be trusted.
        member = CertificateVerifier(configuration).check(chain, time.time(), False)
        if node_index > len(member.node_ids):
            raise LocalMisuse(f"it has {len(member.node_ids)} Node-IDs: node_index {node_index} is none of them")
        chosen = member.node_ids[node_index - 1]
        return CertifiedIdentity(key, chain, chosen, node_id_length=configuration.node_id_length)
    except UntrustedCertificate as error:
        kind = Expelled if error.problem is CertificateProblem.BAD_NODE else LocalMisuse
        raise kind(f"{path}: {error}") from None
    except (SecurityError, LocalMisuse) as error:
        raise LocalMisuse(f"{path}: {error}") from None


def reload_identity(state: PeerState) -> PeerState:
    """The state with the certificate that is on disk now; LocalMisuse if it is not this peer's, renewed."""
    path = state.directory / CERTIFICATE_FILE
    identity = load_identity(path, state.identity.key, state.configuration, state.settings.node_index)
    if identity.node_id != state.identity.node_id:
        raise LocalMisuse(
            f"{path} is for Node-ID {identity.node_id}, this peer is {state.identity.node_id}: restart it"
        )
    return replace(state, identity=identity)


def save_identity(directory: Path, identity: CertifiedIdentity) -> None:
    """A new or renewed certificate of the peer; its key has been saved before."""
    write_file(directory / CERTIFICATE_FILE, chain_to_pem(identity.chain))


def save_key(directory: Path, key: PrivateKey) -> None:
    """The peer's key, for its owner only."""
    write_file(directory / KEY_FILE, key_to_pem(key), PRIVATE)


def save_document(directory: Path, document: Document) -> None:
    """A configuration document that has been verified; that is noted, as updates may have led to another trust anchor
    than that of the fingerprint, and the document may have other overlays in it.
    """
    noted = _Verified(hashlib.sha256(document.raw).hexdigest(), document.configuration.instance_name)
    write_file(directory / VERIFIED_FILE, msgspec.json.encode(noted), PRIVATE)
    write_document(directory / DOCUMENT_FILE, document.raw, document.configuration)


def _verified_overlay(directory: Path, raw: bytes) -> str | None:
    """Of which overlay this document was verified here; None if it was not, or another was."""
    path = directory / VERIFIED_FILE
    if not path.exists():
        return None
    try:
        noted = msgspec.json.decode(read_file(path), type=_Verified)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        aside = set_aside(path)
        if not structlog.is_configured():
            # How to log is in the settings, which are not read yet.
            log_to_stderr()
        log.warning("file set aside", file=str(aside), reason=str(error), means=f"{DOCUMENT_FILE} is verified anew")
        return None
    return noted.overlay if noted.sha256 == hashlib.sha256(raw).hexdigest() else None


def save_settings(directory: Path, settings: PeerSettings) -> None:
    """The settings, with comments."""
    write_file(directory / SETTINGS_FILE, write_settings(settings).encode())
