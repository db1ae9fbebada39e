"""What the topology of a node wants done, done by the parts that it concerns (RFC 6940 section 1.2)."""

from __future__ import annotations

from p2psip.reload.node.connecting.coming_in.roles_played import RolesPlayed
from p2psip.reload.node.connecting.link_changes import LinkChanges
from p2psip.reload.node.data.moving import Moving
from p2psip.reload.node.effects import RingChanged
from p2psip.reload.node.parts import ConnectingRoom, Ground
from p2psip.reload.topology.actions import (
    Action,
    AskNode,
    Connect,
    Detach,
    DialPeer,
    FindPeer,
    Forget,
    HandOver,
    Joined,
    JoinFailed,
    LetIn,
    NeighborsChanged,
    ProbePartition,
    Replicate,
    SeekBootstrap,
    Tell,
)


class Performing:
    """Carries out the actions of one node's topology."""

    def __init__(
        self, ground: Ground, connecting: ConnectingRoom, moving: Moving, links: LinkChanges, roles: RolesPlayed
    ) -> None:
        self._exchange, self._upkeep, self._topology = ground.exchange, ground.upkeep, ground.topology
        self._connections = ground.connections
        self._intents, self._bootstrap = connecting.intents, connecting.bootstrap
        self._moving = moving
        self._links = links
        self._roles = roles

    def perform(self, action: Action, now: float) -> None:
        """Do it."""
        match action:
            case Connect():
                self._intents.connect(action, now)
            case Tell():
                self._upkeep.tell(action, now)
            case AskNode():
                self._upkeep.ask(action, now)
            case FindPeer():
                self._upkeep.find(action, now)
            case Detach(node):
                for connection in self._connections.to(node):
                    self._bootstrap.let_go(connection)
                    self._links.events(self._connections.close(connection.number, "no longer of use"), now)
            case DialPeer(node):
                self._bootstrap.dial_peer(node, now)
            case HandOver(node, low, high, is_admission):
                if is_admission and node is not None:
                    self._roles.admitting(node, self._links.name_of(node), now)
                self._moving.hand_over(node, low, high, now, is_admission=is_admission)
            case Replicate(node, number, low, high):
                self._moving.replicate(node, number, low, high, now)
            case Forget(low, high):
                self._moving.forget(low, high, now)
            case SeekBootstrap():
                self._bootstrap.seek(now, is_probe=False)
            case ProbePartition():
                self._bootstrap.seek(now, is_probe=True)
            case JoinFailed(reason, has_found_overlay):
                self._bootstrap.join_failed(reason, now, has_found_overlay=has_found_overlay)
            case LetIn(node):
                self._roles.admitted(node, self._links.name_of(node), now)
            case Joined(gateway, admitted_by):
                way_in = None if gateway is None else (gateway, self._links.name_of(gateway))
                self._roles.joined(way_in, [(node, self._links.name_of(node)) for node in admitted_by], now)
                self._bootstrap.admitted()
                self._ring_changed(now)
            case NeighborsChanged():
                self._ring_changed(now)

    def _ring_changed(self, now: float) -> None:
        self._exchange.emit(RingChanged(self._topology.is_connected))
        self._bootstrap.ring_changed(now)
