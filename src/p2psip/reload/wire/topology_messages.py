"""Messages of topology plug-ins (RFC 6940 section 6.4.2), and what CHORD-RELOAD puts into them (section 10)."""

from __future__ import annotations

from typing import Annotated

from p2psip.base.ids import NodeId
from p2psip.reload.wire.header import DestinationEntry
from p2psip.reload.wire.language.codec import Struct, Vector, When, structure
from p2psip.reload.wire.language.primitives import Boolean, Opaque16, Uint32, WireEnum


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
    """Body of a Leave request (section 6.4.2.2); CHORD-RELOAD puts ChordLeaveData into it."""

    leaving_peer_id: NodeId
    overlay_specific_data: Opaque16


@structure
class LeaveAns(Struct):
    """Body of a Leave answer: "LeaveAns is an empty message" (section 6.4.2.2)."""


class ChordLeaveType(WireEnum, width=1):
    """Types of ChordLeaveData."""

    FROM_SUCC = 1
    FROM_PRED = 2


@structure
class ChordLeaveData(Struct):
    """What a peer that leaves tells its neighbors (section 10.9)."""

    type: ChordLeaveType
    successors: Annotated[tuple[NodeId, ...], Vector(2), When("type", ChordLeaveType.FROM_SUCC)] = ()
    predecessors: Annotated[tuple[NodeId, ...], Vector(2), When("type", ChordLeaveType.FROM_PRED)] = ()


class ChordUpdateType(WireEnum, width=1):
    """Types of ChordUpdate."""

    PEER_READY = 1
    NEIGHBORS = 2
    FULL = 3


_WITH_NEIGHBORS = When("type", ChordUpdateType.NEIGHBORS, ChordUpdateType.FULL)


@structure
class ChordUpdate(Struct):
    """Body of an Update request in CHORD-RELOAD (section 10.7); `uptime` is in seconds."""

    uptime: Uint32
    type: ChordUpdateType
    predecessors: Annotated[tuple[NodeId, ...], Vector(2), _WITH_NEIGHBORS] = ()
    successors: Annotated[tuple[NodeId, ...], Vector(2), _WITH_NEIGHBORS] = ()
    fingers: Annotated[tuple[NodeId, ...], Vector(2), When("type", ChordUpdateType.FULL)] = ()


@structure
class UpdateAns(Struct):
    """Body of an Update answer: "either success or an error" (section 6.4.2.3)."""


@structure
class RouteQueryReq(Struct):
    """Body of a RouteQuery request (section 6.4.2.4.1)."""

    send_update: Boolean
    destination: DestinationEntry
    overlay_specific_data: Opaque16 = b""


@structure
class ChordRouteQueryAns(Struct):
    """Body of a RouteQuery answer in CHORD-RELOAD (section 10.8)."""

    next_peer: NodeId
