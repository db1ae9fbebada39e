"""The value of the REDIR Kind, and the tree that it is stored in (RFC 7374 section 3 and 4.1)."""

from __future__ import annotations

from typing import Annotated

from p2psip.reload.wire.header import DestinationEntry
from p2psip.reload.wire.language.codec import Prefixed, Select, Struct, Vector, structure
from p2psip.reload.wire.language.primitives import Opaque16, Uint8, Uint16, Uint32, Uint64, WireEnum

NODE_MAX = 0xFFFF
"""A tree node's position has 16 bits in the record: the tree has no levels with more nodes than that."""


class RedirServiceProviderExtType(WireEnum, width=1, is_open=True):
    """Types of extensions: "Unknown types are allowed"."""

    NONE = 0
    OFFER = 0xF0
    """Our own (docs/decisions/services-by-permission.md)."""


@structure
class ServiceOffer(Struct):
    """What a provider says of itself, in an extension that others may ignore.

    How many it can serve at once, how much of that is taken (in percent), until when it will be there (ms since 1970),
    and whom it serves, in words of the service.
    """

    capacity: Uint32
    load: Uint8
    expires_ms: Uint64
    policy: Opaque16


@structure
class RedirServiceProvider(Struct):
    """How to reach a provider of a service, in one node of the service's tree (section 4.1)."""

    type: RedirServiceProviderExtType
    destination_list: Annotated[tuple[DestinationEntry, ...], Vector(2)]
    namespace: Opaque16
    level: Uint16
    node: Uint16
    extension: Annotated[
        ServiceOffer | bytes, Prefixed(2, Select("type", {RedirServiceProviderExtType.OFFER: ServiceOffer}))
    ]


def tree_node_name(namespace: bytes, level: int, node: int) -> bytes:
    """The Resource Name of a tree node: "concatenating three pieces of information: namespace, level, and node number"
    (section 6), integers in network byte order (section 2) and as wide as they are in the record.
    """
    return namespace + level.to_bytes(2, "big") + node.to_bytes(2, "big")


class Tree:
    """The intervals of a tree with this branching factor (section 3)."""

    def __init__(self, branching_factor: int) -> None:
        self._branching_factor = branching_factor
        self.level_max = 0
        while branching_factor ** (self.level_max + 1) - 1 <= NODE_MAX:
            self.level_max += 1

    def has_level(self, level: int) -> bool:
        """True if there are numbers for all nodes of a level."""
        return 0 <= level <= self.level_max

    def node(self, level: int, identifier: bytes) -> int:
        """Which node of a level an identifier belongs to: of b^level nodes, each has an equal part of the ring."""
        return self._part(self._branching_factor**level, identifier)

    def interval(self, level: int, identifier: bytes) -> int:
        """I(level, identifier), counted from the first interval of the first node: each node has b of them."""
        return self._part(self._branching_factor ** (level + 1), identifier)

    def _part(self, parts: int, identifier: bytes) -> int:
        return int.from_bytes(identifier, "big") * parts >> 8 * len(identifier)
