"""What an overlay's configuration says (RFC 6940 section 11.1, RFC 7904 section 3.4), as values.

Nothing here reads or writes XML, so a simulator builds an `OverlayConfiguration` in one line.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NODE_ID_LENGTHS, NodeId
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.extensions.routing_mode import RouteMode
from p2psip.reload.wire.kinds import (
    CERTIFICATE_BY_NODE,
    CERTIFICATE_BY_USER,
    DIRECTORY_ENTRY,
    LINES_REACHED,
    MAIL,
    MAIL_PART,
    MAILBOX,
    REDIR,
    REGISTERED_NAMES,
    SIP_REGISTRATION,
    TURN_SERVICE,
    DataModel,
)
from p2psip.reload.wire.link_messages import OverlayLinkType

BASE_NAMESPACE = "urn:ietf:params:xml:ns:p2p:config-base"
DEFAULT_TOPOLOGY = "CHORD-RELOAD"
"""11.1, topology-plugin: what holds where a configuration does not say."""

CHORD_NAMESPACE = "urn:ietf:params:xml:ns:p2p:config-chord"
SIP_NAMESPACE = "urn:ietf:params:xml:ns:p2p:config-base:sip"
REDIR_NAMESPACE = "urn:ietf:params:xml:ns:p2p:redir"
OWN_NAMESPACE = "urn:p2psip:config"
"""Of our own extension elements: <successors>, <signature-algorithm>, <service>, <sip-tunnel>, <calls-by>."""

DIAGNOSTICS_NAMESPACE = "urn:ietf:params:xml:ns:p2p:config-diagnostics"
"""RFC 7851 section 9.6."""

ROUTE_MODE_NAMESPACE = "urn:ietf:params:xml:ns:p2p:route-mode"
"""RFC 7263 section 8.2."""

PREFIXES = {
    "chord": CHORD_NAMESPACE,
    "sip": SIP_NAMESPACE,
    "diagnostics": DIAGNOSTICS_NAMESPACE,
    "redir": REDIR_NAMESPACE,
    "p2psip": OWN_NAMESPACE,
    "route-mode": ROUTE_MODE_NAMESPACE,
}
"""As our documents have them."""

SUPPORTED_NAMESPACES = frozenset(
    {
        BASE_NAMESPACE,
        CHORD_NAMESPACE,
        SIP_NAMESPACE,
        DIAGNOSTICS_NAMESPACE,
        REDIR_NAMESPACE,
        ROUTE_MODE_NAMESPACE,
        OWN_NAMESPACE,
    }
)

SEQUENCE_MAX = 0xFFFE
"""11.1: "A monotonically increasing sequence number between 0 and 2^16-2."."""

BOOTSTRAP_PORT = 6084
RELIABILITY_TIMER_MIN_MS = 200
SUCCESSORS_MIN = 3
CERTIFICATE_VALUE_MAX = 2048
"""Of a certificate in the overlay: an RSA-2048 one has about 800 bytes, with several Node-IDs some more."""

SHARED_SECRET_MAX = 256
"""What TLS libraries take as a pre-shared key."""

PORTS = range(1, 0x10000)

LINK_PROTOCOLS = {
    # 11.1: "the default value, "TLS", which refers to the use of TLS and DTLS".
    "TLS": (OverlayLinkType.TLS_TCP_FH_NO_ICE, OverlayLinkType.DTLS_UDP_SR_NO_ICE),
    "DTLS": (OverlayLinkType.DTLS_UDP_SR_NO_ICE,),
    "TLS-TCP-FH-NO-ICE": (OverlayLinkType.TLS_TCP_FH_NO_ICE,),
    "DTLS-UDP-SR-NO-ICE": (OverlayLinkType.DTLS_UDP_SR_NO_ICE,),
}
"""What overlay-link-protocol may say for us to understand it: the RFC's one word, and names that permit less."""

ALGORITHM_NAMES = {"ecdsa-sha256": SignatureAlgorithm.ECDSA, "rsa-sha256": SignatureAlgorithm.RSA}
"""What our <signature-algorithm> may say."""

DIGEST_NAMES = {"sha1": HashAlgorithm.SHA1, "sha256": HashAlgorithm.SHA256}
"""What self-signed-permitted's `digest` may say: "Implementations MUST support both of these algorithms."."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z", re.IGNORECASE)


class AccessControl(Enum):
    """Who may write a value (RFC 6940 section 7.3 and 14.4; RFC 7374 section 5; the last is our own)."""

    USER_MATCH = "USER-MATCH"
    NODE_MATCH = "NODE-MATCH"
    USER_NODE_MATCH = "USER-NODE-MATCH"
    NODE_MULTIPLE = "NODE-MULTIPLE"
    NODE_ID_MATCH = "NODE-ID-MATCH"
    MAILBOX_MATCH = "MAILBOX-MATCH"


@dataclass(frozen=True, slots=True)
class BootstrapNode:
    """Where a joining node may knock (RFC 6940 section 11.1, bootstrap-node)."""

    address: str
    port: int = BOOTSTRAP_PORT


@dataclass(frozen=True, slots=True)
class DomainRestriction:
    """Which domains an AoR may have (RFC 7904 section 3.4): the overlay's own only, or those of `patterns`."""

    enable: bool = False
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiagnosticAccess:
    """Who may ask any peer for a Kind of diagnostic information (RFC 7851 section 7).

    The wildcard Node-ID stands for every member.
    """

    kind: int
    access_nodes: frozenset[NodeId]


@dataclass(frozen=True, slots=True)
class Extension:
    """An element of a namespace that this release does not know, kept as it was written."""

    namespace: str
    name: str
    xml: bytes
    prefixes: tuple[tuple[str, str], ...] = ()
    """What the prefixes mean that it uses and does not declare itself."""


@dataclass(frozen=True, slots=True)
class ForeignAttribute:
    """An attribute of <configuration> in a namespace that is not the RFC's (11.1.1, foreign-attributes)."""

    prefix: str
    namespace: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A Kind that members must support (RFC 6940 section 11.1, kind)."""

    kind_id: int
    data_model: DataModel
    access_control: AccessControl
    max_count: int
    max_size: int
    name: str = ""
    max_node_multiple: int = 0
    branching_factor: int = 10
    """Of the trees of REDIR (RFC 7374 section 8): "The default value is 10."."""
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisteredKind:
    """What the IANA registry says of a Kind, which goes before what a document says (RFC 6940 section 11.1)."""

    name: str
    data_model: DataModel
    access_control: AccessControl
    max_node_multiple: int = 0

    @property
    def kind_id(self) -> int:
        """The number that its name stands for."""
        return REGISTERED_NAMES[self.name]


REGISTERED_KINDS: dict[int, RegisteredKind] = {
    kind.kind_id: kind
    for kind in (
        RegisteredKind("SIP-REGISTRATION", DataModel.DICTIONARY, AccessControl.USER_NODE_MATCH),
        RegisteredKind("TURN-SERVICE", DataModel.SINGLE, AccessControl.NODE_MULTIPLE, 20),
        RegisteredKind("CERTIFICATE_BY_NODE", DataModel.ARRAY, AccessControl.NODE_MATCH),
        RegisteredKind("CERTIFICATE_BY_USER", DataModel.ARRAY, AccessControl.USER_MATCH),
        RegisteredKind("REDIR", DataModel.DICTIONARY, AccessControl.NODE_ID_MATCH),
    )
}
assert REGISTERED_KINDS.keys() == {SIP_REGISTRATION, TURN_SERVICE, CERTIFICATE_BY_NODE, CERTIFICATE_BY_USER, REDIR}

REDIR_KIND = Kind(
    REDIR,
    DataModel.DICTIONARY,
    AccessControl.NODE_ID_MATCH,
    max_count=100,
    max_size=512,
    name="REDIR",
)
"""As new overlays have it: a tree node has room for the providers of ten intervals."""

DIRECTORY_KINDS = (
    Kind(DIRECTORY_ENTRY, DataModel.DICTIONARY, AccessControl.USER_NODE_MATCH, max_count=16, max_size=400),
    Kind(LINES_REACHED, DataModel.SINGLE, AccessControl.NODE_MATCH, max_count=1, max_size=2048),
)
"""As new overlays have them: each user has 16 lines in the directory at most, each peer 500 lines with phones."""

MAILBOX_KINDS = (
    Kind(MAILBOX, DataModel.DICTIONARY, AccessControl.USER_NODE_MATCH, max_count=8, max_size=16),
    Kind(MAIL, DataModel.DICTIONARY, AccessControl.MAILBOX_MATCH, max_count=128, max_size=6144),
    Kind(MAIL_PART, DataModel.DICTIONARY, AccessControl.MAILBOX_MATCH, max_count=1024, max_size=16384),
)
"""As new overlays have them: eight lines of a user take messages, 128 of these, in 1024 parts of 2 s each."""

TURN_SERVICE_KIND = Kind(
    TURN_SERVICE,
    DataModel.SINGLE,
    AccessControl.NODE_MULTIPLE,
    max_count=1,
    max_size=64,
    name="TURN-SERVICE",
    max_node_multiple=20,
)

SIP_REGISTRATION_KIND = Kind(
    SIP_REGISTRATION,
    DataModel.DICTIONARY,
    AccessControl.USER_NODE_MATCH,
    max_count=32,
    max_size=1024,
    name="SIP-REGISTRATION",
)
"""As new overlays have it: up to 32 lines of one user, a route or a URI each."""


CERTIFICATE_KINDS = (
    Kind(
        CERTIFICATE_BY_NODE,
        DataModel.ARRAY,
        AccessControl.NODE_MATCH,
        max_count=4,
        max_size=CERTIFICATE_VALUE_MAX,
        name="CERTIFICATE_BY_NODE",
    ),
    Kind(
        CERTIFICATE_BY_USER,
        DataModel.ARRAY,
        AccessControl.USER_MATCH,
        max_count=32,
        max_size=CERTIFICATE_VALUE_MAX,
        name="CERTIFICATE_BY_USER",
    ),
)
"""As new overlays have them: for each of a user's lines a certificate, and room for those that are being renewed."""


ANY_SERVICE = "*"


@dataclass(frozen=True, slots=True)
class ServicePermission:
    """Who may announce a service (RFC 7374): members whose user name is one of `providers`, where * is any text.

    An extension element of ours: <service name="voice-mail" providers="peer-*@club.example"/>.
    """

    name: str
    """The service's namespace; * means every service."""
    providers: tuple[str, ...]

    def covers(self, name: str, user: str) -> bool:
        """True if this lets `user` announce the service `name`."""
        patterns = (re.escape(pattern).replace(r"\*", ".*") for pattern in self.providers)
        return self.name in (ANY_SERVICE, name) and any(re.fullmatch(pattern, user) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class OverlayConfiguration:
    """One <configuration> element; a field that is not given has the RFC's default (RFC 6940 section 11.1)."""

    instance_name: str
    sequence: int = 0
    expiration: float | None = None
    """The date from which it is no longer valid, in seconds since 1970-01-01 UTC."""
    topology_plugin: str = DEFAULT_TOPOLOGY
    node_id_length: int = 16
    root_certs: tuple[bytes, ...] = field(default=(), repr=False)
    """The trust anchors, in DER."""
    enrollment_servers: tuple[str, ...] = ()
    self_signed_digest: HashAlgorithm | None = None
    """SHA1 or SHA256; None: self-signed certificates are not permitted."""
    bootstrap_nodes: tuple[BootstrapNode, ...] = ()
    turn_density: int = 1
    clients_permitted: bool = True
    no_ice: bool = False
    chord_update_interval_s: int = 400
    chord_ping_interval_s: int = 30
    chord_reactive: bool = True
    shared_secret: str | None = field(default=None, repr=False)
    max_message_size: int = 5000
    initial_ttl: int = 100
    overlay_reliability_timer_ms: int = 3000
    overlay_link_protocols: tuple[str, ...] = ("TLS",)
    kind_signers: frozenset[NodeId] = frozenset()
    configuration_signers: frozenset[NodeId] = frozenset()
    bad_nodes: frozenset[NodeId] = field(default=frozenset(), repr=False)
    mandatory_extensions: tuple[str, ...] = ()
    required_kinds: tuple[Kind, ...] = ()
    domain_restriction: DomainRestriction | None = None
    """Of the AoRs under SIP-REGISTRATION; None: any AoR."""
    diagnostic_kinds: tuple[DiagnosticAccess, ...] = ()
    extensions: tuple[Extension, ...] = field(default=(), repr=False)
    services: tuple[ServicePermission, ...] = ()
    """Who may announce which service (an extension element of ours); without it nobody any."""
    route_mode: RouteMode | None = None
    """How responses go, if they can (RFC 7263 section 6, RFC 7264 section 6); None: back as the requests came."""
    sip_tunnel: bool = False
    """Whether SIP may go inside overlay messages where two peers have no path (an extension element of ours)."""
    calls_by: CallsBy = CallsBy.CALLER
    """By whom calls go to a user's phones (an extension element of ours)."""
    attributes: tuple[ForeignAttribute, ...] = field(default=(), repr=False)
    unsupported: tuple[str, ...] = ()
    """What it wants that this release has no value for, in words."""
    successors: int = 5
    """Length of the successor list (an extension element of ours)."""
    signature_algorithms: frozenset[SignatureAlgorithm] = frozenset(ALGORITHM_NAMES.values())
    """With what keys members may sign (an extension element of ours; without it RSA and ECDSA)."""

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise LocalMisuse(f"configuration of {self.instance_name!r}: {problem}")

    def _problems(self) -> list[str]:
        """Each rule of 11.1 that is broken, in words."""
        rules = (
            (is_dns_name(self.instance_name), "the overlay's name must be a DNS name"),
            (0 <= self.sequence <= SEQUENCE_MAX, f"the sequence number must be from 0 to {SEQUENCE_MAX}"),
            (self.node_id_length in NODE_ID_LENGTHS, "node-id-length must be from 16 to 20"),
            (1 <= self.initial_ttl <= 255, "initial-ttl must be from 1 to 255"),
            # "The value MUST be at least 200 milliseconds".
            (
                self.overlay_reliability_timer_ms >= RELIABILITY_TIMER_MIN_MS,
                f"overlay-reliability-timer must be at least {RELIABILITY_TIMER_MIN_MS} ms",
            ),
            (1000 <= self.max_message_size < 1 << 24, "max-message-size must be from 1000 to 16777215"),
            (0 <= self.turn_density <= 255, "turn-density must be from 0 to 255"),
            (self.chord_update_interval_s > 0, "chord-update-interval must be positive"),
            (self.chord_ping_interval_s > 0, "chord-ping-interval must be positive"),
            (SUCCESSORS_MIN <= self.successors <= 64, f"successors must be from {SUCCESSORS_MIN} to 64"),
            (bool(self.signature_algorithms), "some signature-algorithm must be permitted"),
            (all(node.port in PORTS for node in self.bootstrap_nodes), "a bootstrap-node's port must be 1 to 65535"),
            # "This URL MUST be of type "https:"."
            (all(url.startswith("https://") for url in self.enrollment_servers), "enrollment-server must be https"),
            (
                self.shared_secret is None or 0 < len(self.shared_secret.encode()) <= SHARED_SECRET_MAX,
                f"shared-secret must have from 1 to {SHARED_SECRET_MAX} bytes",
            ),
            (self._node_ids_fit(), f"Node-IDs must have {self.node_id_length} bytes"),
            (all(0 < access.kind < 0xFFFF for access in self.diagnostic_kinds), "a diagnostic-kind is out of range"),
            # RFC 7851 section 7: "at least one subelement "access-node"".
            (all(access.access_nodes for access in self.diagnostic_kinds), "a diagnostic-kind needs an access-node"),
            *((_kind_fits(kind), f"kind {kind.kind_id:#x} has values out of range") for kind in self.required_kinds),
        )
        return [problem for holds, problem in rules if not holds]

    def _node_ids_fit(self) -> bool:
        asking = (node for access in self.diagnostic_kinds for node in access.access_nodes)
        named = (*self.kind_signers, *self.configuration_signers, *self.bad_nodes, *asking)
        return all(len(node_id) == self.node_id_length for node_id in named)

    @property
    def overlay_hash(self) -> int:
        """The `overlay` field of every message: the lower 32 bits of the name's SHA-1 (RFC 6940 section 6.3.2)."""
        return int.from_bytes(hashlib.sha1(self.instance_name.encode(), usedforsecurity=False).digest()[-4:], "big")

    @property
    def link_types(self) -> tuple[OverlayLinkType, ...]:
        """The links that this release can make, of those that the overlay permits, in the document's order."""
        named = (LINK_PROTOCOLS.get(protocol, ()) for protocol in self.overlay_link_protocols)
        found = dict.fromkeys(link_type for link_types in named for link_type in link_types)
        if self.no_ice:
            return tuple(found)
        # RFC 6940 6.5.1.5: "An overlay MUST be either all ICE or all No-ICE.", and of links with ICE it has one kind.
        # Where TLS is permitted as well, ours is beside it, never alone.
        if OverlayLinkType.DTLS_UDP_SR_NO_ICE not in found:
            return ()
        beside = (OverlayLinkType.TLS_TCP_FH,) if OverlayLinkType.TLS_TCP_FH_NO_ICE in found else ()
        return (OverlayLinkType.DTLS_UDP_SR, *beside)

    def permits_service(self, name: str, user: str) -> bool:
        """True if a member of this user name may announce a service."""
        return any(permission.covers(name, user) for permission in self.services)

    @property
    def kinds(self) -> dict[int, Kind]:
        """The required Kinds by Kind-ID."""
        return {kind.kind_id: kind for kind in self.required_kinds}

    @property
    def models(self) -> dict[int, DataModel]:
        """The data model of each required or registered Kind, for decoding."""
        registered = {kind_id: kind.data_model for kind_id, kind in REGISTERED_KINDS.items()}
        return registered | {kind.kind_id: kind.data_model for kind in self.required_kinds}

    @property
    def is_self_signed(self) -> bool:
        """True if members make their own certificates, and cannot do otherwise."""
        return self.self_signed_digest is not None and not self.enrollment_servers

    @property
    def hosted_domains(self) -> frozenset[str]:
        """The domains beside the overlay's own whose AoRs it takes (RFC 7904 section 3.4), as far as a pattern is just
        a name: with its dots escaped, as a POSIX expression has them, or not.
        """
        restriction = self.domain_restriction
        patterns = restriction.patterns if restriction is not None and restriction.enable else ()
        names = (pattern.replace("\\.", ".").lower() for pattern in patterns)
        return frozenset(name for name in names if is_dns_name(name) and "." in name) - {self.instance_name}

    def permits_diagnostics(self, node: NodeId, kind: int) -> bool:
        """RFC 7851 section 4.1: "The default policy or access rule for a type of diagnostic information is "deny""."""
        everybody = NodeId.wildcard(len(node))
        return any(
            access.kind == kind and not access.access_nodes.isdisjoint((node, everybody))
            for access in self.diagnostic_kinds
        )

    def is_valid_at(self, date: float) -> bool:
        """False from `expiration` on."""
        return self.expiration is None or date < self.expiration


def is_dns_name(name: str) -> bool:
    """True for what may be an overlay's name.

    6.3.2: "it will need to be compliant with the grammar for the domain as specified in Section 2.3.1 of [RFC1035]",
    here with RFC 1123's leading digits.
    """
    return _DNS_NAME.match(name) is not None


def _kind_fits(kind: Kind) -> bool:
    if kind.access_control is AccessControl.NODE_MULTIPLE and kind.max_node_multiple <= 0:
        return False
    if kind.kind_id not in REGISTERED_KINDS and not 0 < kind.kind_id < 0xFFFFFFFF:
        return False
    return kind.max_count > 0 and kind.max_size >= 0 and kind.branching_factor >= 2


def obstacles(configuration: OverlayConfiguration) -> list[str]:
    """Why this release cannot be a member of the overlay, whatever its topology, in words; empty if it can.

    11.1: "If a node is not capable of supporting the new requirements, it MUST exit the overlay."
    """
    unknown = sorted(set(configuration.mandatory_extensions) - SUPPORTED_NAMESPACES)
    checks = (
        (not configuration.link_types, f"no overlay link protocol {'TLS or DTLS' if configuration.no_ice else 'DTLS'}"),
        (_is_keyless(configuration), "a shared secret, but no RSA keys for links that need one"),
        *((True, what) for what in configuration.unsupported),
        *((True, f"mandatory extension {namespace}") for namespace in unknown),
        *((True, f"kind {kind.kind_id:#x}") for kind in configuration.required_kinds if _is_foreign(kind)),
    )
    return [what for is_obstacle, what in checks if is_obstacle]


def _is_keyless(configuration: OverlayConfiguration) -> bool:
    """Links with a shared secret are made with RSA keys."""
    return configuration.shared_secret is not None and SignatureAlgorithm.RSA not in configuration.signature_algorithms


def _is_foreign(kind: Kind) -> bool:
    return kind.access_control is AccessControl.NODE_ID_MATCH and kind.kind_id != REDIR
