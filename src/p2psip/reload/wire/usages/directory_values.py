"""The values of the two Kinds of the directory (docs/decisions/directory.md)."""

from __future__ import annotations

from typing import Annotated

from p2psip.base.ids import NodeId
from p2psip.reload.wire.language.codec import Struct, Vector, structure
from p2psip.reload.wire.language.primitives import Opaque8, Uint32


@structure
class DirectoryEntry(Struct):
    """What a line says of itself, in UTF-8, and at which peer it is."""

    name: Opaque8
    number: Opaque8
    site: Opaque8
    callsign: Opaque8
    peer: NodeId


@structure
class LinesReached(Struct):
    """At which lines of a peer there are phones now: the first 32 bits of each line's Node-ID."""

    lines: Annotated[tuple[Uint32, ...], Vector(2)]
