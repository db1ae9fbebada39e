"""How a machine becomes a peer: `p2psip peer init`, and the renewal of its certificate.

It trusts the trust anchor of the fingerprint that its operator was told, and nothing else. A peer has no account of
its own: any account holder may enroll `peer-NAME@OVERLAY` identities with the account's password, and the name then
belongs to that account. The password is used once and not kept; renewals are authenticated by the peer's key.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from p2psip import plugins
from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.renewing.renewal import day
from p2psip.daemon.state.settings import PeerSettings, make_settings
from p2psip.daemon.state.state import (
    CERTIFICATE_FILE,
    KEY_FILE,
    PeerState,
    load_state,
    save_document,
    save_identity,
    save_key,
    save_settings,
    verified,
)
from p2psip.enrollment.client import self_enroll, verify_first
from p2psip.enrollment.protocol import ENROLL_PATH
from p2psip.enrollment.user_names import peer_name
from p2psip.net.disk.files import read_file
from p2psip.net.disk.overlay_directory import ANCHOR
from p2psip.net.disk.pem_files import read_key
from p2psip.net.dns_records import resolver_of
from p2psip.net.https.client import discover_configuration, enroll, fetch_configuration
from p2psip.net.sockets.addresses import server_url
from p2psip.reload.config.configuration import OverlayConfiguration, is_dns_name
from p2psip.reload.config.document import Document
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey, generate_key
from p2psip.reload.wire.common import SignatureAlgorithm

DOCUMENT_SUFFIXES = (".xml", ".relo")
"""How files with documents end (14.16: "File Extension(s): relo")."""


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """What the operator says of a new peer."""

    config: str
    """The configuration document: a file, the address or URL of a server that has it, or the overlay's name."""
    fingerprint: str
    name: str
    account: str | None = None
    password: str | None = field(default=None, repr=False)
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings that are not to be the defaults."""
    algorithm: SignatureAlgorithm | None = None
    """With what kind of key; None: as the overlay has it."""
    nodeids: int = 1
    """How many Node-IDs its certificate is to have."""
    dns: Address | None = None
    """Which DNS server to ask; None: the system's."""
    invitation: bytes | None = field(default=None, repr=False)
    """The token of one, in the place of an account and its password."""
    document: Document | None = None
    """What is at `config`, where that is known already."""


async def init_peer(directory: Path, request: PeerRequest) -> PeerState:
    """Make the state directory of a new peer. May be repeated after a failure: the key is kept.

    Raises LocalMisuse or RequestFailed.
    """
    refuse_overlay(directory)
    if (directory / CERTIFICATE_FILE).exists():
        raise LocalMisuse(f"{directory} is a peer's already: `p2psip peer run {directory}` starts it")
    given = {name: value for name, value in request.settings.items() if value is not None}
    settings = make_settings({"name": request.name, "fingerprint": request.fingerprint} | given, "peer init")
    document = request.document or await obtain_document(request.config, request.fingerprint, request.dns)
    configuration = document.configuration
    if reasons := plugins.obstacles(configuration):
        raise LocalMisuse(f"this release cannot be a peer of {configuration.instance_name}: {'; '.join(reasons)}")
    algorithm = _algorithm(configuration, request.algorithm)
    key = await peer_key(make_directory(directory), algorithm)
    identity = await _identity(configuration, key, request)
    return save_peer(directory, document, settings, identity)


def save_peer(directory: Path, document: Document, settings: PeerSettings, identity: CertifiedIdentity) -> PeerState:
    """What makes the state directory one; its key is there. The certificate comes last: who has it is a peer."""
    save_document(directory, document)
    save_settings(directory, settings)
    save_identity(directory, identity)
    return load_state(directory)


async def obtain_document(config: str, fingerprint: str, dns: Address | None = None) -> Document:
    """The configuration document in a file, of a server, or of an overlay by its name, proven by the fingerprint."""
    config = server_url(config)
    if "://" in config:
        document = await fetch_configuration(config, fingerprint)
    elif is_overlay_name(config):
        document = await discover_configuration(config.lower(), fingerprint, resolver_of(dns), random.SystemRandom())
    else:
        raw = _read(config)
        try:
            document = verified(raw, lambda raw: verify_first(raw, fingerprint, time.time(), False))
        except ConfigurationError as error:
            raise LocalMisuse(f"{config}: {error}") from None
    ends = document.configuration.expiration
    if ends is not None and not document.configuration.is_valid_at(time.time()):
        raise LocalMisuse(f"{config}: the configuration has expired on {day(ends)}: ask its administrator for another")
    return document


def _read(config: str) -> bytes:
    """What was typed is the name of a file, as it is nothing else."""
    if not config or not Path(config).exists():
        raise LocalMisuse(f"cannot read {config}: it is no file, no HOST or HOST:PORT, and no overlay's name")
    return read_file(Path(config))


def is_overlay_name(config: str) -> bool:
    """True for what is the name of an overlay and not of a file, nor an address that is mistyped."""
    is_file = Path(config).suffix.lower() in DOCUMENT_SUFFIXES or Path(config).exists()
    is_number = config.rpartition(".")[2].isdigit()
    return "." in config and is_dns_name(config) and not is_file and not is_number


async def renew_peer(state: PeerState) -> CertifiedIdentity:
    """A new certificate for the same key and Node-IDs; no password is needed."""
    if state.configuration.is_self_signed:
        raise LocalMisuse(f"the certificate of {state.identity.user} is of its own making and does not expire")
    owner, nodeids = state.identity, len(state.identity.node_ids)
    identity = await enroll(state.configuration, owner.user, owner.key, nodeids=nodeids)
    save_identity(state.directory, identity)
    return identity


def refuse_overlay(directory: Path) -> None:
    """Whose files would be written over. Raises LocalMisuse."""
    if (directory / ANCHOR).exists():
        raise LocalMisuse(f"{directory} is the directory of an overlay: give a new one")


def make_directory(directory: Path) -> Path:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalMisuse(f"cannot make {directory}: {error.strerror}") from None
    return directory


async def new_key(algorithm: SignatureAlgorithm) -> PrivateKey:
    """A new key; RSA takes a while, which nobody else need wait for."""
    return await asyncio.to_thread(generate_key, algorithm)


async def peer_key(directory: Path, algorithm: SignatureAlgorithm) -> PrivateKey:
    """The key of an earlier attempt, so that it leads to the same Node-ID, or a new one."""
    path = directory / KEY_FILE
    if path.exists():
        return read_key(path)
    key = await new_key(algorithm)
    save_key(directory, key)
    return key


def _algorithm(configuration: OverlayConfiguration, wanted: SignatureAlgorithm | None) -> SignatureAlgorithm:
    """What the operator wants, if the overlay permits it."""
    if wanted is None:
        return preferred_algorithm(configuration)
    if wanted not in configuration.signature_algorithms:
        raise LocalMisuse(f"{configuration.instance_name} permits no {wanted.name} keys: leave --key out")
    if configuration.shared_secret is not None and wanted is not SignatureAlgorithm.RSA:
        raise LocalMisuse(f"links of {configuration.instance_name} want its secret and RSA keys: leave --key out")
    return wanted


def preferred_algorithm(configuration: OverlayConfiguration) -> SignatureAlgorithm:
    """With what kind of key to join: ECDSA where the overlay permits it, and links do with it."""
    permitted = configuration.signature_algorithms
    if configuration.shared_secret is not None:
        return SignatureAlgorithm.RSA
    return SignatureAlgorithm.ECDSA if SignatureAlgorithm.ECDSA in permitted else SignatureAlgorithm.RSA


async def _identity(configuration: OverlayConfiguration, key: PrivateKey, request: PeerRequest) -> CertifiedIdentity:
    user = peer_name(request.name, configuration.instance_name)
    if request.account is None and request.invitation is None and configuration.self_signed_digest is not None:
        return self_enroll(configuration, key, user, random.SystemRandom(), nodeids=request.nodeids)
    if request.invitation is None and (request.account is None or request.password is None):
        raise LocalMisuse("give --user and --password-file: the account under which this peer is enrolled")
    others = same_server(request.config)
    return await enroll(
        configuration,
        user,
        key,
        account=request.account,
        password=request.password,
        invitation=request.invitation,
        nodeids=request.nodeids,
        other_servers=others,
    )


def same_server(config: str) -> tuple[str, ...]:
    """The server that the document came from, in case the addresses in the document do not lead to it from here."""
    parts = urlsplit(server_url(config))
    return (f"https://{parts.netloc}{ENROLL_PATH}",) if parts.scheme == "https" else ()
