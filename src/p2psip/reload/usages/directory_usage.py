"""The directory, on the overlay's side: who writes what, and for how long it counts (docs/decisions/directory.md).

An entry is signed with the key of its line and belongs to H(user), under the line's Node-ID, as its registration does;
what a peer says of its phones is signed by the peer and belongs to H(Node-ID). Every peer has all.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.security.roles import Identity, Signer
from p2psip.reload.storage.access import Hash, WantedWrite
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.wire.kinds import DIRECTORY_ENTRY, LINES_REACHED
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.storage_messages import DataValue, DictionaryEntry, StoredData
from p2psip.reload.wire.usages.directory_values import DirectoryEntry, LinesReached

ENTRY_LIFETIME_S = 14 * 24 * 3600
"""A line that nobody serves any more is in the directory for two weeks at the most."""

ENTRY_REFRESH_S = ENTRY_LIFETIME_S // 2

REACHED_LIFETIME_S = 1800
REACHED_REFRESH_S = 800
"""What a peer says of its phones is said anew well before half of the time for which it is believed is over."""

LIFETIMES_S: Mapping[int, int] = MappingProxyType(
    {DIRECTORY_ENTRY: ENTRY_LIFETIME_S, LINES_REACHED: REACHED_LIFETIME_S}
)
"""The Kinds that every peer has all values of, and for how long these count from when they were signed."""

TEXT_MAX = 64
"""Characters in each word of an entry."""


class SpreadRule:
    """What is a value of one of these Kinds (a UsageRule)."""

    def __init__(self, kind: int) -> None:
        self._kind = kind

    def permits(self, write: WantedWrite, signer: Signer) -> bool:
        """True for what can be read and shown; anybody may take his word back."""
        if not write.value.exists:
            return True
        try:
            if self._kind == LINES_REACHED:
                LinesReached.decode(write.value.value)
            else:
                read_entry(write.value.value, len(signer.node_id))
        except DecodeError:
            return False
        return True

    def ends_ms(self, stored: StoredData, signer: Signer) -> int:
        """When it is over, by when it was signed."""
        return stored.storage_time + 1000 * LIFETIMES_S[self._kind]


def read_entry(data: bytes, node_id_length: int) -> DirectoryEntry:
    """An entry whose words can be shown. Raises DecodeError."""
    entry = DirectoryEntry.decode(data, node_id_length=node_id_length)
    for word in (entry.name, entry.number, entry.site, entry.callsign):
        try:
            text = word.decode()
        except UnicodeDecodeError:
            raise DecodeError("a word of a directory entry is not UTF-8", 0) from None
        if not text.isprintable() or len(text) > TEXT_MAX:
            raise DecodeError("a word of a directory entry cannot be shown", 0)
    return entry


def sign_entry(
    line: Identity, entry: DirectoryEntry | None, storage_time_ms: int, hash_name: Hash
) -> tuple[ResourceId, StoredData]:
    """What a line says of itself, or with None that it says nothing any more; and where that belongs."""
    resource = hash_name(line.user.encode())
    value = DataValue.nonexistent() if entry is None else DataValue(exists=True, value=entry.encode())
    keyed = DictionaryEntry(bytes(line.node_id), value)
    return resource, sign_value(line, resource, DIRECTORY_ENTRY, keyed, storage_time_ms, ENTRY_LIFETIME_S)


def sign_reached(
    peer: Identity, lines: tuple[NodeId, ...], storage_time_ms: int, hash_name: Hash
) -> tuple[ResourceId, StoredData]:
    """At which of its lines a peer has phones; and where that belongs."""
    resource = hash_name(peer.node_id)
    marks = tuple(sorted({mark_of(line) for line in lines}))
    value = DataValue(exists=True, value=LinesReached(marks).encode())
    return resource, sign_value(peer, resource, LINES_REACHED, value, storage_time_ms, REACHED_LIFETIME_S)


def mark_of(line: NodeId) -> int:
    """A line, in what its peer says."""
    return int.from_bytes(line[:4], "big")
