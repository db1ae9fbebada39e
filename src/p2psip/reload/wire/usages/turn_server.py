"""The value of the TURN-SERVICE Kind (RFC 6940 section 9)."""

from __future__ import annotations

from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.language.codec import Struct, structure
from p2psip.reload.wire.language.primitives import Uint8


@structure
class TurnServer(Struct):
    """Where a peer offers TURN; `iteration` is the d that its Resource Name was formed with."""

    iteration: Uint8
    server_address: IpAddressPort
