"""The topology of a client of any overlay: a node that keeps nothing and routes for nobody (RFC 6940 section 4.2), or
that keeps nothing and routes, as a router.

Theory of operation. A client dials a bootstrap node as a joining node does, and can use that link at once: requests
leave by it, and who knows the way reaches the client by a destination list [peer, client] (4.2.1, second way). Through
it the client attaches to the peer that is responsible for its own Node-ID (4.2.1, first way), its home: whoever sends
to that Node-ID comes out there, where the link is. From the home's Updates it learns who else is near, and keeps
links with the nearest too: one of them is responsible when the home dies, or was let in as a new peer before it. The
bootstrap node is then let go.

    OUTSIDE --a node of the overlay linked--> SEEKING   Attach toward our Node-ID plus 1
    SEEKING --answered--> MEMBER   the link follows; where the home cannot reach us, we dial it
    MEMBER  --the last link lost--> OUTSIDE

Nothing is routed through a node that has not sent an Update (6.5.1), the bootstrap node excepted.

A router is "a peer with bad memory" (draft-ietf-p2psip-concepts-01 section 5.5; docs/decisions/bad-memory.md). It is
linked with peers far away as well, and tells each that it passes messages on; it never says Join or Update, so it is in
no Routing Table, responsible for nothing, and in nobody's replica set.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Hashable

from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.link.link import LinkLost
from p2psip.reload.topology.actions import (
    Action,
    Connect,
    Detach,
    DialPeer,
    FindPeer,
    Forget,
    Joined,
    JoinFailed,
    NeighborsChanged,
    SeekBootstrap,
    Tell,
)
from p2psip.reload.topology.joining import Joining, JoinState, place_of
from p2psip.reload.topology.plugin import TopologyPlugin
from p2psip.reload.transport.outcome import Outcome
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.private_messages import ROUTER, PrivateReq
from p2psip.reload.wire.rejections import Forbidden
from p2psip.reload.wire.topology_messages import LeaveAns, LeaveReq, RouteQueryReq, UpdateAns

HOME = "our home"
"""The key of the intent to be linked with it."""

PEERS_WANTED = 3
"""The home, and who would be responsible after it."""

FAR_WANTED = 16
"""Peers anywhere, which a router is linked with as well: as many as a Finger Table has (10.7.4.3)."""

FAR_AGAIN_S = 5.0
"""How soon a router looks for the first of them."""

ATTACH_MAX_S = 30.0
"""How long all of an attempt to be linked with a peer may take, until its Update."""

PAUSE_S = 5.0
"""How long a peer that could not be linked with is left alone."""

LOOK_AGAIN_S = 1.0
"""How long after a loss the overlay is asked who is responsible for us now: it needs a moment to see it too."""

PRUNE_DELAY_S = 5.0
SHUNNED_MAX = 64


class ClientTopology:
    """Finds the peers that a client wants to be linked with, and routes through them.

    `look_interval_s` is how often a configuration has peers tell each other what they see: as often it asks who is
    responsible for its own Node-ID, in case that it was not told. `leave_data` is what a Leave without neighbours says.
    """

    def __init__(
        self,
        node_id: NodeId,
        plugin: TopologyPlugin,
        configuration: OverlayConfiguration,
        look_interval_s: Callable[[OverlayConfiguration], float],
        rng: random.Random,
        queue: TimerQueue | None = None,
        *,
        leave_data: bytes = b"",
        is_router: bool = False,
    ) -> None:
        self.node_id = node_id
        self._queue = TimerQueue(queue)
        self.joining = Joining(rng, self._queue)
        self.is_leaving = False
        self._plugin = plugin
        self._leave_data = leave_data
        self._is_router = is_router
        self._look_interval_s = look_interval_s
        self._look_max_s = look_interval_s(configuration)
        self._look_s = LOOK_AGAIN_S
        self._rng = rng
        self._timers: Timers[str] = self._queue.scope()
        self._links: set[NodeId] = set()
        self._sought: set[NodeId] = set()
        self._peers: list[NodeId] = []
        """Those that have sent us an Update, the nearest to our Node-ID first."""
        self._named: dict[NodeId, tuple[NodeId, ...]] = {}
        """Whom each of them names."""
        self._awaited: Timers[NodeId] = self._queue.scope()
        self._shunned: dict[NodeId, float] = {}
        self._dialled: set[NodeId] = set()
        self._actions: list[Action] = []

    # What others ask

    @property
    def is_serving(self) -> bool:
        """A client is no peer."""
        return False

    @property
    def is_connected(self) -> bool:
        """True if the overlay has answered us over a link that is still there."""
        return self.joining.is_member

    @property
    def home(self) -> NodeId | None:
        """The peer that is responsible for our Node-ID, as far as we know: we can be reached by it."""
        return self._peers[0] if self._peers else None

    @property
    def routes(self) -> Collection[NodeId]:
        """The peers that we route through."""
        return self._peers

    @property
    def neighbors(self) -> tuple[NodeId, ...]:
        """Our home, and who would be it."""
        return tuple(self._peers[:PEERS_WANTED])

    @property
    def responsible_ppb(self) -> int:
        """Nothing."""
        return 0

    def facts(self) -> dict[str, object]:
        """Where we can be reached."""
        here = "a router, which keeps nothing, in the overlay" if self._is_router else "in the overlay"
        return {
            "state": here if self.is_connected else self.joining.state.value,
            "home": None if self.home is None else str(self.home),
        }

    def is_responsible(self, target: bytes) -> bool:
        """For nothing."""
        return False

    def next_hop(self, target: bytes, chosen_by: NodeId | None = None, without: NodeId | None = None) -> NodeId | None:
        """The nearest of our peers; without one the node by which we came in."""
        peers = [peer for peer in self._peers if peer != without]
        if self._is_router:
            return self._way_on(target, peers)
        gateway = self.joining.gateway
        nearest = min(peers, key=lambda node: self._plugin.distance(target, node), default=None)
        return nearest or (gateway if gateway in self._links else None)

    def _way_on(self, target: bytes, peers: list[NodeId]) -> NodeId | None:
        """What is of others has to come nearer. 10.3: "the peer in the Routing Table that has the largest Node-ID that
        is in the interval between the peer and k. If no such node is found, the peer finds the smallest Node-ID that is
        greater than k". Who knows nothing better than who sent it here gives it back, to go on by peers.
        """

        def left(node: bytes) -> int:
            return self._plugin.distance(node, NodeId(target))

        ahead = [peer for peer in peers if left(peer) < left(self.node_id)]
        beyond = min(peers, key=lambda peer: self._plugin.distance(target, peer), default=None)
        return min(ahead, key=left, default=beyond)

    def next_peer(self, target: bytes) -> NodeId:
        """The same; a node that we are linked with gets what is for itself."""
        return NodeId(target) if target in self._links else self.next_hop(target) or self.node_id

    def is_misrouted(self, sender: NodeId, target: bytes) -> bool:
        """We do not know who is between."""
        return False

    def is_close_enough(self, node: NodeId, resource: bytes) -> bool:
        """6.3.4: "at least as close to the target Resource-ID as any node in the requesting node's Neighbor Table"."""
        distance = self._plugin.distance
        closest = min((distance(resource, peer) for peer in self._peers), default=None)
        return closest is None or distance(resource, node) <= closest

    def replicas_for(self, resource: bytes) -> tuple[NodeId, ...]:
        """A client keeps nothing that could be copied."""
        return ()

    def admitting_for(self, resource: bytes) -> list[NodeId]:
        """A client lets nobody in."""
        return []

    def may_hold(self, node: NodeId, resource: bytes) -> bool:
        """A client keeps nothing for others."""
        return False

    def is_from_responsible(self, sender: NodeId, resource: bytes) -> bool:
        """A client passes no values on."""
        return True

    def place_of_copy(self, resource: bytes, holder: NodeId, number: int) -> ResourceId | None:
        """A client does not know who has copies."""
        return None

    def drain(self, now: float) -> list[Action]:
        """What is to be done since the last call, in order."""
        actions, self._actions = self._actions, []
        return actions

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._queue.next_deadline()

    def use_configuration(self, configuration: OverlayConfiguration, now: float) -> None:
        """The overlay has a new configuration."""
        self._look_max_s = self._look_interval_s(configuration)

    # Beginning and end

    def start_alone(self, now: float) -> None:
        """Never."""
        raise AssertionError("a client is not the first peer of an overlay")

    def start_joining(self, now: float) -> None:
        """Look for the overlay."""
        self.joining.retry_now(now)

    def hurry(self, now: float) -> None:
        """Look for the overlay at once, if it is time that we wait for."""
        self.joining.hurry(now)

    def handle_gateway(self, gateway: NodeId, now: float) -> None:
        """We are linked with a node of the overlay: look through it for our home."""
        if gateway not in self._links:
            return
        if self.joining.state is JoinState.OUTSIDE:
            self.joining.gateway = gateway
            self._sought.add(gateway)
            self.joining.enter(JoinState.SEEKING, now)
            # 11.4: "with the destination Resource-ID set to the Joining Node's Node-ID plus 1"; the same peer is
            # responsible for our Node-ID.
            self._actions.append(Connect(HOME, place_of(self.node_id), gateway))
        elif gateway in self._awaited:
            # A peer that could not reach us, and that we have dialled; without an Attach it tells us nothing unasked.
            self._actions.append(self._ask_for_update(gateway))

    def leave(self, now: float) -> None:
        """6.4.2.2: tell whom we are linked with, and look for nobody any more."""
        self.is_leaving = True
        self._timers.clear()
        self.joining.end()
        leaving = LeaveReq(self.node_id, self._leave_data)
        self._actions += [Tell(n, MessageCode.LEAVE_REQ, leaving, transmissions_max=1) for n in sorted(self._links)]

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
        """A link to `node` is up. Who wants to be linked with us may be; that makes it no peer of ours."""
        self._links.add(node)

    def handle_probe_linked(self, node: NodeId, now: float) -> None:
        """Never: a client does not look for other parts of the overlay."""
        raise AssertionError("a client probes for no partition")

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """The link to a node failed. The next of our peers is our home now, unless the overlay says otherwise."""
        node = lost.node
        for collection in (self._links, self._sought, self._dialled):
            collection.discard(node)
        self._awaited.cancel(node)
        self._named.pop(node, None)
        was_peer = node in self._peers
        if was_peer:
            self._shun(node, now)
            self._peer_went(node, now)
            self._consider(now)
        is_gateway_lost = self.joining.gateway not in self._links
        if self.joining.state is JoinState.SEEKING and is_gateway_lost:
            self._failed(f"lost the link to {node.short}", now)
        elif self.joining.is_member and not self._peers and (was_peer or is_gateway_lost):
            self._start_again(now)

    def handle_unreachable(self, node: NodeId, now: float) -> None:
        """A peer did not come. It may be that it cannot reach us: then we can perhaps reach it."""
        self._awaited.cancel(node)
        if node in self._links or node in self._dialled:
            self._dialled.discard(node)
            if node not in self._links:
                self._sought.discard(node)
            self._shun(node, now)
            self._look_s = min(2 * self._look_s, self._look_max_s)
            self._look_in(self._look_s, now)
            return
        self._dialled.add(node)
        self._await(node, now)
        self._actions.append(DialPeer(node))

    def handle_answered(self, key: Hashable, node: NodeId, now: float) -> None:
        """The Attach toward our Node-ID was answered: `node` is our home, and the overlay can be reached."""
        if key == HOME and self.joining.state is JoinState.SEEKING:
            self._sought.add(node)
            self._await(node, now)
            self.joining.enter(JoinState.MEMBER, now)
            self._look_in(self._look_max_s, now)
            self._actions.append(Joined())
            if node in self._links:
                # It has dialled us while its answer was on the way, and its Update was that of a stranger.
                self._actions.append(self._ask_for_update(node))

    def handle_unanswered(self, key: Hashable, reason: str, now: float) -> None:
        """The Attach toward our Node-ID came to nothing."""
        if self.joining.state is JoinState.SEEKING:
            self._failed(reason, now)

    def handle_found(self, node: NodeId, via: NodeId | None, now: float) -> None:
        """The overlay says who is responsible for us."""
        if node not in self._peers:
            self._attach(node, None, now)

    def handle_not_found(self, via: NodeId | None, reason: str, now: float) -> None:
        """We ask again before long."""

    def handle_router(self, node: NodeId, now: float) -> None:
        """Our ways are through peers."""

    # Messages

    def handle(self, request: Received, now: float) -> Struct:
        """Peers that we are linked with say what they see, or that they go. Raises a Rejection."""
        sender = request.signer.node_id
        if request.code is MessageCode.UPDATE_REQ:
            self.handle_update(sender, self._plugin.peers_in(request.body, self.node_id), now)
            return UpdateAns()
        if isinstance(request.body, LeaveReq):
            self.handle_leave(sender, now)
            return LeaveAns()
        raise Forbidden("this node is a client")

    def handle_outcome(self, context: object, outcome: Outcome, now: float) -> None:
        """Nothing depends on it."""

    def handle_update(self, sender: NodeId, named: tuple[NodeId, ...] | None, now: float) -> None:
        """4.2.1: "clients that choose this option need to process Update messages from the peer"; "These updates can
        indicate that the peer is no longer responsible for the client's Node-ID. The client would then need to form a
        connection to the appropriate peer."
        """
        if sender not in self._links or sender not in self._sought:
            return
        self._awaited.cancel(sender)
        self._dialled.discard(sender)
        self._look_s = LOOK_AGAIN_S
        home = self.home
        if sender not in self._peers:
            self._peers.append(sender)
            self._peers.sort(key=self._away)
            if self._is_router:
                self._actions.append(Tell(sender, MessageCode.PRIVATE_REQ, PrivateReq(ROUTER, b"")))
                if "far" not in self._timers:
                    self._timers.set("far", now + FAR_AGAIN_S, "peers far away")
        if self.home != home:
            self._actions.append(NeighborsChanged())
        if named is not None:
            self._named[sender] = named
            self._consider(now)
        self._timers.set("prune", now + PRUNE_DELAY_S, "links no longer of use")

    def handle_leave(self, node: NodeId, now: float) -> None:
        """A peer goes. Who comes next we know, or hear from them."""
        self._shun(node, now)
        self._named.pop(node, None)
        if node in self._peers:
            self._peer_went(node, now)
            self._consider(now)

    # Values

    def handle_handed_over(self, node: NodeId, now: float) -> None:
        """Never."""
        raise AssertionError("a client lets nobody in")

    def handle_admission_failed(self, node: NodeId) -> None:
        """Never."""
        raise AssertionError("a client lets nobody in")

    def handle_value_received(self, sender: NodeId, now: float) -> None:
        """Never."""
        raise AssertionError("a client stores nothing for others")

    def handle_copy_failed(self, node: NodeId, now: float) -> None:
        """Never."""
        raise AssertionError("a client has no copies made")

    # Time

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        if self.joining.take_due(now):
            self._join_due(now)
        for node in self._awaited.pop_due(now):
            self.handle_unreachable(node, now)
        for due in self._timers.pop_due(now):
            if due == "look":
                self._actions.append(FindPeer(place_of(self.node_id)))
                self._look_in(self._look_max_s, now)
            elif due == "reconsider":
                self._consider(now)
            elif due == "far":
                self._look_far(now)
            else:
                self._prune()

    def _join_due(self, now: float) -> None:
        if self.joining.state is JoinState.OUTSIDE:
            self._actions.append(SeekBootstrap())
            self.joining.retry_later(now)
        else:
            self._failed("no answer to the Attach toward our Node-ID", now)

    def _look_far(self, now: float) -> None:
        """Of what is on its disk from when it was a peer a router forgets, which peers have; and it looks for as many
        peers as it lacks, at places that chance chooses.
        """
        self._actions.append(Forget(self.node_id, self.node_id))
        places = [self._rng.randbytes(len(self.node_id)) for _ in range(FAR_WANTED + PEERS_WANTED - len(self._peers))]
        self._actions += [FindPeer(ResourceId(place)) for place in places]
        self._timers.set("far", now + self._look_max_s * self._rng.uniform(0.8, 1.2), "peers far away")

    def _look_in(self, delay_s: float, now: float) -> None:
        """Updates may be missed: ask now and then who is responsible for us."""
        self._timers.set("look", now + delay_s * self._rng.uniform(0.8, 1.2), "is it still our home")

    # Peers

    def _consider(self, now: float) -> None:
        """Attach to those that our peers name who are nearest to our Node-ID."""
        by_whom = {node: sender for sender, nodes in self._named.items() for node in nodes if node != self.node_id}
        for node in sorted({*by_whom, *self.neighbors}, key=self._away)[:PEERS_WANTED]:
            if (until := self._shunned.get(node, now)) > now:
                self._timers.set("reconsider", until, "try candidates again")
            elif node not in self._peers:
                self._attach(node, by_whom[node], now)

    def _attach(self, node: NodeId, via: NodeId | None, now: float) -> None:
        if node not in self._awaited:
            self._sought.add(node)
            self._await(node, now)
            self._actions.append(self._ask_for_update(node) if node in self._links else Connect(node, node, via))

    def _ask_for_update(self, node: NodeId) -> Tell:
        query = RouteQueryReq(True, Destination.resource(place_of(self.node_id)))
        return Tell(node, MessageCode.ROUTE_QUERY_REQ, query)

    def _away(self, node: NodeId) -> int:
        """How far a peer is from being our home."""
        return self._plugin.distance(self.node_id, node)

    def _peer_went(self, node: NodeId, now: float) -> None:
        self._peers.remove(node)
        self._actions.append(NeighborsChanged())
        self._look_in(LOOK_AGAIN_S, now)

    def _await(self, node: NodeId, now: float) -> None:
        self._awaited.set(node, now + ATTACH_MAX_S, "candidate does not come")

    def _shun(self, node: NodeId, now: float) -> None:
        self._shunned = {other: until for other, until in self._shunned.items() if until > now}
        if len(self._shunned) < SHUNNED_MAX:
            self._shunned[node] = now + PAUSE_S

    def _prune(self) -> None:
        """Let go of peers that others are nearer than; and of the bootstrap node, which all clients come to."""
        if self._peers:
            wanted = {*self.neighbors, *(node for node in self._sought if node in self._awaited)}
            if self._is_router:
                # The nearest of the others were neighbours until others came between; they are the least of use.
                wanted.update(self._peers[-FAR_WANTED:])
            self._actions += [Detach(node) for node in sorted(self._sought & self._links - wanted)]

    def _failed(self, reason: str, now: float) -> None:
        self._actions.append(JoinFailed(reason, has_found_overlay=False))
        self.joining.retry_later(now)

    def _start_again(self, now: float) -> None:
        """No peer is left; the node by which we came in may be."""
        self._timers.clear()
        self._actions.append(NeighborsChanged())
        gateway = self.joining.gateway
        self.joining.retry_now(now)
        if gateway is not None and gateway in self._links:
            self.handle_gateway(gateway, now)
