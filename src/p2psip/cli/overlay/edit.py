"""Changes of a configuration as an operator writes them: ELEMENT=VALUE, ELEMENT+=VALUE, ELEMENT-=VALUE.

The elements have the names that they have in the document (RFC 6940 section 11.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.cli.overlay.options import bootstrap_node, urls
from p2psip.net.disk.pem_files import read_chain
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.config.configuration import (
    ALGORITHM_NAMES,
    DIGEST_NAMES,
    REGISTERED_KINDS,
    AccessControl,
    DiagnosticAccess,
    DomainRestriction,
    Kind,
    OverlayConfiguration,
    ServicePermission,
)
from p2psip.reload.wire.diagnostics import DiagnosticKind
from p2psip.reload.wire.extensions.routing_mode import RouteMode
from p2psip.reload.wire.kinds import REGISTERED_NAMES, DataModel

CALLS_BY = {way.value: way for way in CallsBy}
ROUTE_MODES = {"none": None, "drr": RouteMode.DRR, "rpr": RouteMode.RPR}

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

_CHANGE = re.compile(r"(?P<name>[a-z]+(?:-[a-z]+)*)(?P<how>\+=|-=|=)(?P<value>.*)\Z", re.DOTALL)

KIND_FORM = "KIND:MODEL:ACCESS:MAX-COUNT:MAX-SIZE[:MAX-NODE-MULTIPLE]"


def edited(configuration: OverlayConfiguration, changes: Iterable[str]) -> OverlayConfiguration:
    """The configuration with these changes, one after the other. Raises LocalMisuse."""
    for change in changes:
        found = _CHANGE.match(change)
        if found is None:
            raise LocalMisuse(f"{change!r} is no change: write ELEMENT=VALUE, ELEMENT+=VALUE or ELEMENT-=VALUE")
        name, how, value = found["name"], found["how"], found["value"].strip()
        try:
            if name in _LISTS:
                configuration = _change_list(configuration, name, how, value)
            elif name in _SCALARS:
                configuration = _change_scalar(configuration, name, how, value)
            else:
                raise LocalMisuse(f"there is no element {name}; there are {', '.join(sorted({*_LISTS, *_SCALARS}))}")
        except ValueError as error:
            raise LocalMisuse(f"{change}: {error}") from None
    return configuration


def kind_of(text: str) -> Kind:
    """A Kind as people type it: the name of a registered one, or KIND:MODEL:ACCESS:MAX-COUNT:MAX-SIZE."""
    name, *rest = text.split(":")
    kind_id = REGISTERED_NAMES.get(name.upper())
    registered = REGISTERED_KINDS.get(kind_id) if kind_id is not None else None
    if registered is not None and len(rest) == 2:
        rest = [registered.data_model.value, registered.access_control.value, *rest]
    if len(rest) not in (4, 5):
        raise LocalMisuse(f"{text!r} is no Kind: write {KIND_FORM}, or NAME:MAX-COUNT:MAX-SIZE of a registered one")
    model, access, count, size, *multiple = rest
    try:
        return Kind(
            _number(name) if kind_id is None else kind_id,
            _member(DataModel, model),
            _member(AccessControl, access),
            max_count=_number(count),
            max_size=_number(size),
            name="" if registered is None else registered.name,
            max_node_multiple=_number(multiple[0]) if multiple else (registered.max_node_multiple if registered else 0),
        )
    except ValueError as error:
        raise LocalMisuse(f"{text!r} is no Kind: {error}") from None


def diagnostic_access(text: str) -> DiagnosticAccess:
    """Who may ask for a Kind of diagnostic information: KIND:all, or KIND:NODE-ID:NODE-ID (RFC 7851 section 7)."""
    name, *askers = text.split(":")
    if not askers:
        raise LocalMisuse(f"{text!r} says not who may ask: write KIND:all or KIND:NODE-ID")
    nodes = frozenset(NodeId.wildcard() if asker == "all" else _node_id(asker) for asker in askers)
    return DiagnosticAccess(_diagnostic_kind(name), nodes)


def _fitted(entry: object, node_id_length: int) -> object:
    """Everybody is a Node-ID of ones, as long as those of this overlay."""
    if not isinstance(entry, DiagnosticAccess) or NodeId.wildcard() not in entry.access_nodes:
        return entry
    return replace(entry, access_nodes=entry.access_nodes - {NodeId.wildcard()} | {NodeId.wildcard(node_id_length)})


def service_permission(text: str) -> ServicePermission:
    """Who may announce a service: NAME:USER:USER, where * in a user name is any text, and as the NAME every service."""
    name, *providers = text.split(":")
    if not name or not all(providers) or not providers:
        raise LocalMisuse(
            f"{text!r} says not who may announce it: write SERVICE:USER@OVERLAY or SERVICE:peer-*@OVERLAY"
        )
    return ServicePermission(name, tuple(providers))


def _diagnostic_kind(name: str) -> DiagnosticKind:
    named = {kind.rfc_name: kind for kind in DiagnosticKind}
    if name.upper() in named:
        return named[name.upper()]
    if not name[:1].isdigit():
        raise LocalMisuse(f"{name!r} is no diagnostic Kind; there are {', '.join(named)}, and numbers from 0xf000")
    return DiagnosticKind(_number(name))


def _change_list(configuration: OverlayConfiguration, name: str, how: str, value: str) -> OverlayConfiguration:
    field, read = _LISTS[name]
    old: Any = getattr(configuration, field)
    if how == "-=":
        gone = [entry for entry in old if _is_named(name, entry, value, read)]
        if not gone:
            raise LocalMisuse(f"{name}-={value}: it is not there")
        new = [entry for entry in old if entry not in gone]
    else:
        given = [read(part) for part in value.split(",") if part] if how == "=" else [read(value)]
        given = [_fitted(entry, configuration.node_id_length) for entry in given]
        kept = [] if how == "=" else [entry for entry in old if not _is_replaced(entry, given)]
        new = list(dict.fromkeys([*kept, *given]))
    return replace(configuration, **{field: type(old)(new)})


def _is_named(name: str, entry: object, value: str, read: Callable[[str], object]) -> bool:
    if isinstance(entry, Kind):
        return value.upper() == entry.name or (value[:1].isdigit() and _number(value) == entry.kind_id)
    if isinstance(entry, DiagnosticAccess):
        return entry.kind == _diagnostic_kind(value)
    if isinstance(entry, ServicePermission):
        return entry.name == value
    return entry == read(value)


def _is_replaced(entry: object, given: Iterable[object]) -> bool:
    """A Kind that is given takes the place of the one with its number."""
    if isinstance(entry, DiagnosticAccess):
        return any(isinstance(new, DiagnosticAccess) and new.kind == entry.kind for new in given)
    if isinstance(entry, ServicePermission):
        return any(isinstance(new, ServicePermission) and new.name == entry.name for new in given)
    return isinstance(entry, Kind) and any(isinstance(new, Kind) and new.kind_id == entry.kind_id for new in given)


def _change_scalar(configuration: OverlayConfiguration, name: str, how: str, value: str) -> OverlayConfiguration:
    if how != "=":
        raise LocalMisuse(f"{name} has one value: write {name}=VALUE")
    field, read = _SCALARS[name]
    return replace(configuration, **{field: read(value)})


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r}: write a whole number") from None


def _member(names: type[E], text: str) -> E:
    """The member of an enumeration with this value."""
    try:
        return names(text.upper())
    except ValueError:
        raise ValueError(f"{text!r}: write {' or '.join(str(each.value) for each in names)}") from None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise LocalMisuse(f"{text!r}: write true or false")
    return text.lower() in ("true", "1")


def _expiration(text: str) -> float | None:
    if text in ("", "never"):
        return None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("write a date such as 2027-01-01T00:00:00Z, or never") from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _self_signed(text: str) -> Any:
    if text in ("", "false", "no"):
        return None
    return _named(DIGEST_NAMES, text)


def _named(names: dict[str, T], text: str) -> T:
    if text.lower() not in names:
        raise LocalMisuse(f"{text!r}: write {' or '.join(names)}")
    return names[text.lower()]


def _restriction(text: str) -> DomainRestriction | None:
    """RFC 7904 section 3.4: "none", "own" (the overlay's domain only), or patterns with commas between them."""
    if text in ("", "none"):
        return None
    return DomainRestriction() if text == "own" else DomainRestriction(True, tuple(text.split(",")))


def _node_id(text: str) -> NodeId:
    try:
        return NodeId(bytes.fromhex(text))
    except ValueError:
        raise LocalMisuse(f"{text!r} is no Node-ID: write its hex digits, as `p2psip status` has them") from None


_LISTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "root-cert": ("root_certs", lambda text: read_chain(Path(text))[0]),
    "enrollment-server": ("enrollment_servers", lambda text: urls([text])[0]),
    "bootstrap-node": ("bootstrap_nodes", bootstrap_node),
    "overlay-link-protocol": ("overlay_link_protocols", str),
    "kind-signer": ("kind_signers", _node_id),
    "configuration-signer": ("configuration_signers", _node_id),
    "bad-node": ("bad_nodes", _node_id),
    "mandatory-extension": ("mandatory_extensions", str),
    "kind": ("required_kinds", kind_of),
    "service": ("services", service_permission),
    "diagnostic-kind": ("diagnostic_kinds", diagnostic_access),
    "signature-algorithm": ("signature_algorithms", lambda text: _named(ALGORITHM_NAMES, text)),
}
"""Elements of which there may be several: the field, and how one of them is read."""

_SCALARS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "expiration": ("expiration", _expiration),
    "topology-plugin": ("topology_plugin", str),
    "node-id-length": ("node_id_length", _number),
    "self-signed-permitted": ("self_signed_digest", _self_signed),
    "turn-density": ("turn_density", _number),
    "clients-permitted": ("clients_permitted", _boolean),
    "no-ice": ("no_ice", _boolean),
    "chord-update-interval": ("chord_update_interval_s", _number),
    "chord-ping-interval": ("chord_ping_interval_s", _number),
    "chord-reactive": ("chord_reactive", _boolean),
    "shared-secret": ("shared_secret", lambda text: text or None),
    "max-message-size": ("max_message_size", _number),
    "initial-ttl": ("initial_ttl", _number),
    "overlay-reliability-timer": ("overlay_reliability_timer_ms", _number),
    "domain-restriction": ("domain_restriction", _restriction),
    "successors": ("successors", _number),
    "sip-tunnel": ("sip_tunnel", _boolean),
    "calls-by": ("calls_by", lambda text: _named(CALLS_BY, text)),
    "route-mode": ("route_mode", lambda text: _named(ROUTE_MODES, text)),
}
"""Elements of which there is one."""
