"""How a line registers with its home peer: a private message of the name "home" (docs/decisions/ways-of-calls.md).

The message is signed by the line, as its record is: so a home peer needs neither a password nor a key of its user.
"""

from __future__ import annotations

from p2psip.base.ids import NodeId
from p2psip.reload.wire.language.codec import Struct, structure
from p2psip.reload.wire.language.primitives import Uint32, Uint64

HOME = b"home"


@structure
class HomeReq(Struct):
    """The phones of my line are at `peer`, for `lifetime` seconds; 0: no more.

    `storage_time`, in milliseconds, is greater than in whatever the line has signed before.
    """

    storage_time: Uint64
    lifetime: Uint32
    peer: NodeId


@structure
class HomeAns(Struct):
    """For how many seconds that holds."""

    lifetime: Uint32
