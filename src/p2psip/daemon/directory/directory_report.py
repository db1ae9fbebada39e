"""What is told of the directory over the control socket."""

from __future__ import annotations

from collections.abc import Mapping

from p2psip.base.errors import LocalMisuse
from p2psip.coupling.peer import Peer
from p2psip.directory.listing import one_a_user
from p2psip.directory.text_formats import as_values

ADD = "kind+=0xF0D10001:DICTIONARY:USER-NODE-MATCH:16:400 kind+=0xF0D10002:SINGLE:NODE-MATCH:1:2048"
"""What `p2psip overlay set` is to be told where an overlay is older than the directory."""


def directory_report(peer: Peer, asked: Mapping[str, object], now: float) -> dict[str, object]:
    """The lines that a search is about, or all; and what has been refused of late. Raises LocalMisuse."""
    if not peer.directory.is_there:
        raise LocalMisuse(f"{peer.overlay} has no directory: `p2psip overlay set DIR {ADD}` adds it")
    everybody = peer.directory.entries(now)
    shown = everybody if asked.get("lines") else one_a_user(everybody)
    text = str(asked.get("search") or "")
    return {
        "overlay": peer.overlay,
        "connected": peer.node.is_connected,
        "entries": [as_values(entry) for entry in shown if entry.matches(text)],
        "refused": list(peer.node.spreading.refused),
    }
