"""How a client lends storage to its peer: a private message of the name "lend" (docs/decisions/lending.md).

It goes over the link between the two. What the peer places there, and reads again, are Stores and Fetches as any others
(RFC 6940 section 7.4), sent to the client's Node-ID.
"""

from __future__ import annotations

from typing import Final

from p2psip.reload.wire.language.codec import Struct, structure
from p2psip.reload.wire.language.primitives import Boolean, Uint32, Uint64

LEND: Final = b"lend"


@structure
class LendReq(Struct):
    """I keep up to `room` bytes of values for you; hold me to it for `lifetime` seconds, unless I say it again."""

    room: Uint64
    lifetime: Uint32


@structure
class LendAns(Struct):
    """For how many seconds I do; and whether I want back what you have, as I have nothing of the sort."""

    lifetime: Uint32
    wants_back: Boolean
