"""one-hop as a topology plug-in: what is true of it in every overlay and node."""

from __future__ import annotations

import random
from collections.abc import Mapping

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import TimerQueue
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.topology.client_topology import ClientTopology
from p2psip.reload.topology.one_hop.circle import distance, hash_name, is_within
from p2psip.reload.topology.one_hop.messages import BODIES, OneHopRouteQueryAns, OneHopUpdate
from p2psip.reload.topology.one_hop.topology import OneHop
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.language.codec import Struct

CLIENT_LOOKS_S = 60.0
"""How often a client asks who is responsible for its Node-ID."""


class OneHopPlugin:
    """Every peer knows every peer."""

    @property
    def name(self) -> str:
        """As a configuration has it."""
        return "one-hop"

    @property
    def bodies(self) -> Mapping[MessageCode, type[Struct]]:
        """The bodies of its messages."""
        return BODIES

    def hash_name(self, name: bytes) -> ResourceId:
        """SHA-256."""
        return hash_name(name)

    def distance(self, target: bytes, node: NodeId) -> int:
        """The shorter way round."""
        return distance(target, node)

    def next_peer_in(self, answer: Struct) -> NodeId:
        """Whom a RouteQuery answer names."""
        assert isinstance(answer, OneHopRouteQueryAns), "the transport lets no other answer through"
        return answer.next_peer

    def peers_in(self, update: Struct, place: bytes) -> tuple[NodeId, ...] | None:
        """Whom the page names that `place` is on."""
        assert isinstance(update, OneHopUpdate), "the transport lets no other Update through"
        if not update.members or len(update.next) != 1:
            return None
        return update.members if is_within(place, update.members[0], update.next[0]) else None

    def obstacles(self, configuration: OverlayConfiguration) -> list[str]:
        """None: Node-IDs may have any length that RELOAD permits."""
        return []

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
        """That of a peer, or of a client. Raises LocalMisuse for a router."""
        if is_router:
            raise LocalMisuse(
                "with the topology one-hop every peer knows every other, and nothing would go by a router"
            )
        if is_client:
            return ClientTopology(node_id, self, configuration, lambda _: CLIENT_LOOKS_S, rng, queue)
        return OneHop(node_id, rng, now, queue)


PLUGIN = OneHopPlugin()
