"""The topology of a client: a node that routes for nobody and keeps nothing (RFC 6940 section 4.2).

Theory of operation. A client dials a bootstrap node as a joining node does, and can use that link at once: requests
leave by it, and who knows the way reaches the client by a destination list [peer, client] (4.2.1, second way). Through
it the client attaches to the peer that is responsible for its own Node-ID (4.2.1, first way), its home: whoever sends
to that Node-ID comes out there, where the link is. From the home's Updates it learns who comes next in the ring, and
keeps links with those too: one of them is responsible when the home dies, or was let in as a new peer before it. The
bootstrap node is then let go.

    OUTSIDE --a node of the overlay linked--> SEEKING   Attach toward our Node-ID plus 1
    SEEKING --answered--> MEMBER   the link follows; where the home cannot reach us, we dial it
    MEMBER  --the last link lost--> OUTSIDE

As with Chord, nothing is routed through a node that has not sent an Update (6.5.1), the bootstrap node excepted.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.reload.topology.actions import (
    Action,
    AskForUpdate,
    AttachTo,
    AttachToward,
    Detach,
    DialPeer,
    FindPeer,
    Joined,
    JoinFailed,
    NeighborsChanged,
    SeekBootstrap,
)
from p2psip.reload.topology.chord.joining import Joining, JoinState
from p2psip.reload.topology.chord.replicas import ReplicaSet
from p2psip.reload.topology.chord.ring import advance, distance
from p2psip.reload.topology.chord.routing_table import RoutingTable
from p2psip.reload.topology.plugin import NeighborView, NotAdmitting

PEERS_WANTED = 3
"""The home, and who would be responsible after it."""

ATTACH_MAX_S = 30.0
"""How long all of an attempt to be linked with a peer may take, until its Update."""

PAUSE_S = 5.0
"""How long a peer that could not be linked with is left alone."""

LOOK_AGAIN_S = 1.0
"""How long after a loss the overlay is asked who is responsible for us now: it needs a moment to see it too."""

PRUNE_DELAY_S = 5.0
SHUNNED_MAX = 64


class ClientTopology:
    """Finds the peers that a client wants to be linked with, and routes through them."""

    def __init__(self, node_id: NodeId, update_interval_s: float, rng: random.Random) -> None:
        self.node_id = node_id
        self.table = RoutingTable(node_id, PEERS_WANTED)
        self.replicas = ReplicaSet(RoutingTable(node_id, 0))
        self.joining = Joining(rng)
        self.update_interval_s = update_interval_s
        self._look_s = LOOK_AGAIN_S
        self._rng = rng
        self._timers: Timers[str] = Timers()
        self._links: set[NodeId] = set()
        self._sought: set[NodeId] = set()
        self._views: dict[NodeId, NeighborView] = {}
        self._awaited: Timers[NodeId] = Timers()
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
        return self.table.successors[0] if len(self.table) else None

    @property
    def admitting_peer(self) -> NodeId | None:
        """A client asks nobody to let it in."""
        return None

    @property
    def responsible_ppb(self) -> int:
        """Nothing."""
        return 0

    def is_responsible(self, target: bytes) -> bool:
        """For nothing."""
        return False

    def next_hop(self, target: bytes) -> NodeId | None:
        """The best of our peers; without one the node by which we came in."""
        gateway = self.joining.gateway
        return self.table.next_hop(target) or (gateway if gateway in self._links else None)

    def is_misrouted(self, sender: NodeId, target: bytes) -> bool:
        """Never: nothing is routed through us."""
        return False

    def is_close_enough(self, node: NodeId, resource: bytes) -> bool:
        """6.3.4: "at least as close to the target Resource-ID as any node in the requesting node's Neighbor Table"."""
        closest = min((distance(resource, neighbor) for neighbor in self.table.neighbors), default=None)
        return closest is None or distance(resource, node) <= closest

    def may_hold(self, node: NodeId, resource: bytes) -> bool:
        """A client keeps nothing for others."""
        return False

    def is_from_responsible(self, sender: NodeId, resource: bytes) -> bool:
        """A client passes no values on."""
        return True

    def admitting_for(self, resource: bytes) -> list[NodeId]:
        """A client lets nobody in."""
        return []

    def view(self, *, with_fingers: bool = False) -> NeighborView:
        """A client has no neighbours to tell of."""
        return NeighborView()

    def take_actions(self) -> list[Action]:
        """What is to be done since the last call, in order."""
        actions, self._actions = self._actions, []
        return actions

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest(part.next_deadline() for part in (self.joining, self._timers, self._awaited))

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

    def gateway_found(self, gateway: NodeId, now: float) -> None:
        """We are linked with a node of the overlay: look through it for our home."""
        if gateway not in self._links:
            return
        if self.joining.state is JoinState.OUTSIDE:
            self.joining.gateway = gateway
            self._sought.add(gateway)
            self.joining.enter(JoinState.SEEKING, now)
            # 11.4: "with the destination Resource-ID set to the Joining Node's Node-ID plus 1"; the same peer is
            # responsible for our Node-ID.
            self._actions.append(AttachToward(advance(self.node_id, 1), gateway))
        elif gateway in self._awaited:
            # A peer that could not reach us, and that we have dialled; without an Attach it tells us nothing unasked.
            self._actions.append(AskForUpdate(gateway))

    def start_leaving(self) -> None:
        """Look for nobody any more."""
        self._timers = Timers()
        self.joining.end()

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

    def handle_stranger_sought(self, node: NodeId, now: float) -> None:
        """Never: a client does not look for other parts of the overlay."""
        raise AssertionError("a client probes for no partition")

    def handle_link_lost(self, node: NodeId, now: float) -> None:
        """The link to `node` failed. The next of our peers is our home now, unless the overlay says otherwise."""
        for collection in (self._links, self._sought, self._dialled):
            collection.discard(node)
        self._awaited.cancel(node)
        self._views.pop(node, None)
        was_peer = node in self.table
        if was_peer:
            self._shun(node, now)
            self._peer_went(node, now)
            self._consider(now)
        is_gateway_lost = self.joining.gateway not in self._links
        if self.joining.state is JoinState.SEEKING and is_gateway_lost:
            self._failed(f"lost the link to {node.short}", now)
        elif self.joining.is_member and not len(self.table) and (was_peer or is_gateway_lost):
            self._start_again(now)

    def handle_attach_failed(self, node: NodeId, now: float) -> None:
        """A peer did not come. It may be that it cannot reach us: then we can perhaps reach it."""
        self._awaited.cancel(node)
        if node in self._links or node in self._dialled:
            self._dialled.discard(node)
            if node not in self._links:
                self._sought.discard(node)
            self._shun(node, now)
            self._look_s = min(2 * self._look_s, self.update_interval_s)
            self._look_in(self._look_s, now)
            return
        self._dialled.add(node)
        self._await(node, now)
        self._actions.append(DialPeer(node))

    def handle_sought(self, node: NodeId, now: float) -> None:
        """The Attach toward our Node-ID was answered: `node` is our home, and the overlay can be reached."""
        if self.joining.state is JoinState.SEEKING:
            self._sought.add(node)
            self._await(node, now)
            self.joining.enter(JoinState.MEMBER, now)
            self._look_in(self.update_interval_s, now)
            self._actions.append(Joined())

    def handle_seek_failed(self, reason: str, now: float) -> None:
        """The Attach toward our Node-ID came to nothing."""
        if self.joining.state is JoinState.SEEKING:
            self._failed(reason, now)

    def handle_finger_sought(self, node: NodeId) -> None:
        """Never."""
        raise AssertionError("a client has no fingers")

    # Messages

    def handle_update(self, sender: NodeId, view: NeighborView | None, now: float) -> None:
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
        self.table.add(sender)
        if self.home != home:
            self._actions.append(NeighborsChanged())
        if view is not None:
            self._views[sender] = view
            self._consider(now)
        self._timers.set("prune", now + PRUNE_DELAY_S, "links no longer of use")

    def handle_join(self, node: NodeId, now: float) -> None:
        """A client lets nobody in."""
        raise NotAdmitting("a client")

    def handle_join_answer(self, node: NodeId, is_accepted: bool, now: float) -> None:
        """Never."""
        raise AssertionError("a client asks nobody to let it in")

    def handle_handed_over(self, node: NodeId, now: float) -> None:
        """Never."""
        raise AssertionError("a client lets nobody in")

    def handle_admission_failed(self, node: NodeId) -> None:
        """Never."""
        raise AssertionError("a client lets nobody in")

    def handle_value_received(self, sender: NodeId, now: float) -> None:
        """Never."""
        raise AssertionError("a client stores nothing for others")

    def handle_leave(self, node: NodeId, others: Iterable[NodeId], now: float) -> None:
        """A peer goes. Who comes next we know, or hear from them."""
        self._shun(node, now)
        self._views.pop(node, None)
        if node in self.table:
            self._peer_went(node, now)
            self._consider(now)

    def handle_found(self, node: NodeId, via: NodeId | None, now: float) -> None:
        """The overlay says who is responsible for us."""
        if node not in self.table:
            self._attach(node, None, now)

    # Time

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        if self.joining.take_due(now):
            self._join_due(now)
        for node in self._awaited.pop_due(now):
            self.handle_attach_failed(node, now)
        for due in self._timers.pop_due(now):
            if due == "look":
                self._actions.append(FindPeer(advance(self.node_id, 1)))
                self._look_in(self.update_interval_s, now)
            elif due == "reconsider":
                self._consider(now)
            else:
                self._prune()

    def _join_due(self, now: float) -> None:
        if self.joining.state is JoinState.OUTSIDE:
            self._actions.append(SeekBootstrap())
            self.joining.retry_later(now)
        else:
            self._failed("no answer to the Attach toward our Node-ID", now)

    def _look_in(self, delay_s: float, now: float) -> None:
        """Updates may be missed: ask now and then who is responsible for us."""
        self._timers.set("look", now + delay_s * self._rng.uniform(0.8, 1.2), "is it still our home")

    # Peers

    def _consider(self, now: float) -> None:
        """Attach to those that our peers name who come first at or after our Node-ID."""
        named = {node: sender for sender, view in self._views.items() for node in view.nodes if node != self.node_id}
        known = {*named, *self.table.successors}
        for node in sorted(known, key=lambda node: distance(self.node_id, node))[:PEERS_WANTED]:
            if (until := self._shunned.get(node, now)) > now:
                self._timers.set("reconsider", until, "try candidates again")
            elif node not in self.table:
                self._attach(node, named[node], now)

    def _attach(self, node: NodeId, via: NodeId | None, now: float) -> None:
        if node not in self._awaited:
            self._sought.add(node)
            self._await(node, now)
            self._actions.append(AskForUpdate(node) if node in self._links else AttachTo(node, via))

    def _peer_went(self, node: NodeId, now: float) -> None:
        self.table.remove(node)
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
        if len(self.table):
            wanted = {*self.table.successors, *(node for node in self._sought if node in self._awaited)}
            self._actions += [Detach(node) for node in sorted(self._sought & self._links - wanted)]

    def _failed(self, reason: str, now: float) -> None:
        self._actions.append(JoinFailed(reason, has_found_ring=False))
        self.joining.retry_later(now)

    def _start_again(self, now: float) -> None:
        """No peer is left; the node by which we came in may be."""
        self._timers = Timers()
        self._actions.append(NeighborsChanged())
        gateway = self.joining.gateway
        self.joining.retry_now(now)
        if gateway is not None and gateway in self._links:
            self.gateway_found(gateway, now)
