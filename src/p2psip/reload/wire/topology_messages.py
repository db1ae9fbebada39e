"""What is common to the messages of all topology plug-ins (RFC 6940 section 6.4.2); the rest is each one's own."""

from __future__ import annotations

from p2psip.base.ids import NodeId
from p2psip.reload.wire.header import DestinationEntry
from p2psip.reload.wire.language.codec import Struct, structure
from p2psip.reload.wire.language.primitives import Boolean, Opaque16


@structure
class JoinReq(Struct):
    """Body of a Join request (section 6.4.2.1)."""

    joining_peer_id: NodeId
    overlay_specific_data: Opaque16 = b""


@structure
class JoinAns(Struct):
    """Body of a Join answer (section 6.4.2.1)."""

    overlay_specific_data: Opaque16 = b""


@structure
class LeaveReq(Struct):
    """Body of a Leave request (section 6.4.2.2)."""

    leaving_peer_id: NodeId
    overlay_specific_data: Opaque16


@structure
class LeaveAns(Struct):
    """Body of a Leave answer: "LeaveAns is an empty message" (section 6.4.2.2)."""


@structure
class UpdateAns(Struct):
    """Body of an Update answer: "either success or an error" (section 6.4.2.3)."""


@structure
class RouteQueryReq(Struct):
    """Body of a RouteQuery request (section 6.4.2.4.1)."""

    send_update: Boolean
    destination: DestinationEntry
    overlay_specific_data: Opaque16 = b""
