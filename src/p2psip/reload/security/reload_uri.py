"""RELOAD URIs, as certificates carry Node-IDs (RFC 6940 section 14.15)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.primitives import DecodeError

if TYPE_CHECKING:
    from p2psip.reload.wire.storage_messages import StoredDataSpecifier

_DATA_URI = re.compile(r"reload://([0-9a-f]{2,512})@([a-z0-9.-]+)/([0-9a-f]{2,512})\Z", re.IGNORECASE)
_URI = re.compile(r"reload://([0-9a-f]+)@([a-z0-9.-]+)(?:/[0-9a-f]*)?\Z", re.IGNORECASE)


def node_uri(node_id: NodeId, overlay: str) -> str:
    """The URI of a node: "a Destination List with a single entry of type "node_id"" (11.3)."""
    return f"reload://{Destination.node(node_id).encode().hex()}@{overlay}/"


def data_uri(resource: ResourceId, specifier: StoredDataSpecifier, overlay: str) -> str:
    """The URI of values: "If a specifier is present, the URI addresses the data value."."""
    where = Destination.resource(resource).encode().hex()
    return f"reload://{where}@{overlay}/{specifier.encode().hex()}"


def parse_data_uri(uri: str) -> tuple[ResourceId, StoredDataSpecifier, str]:
    """Where values are, which, and the overlay's name; DecodeError if it is not the URI of values at one resource."""
    # Who reads certificates, as every command does that has to do with accounts, loads no messages.
    from p2psip.reload.wire.storage_messages import StoredDataSpecifier

    match = _DATA_URI.match(uri)
    if match is None:
        raise DecodeError(f"{uri[:80]!r} is not the RELOAD URI of values", 0)
    try:
        resource = Destination.decode(bytes.fromhex(match[1])).resource_id
        specifier = StoredDataSpecifier.decode(bytes.fromhex(match[3]))
    except (DecodeError, ValueError) as error:
        raise DecodeError(f"{uri[:80]!r}: {error}", 0) from None
    if resource is None:
        raise DecodeError(f"{uri[:80]!r} is not the URI of values at one resource", 0)
    return resource, specifier, match[2]


def parse_node_uri(uri: str, node_id_length: int) -> tuple[NodeId, str]:
    """The Node-ID and the overlay's name in a URI; ValueError if it is not the URI of one node.

    The bare Node-ID in place of a destination list is what some implementations write.
    """
    match = _URI.match(uri)
    if match is None:
        raise ValueError(f"{uri[:80]!r} is not a RELOAD URI")
    destination = bytes.fromhex(match[1])
    if len(destination) == node_id_length:
        return NodeId(destination), match[2]
    try:
        node_id = Destination.decode(destination, node_id_length=node_id_length).node_id
    except DecodeError as error:
        raise ValueError(f"{uri[:80]!r}: {error}") from None
    if node_id is None:
        raise ValueError(f"{uri[:80]!r} is not the URI of one node")
    return node_id, match[2]
