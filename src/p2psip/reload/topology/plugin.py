"""What a node asks of its topology (the Topology Plug-in of RFC 6940 section 1.2.3 and 6.4.1).

A `TopologyPlugin` is what an entry point of the group `p2psip.topologies` names: how an overlay hashes, what its
messages are, and how a node of it is made. A `Topology` is that of one node, peer or client. What it wants done it
returns as values (`actions.py`); the node does them. How to write one: docs/topologies.md.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Hashable, Mapping
from typing import Protocol

from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, TimerQueue
from p2psip.reload.config.configuration import OverlayConfiguration, obstacles
from p2psip.reload.link.link import LinkLost
from p2psip.reload.topology.actions import Action
from p2psip.reload.transport.outcome import Outcome
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.language.codec import Struct


class Topology(Protocol):
    """The topology of one node. What it wants done is in `drain()`."""

    node_id: NodeId

    # What others ask

    @property
    def is_serving(self) -> bool:
        """True if we are a peer, a member of the overlay or the only one of it: we route and keep values for others."""

    @property
    def is_connected(self) -> bool:
        """True if the overlay can be reached."""

    @property
    def routes(self) -> Collection[NodeId]:
        """The peers that we route through, each of which we are linked with: the Routing Table."""

    @property
    def neighbors(self) -> tuple[NodeId, ...]:
        """Those of them that we watch, the nearest first: when one is lost, it is looked for."""

    @property
    def responsible_ppb(self) -> int:
        """6.4.2.5.2: "the fraction of the overlay for which the peer is responsible, in parts per billion"."""

    def facts(self) -> dict[str, object]:
        """What an operator is shown of our place: `state` in words, and whatever else is worth it, as JSON has it."""

    def is_responsible(self, target: bytes) -> bool:
        """True if a message for this identifier ends here."""

    def next_hop(self, target: bytes, chosen_by: NodeId | None = None, without: NodeId | None = None) -> NodeId | None:
        """Which of the nodes that we are linked with gets a message for `target`, which is not ours; None without one.

        It must come nearer with each hop, whoever has been asked before, and come to an end where two do not know the
        same peers: `chosen_by` is who has sent it to us by this method of its own. `without` is linked with us, and has
        not taken it for a while: is there another way?
        """

    def next_peer(self, target: bytes) -> NodeId:
        """Where a message for `target` goes from here: a node linked with us, ourselves if it ends here or is stuck."""

    def is_misrouted(self, sender: NodeId, target: bytes) -> bool:
        """True if `sender` disobeyed the routing rules when it sent us a message for `target` (RFC 7851 6.2)."""

    def is_close_enough(self, node: NodeId, resource: bytes) -> bool:
        """6.3.4: whether `node` may answer for a Resource-ID."""

    def replicas_for(self, resource: bytes) -> tuple[NodeId, ...]:
        """Who gets a copy of a value stored at `resource`, which is ours; the first replica first."""

    def admitting_for(self, resource: bytes) -> list[NodeId]:
        """The joining nodes that must also get a value stored at `resource`."""

    def may_hold(self, node: NodeId, resource: bytes) -> bool:
        """7.4.1.1: whether values of a resource may come to us from `node`: it is "a plausible node"."""

    def is_from_responsible(self, sender: NodeId, resource: bytes) -> bool:
        """False if a value that `sender` passed on to us ought to go further."""

    def place_of_copy(self, resource: bytes, holder: NodeId, number: int) -> ResourceId | None:
        """Where to ask for copy `number` of what is at `resource`, where `holder` has the one before it, or is
        responsible; None for no more.
        """

    # Actions and time

    def drain(self, now: float) -> list[Action]:
        """What is to be done since the last call, in order."""

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""

    def use_configuration(self, configuration: OverlayConfiguration, now: float) -> None:
        """The overlay has a new configuration, with the same topology."""

    # Beginning and end

    def start_alone(self, now: float) -> None:
        """Be the first peer of an overlay."""

    def start_joining(self, now: float) -> None:
        """Look for the overlay; over and over, until it is found, and again when it is lost."""

    def hurry(self, now: float) -> None:
        """Answers to us may have gone to another: try again at once."""

    def handle_gateway(self, gateway: NodeId, now: float) -> None:
        """We are linked with a node of the overlay, through which we can look for our place."""

    @property
    def is_leaving(self) -> bool:
        """True from when it is told to leave."""

    def leave(self, now: float) -> None:
        """Tell those whom we are linked with that we go (6.4.2.2), and hand over what we are responsible for."""

    # Links

    def handle_linked(
        self,
        node: NodeId,
        now: float,
        *,
        wants_full: bool = False,
        is_stranger: bool = False,
        is_gateway: bool = False,
    ) -> None:
        """A link to `node` is up, whoever asked for it.

        `wants_full` says that its Attach had send_update (6.5.1.1). Without an Attach it came as a stranger, who looks
        for its place through us and is no member, whatever we knew of it; or we dialled it as a gateway.
        """

    def handle_probe_linked(self, node: NodeId, now: float) -> None:
        """We dialled `node` to look for another part of the overlay (10.7.4.4)."""

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """The link to a node failed."""

    def handle_answered(self, key: Hashable, node: NodeId, now: float) -> None:
        """The Attach of a `Connect` was answered by `node`; the link to it follows, if it is not there."""

    def handle_unanswered(self, key: Hashable, reason: str, now: float) -> None:
        """Nobody answered the Attach of a `Connect` to a place."""

    def handle_unreachable(self, node: NodeId, now: float) -> None:
        """A node that we were to be linked with could not be reached, or could not reach us."""

    def handle_found(self, node: NodeId, via: NodeId | None, now: float) -> None:
        """The Ping of a `FindPeer` was answered by `node`."""

    def handle_not_found(self, via: NodeId | None, reason: str, now: float) -> None:
        """Nobody answered the Ping of a `FindPeer`, or with an error alone."""

    def handle_router(self, node: NodeId, now: float) -> None:
        """A node that we are linked with, and that is no peer, passes messages on, as long as the link is there."""

    # Messages

    def handle(self, request: Received, now: float) -> Struct:
        """Join, Leave, Update or RouteQuery: returns the body of the answer, or raises a Rejection.

        Who joins, leaves or updates has signed it and is at the other end of the link by which it came (6.4.2).
        """

    def handle_outcome(self, context: object, outcome: Outcome, now: float) -> None:
        """The request of a `Tell` or an `AskNode` is over."""

    # Values

    def handle_handed_over(self, node: NodeId, now: float) -> None:
        """The joining node has all that becomes its own (`HandOver` with `is_admission`)."""

    def handle_admission_failed(self, node: NodeId) -> None:
        """What becomes its own did not reach the joining node."""

    def handle_value_received(self, sender: NodeId, now: float) -> None:
        """A peer has passed a value on to us."""

    def handle_copy_failed(self, node: NodeId, now: float) -> None:
        """A value that should be at `node` as well did not reach it."""


class TopologyPlugin(Protocol):
    """A topology, for all nodes of all its overlays: it has no state."""

    @property
    def name(self) -> str:
        """As the element topology-plugin of a configuration has it (11.1)."""

    @property
    def bodies(self) -> Mapping[MessageCode, type[Struct]]:
        """The bodies of its messages (6.4.2): Join, Leave, Update, RouteQuery and their answers, request or answer.

        JoinReq, LeaveReq and RouteQueryReq are `wire/topology_messages.py`'s, with what it likes inside.
        """

    def hash_name(self, name: bytes) -> ResourceId:
        """The Resource-ID of a Resource Name."""

    def distance(self, target: bytes, node: NodeId) -> int:
        """How far `node` is from `target`: of all peers, the one with the least is responsible for it."""

    def next_peer_in(self, answer: Struct) -> NodeId:
        """Which peer the answer to a RouteQuery names (6.4.2.4): "the next peer to which it would have routed"."""

    def peers_in(self, update: Struct, place: bytes) -> tuple[NodeId, ...] | None:
        """Whom an Update names; None if it is one that says nothing of who is around `place`."""

    def obstacles(self, configuration: OverlayConfiguration) -> list[str]:
        """Why this topology cannot be that of such an overlay, in words; empty if it can."""

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
        """That of a peer, or of a client (`client_topology.py` has one for any), which may be a router. Its deadlines
        are scopes of `queue`. Raises LocalMisuse where nothing would go by a router.
        """


def obstacles_to(configuration: OverlayConfiguration, plugin: TopologyPlugin) -> list[str]:
    """Why a node with this topology cannot be a member of the overlay, in words; empty if it can."""
    if configuration.topology_plugin != plugin.name:
        return [f"topology plug-in {configuration.topology_plugin}", *obstacles(configuration)]
    return [*plugin.obstacles(configuration), *obstacles(configuration)]
