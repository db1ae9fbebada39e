"""Reading an Overlay Configuration Document (RFC 6940 section 11.1): XML in, checked values out.

Nothing that is read here may be believed before `p2psip.reload.config.signatures` has verified it.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources

from lxml import etree

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.reload.config.blobs import Blob, blobs
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.config.configuration import (
    ALGORITHM_NAMES,
    BASE_NAMESPACE,
    BOOTSTRAP_PORT,
    CHORD_NAMESPACE,
    DEFAULT_TOPOLOGY,
    DIAGNOSTICS_NAMESPACE,
    DIGEST_NAMES,
    OWN_NAMESPACE,
    PREFIXES,
    REDIR_NAMESPACE,
    REGISTERED_KINDS,
    ROUTE_MODE_NAMESPACE,
    SIP_NAMESPACE,
    AccessControl,
    BootstrapNode,
    DiagnosticAccess,
    DomainRestriction,
    Extension,
    ForeignAttribute,
    Kind,
    OverlayConfiguration,
    ServicePermission,
)
from p2psip.reload.config.errors import ConfigurationError, OtherOverlay
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.extensions.routing_mode import RouteMode
from p2psip.reload.wire.kinds import REGISTERED_NAMES, DataModel

_BASE = f"{{{BASE_NAMESPACE}}}"
_CHORD = f"{{{CHORD_NAMESPACE}}}"
_SIP = f"{{{SIP_NAMESPACE}}}"
_OWN = f"{{{OWN_NAMESPACE}}}"
_REDIR = f"{{{REDIR_NAMESPACE}}}"
_ROUTE_MODE = f"{{{ROUTE_MODE_NAMESPACE}}}"
_DIAGNOSTICS = f"{{{DIAGNOSTICS_NAMESPACE}}}"

_KNOWN = frozenset({BASE_NAMESPACE, CHORD_NAMESPACE, SIP_NAMESPACE, REDIR_NAMESPACE})
_READ = frozenset(
    {
        (OWN_NAMESPACE, "successors"),
        (OWN_NAMESPACE, "service"),
        (OWN_NAMESPACE, "sip-tunnel"),
        (OWN_NAMESPACE, "calls-by"),
        (OWN_NAMESPACE, "signature-algorithm"),
        (DIAGNOSTICS_NAMESPACE, "diagnostic-kind"),
        (ROUTE_MODE_NAMESPACE, "mode"),
    }
)


@dataclass(frozen=True, slots=True)
class SignedKind:
    """A kind-block: a Kind, the bytes that its signature covers, and the signature (a SecurityBlock), if any."""

    kind: Kind
    signed: bytes
    signature: bytes | None
    namespaces: tuple[tuple[str, str], ...] = ()
    """What the prefixes in the signed bytes stand for; the empty one is the default namespace."""


@dataclass(frozen=True, slots=True)
class Document:
    """One overlay's <configuration> as received: its values, what was signed, by which SecurityBlocks."""

    raw: bytes
    configuration: OverlayConfiguration
    signed: bytes
    signatures: tuple[bytes, ...]
    kinds: tuple[SignedKind, ...]


def parse(raw: bytes, overlay: str | None = None) -> Document:
    """The configuration of `overlay` in a document, or its only one; ConfigurationError if there is none.

    "The file MAY contain multiple "configuration" elements, where each one contains the configuration
    information for a different overlay."
    """
    found = blobs(raw)
    root = _tree(raw)
    elements = root.findall(f"{_BASE}configuration")
    assert len(elements) == len(found), "both parsers see the same document"
    wanted = [
        (element, blob)
        for element, blob in zip(elements, found, strict=True)
        if overlay is None or _attribute(element, "instance-name") == overlay
    ]
    if len(wanted) != 1:
        names = ", ".join(_attribute(element, "instance-name") for element in elements)
        raise OtherOverlay(f"configuration of {overlay or 'one overlay'} wanted, the document has {names}")
    return _document(raw, *wanted[0])


def _tree(raw: bytes) -> etree._Element:
    """The document as a tree, valid by the grammar of 11.1.1."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True, encoding="utf-8"
    )
    try:
        root = etree.fromstring(raw, parser)
    except etree.XMLSyntaxError as error:
        raise ConfigurationError(f"not well-formed XML: {error}") from None
    grammar = _grammar()
    if not grammar.validate(root):
        fault = next(iter(grammar.error_log), None)
        raise ConfigurationError(f"not valid by the grammar of RFC 6940: {fault.message if fault else 'no reason'}")
    return root


@cache
def _grammar() -> etree.RelaxNG:
    schema = resources.files("p2psip.reload.config").joinpath("overlay.rng").read_bytes()
    return etree.RelaxNG(etree.fromstring(schema))


def _document(raw: bytes, element: etree._Element, blob: Blob) -> Document:
    try:
        kinds = _kinds(element, blob)
        configuration = _configuration(element, tuple(entry.kind for entry in kinds), blob)
    except (LocalMisuse, ValueError, OverflowError) as error:
        # Text that the grammar lets through and the RFC's prose does not.
        raise ConfigurationError(str(error)) from None
    return Document(raw, configuration, blob.signed, _signatures(element), kinds)


def _signatures(element: etree._Element) -> tuple[bytes, ...]:
    """ "Each configuration element MAY be followed by signature elements" over it."""
    found = []
    for sibling in element.itersiblings():
        if sibling.tag != f"{_BASE}signature":
            break
        found.append(_base64(_text(sibling)))
    return tuple(found)


def _configuration(element: etree._Element, kinds: tuple[Kind, ...], blob: Blob) -> OverlayConfiguration:
    read = _Fields(element)
    return OverlayConfiguration(
        instance_name=_attribute(element, "instance-name"),
        sequence=int(_attribute(element, "sequence", "0")),
        expiration=_date(_attribute(element, "expiration")),
        topology_plugin=read.text("topology-plugin", DEFAULT_TOPOLOGY),
        node_id_length=read.integer("node-id-length", 16),
        root_certs=tuple(_base64(text) for text in read.texts("root-cert")),
        enrollment_servers=read.texts("enrollment-server"),
        self_signed_digest=_self_signed(element),
        bootstrap_nodes=_bootstrap_nodes(element),
        turn_density=read.integer("turn-density", 1),
        clients_permitted=read.boolean("clients-permitted", True),
        no_ice=read.boolean("no-ice", False),
        chord_update_interval_s=read.integer("chord-update-interval", 400, _CHORD),
        chord_ping_interval_s=read.integer("chord-ping-interval", 30, _CHORD),
        chord_reactive=read.boolean("chord-reactive", True, _CHORD),
        shared_secret=next(iter(read.texts("shared-secret")), None),
        max_message_size=read.integer("max-message-size", 5000),
        initial_ttl=read.integer("initial-ttl", 100),
        overlay_reliability_timer_ms=read.integer("overlay-reliability-timer", 3000),
        # "If none appear, then this implies the default value, "TLS"".
        overlay_link_protocols=read.texts("overlay-link-protocol") or ("TLS",),
        kind_signers=read.node_ids("kind-signer"),
        configuration_signers=read.node_ids("configuration-signer"),
        bad_nodes=read.node_ids("bad-node"),
        mandatory_extensions=read.texts("mandatory-extension"),
        required_kinds=kinds,
        domain_restriction=_domain_restriction(element),
        diagnostic_kinds=_diagnostic_kinds(element),
        extensions=_verbatim(element, blob),
        attributes=_foreign_attributes(element),
        unsupported=_unsupported(element),
        services=_services(element),
        route_mode=_route_mode(read),
        sip_tunnel=read.boolean("sip-tunnel", False, _OWN),
        calls_by=_calls_by(read),
        successors=read.integer("successors", 5, _OWN),
        signature_algorithms=_algorithms(read),
    )


class _Fields:
    """The simple children of an element, by name."""

    def __init__(self, element: etree._Element) -> None:
        self._element = element

    def texts(self, name: str, namespace: str = _BASE) -> tuple[str, ...]:
        return tuple(_text(child) for child in self._element.findall(namespace + name))

    def text(self, name: str, default: str, namespace: str = _BASE) -> str:
        return next(iter(self.texts(name, namespace)), default)

    def integer(self, name: str, default: int, namespace: str = _BASE) -> int:
        return int(self.text(name, str(default), namespace))

    def boolean(self, name: str, default: bool, namespace: str = _BASE) -> bool:
        return _boolean(self.text(name, str(default).lower(), namespace))

    def node_ids(self, name: str, namespace: str = _BASE) -> frozenset[NodeId]:
        return frozenset(NodeId(bytes.fromhex(text)) for text in self.texts(name, namespace))


_UTC_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]00:00)\Z", re.IGNORECASE | re.ASCII)
"""RFC 3339 section 5.6, date-time, with an offset that means UTC."""


def _attribute(element: etree._Element, name: str, default: str = "") -> str:
    return str(element.attrib.get(name, default)).strip()


def _text(element: etree._Element) -> str:
    return (element.text or "").strip()


def _boolean(text: str) -> bool:
    """ "two lexical representations, "1" or "true" for the concept true"; the grammar admits no others."""
    return text.strip() in ("1", "true")


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ConfigurationError(f"bad base64: {error}") from None


def _date(text: str) -> float | None:
    """ "All times MUST conform to the Internet date/time format defined in [RFC3339] and be specified using UTC."."""
    if not text:
        return None
    if _UTC_DATE.match(text) is None:
        raise ConfigurationError(f"{text!r} is no date and time in UTC, such as 2027-01-31T12:00:00Z")
    return datetime.fromisoformat(text.upper()).timestamp()


def _self_signed(element: etree._Element) -> HashAlgorithm | None:
    found = element.find(f"{_BASE}self-signed-permitted")
    if found is None or not _boolean(_text(found)):
        return None
    return DIGEST_NAMES.get(_attribute(found, "digest"))


def _bootstrap_nodes(element: etree._Element) -> tuple[BootstrapNode, ...]:
    return tuple(
        BootstrapNode(_attribute(node, "address"), int(_attribute(node, "port", str(BOOTSTRAP_PORT))))
        for node in element.findall(f"{_BASE}bootstrap-node")
    )


def _algorithms(read: _Fields) -> frozenset[SignatureAlgorithm]:
    named = read.texts("signature-algorithm", _OWN) or tuple(ALGORITHM_NAMES)
    if unknown := set(named) - ALGORITHM_NAMES.keys():
        raise ConfigurationError(f"signature algorithm {', '.join(unknown)} is not known to this release")
    return frozenset(ALGORITHM_NAMES[name] for name in named)


def _route_mode(read: _Fields) -> RouteMode | None:
    """RFC 7263 section 6: "The mode can be DRR or RPR". All peers MUST be able to do without, so with another too."""
    return {mode.rfc_name: mode for mode in RouteMode}.get(read.text("mode", "", _ROUTE_MODE))


def _calls_by(read: _Fields) -> CallsBy:
    """Each way leads also to who knows it not, so a later one of which this release has no word is no obstacle."""
    return {way.value: way for way in CallsBy}.get(read.text("calls-by", "", _OWN), CallsBy.CALLER)


def _services(element: etree._Element) -> tuple[ServicePermission, ...]:
    return tuple(
        ServicePermission(_attribute(found, "name"), tuple(_attribute(found, "providers").split()))
        for found in element.findall(f"{_OWN}service")
    )


def _branching_factor(kind: etree._Element) -> int:
    """RFC 7374 section 8: its prose puts the element "inside the new "REDIR" kind element", its grammar outside."""
    around = next(kind.iterancestors(f"{_BASE}configuration"), kind)
    outside = _Fields(around).integer("branching-factor", 10, _REDIR)
    return _Fields(kind).integer("branching-factor", outside, _REDIR)


def _domain_restriction(element: etree._Element) -> DomainRestriction | None:
    """RFC 7904 section 3.4: its prose says "domain-restrictions", its grammar "domain-restriction"."""
    for name in ("domain-restriction", "domain-restrictions"):
        found = element.find(f".//{_SIP}{name}")
        if found is not None:
            patterns = tuple(_text(pattern) for pattern in found.findall(f"{_SIP}pattern"))
            return DomainRestriction(_boolean(_attribute(found, "enable", "false")), patterns)
    return None


def _diagnostic_kinds(element: etree._Element) -> tuple[DiagnosticAccess, ...]:
    """RFC 7851 section 7: "the attribute "kind" with the hexadecimal number indicating the diagnostic Kind ID"."""
    return tuple(
        DiagnosticAccess(
            int(_attribute(found, "kind"), 16),
            _Fields(found).node_ids("access-node", _DIAGNOSTICS),
        )
        for found in element.findall(f"{_DIAGNOSTICS}diagnostic-kind")
    )


def _extensions(element: etree._Element) -> tuple[Extension, ...]:
    """The children that nothing here reads, in canonical form."""
    found = []
    for child in filter(_is_extension, element):
        name = etree.QName(child)
        xml = etree.tostring(child, method="c14n", exclusive=True, with_tail=False)
        found.append(Extension(name.namespace or "", name.localname, xml))
    return tuple(found)


def _is_extension(element: etree._Element) -> bool:
    name = etree.QName(element)
    return name.namespace not in _KNOWN and (name.namespace, name.localname) not in _READ


def _verbatim(element: etree._Element, blob: Blob) -> tuple[Extension, ...]:
    """The elements of <configuration> that nothing here reads, byte for byte as they are in the document."""
    raw = dict(zip(element, blob.children, strict=True))
    return tuple(
        _as_written(extension, raw[child], element)
        for child, extension in zip(filter(_is_extension, element), _extensions(element), strict=True)
    )


def _as_written(extension: Extension, raw: bytes, around: etree._Element) -> Extension:
    """The extension in its own bytes; in canonical form where these could mean something else in our documents."""
    used = {prefix or "": uri for prefix, uri in around.nsmap.items() if f"{prefix}:".encode() in raw}
    is_ambiguous = any(PREFIXES.get(prefix, uri) != uri for prefix, uri in used.items())
    if is_ambiguous or around.nsmap.get(None) != BASE_NAMESPACE:
        return extension
    prefixes = tuple(sorted((prefix, uri) for prefix, uri in used.items() if prefix not in PREFIXES))
    return Extension(extension.namespace, extension.name, raw, prefixes)


def _foreign_attributes(element: etree._Element) -> tuple[ForeignAttribute, ...]:
    prefixes = {uri: prefix for prefix, uri in element.nsmap.items() if prefix and PREFIXES.get(prefix, uri) == uri}
    found: list[ForeignAttribute] = []
    for name, value in element.attrib.items():
        namespace, local = etree.QName(name).namespace, etree.QName(name).localname
        if namespace is not None:
            prefix = prefixes.get(namespace, f"ns{len(found)}")
            found.append(ForeignAttribute(prefix, namespace, local, str(value)))
    return tuple(found)


def _unsupported(element: etree._Element) -> tuple[str, ...]:
    """What is wanted that there is no value for here: Kinds by name, models, policies, digests."""
    wants = [why_not for block in _kind_blocks(element) if (why_not := _why_no_kind(block)) is not None]
    permitted = element.find(f"{_BASE}self-signed-permitted")
    if permitted is not None and _boolean(_text(permitted)) and _attribute(permitted, "digest") not in DIGEST_NAMES:
        wants.append(f"self-signed certificates by the digest {_attribute(permitted, 'digest')}")
    return tuple(wants)


def _why_no_kind(block: etree._Element) -> str | None:
    """Why this Kind cannot be supported here, in words."""
    kind = block.find(f"{_BASE}kind")
    assert kind is not None, "the grammar demands it"
    read, name = _Fields(kind), _attribute(kind, "name")
    if name:
        return None if name in REGISTERED_NAMES else f"kind {name}"
    model, access = read.text("data-model", ""), read.text("access-control", "")
    if model not in {known.value for known in DataModel}:
        return f"kind {_attribute(kind, 'id')}: data model {model}"
    if access not in {known.value for known in AccessControl}:
        return f"kind {_attribute(kind, 'id')}: access control {access}"
    return None


def _kind_blocks(element: etree._Element) -> list[etree._Element]:
    return element.findall(f"{_BASE}required-kinds/{_BASE}kind-block")


def _kinds(element: etree._Element, blob: Blob) -> tuple[SignedKind, ...]:
    """The Kinds that there is a value for; of the others `unsupported` tells."""
    blocks = zip(_kind_blocks(element), blob.kinds, strict=True)
    kinds = tuple(_signed_kind(block, signed) for block, signed in blocks if _why_no_kind(block) is None)
    if len({entry.kind.kind_id for entry in kinds}) != len(kinds):
        raise ConfigurationError("required-kinds names the same Kind twice")
    return kinds


def _signed_kind(block: etree._Element, signed: bytes) -> SignedKind:
    kind, signature = block.find(f"{_BASE}kind"), block.find(f"{_BASE}kind-signature")
    assert kind is not None, "the grammar demands it"
    encoded = None if signature is None else _base64(_text(signature))
    return SignedKind(_kind(kind), signed, encoded, _in_scope(kind))


def _in_scope(element: etree._Element) -> tuple[tuple[str, str], ...]:
    """The namespaces declared around an element, by prefix."""
    return tuple(sorted((prefix or "", uri) for prefix, uri in element.nsmap.items()))


def _kind(element: etree._Element) -> Kind:
    read = _Fields(element)
    name = _attribute(element, "name")
    kind_id = REGISTERED_NAMES[name] if name else int(_attribute(element, "id"))
    # "the data-model and access-control elements MUST match those in the Kind registration, and clients
    # MUST ignore them in favor of the IANA versions."
    registered = REGISTERED_KINDS.get(kind_id)
    return Kind(
        kind_id,
        registered.data_model if registered else DataModel(read.text("data-model", "")),
        registered.access_control if registered else AccessControl(read.text("access-control", "")),
        max_count=read.integer("max-count", 0),
        max_size=read.integer("max-size", 0),
        name=registered.name if registered else "",
        max_node_multiple=read.integer("max-node-multiple", registered.max_node_multiple if registered else 0),
        branching_factor=_branching_factor(element),
        extensions=_extensions(element),
    )
