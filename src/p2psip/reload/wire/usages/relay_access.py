"""How a member asks another for the use of its relay: a private message of the name "relay".

The password is for who asks alone: the answer goes through other peers. It is sealed to a key that is made for the one
question, and the whole answer is signed by the relay's node, as every answer is.
"""

from __future__ import annotations

from typing import Annotated

from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.language.codec import Struct, Vector, structure
from p2psip.reload.wire.language.primitives import Opaque8, Opaque16, Uint32

RELAY_ACCESS = b"relay"


@structure
class RelayAccessReq(Struct):
    """May I use your relay? `key` is a public key of X25519 (RFC 7748)."""

    key: Opaque8


@structure
class RelayAccessAns(Struct):
    """Where it is reached over UDP, the user name, its lifetime in seconds, and the password, sealed."""

    servers: Annotated[tuple[IpAddressPort, ...], Vector(2)]
    username: Opaque16
    lifetime: Uint32
    key: Opaque8
    sealed: Opaque8
