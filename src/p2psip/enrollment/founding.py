"""Founding an overlay, and changing its configuration later (RFC 6940 section 11.1)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NODE_ID_LENGTHS, NodeId
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.config.configuration import (
    CERTIFICATE_KINDS,
    DEFAULT_TOPOLOGY,
    DIRECTORY_KINDS,
    MAILBOX_KINDS,
    SIP_REGISTRATION_KIND,
    TURN_SERVICE_KIND,
    BootstrapNode,
    DiagnosticAccess,
    OverlayConfiguration,
)
from p2psip.reload.config.sequence import next_sequence
from p2psip.reload.config.write import build
from p2psip.reload.security.authority import ANCHOR_LIFETIME_S, TrustAnchor, Validity
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey, generate_key
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.diagnostics import DiagnosticKind

MESSAGE_SIZE = 65536
"""New overlays: room for a fetch of many lines, each with its certificate."""


OPEN_TO_ALL = (
    DiagnosticKind.STATUS_INFO,
    DiagnosticKind.ROUTING_TABLE_SIZE,
    DiagnosticKind.SOFTWARE_VERSION,
    DiagnosticKind.MACHINE_UPTIME,
    DiagnosticKind.APP_UPTIME,
)
"""What members of a new overlay may ask each other's peers for (RFC 7851 section 7): what `p2psip trace` prints."""


@dataclass(frozen=True, slots=True)
class Founding:
    """A new overlay: its trust anchor, who signs its configuration, and the signed document."""

    anchor: TrustAnchor
    signer: CertifiedIdentity
    configuration: OverlayConfiguration
    document: bytes


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms one is a member of a new overlay."""

    algorithms: tuple[SignatureAlgorithm, ...] = (SignatureAlgorithm.ECDSA,)
    """With what keys members sign; the first is that of the trust anchor."""
    self_signed_digest: HashAlgorithm | None = None
    """Members make their own certificates (11.3.1); None: an enrollment server does."""
    shared_secret: str | None = field(default=None, repr=False)
    """Without which no link comes about (13.4)."""
    topology_plugin: str = DEFAULT_TOPOLOGY
    node_id_length: int = NODE_ID_LENGTHS[0]
    """In bytes; the topology may not do all that a configuration may say."""
    calls_by: CallsBy = CallsBy.CALLER


TURN_DENSITY: Final = 5
"""How often a peer that relays is recorded (RFC 6940 section 9): where most are at home, one of five can, or fewer."""


def found(
    overlay: str,
    admin: str,
    terms: Terms,
    rng: random.Random,
    date: float,
    *,
    enrollment_servers: Sequence[str] = (),
    bootstrap_nodes: Sequence[BootstrapNode] = (),
) -> Founding:
    """A new overlay, whose first administrator `admin` (a user name in full) signs its configuration."""
    anchor = TrustAnchor.create(overlay, rng, date, algorithm=terms.algorithms[0])
    key = generate_key(terms.algorithms[0])
    signer = make_signer(anchor, key, admin, _new_node_id(rng, terms.node_id_length), rng, date)
    signers, everybody = frozenset({signer.node_id}), frozenset({NodeId.wildcard(terms.node_id_length)})
    # 8: "A user/node MUST store its certificate"; 11.3.1 says it again of who has made its certificate itself.
    kinds = (SIP_REGISTRATION_KIND, TURN_SERVICE_KIND, *CERTIFICATE_KINDS, *DIRECTORY_KINDS, *MAILBOX_KINDS)
    configuration = OverlayConfiguration(
        instance_name=overlay,
        sequence=1,
        topology_plugin=terms.topology_plugin,
        node_id_length=terms.node_id_length,
        root_certs=(anchor.der,),
        enrollment_servers=tuple(enrollment_servers),
        self_signed_digest=terms.self_signed_digest,
        shared_secret=terms.shared_secret,
        bootstrap_nodes=tuple(bootstrap_nodes),
        turn_density=TURN_DENSITY,
        # ICE is for those that ask for it: links are TLS straight to an address.
        no_ice=True,
        max_message_size=MESSAGE_SIZE,
        overlay_link_protocols=("TLS",),
        kind_signers=signers,
        configuration_signers=signers,
        required_kinds=kinds,
        diagnostic_kinds=tuple(DiagnosticAccess(kind, everybody) for kind in OPEN_TO_ALL),
        sip_tunnel=True,
        calls_by=terms.calls_by,
        signature_algorithms=frozenset(terms.algorithms),
    )
    return Founding(anchor, signer, configuration, build(configuration, signer))


def make_signer(
    anchor: TrustAnchor, key: PrivateKey, admin: str, node_id: NodeId, rng: random.Random, date: float
) -> CertifiedIdentity:
    """The configuration signer. It is valid as long as the trust anchor: a document that nobody changes stays good."""
    validity = Validity.at(date, ANCHOR_LIFETIME_S)
    certificate = anchor.issue(key.public_key(), admin, [node_id], rng, validity, signs_configurations=True)
    return CertifiedIdentity(key, [certificate], node_id_length=len(node_id))


def revised(configuration: OverlayConfiguration, signer: CertifiedIdentity) -> tuple[OverlayConfiguration, bytes]:
    """The changed configuration with the next sequence number, and its signed document."""
    if signer.node_id not in configuration.configuration_signers:
        raise LocalMisuse(f"the signer {signer.node_id} is not a configuration signer of this overlay")
    configuration = replace(configuration, sequence=next_sequence(configuration.sequence))
    return configuration, build(configuration, signer)


def _new_node_id(rng: random.Random, length: int) -> NodeId:
    while not (node_id := NodeId(rng.randbytes(length))).is_valid:
        pass
    return node_id
