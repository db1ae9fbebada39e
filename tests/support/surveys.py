"""What surveys may find."""

from __future__ import annotations

from dataclasses import replace

from p2psip.base.ids import NodeId
from p2psip.daemon.roles.role_choice import PUBLIC_MIN
from p2psip.reload.node.effects import ReachSurveyed
from p2psip.reload.paths.nat.reach import EndpointDependence, Reach

MEMBERS = tuple(NodeId(bytes([number] * 16)) for number in range(2))
ALL_KNOWN = Reach(
    1.0, helpers=3, mapping=EndpointDependence.ADDRESS_AND_PORT, filtering=EndpointDependence.ADDRESS_AND_PORT
)
CLOSED = ReachSurveyed(ALL_KNOWN, open_members=PUBLIC_MIN)
DIALABLE = ReachSurveyed(replace(ALL_KNOWN, reached_by=MEMBERS), open_members=PUBLIC_MIN)
UNSURE = ReachSurveyed(replace(ALL_KNOWN, reached_by=MEMBERS[:1]), open_members=PUBLIC_MIN)
NOBODY = ReachSurveyed(Reach(0.0))
