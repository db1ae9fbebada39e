"""GRUUs of an overlay (RFC 7904 section 6): a SIP URI that carries a destination list.

"GRUUs in RELOAD are constructed by embedding a base64-encoded destination list in the "gr" URI parameter of the GRUU.
The base64 encoding is done with the alphabet specified in Table 1 of [RFC4648] with the exception that "~" is used in
place of "="."
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from p2psip.base.ids import NodeId
from p2psip.reload.wire.header import CompressedDestination, Destination
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.sip.message.uri import SipUri, escape_user

Entry = Destination | CompressedDestination


def make_gruu(user: str, domain: str, destination_list: Sequence[Entry]) -> SipUri:
    """`sip:user@domain;gr=...`, which leads to the node at the end of the destination list."""
    packed = b"".join(entry.encode() for entry in destination_list)
    gr = base64.b64encode(packed).decode().replace("=", "~")
    return SipUri(host=domain, user=escape_user(user), params=(("gr", gr),))


def read_gruu(uri: SipUri, *, node_id_length: int = 16) -> tuple[Entry, ...] | None:
    """The destination list in a GRUU, with Node-IDs of so many bytes; None if the URI has none, or none that ends with
    a node.
    """
    gr = uri.param("gr")
    if not gr:
        return None
    try:
        entries = _read_entries(base64.b64decode(gr.replace("~", "="), validate=True), node_id_length)
    except (binascii.Error, ValueError, DecodeError):
        return None
    return entries if entries and last_node(entries) is not None else None


def peer_in(overlay: str, node_id_length: int, uri: SipUri) -> str | None:
    """The node at the end of a GRUU of the overlay, in hex; None if the URI is none."""
    entries = read_gruu(uri, node_id_length=node_id_length) if uri.host == overlay else None
    node = last_node(entries) if entries is not None else None
    return None if node is None else node.hex()


def last_node(destination_list: Sequence[Entry]) -> NodeId | None:
    """The node that a destination list ends with."""
    return destination_list[-1].node_id if destination_list else None


def _read_entries(packed: bytes, node_id_length: int) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    offset = 0
    while offset < len(packed):
        form = CompressedDestination if packed[offset] & 0x80 else Destination
        entry, offset = form.decode_prefix(packed, offset, node_id_length=node_id_length)
        entries.append(entry)
    return tuple(entries)


def peer_uri(name: str, overlay: str, node_id: NodeId) -> SipUri:
    """By which other peers find this one again: a GRUU (RFC 7904 section 6), for Record-Route."""
    return make_gruu(name, overlay, (Destination.node(node_id),))
