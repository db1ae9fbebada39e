"""The state directory of a client: who an application is in an overlay of which it is no peer.

client.toml  what the application believes and where it listens, written by `client init`
config.xml   the overlay's configuration document
client.key   the private key
client.crt   the certificate: for the user's own name, with a Node-ID of its own
"""

from __future__ import annotations

import ipaddress
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from p2psip import plugins
from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.init import (
    make_directory,
    new_key,
    obtain_document,
    preferred_algorithm,
    refuse_overlay,
    same_server,
)
from p2psip.daemon.state.settings_file import make, read_values
from p2psip.daemon.state.state import load_document, load_identity, save_document
from p2psip.enrollment.client import self_enroll
from p2psip.enrollment.user_names import account_name
from p2psip.net.disk.files import PRIVATE, write_file
from p2psip.net.disk.pem_files import read_key
from p2psip.net.https.client import enroll
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.document import Document
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey, key_to_pem

SETTINGS_FILE = "client.toml"
KEY_FILE = "client.key"
CERTIFICATE_FILE = "client.crt"


class ClientSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is in client.toml."""

    fingerprint: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    listen: str = "0.0.0.0"

    def __post_init__(self) -> None:
        """ValueError becomes msgspec's ValidationError."""
        try:
            ipaddress.ip_address(self.listen)
        except ValueError:
            raise ValueError(f"listen: {self.listen!r} is not an IP address") from None


TEMPLATE = """\
# The settings of a client of an overlay.

# The trust anchor of the overlay, as SHA-256 of its certificate. Nobody else is believed.
fingerprint = {fingerprint}

# The address at which peers and other clients may reach this one, at ports of the system's choice.
listen = {listen}
"""


@dataclass(frozen=True, slots=True)
class ClientState:
    """All that a client needs to start."""

    directory: Path
    settings: ClientSettings
    document: Document
    identity: CertifiedIdentity

    @property
    def configuration(self) -> OverlayConfiguration:
        """What the overlay's configuration says."""
        return self.document.configuration


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """What a user says of a new client. Without a password the certificate is self-signed, where that is permitted."""

    config: str
    """The configuration document: a file, the URL of a server that has it, or the overlay's name."""
    fingerprint: str
    user: str
    password: str | None = field(default=None, repr=False)
    listen: str = "0.0.0.0"
    dns: Address | None = None
    """Which DNS server to ask; None: the system's."""


async def init_client(directory: Path, request: ClientRequest) -> ClientState:
    """Make the state directory of a new client. May be repeated after a failure: the key is kept.

    Raises LocalMisuse or RequestFailed.
    """
    refuse_overlay(directory)
    if (directory / CERTIFICATE_FILE).exists():
        raise LocalMisuse(f"{directory} is a client's already: p2psip.connect({str(directory)!r}) uses it")
    settings = make({"fingerprint": request.fingerprint, "listen": request.listen}, ClientSettings, "client init")
    document = await obtain_document(request.config, request.fingerprint, request.dns)
    configuration = document.configuration
    if reasons := client_obstacles(configuration):
        raise LocalMisuse(f"this release cannot be a client of {configuration.instance_name}: {'; '.join(reasons)}")
    key = await _key(make_directory(directory), configuration)
    identity = await _identity(configuration, key, request)
    save_document(directory, document)
    values = {name: json.dumps(value) for name, value in msgspec.to_builtins(settings).items()}
    write_file(directory / SETTINGS_FILE, TEMPLATE.format(**values).encode())
    write_file(directory / CERTIFICATE_FILE, chain_to_pem(identity.chain))
    return load_client(directory)


def load_client(directory: Path) -> ClientState:
    """What `client init` has made; LocalMisuse, in one line, if something is missing or does not fit together."""
    path = directory / SETTINGS_FILE
    if not path.is_file():
        raise LocalMisuse(f"{directory} is not the state directory of a client: `p2psip client init` makes one")
    values, text = read_values(path, ClientSettings)
    settings = make(values, ClientSettings, str(path), text)
    document = load_document(directory, settings.fingerprint)
    key = read_key(directory / KEY_FILE)
    identity = load_identity(directory / CERTIFICATE_FILE, key, document.configuration)
    return ClientState(directory, settings, document, identity)


async def renew_client(state: ClientState) -> ClientState:
    """A new certificate for the same key and Node-ID; no password is needed. Raises LocalMisuse or RequestFailed."""
    identity = await enroll(state.configuration, state.identity.user, state.identity.key)
    write_file(state.directory / CERTIFICATE_FILE, chain_to_pem(identity.chain))
    return load_client(state.directory)


def client_obstacles(configuration: OverlayConfiguration) -> list[str]:
    """Why this release cannot be a client of the overlay, in words; empty if it can."""
    barred = [] if configuration.clients_permitted else ["it permits no clients (clients-permitted)"]
    return [*plugins.obstacles(configuration), *barred]


async def _key(directory: Path, configuration: OverlayConfiguration) -> PrivateKey:
    """The key of an earlier attempt, so that it leads to the same Node-ID, or a new one."""
    path = directory / KEY_FILE
    if path.exists():
        return read_key(path)
    key = await new_key(preferred_algorithm(configuration))
    write_file(path, key_to_pem(key), PRIVATE)
    return key


async def _identity(configuration: OverlayConfiguration, key: PrivateKey, request: ClientRequest) -> CertifiedIdentity:
    aor = account_name(request.user, configuration.instance_name, configuration.hosted_domains)
    if request.password is None:
        return self_enroll(configuration, key, aor, random.SystemRandom())
    others = same_server(request.config)
    return await enroll(configuration, aor, key, account=aor, password=request.password, other_servers=others)
