"""What CHORD-RELOAD puts into the messages of a topology (RFC 6940 section 10.7, 10.8, 10.9)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.language.codec import Struct, Vector, When, structure
from p2psip.reload.wire.language.primitives import Uint32, WireEnum
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq, LeaveAns, LeaveReq, RouteQueryReq, UpdateAns

NEIGHBORS_HEARD_MAX = 128
"""As many of each list of an Update are looked at: no Finger Table has more entries."""


@frozen
class NeighborView:
    """What an Update says: the sender's neighbours, and its fingers if it is a full one."""

    predecessors: tuple[NodeId, ...] = ()
    successors: tuple[NodeId, ...] = ()
    fingers: tuple[NodeId, ...] = ()

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """All whom it names, each once."""
        return tuple(dict.fromkeys(self.successors + self.predecessors + self.fingers))


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

    @property
    def view(self) -> NeighborView | None:
        """What it says; None of a PEER_READY, which says no more than that."""
        if self.type is ChordUpdateType.PEER_READY:
            return None
        lists = (self.predecessors, self.successors, self.fingers)
        return NeighborView(*(nodes[:NEIGHBORS_HEARD_MAX] for nodes in lists))


@structure
class ChordRouteQueryAns(Struct):
    """Body of a RouteQuery answer in CHORD-RELOAD (section 10.8)."""

    next_peer: NodeId


BODIES: Mapping[MessageCode, type[Struct]] = MappingProxyType(
    {
        MessageCode.JOIN_REQ: JoinReq,
        MessageCode.JOIN_ANS: JoinAns,
        MessageCode.LEAVE_REQ: LeaveReq,
        MessageCode.LEAVE_ANS: LeaveAns,
        MessageCode.UPDATE_REQ: ChordUpdate,
        MessageCode.UPDATE_ANS: UpdateAns,
        MessageCode.ROUTE_QUERY_REQ: RouteQueryReq,
        MessageCode.ROUTE_QUERY_ANS: ChordRouteQueryAns,
    }
)
