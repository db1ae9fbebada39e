"""What Chord wants said to others; `ChordTopology` puts it into messages."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.reload.topology.actions import Action


@dataclass(frozen=True, slots=True)
class AskForUpdate(Action):
    """Ask `node`, which we are linked with, to send its Update (RouteQuery with send_update, section 6.4.2.4)."""

    node: NodeId


@frozen
class SendUpdate(Action):
    """Tell `node` our view of the ring; with `is_full`, the fingers too (section 10.7)."""

    node: NodeId
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class SendJoin(Action):
    """Ask `node`, the Admitting Peer, to let us in (section 10.5 step 5)."""

    node: NodeId
