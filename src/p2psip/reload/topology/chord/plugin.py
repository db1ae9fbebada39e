"""CHORD-RELOAD as a topology plug-in (RFC 6940 section 10): what is true of it in every overlay and node."""

from __future__ import annotations

import random
from collections.abc import Mapping

from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import TimerQueue
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.topology.chord.messages import (
    BODIES,
    ChordLeaveData,
    ChordLeaveType,
    ChordRouteQueryAns,
    ChordUpdate,
)
from p2psip.reload.topology.chord.ring import ID_BYTES, distance, hash_name
from p2psip.reload.topology.chord.settings import ChordSettings
from p2psip.reload.topology.chord.topology import ChordTopology
from p2psip.reload.topology.client_topology import ClientTopology
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.language.codec import Struct


class ChordPlugin:
    """The topology that every implementation of RELOAD has (10: "MUST be implemented")."""

    @property
    def name(self) -> str:
        """As a configuration has it."""
        return "CHORD-RELOAD"

    @property
    def bodies(self) -> Mapping[MessageCode, type[Struct]]:
        """The bodies of its messages."""
        return BODIES

    def hash_name(self, name: bytes) -> ResourceId:
        """10.2: SHA-1, of which the first 128 bits count."""
        return hash_name(name)

    def distance(self, target: bytes, node: NodeId) -> int:
        """10.1: the first peer at or beyond an identifier is responsible for it."""
        return distance(target, node)

    def next_peer_in(self, answer: Struct) -> NodeId:
        """10.8."""
        assert isinstance(answer, ChordRouteQueryAns), "the transport lets no other answer through"
        return answer.next_peer

    def peers_in(self, update: Struct, place: bytes) -> tuple[NodeId, ...] | None:
        """10.7: its neighbours, and its fingers."""
        assert isinstance(update, ChordUpdate), "the transport lets no other Update through"
        return None if update.view is None else update.view.nodes

    def obstacles(self, configuration: OverlayConfiguration) -> list[str]:
        """10.2: Node-IDs have 128 bits."""
        length = configuration.node_id_length
        return [] if length == ID_BYTES else [f"Node-IDs of {length} bytes"]

    def topology(
        self,
        node_id: NodeId,
        configuration: OverlayConfiguration,
        rng: random.Random,
        now: float,
        *,
        is_client: bool,
        queue: TimerQueue,
        is_router: bool = False,
    ) -> Topology:
        """That of a peer, or of a client."""
        if is_client:
            nobody = ChordLeaveData(ChordLeaveType.FROM_PRED).encode()
            return ClientTopology(
                node_id, self, configuration, _update_interval_s, rng, queue, leave_data=nobody, is_router=is_router
            )
        return ChordTopology(node_id, ChordSettings.of(configuration), rng, now, queue)


def _update_interval_s(configuration: OverlayConfiguration) -> float:
    return ChordSettings.of(configuration).update_interval_s


PLUGIN = ChordPlugin()
