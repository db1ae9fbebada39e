"""CHORD-RELOAD (RFC 6940 section 10), made correct after Zave (TSE 2017).

Theory of operation. As published, Chord loses its ring when a node takes over a pointer it was told of without
making sure that the other is alive and in the ring. Here a name that we are told is a candidate, no more: it enters
the Routing Table after we are linked with it and it has itself sent an Update, which only members do. The
successor list is then what the table's view says: ordered, without gaps among the members that we know, and alive
as far as the links say. What we learn we pass on at once (reactive recovery), and at every update interval.

A member's successors and predecessors change only in `_peer_came` and `_peer_went`.

A node that has been in a ring and knows no other peer any more, or that is the first, serves alone: it answers for
every Resource-ID, so that an island of one works, and goes on looking for the others. When it is let into a ring,
whatever it holds for others goes to them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from p2psip.base.errors import P2psipError
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.reload.topology.actions import (
    Action,
    AttachTo,
    AttachToward,
    Detach,
    FindPeer,
    Forget,
    HandOver,
    Joined,
    JoinFailed,
    NeighborsChanged,
    ProbePartition,
    SeekBootstrap,
    SendJoin,
    SendUpdate,
)
from p2psip.reload.topology.joining import Joining, JoinState
from p2psip.reload.topology.replicas import ReplicaSet
from p2psip.reload.topology.ring import advance, distance, is_between
from p2psip.reload.topology.routing_table import RoutingTable

ANNOUNCE_DELAY_S = 0.02
"""Changes of the Neighbor Table that come within this time go out as one Update."""

PRUNE_DELAY_S = 10.0
"""How long the Neighbor Table must be quiet before links that it left behind are closed."""

CANDIDATE_PAUSE_S = 10.0
"""How long a candidate that we could not link with is left alone, however often we are told of it."""

CANDIDATES_MAX = 256


@dataclass(frozen=True, slots=True)
class ChordSettings:
    """What the overlay configuration says of Chord (RFC 6940 section 11.1); the intervals are in seconds."""

    update_interval_s: float = 600.0
    ping_interval_s: float = 3600.0
    is_reactive: bool = True
    neighbors: int = 5
    """Length of the successor and of the predecessor list; 10.7 asks for at least three."""


@dataclass(frozen=True, slots=True)
class NeighborView:
    """What an Update says: the sender's neighbours, and its fingers if it is a full one."""

    predecessors: tuple[NodeId, ...] = ()
    successors: tuple[NodeId, ...] = ()
    fingers: tuple[NodeId, ...] = ()


class NotAdmitting(P2psipError):
    """We are not the peer that may let this node in; it must look again (section 10.5)."""


class Chord:
    """The topology of one node. Methods return nothing; what they want done is in `take_actions()`."""

    def __init__(self, node_id: NodeId, settings: ChordSettings, rng: random.Random) -> None:
        self.node_id = node_id
        self.table = RoutingTable(node_id, settings.neighbors)
        self.replicas = ReplicaSet(self.table)
        self.joining = Joining(rng)
        self._settings = settings
        self._rng = rng
        self._timers: Timers[str] = Timers()
        self._links: set[NodeId] = set()
        self._sought: set[NodeId] = set()
        self._views: dict[NodeId, NeighborView] = {}
        self._attaching: dict[NodeId, NodeId | None] = {}
        self._shunned: dict[NodeId, float] = {}
        self._admitting: dict[NodeId, NodeId] = {}
        self._serves_alone = False
        self._actions: list[Action] = []

    # What others ask

    @property
    def is_serving(self) -> bool:
        """True if we are a peer: a member of a ring, or a ring of our own."""
        return self.joining.is_member or self._serves_alone

    def is_responsible(self, target: bytes) -> bool:
        """True if a message for this Resource-ID ends here. A node outside of the ring is responsible for nothing."""
        return self._serves_alone or (self.joining.is_member and self.table.is_in_range(target))

    def next_hop(self, target: bytes) -> NodeId | None:
        """Where to send a message for `target`: a peer, on the way in the node that lets us in, or None."""
        if not self.joining.is_member and self.joining.gateway in self._links and not len(self.table):
            return self.joining.gateway
        return self.table.next_hop(target)

    def is_close_enough(self, node: NodeId, resource: bytes) -> bool:
        """6.3.4: "at least as close to the target Resource-ID as any node in the requesting node's Neighbor Table"."""
        closest = min((distance(resource, neighbor) for neighbor in self.table.neighbors), default=None)
        return closest is None or distance(resource, node) <= closest

    def view(self) -> NeighborView:
        """Our own tables, for an Update."""
        return NeighborView(self.table.predecessors, self.table.successors, self.table.fingers)

    def take_actions(self) -> list[Action]:
        """What is to be done since the last call, in order."""
        actions, self._actions = self._actions, []
        return actions

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self._timers.next_deadline(), self.joining.next_deadline(), self.replicas.next_deadline()])

    # Beginning and end

    def start_alone(self, now: float) -> None:
        """Be the ring: the first peer of an overlay (6.4.2.1)."""
        self._serve_alone(now)
        self._actions.append(Joined())

    def start_joining(self, now: float) -> None:
        """Look for the overlay and join it."""
        self.joining.retry_now(now)

    def gateway_found(self, gateway: NodeId, now: float) -> None:
        """We are linked with a node of the overlay, through which we can go and look for our place (11.4)."""
        if self.joining.state is JoinState.OUTSIDE:
            self.joining.gateway = gateway
            self._sought.add(gateway)
            self.joining.enter(JoinState.SEEKING, now)
            # 11.4: "send an Attach request over this connection with the destination Resource-ID set to the
            # Joining Node's Node-ID plus 1."
            self._actions.append(AttachToward(advance(self.node_id, 1), gateway))

    # Links

    def handle_linked(self, node: NodeId, now: float, *, wants_full: bool = False) -> None:
        """A link to `node` is up, whoever asked for it; `wants_full` says that its Attach had send_update."""
        self._links.add(node)
        self._shunned.pop(node, None)
        if self.joining.state is not JoinState.MEETING:
            self._attaching.pop(node, None)
        if self.is_serving:
            self._actions.append(SendUpdate(node, wants_full))
        self._go_on_joining(now)

    def handle_link_lost(self, node: NodeId, now: float) -> None:
        """The link to `node` failed: 10.7.1 and 10.7.2."""
        self._links.discard(node)
        self._sought.discard(node)
        self._views.pop(node, None)
        self._attaching.pop(node, None)
        self._admitting.pop(node, None)
        self._peer_went(node, now)
        if node in (self.joining.admitting_peer, self.joining.gateway) and not self.joining.is_member:
            self._join_failed(f"lost the link to {node.short}", now)
        self._go_on_joining(now)

    def handle_attach_failed(self, node: NodeId, now: float) -> None:
        """A candidate could not be reached: leave it alone for a while."""
        self._attaching.pop(node, None)
        self._shun(node, now)
        self._go_on_joining(now)

    def handle_sought(self, node: NodeId, now: float) -> None:
        """The Attach toward n+1 was answered by `node`, the Admitting Peer; the link to it follows."""
        if self.joining.state is JoinState.SEEKING:
            self.joining.admitting_peer = node
            self._go_on_joining(now)

    def handle_seek_failed(self, reason: str, now: float) -> None:
        """The Attach toward n+1 came to nothing."""
        if self.joining.state is JoinState.SEEKING:
            self._join_failed(reason, now)

    # Messages

    def handle_update(self, sender: NodeId, view: NeighborView, now: float) -> None:
        """10.7.3: a peer says what it sees."""
        if sender not in self._links:
            return
        self._attaching.pop(sender, None)
        self._views[sender] = view
        self._peer_came(sender, now)
        if self._serves_alone and self.joining.state is JoinState.OUTSIDE:
            self.gateway_found(sender, now)
        self._consider(view, sender, now)
        # 10.5 step 7: "AP MUST send JN an Update explicitly labeling JN as its predecessor. At this point, JN is
        # part of the ring".
        if self.joining.state in (JoinState.ASKING, JoinState.RECEIVING) and self.node_id in view.predecessors:
            self._become_member(now)
        self._go_on_joining(now)

    def handle_join(self, node: NodeId, now: float) -> None:
        """A node that we are linked with asks to be let in as our predecessor (10.5 steps 5 and 6).

        Raises NotAdmitting if its place is not in our range.
        """
        if not self.is_responsible(node) or node == self.node_id:
            raise NotAdmitting(f"{node.short} does not lie in the range of {self.node_id.short}")
        low = self.table.range_low
        self._admitting[node] = low
        self._actions.append(HandOver(node, low, node, is_admission=True))

    def handle_handed_over(self, node: NodeId, now: float) -> None:
        """The joining node has all that becomes its own: it is our predecessor now (10.5 steps 7 and 8)."""
        if self._admitting.pop(node, None) is None or node not in self._links:
            return
        if self._serves_alone:
            self._enter_ring(now)
        self._peer_came(node, now, has_data=True)

    def admitting_for(self, resource: bytes) -> list[NodeId]:
        """The joining nodes that must also get a value stored at `resource` while they are being let in."""
        return [node for node, low in self._admitting.items() if is_between(resource, low, node)]

    def handle_join_answer(self, node: NodeId, is_accepted: bool, now: float) -> None:
        """What the Admitting Peer said."""
        if self.joining.state is not JoinState.ASKING:
            return
        if is_accepted:
            self.joining.enter(JoinState.RECEIVING, now)
        else:
            self._join_failed(f"{node.short} did not let us in", now)

    def handle_leave(self, node: NodeId, others: Iterable[NodeId], now: float) -> None:
        """10.9: "follow procedures as if it had detected a peer failure"; it names who comes next."""
        self._shun(node, now)
        self._peer_went(node, now)
        self._consider(NeighborView(successors=tuple(others)), None, now)

    def handle_found(self, node: NodeId, via: NodeId | None, now: float) -> None:
        """A Ping that looked for a finger, or for another part of the overlay, found `node`."""
        if node != self.node_id and node not in self._links:
            self._attach(node, via, now)

    # Time

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        if self.joining.take_due(now):
            self._join_due(now)
        self._actions += self.replicas.handle_timeout(now)
        for due in self._timers.pop_due(now):
            if due == "announce":
                self._actions += [SendUpdate(node) for node in sorted(self._links)]
            elif due == "update":
                self._stabilize(now)
            elif due == "prune":
                self._prune()
            elif due == "reconsider":
                self._reconsider(now)
            else:
                self._refresh_fingers(now)

    def _join_due(self, now: float) -> None:
        if self.joining.state is JoinState.OUTSIDE:
            self._actions.append(SeekBootstrap())
            self.joining.retry_later(now)
        elif self.joining.state is JoinState.MEETING and self._attaching:
            self._attaching.clear()
            self._go_on_joining(now)
        else:
            self._join_failed(f"no progress while {self.joining.state.value}", now)

    def _stabilize(self, now: float) -> None:
        """10.7.4.1: "A peer MUST periodically send an Update request to every peer in its Neighbor Table"."""
        self._actions += [SendUpdate(node) for node in self.table.neighbors]
        if len(self.table.predecessors) >= 3:
            # 10.7.3: "there are three predecessors between x and R": "it SHOULD delete all data associated with R".
            self._actions.append(Forget(self.node_id, self.table.predecessors[2]))
        # "A peer SHOULD randomly offset these Update requests so they do not occur all at once."
        # 10.7.4.4: "To detect that a partitioning has occurred and to heal the overlay, a peer P MUST periodically
        # repeat the discovery process used in the initial join".
        self._actions.append(ProbePartition())
        self._timers.set("update", now + self._settings.update_interval_s * self._rng.uniform(0.8, 1.2), "stabilize")

    def _prune(self) -> None:
        """Let go of links that we once wanted and that serve neither of us now.

        10.7.3: "x can maintain the now inferior peers as neighbors, but it MUST remember the closer ones." Only who
        wanted a link closes it: the other may route through us without our knowing.
        """
        wanted = {*self.table.neighbors, *self.table.fingers, *self._attaching, *self._admitting}
        wanted |= {node for node, view in self._views.items() if self.node_id in view.predecessors + view.successors}
        for node in sorted(self._sought & self._links - wanted):
            self._actions.append(Detach(node))

    def _refresh_fingers(self, now: float) -> None:
        """10.7.4.2, alternative 1: each invalid entry in turn is looked for with probability 0.5."""
        wanted = next((i for i in self.table.invalid_fingers() if self._rng.random() < 0.5), None)
        if wanted is not None:
            self._actions.append(self._find_finger(wanted))
        self._timers.set("fingers", now + self._settings.ping_interval_s, "refresh fingers")

    def _find_finger(self, index: int) -> FindPeer:
        # 10.7.4.2: "the peer SHOULD send the Ping to a Node-ID selected randomly from that range."
        return FindPeer(self.table.finger_place(index, self._rng.getrandbits(128)))

    # The two changes of the Routing Table

    def _peer_came(self, node: NodeId, now: float, *, has_data: bool = False) -> None:
        if node in self.table:
            return
        low = self.table.range_low
        if not self.table.add(node):
            return
        if self.joining.is_member:
            if has_data:
                self.replicas.holds_already(node)
            elif self.table.range_low != low:
                # 6.4.2.3: "When a peer detects through an Update that it is no longer responsible for any data
                # value it is storing, it MUST attempt to Store a copy to the correct node".
                self._actions.append(HandOver(node, low, node))
            self.replicas.peer_came(now)
            self._neighbors_changed(now)

    def _peer_went(self, node: NodeId, now: float) -> None:
        was_finger = node in self.table
        if self.table.remove(node) and self.joining.is_member:
            self.replicas.peer_went(node, now)
            self._neighbors_changed(now)
            if not len(self.table):
                # 10.7.1: "If connectivity is lost to all successor peers in the Neighbor Table, then this peer
                # SHOULD behave as if it is joining the network".
                self._serve_alone(now)
        elif was_finger and self.joining.is_member and self._settings.is_reactive:
            # 10.7.2: "If using reactive recovery, the peer MUST initiate a search for a new Finger Table entry".
            self._actions += [self._find_finger(index) for index in self.table.invalid_fingers()[:1]]

    def _neighbors_changed(self, now: float) -> None:
        self._actions.append(NeighborsChanged())
        if self._settings.is_reactive and "announce" not in self._timers:
            self._timers.set("announce", now + ANNOUNCE_DELAY_S, "tell our neighbours")
        self._timers.set("prune", now + PRUNE_DELAY_S * self._rng.uniform(0.5, 1.5), "links no longer of use")

    # Candidates

    def _consider(self, view: NeighborView, via: NodeId | None, now: float) -> None:
        """10.7.3: "x MUST attempt to Attach to the new peers"."""
        for node in dict.fromkeys(view.successors + view.predecessors + view.fingers):
            if self.table.is_wanted(node) and node not in self._links and self._shunned.get(node, now) <= now:
                self._attach(node, via, now)

    def _reconsider(self, now: float) -> None:
        """What could not be reached a while ago, and is still named by those we hear from, is tried again."""
        self._shunned = {node: until for node, until in self._shunned.items() if until > now}
        for sender, view in list(self._views.items()):
            self._consider(view, sender, now)
        self._wake_for_shunned()

    def _wake_for_shunned(self) -> None:
        if self._shunned:
            self._timers.set("reconsider", min(self._shunned.values()), "try candidates again")

    def _attach(self, node: NodeId, via: NodeId | None, now: float) -> None:
        if node not in self._attaching and len(self._attaching) < CANDIDATES_MAX:
            self._attaching[node] = via
            self._sought.add(node)
            self._actions.append(AttachTo(node, via))

    def _shun(self, node: NodeId, now: float) -> None:
        if len(self._shunned) < CANDIDATES_MAX:
            self._shunned[node] = now + CANDIDATE_PAUSE_S
            self._wake_for_shunned()

    # Joining

    def _go_on_joining(self, now: float) -> None:
        """SEEKING is over when the Admitting Peer has spoken, MEETING when every candidate has, or has failed."""
        if self.joining.state is JoinState.SEEKING and self.joining.admitting_peer in self.table:
            self.joining.enter(JoinState.MEETING, now)
        if self.joining.state is not JoinState.MEETING or self._attaching or not len(self.table):
            return
        successor = self.table.successors[0]
        self.joining.admitting_peer = successor
        self.joining.enter(JoinState.ASKING, now)
        self._actions.append(SendJoin(successor))

    def _become_member(self, now: float) -> None:
        if self._serves_alone:
            self._actions.append(HandOver(None, self.node_id, self.table.range_low))
        self._enter_ring(now)
        self._actions.append(Joined())
        for node in self.table.successors:
            self.replicas.holds_already(node)
        # 10.5 step 9: "JN MUST send Updates to all of the peers in its Neighbor Table."
        self._actions += [SendUpdate(node) for node in sorted(self._links)]
        self._actions += [self._find_finger(index) for index in self.table.invalid_fingers()]

    def _enter_ring(self, now: float) -> None:
        self._serves_alone = False
        self.joining.enter(JoinState.MEMBER, now)
        self._timers.set("update", now + self._settings.update_interval_s * self._rng.uniform(0.1, 1.0), "stabilize")
        self._timers.set("fingers", now + self._settings.ping_interval_s, "refresh fingers")

    def _serve_alone(self, now: float) -> None:
        self._serves_alone = True
        self._timers.cancel("update")
        self._timers.cancel("fingers")
        self.joining.retry_now(now)

    def _join_failed(self, reason: str, now: float) -> None:
        self._attaching.clear()
        self._actions.append(JoinFailed(reason))
        self.joining.retry_later(now)
