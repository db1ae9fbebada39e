"""Writing an Overlay Configuration Document (RFC 6940 section 11.1), signed.

The text is put together as bytes, not as a tree, because signatures cover bytes: a kind is signed first, then
stands verbatim in the configuration, which is signed and stands verbatim in the document.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape

from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.config.configuration import (
    ALGORITHM_NAMES,
    BASE_NAMESPACE,
    DIGEST_NAMES,
    PREFIXES,
    DomainRestriction,
    Kind,
    OverlayConfiguration,
)
from p2psip.reload.config.signatures import DocumentSigner, security_block
from p2psip.reload.wire.kinds import REDIR, SIP_REGISTRATION

_DECLARED = "".join(f'\n    xmlns:{prefix}="{namespace}"' for prefix, namespace in PREFIXES.items())
_HEAD = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<overlay xmlns="{BASE_NAMESPACE}"{_DECLARED}>
"""


def build(configuration: OverlayConfiguration, signer: DocumentSigner) -> bytes:
    """The document of one overlay, it and its Kinds signed by `signer`, whom the configuration should name."""
    signed = _configuration(configuration, signer).encode()
    signature = _wrapped(security_block(signed, signer))
    return b"".join((_HEAD.encode(), signed, f"\n<signature>{signature}</signature>\n</overlay>\n".encode()))


def draft(configuration: OverlayConfiguration) -> bytes:
    """The document as it would be, with no signature: for people to look at, and to be signed later."""
    return b"".join((_HEAD.encode(), _configuration(configuration, None).encode(), b"\n</overlay>\n"))


def kind_document(configuration: OverlayConfiguration, signer: DocumentSigner) -> bytes:
    """A document that is good for its signed kind-blocks only."""
    return b"".join((_HEAD.encode(), _configuration(configuration, signer).encode(), b"\n</overlay>\n"))


def _configuration(configuration: OverlayConfiguration, signer: DocumentSigner | None) -> str:
    attributes = {"instance-name": configuration.instance_name, "sequence": str(configuration.sequence)}
    if configuration.expiration is not None:
        attributes["expiration"] = datetime.fromtimestamp(configuration.expiration, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes |= {f"{found.prefix}:{found.name}": found.value for found in configuration.attributes}
    attributes |= _declarations(configuration)
    heading = " ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())
    elements = [
        *_fields(configuration),
        *(extension.xml.decode() for extension in configuration.extensions),
        *_required_kinds(configuration, signer),
    ]
    return f"<configuration {heading}>\n  " + "\n  ".join(elements) + "\n</configuration>"


def _declarations(configuration: OverlayConfiguration) -> dict[str, str]:
    """What the prefixes of extensions stand for: they are kept byte for byte."""
    used = [prefix for extension in configuration.extensions for prefix in extension.prefixes]
    used += [(found.prefix, found.namespace) for found in configuration.attributes]
    return {f"xmlns:{prefix}": namespace for prefix, namespace in used if prefix not in PREFIXES}


def _fields(configuration: OverlayConfiguration) -> Iterator[str]:
    """The elements of a configuration in the order in which 11.1 describes them, Kinds and extensions excepted."""
    yield _element("topology-plugin", configuration.topology_plugin)
    yield _element("node-id-length", configuration.node_id_length)
    for root in configuration.root_certs:
        yield _element("root-cert", _wrapped(root))
    for url in configuration.enrollment_servers:
        yield _element("enrollment-server", url)
    for name, digest in DIGEST_NAMES.items():
        if configuration.self_signed_digest is digest:
            yield f'<self-signed-permitted digest="{name}">true</self-signed-permitted>'
    for node in configuration.bootstrap_nodes:
        yield f'<bootstrap-node address={_quoted(node.address)} port="{node.port}"/>'
    yield _element("turn-density", configuration.turn_density)
    yield _element("clients-permitted", configuration.clients_permitted)
    yield _element("no-ice", configuration.no_ice)
    yield _element("chord:chord-update-interval", configuration.chord_update_interval_s)
    yield _element("chord:chord-ping-interval", configuration.chord_ping_interval_s)
    yield _element("chord:chord-reactive", configuration.chord_reactive)
    if configuration.shared_secret is not None:
        yield _element("shared-secret", configuration.shared_secret)
    yield _element("max-message-size", configuration.max_message_size)
    yield _element("initial-ttl", configuration.initial_ttl)
    yield _element("overlay-reliability-timer", configuration.overlay_reliability_timer_ms)
    for protocol in configuration.overlay_link_protocols:
        yield _element("overlay-link-protocol", protocol)
    yield from _node_ids(configuration)
    for namespace in configuration.mandatory_extensions:
        yield _element("mandatory-extension", namespace)
    for access in configuration.diagnostic_kinds:
        nodes = "".join(_element("diagnostics:access-node", str(node)) for node in sorted(access.access_nodes))
        yield f'<diagnostics:diagnostic-kind kind="0x{access.kind:04x}">{nodes}</diagnostics:diagnostic-kind>'
    for service in configuration.services:
        yield f"<p2psip:service name={_quoted(service.name)} providers={_quoted(' '.join(service.providers))}/>"
    if configuration.route_mode is not None:
        yield _element("route-mode:mode", configuration.route_mode.rfc_name)
    if configuration.sip_tunnel:
        yield _element("p2psip:sip-tunnel", True)
    if configuration.calls_by is not CallsBy.CALLER:
        yield _element("p2psip:calls-by", configuration.calls_by.value)
    yield _element("p2psip:successors", configuration.successors)
    for name, algorithm in ALGORITHM_NAMES.items():
        if algorithm in configuration.signature_algorithms:
            yield _element("p2psip:signature-algorithm", name)


def _node_ids(configuration: OverlayConfiguration) -> Iterator[str]:
    for name, node_ids in (
        ("kind-signer", configuration.kind_signers),
        ("configuration-signer", configuration.configuration_signers),
        ("bad-node", configuration.bad_nodes),
    ):
        for node_id in sorted(node_ids):
            yield _element(name, str(node_id))


def _required_kinds(configuration: OverlayConfiguration, signer: DocumentSigner | None) -> Iterator[str]:
    if configuration.required_kinds:
        yield "<required-kinds>"
        for kind in configuration.required_kinds:
            restriction = configuration.domain_restriction if kind.kind_id == SIP_REGISTRATION else None
            text = _kind(kind, restriction)
            signature = "" if signer is None else _wrapped(security_block(text.encode(), signer))
            signed = f"<kind-signature>{signature}</kind-signature>" if signature else ""
            yield f"<kind-block>{text}{signed}</kind-block>"
        yield "</required-kinds>"


def _kind(kind: Kind, restriction: DomainRestriction | None) -> str:
    heading = f"name={_quoted(kind.name)}" if kind.name else f'id="{kind.kind_id}"'
    elements = [
        _element("data-model", kind.data_model.value),
        _element("access-control", kind.access_control.value),
        _element("max-count", kind.max_count),
        _element("max-size", kind.max_size),
        *([_element("max-node-multiple", kind.max_node_multiple)] if kind.max_node_multiple else []),
        *([_restriction(restriction)] if restriction else []),
        *([_element("redir:branching-factor", kind.branching_factor)] if kind.kind_id == REDIR else []),
        *(extension.xml.decode() for extension in kind.extensions),
    ]
    return f"<kind {heading}>" + "".join(elements) + "</kind>"


def _restriction(restriction: DomainRestriction) -> str:
    patterns = "".join(_element("sip:pattern", pattern) for pattern in restriction.patterns)
    enable = str(restriction.enable).lower()
    return f'<sip:domain-restriction enable="{enable}">{patterns}</sip:domain-restriction>'


def _element(name: str, value: str | int | bool) -> str:
    text = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return f"<{name}>{text}</{name}>"


def _quoted(value: str) -> str:
    return f'"{escape(value)}"'


def _wrapped(data: bytes) -> str:
    """Base64 in lines that people can look at."""
    return "\n" + base64.encodebytes(data).decode()
