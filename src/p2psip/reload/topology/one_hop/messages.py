"""What one-hop puts into the messages of a topology (RFC 6940 section 6.4.2).

Join, Leave and their answers are the RFC's with nothing of our own inside. All of these are private to overlays whose
configuration names this topology.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from p2psip.base.ids import NodeId
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.language.codec import Struct, Vector, When, structure
from p2psip.reload.wire.language.primitives import Boolean, Opaque8, Uint32, WireEnum
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq, LeaveAns, LeaveReq, RouteQueryReq, UpdateAns

NAMES_MAX = 128
"""Node-IDs in one Update: with the shortest permitted max-message-size of everyday use, 5000 bytes, there is room."""


class UpdateType(WireEnum, width=1):
    """What an Update says."""

    NEWS = 1
    """Who has come and who has gone, as the sender has made sure itself; with neither, that the sender is here."""

    SYNC = 2
    """Whoever sees others than the sender, by the digest, is to say whom."""

    PAGE = 3
    """All members between two places of the circle."""


_PAGE = When("type", UpdateType.PAGE)
_NEWS = When("type", UpdateType.NEWS)


@structure
class OneHopUpdate(Struct):
    """Body of an Update request. Whoever sends one is a member.

    `uptime` is in seconds; `digest` is the same for two peers that know the same members.
    """

    uptime: Uint32
    digest: Opaque8
    type: UpdateType
    came: Annotated[tuple[NodeId, ...], Vector(2), _NEWS] = ()
    gone: Annotated[tuple[NodeId, ...], Vector(2), _NEWS] = ()
    members: Annotated[tuple[NodeId, ...], Vector(2), _PAGE] = ()
    next: Annotated[tuple[NodeId, ...], Vector(2), _PAGE] = ()
    """Where the next page begins: from the first of `members` up to there the sender knows no others."""


@structure
class OneHopQuery(Struct):
    """What the sender of a RouteQuery says of itself: who asks tells."""

    is_member: Boolean


class Standing(WireEnum, width=1):
    """What the sender of a RouteQuery answer knows of the destination itself."""

    MEMBER = 1
    """The sender is linked with it, or is it."""

    GONE = 2
    """It was a member until lately, or the sender has lost sight of it."""

    UNKNOWN = 3
    """The sender has not seen it, or knows it as one that it is not linked with."""


@structure
class OneHopRouteQueryAns(Struct):
    """Body of a RouteQuery answer: where a message for the destination would go next from here, and what it is."""

    next_peer: NodeId
    standing: Standing


BODIES: Mapping[MessageCode, type[Struct]] = MappingProxyType(
    {
        MessageCode.JOIN_REQ: JoinReq,
        MessageCode.JOIN_ANS: JoinAns,
        MessageCode.LEAVE_REQ: LeaveReq,
        MessageCode.LEAVE_ANS: LeaveAns,
        MessageCode.UPDATE_REQ: OneHopUpdate,
        MessageCode.UPDATE_ANS: UpdateAns,
        MessageCode.ROUTE_QUERY_REQ: RouteQueryReq,
        MessageCode.ROUTE_QUERY_ANS: OneHopRouteQueryAns,
    }
)
