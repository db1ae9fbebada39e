"""`p2psip overlay show`: what a configuration says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.overlay.options import addresses

if TYPE_CHECKING:
    from p2psip.base.ids import NodeId
    from p2psip.reload.config.configuration import Kind, OverlayConfiguration

SHOW_HELP = """Show an overlay's configuration. What the document says is printed, not verified.

Elements have the names, and their values the form, that `p2psip overlay set` knows.

Examples:

\b
    p2psip overlay show ./club
    p2psip overlay show ./peer/config.xml
    p2psip overlay show https://192.168.7.1:8443 --json
"""


def show(
    source: Annotated[
        str, typer.Argument(metavar="DIR|FILE|URL", help="An overlay's directory, a document, or a server with one.")
    ],
    name: Annotated[
        str | None, typer.Option("--overlay", metavar="NAME", help="Which, if the document has several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print what the document says; it is not verified against anything."""
    from p2psip.reload.config.document import parse
    from p2psip.reload.config.errors import ConfigurationError

    try:
        configuration = parse(_read(source), name).configuration
    except ConfigurationError as error:
        raise LocalMisuse(f"{source}: {error}") from None
    facts = facts_of(configuration)
    print(json.dumps(facts) if as_json else _described(facts))


def _read(source: str) -> bytes:
    from p2psip.net.disk.files import read_file
    from p2psip.net.disk.overlay_directory import DOCUMENT
    from p2psip.net.sockets.addresses import server_url

    source = server_url(source)
    if "://" in source:
        import asyncio

        from p2psip.net.https.client import fetch_unproven

        return asyncio.run(fetch_unproven(source))
    path = Path(source)
    return read_file(path / DOCUMENT if path.is_dir() else path)


def facts_of(configuration: OverlayConfiguration) -> dict[str, Any]:
    """All of a configuration, as plain values; a shared secret is not shown."""
    from datetime import UTC, datetime

    from p2psip.plugins import obstacles
    from p2psip.reload.security.certificates import fingerprint
    from p2psip.reload.wire.diagnostics import DiagnosticKind

    ends = configuration.expiration
    digest = configuration.self_signed_digest
    restriction = configuration.domain_restriction
    return {
        "overlay": configuration.instance_name,
        "sequence": configuration.sequence,
        "expiration": None if ends is None else datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "topology_plugin": configuration.topology_plugin,
        "node_id_length": configuration.node_id_length,
        "fingerprints": [fingerprint(root) for root in configuration.root_certs],
        "enrollment_servers": list(configuration.enrollment_servers),
        "self_signed_permitted": None if digest is None else digest.name.lower(),
        "bootstrap_nodes": addresses(configuration.bootstrap_nodes),
        "turn_density": configuration.turn_density,
        "clients_permitted": configuration.clients_permitted,
        "no_ice": configuration.no_ice,
        "chord_update_interval_s": configuration.chord_update_interval_s,
        "chord_ping_interval_s": configuration.chord_ping_interval_s,
        "chord_reactive": configuration.chord_reactive,
        "shared_secret": configuration.shared_secret is not None,
        "max_message_size": configuration.max_message_size,
        "initial_ttl": configuration.initial_ttl,
        "overlay_reliability_timer_ms": configuration.overlay_reliability_timer_ms,
        "overlay_link_protocols": list(configuration.overlay_link_protocols),
        "kind_signers": sorted(map(str, configuration.kind_signers)),
        "configuration_signers": sorted(map(str, configuration.configuration_signers)),
        "bad_nodes": sorted(map(str, configuration.bad_nodes)),
        "mandatory_extensions": list(configuration.mandatory_extensions),
        "kinds": [_kind(kind) for kind in configuration.required_kinds],
        "diagnostic_kinds": [
            {
                "kind": DiagnosticKind(access.kind).rfc_name,
                "access_nodes": list(map(_asker, sorted(access.access_nodes))),
            }
            for access in configuration.diagnostic_kinds
        ],
        "services": {service.name: list(service.providers) for service in configuration.services},
        "domain_restriction": None if restriction is None else [restriction.enable, *restriction.patterns],
        "successors": configuration.successors,
        "sip_tunnel": configuration.sip_tunnel,
        "calls_by": configuration.calls_by.value,
        "route_mode": None if configuration.route_mode is None else configuration.route_mode.rfc_name,
        "signatures": sorted(algorithm.name.lower() for algorithm in configuration.signature_algorithms),
        "extensions": [f"{{{extension.namespace}}}{extension.name}" for extension in configuration.extensions],
        "obstacles": obstacles(configuration),
    }


def _asker(node: NodeId) -> str:
    return "all" if node.is_wildcard else str(node)


def _kind(kind: Kind) -> dict[str, Any]:
    return {
        "kind": kind.name or hex(kind.kind_id),
        "data_model": kind.data_model.value,
        "access_control": kind.access_control.value,
        "max_count": kind.max_count,
        "max_size": kind.max_size,
    } | ({"max_node_multiple": kind.max_node_multiple} if kind.max_node_multiple else {})


ELEMENTS = {
    "fingerprints": "fingerprint",
    "enrollment_servers": "enrollment-server",
    "bootstrap_nodes": "bootstrap-node",
    "chord_update_interval_s": "chord-update-interval",
    "chord_ping_interval_s": "chord-ping-interval",
    "overlay_reliability_timer_ms": "overlay-reliability-timer",
    "overlay_link_protocols": "overlay-link-protocol",
    "kind_signers": "kind-signer",
    "configuration_signers": "configuration-signer",
    "bad_nodes": "bad-node",
    "mandatory_extensions": "mandatory-extension",
    "kinds": "kind",
    "diagnostic_kinds": "diagnostic-kind",
    "services": "service",
    "signatures": "signature-algorithm",
}
"""What the facts are called in the document, and by `overlay set`, where that is not their own name with hyphens."""


def _described(facts: dict[str, Any]) -> str:
    """A line for each value, as `overlay set` takes it, after the name of its element."""
    services = [{"service": name, "providers": users} for name, users in facts["services"].items()]
    secret = "(not shown)" if facts["shared_secret"] else None
    lines = []
    for fact, value in (facts | {"services": services, "shared_secret": secret}).items():
        shown = [_plain(entry) for entry in (value if isinstance(value, list) else [value])] or ["(none)"]
        lines.append(f"{ELEMENTS.get(fact, fact.replace('_', '-')) + ':':<30}{shown[0]}")
        lines.extend(" " * 30 + entry for entry in shown[1:])
    return "\n".join(lines)


def _plain(value: object) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ":".join(map(_plain, value.values()))
    return ":".join(map(str, value)) if isinstance(value, list) else str(value)
