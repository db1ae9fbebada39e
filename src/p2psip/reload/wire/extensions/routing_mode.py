"""Where a response is to go, other than back by the way of its request (RFC 7263, RFC 7264)."""

from __future__ import annotations

from typing import Annotated

from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.header import DestinationEntry
from p2psip.reload.wire.language.codec import Struct, Vector, structure
from p2psip.reload.wire.language.primitives import WireEnum
from p2psip.reload.wire.link_messages import OverlayLinkType


class RouteMode(WireEnum, width=1, is_open=True):
    """Ways of responses (RFC 7263 section 5.2.2, RFC 7264 section 5.2.1)."""

    DRR = 1, "DRR"
    RPR = 2, "RPR"


@structure
class ExtensiveRoutingModeOption(Struct):
    """The forwarding option extensive_routing_mode: to which address a response is sent, and over what, and the
    destination list that it gets there.
    """

    routemode: RouteMode
    transport: OverlayLinkType
    ipaddressport: IpAddressPort
    destinations: Annotated[tuple[DestinationEntry, ...], Vector(1, least=1)]
