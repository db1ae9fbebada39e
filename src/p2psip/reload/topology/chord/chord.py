"""CHORD-RELOAD (RFC 6940 section 10), made correct after Zave (TSE 2017).

Theory of operation. As published, Chord loses its ring when a node takes over a pointer it was told of without
making sure that the other is alive and in the ring. Here a name that we are told is a candidate, no more: it enters
the Routing Table after we are linked with it and it has itself sent an Update, which only members do. The
successor list is then what the table's view says: ordered, without gaps among the members that we know, and alive
as far as the links say. What we learn we pass on at once (reactive recovery), and at every update interval.

A member's successors and predecessors change only in `_peer_came` and `_peer_went`.

A node that has been in a ring and knows no other peer any more, or that is the first, serves alone: a ring of one,
which answers for every Resource-ID, so that an island of one works. It sends no Update unless asked for one, as
nobody may route through it, and goes on looking for the others; as soon as it knows one it answers for no more than
what lies between them. When it is let into their ring, whatever it holds for others goes to them.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable

from p2psip.base.errors import P2psipError
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.link.link import LinkLost
from p2psip.reload.topology.actions import (
    Action,
    Connect,
    Detach,
    FindPeer,
    Forget,
    HandOver,
    Joined,
    JoinFailed,
    LetIn,
    NeighborsChanged,
    ProbePartition,
    SeekBootstrap,
)
from p2psip.reload.topology.chord.messages import NeighborView
from p2psip.reload.topology.chord.neighbor_candidates import Candidates
from p2psip.reload.topology.chord.replicas import ReplicaSet
from p2psip.reload.topology.chord.ring import advance
from p2psip.reload.topology.chord.routing_table import RoutingTable
from p2psip.reload.topology.chord.sayings import AskForUpdate, SendJoin, SendUpdate
from p2psip.reload.topology.chord.settings import ChordSettings
from p2psip.reload.topology.joining import LET_IN_PAUSE_S, Joining, JoinState

ANNOUNCE_DELAY_S = 0.1
"""Changes of the Neighbor Table that come within this time go out as one Update: when a peer comes or goes, each of
its neighbours changes its table, and tells the others."""

PRUNE_DELAY_S = 5.0
"""How long after a change of the Neighbor Table links that it left behind are closed."""

LOST_PAUSE_S = 0.5
"""How long a peer that was lost is left alone. Who names it after that sees it still, or ought to look again."""

LEFT_WAIT_S = 6.0
"""A peer that has left, and is linked after this, is asked whether it is here: two machines may be one Node-ID."""

CANDIDATE_PAUSE_S = 5.0
"""How long a candidate that we could not link with is left alone, however often we are told of it."""


DOUBT_S = 3.0
"""How long a peer that has dialled us as if it were not linked with us may take to say that it is in the ring."""
CROSSING_S = 5.0
"""A link that is younger may have come up while its other end was dialling us already."""

PLACE = "our place"
"""The key of the intent to be linked with whoever is responsible for the place behind ours."""


class NotAdmitting(P2psipError):
    """We are not the peer that may let this node in; it must look again (section 10.5)."""


class Chord:
    """The part of one node in the ring. Methods return nothing; what they want done is in `take_actions()`."""

    def __init__(
        self, node_id: NodeId, settings: ChordSettings, rng: random.Random, queue: TimerQueue | None = None
    ) -> None:
        self.node_id = node_id
        self.table = RoutingTable(node_id, settings.neighbors)
        self._queue = TimerQueue(queue)
        self.replicas = ReplicaSet(self.table, self._queue)
        self.joining = Joining(rng, self._queue)
        self._settings = settings
        self._rng = rng
        self._timers: Timers[str] = self._queue.scope()
        self._links: dict[NodeId, float] = {}
        self._sought: set[NodeId] = set()
        self._left: set[NodeId] = set()
        self._doubted: set[NodeId] = set()
        self._told: dict[NodeId, NeighborView] = {}
        self._candidates = Candidates(self.table, self._queue)
        self._admitting: dict[NodeId, NodeId] = {}
        self._serves_alone = False
        self._is_let_in = False
        self.is_leaving = False
        self._actions: list[Action] = []

    # What others ask

    @property
    def is_serving(self) -> bool:
        """True if we are a peer: a member of a ring, or a ring of our own."""
        return self.joining.is_member or self._serves_alone

    def is_responsible(self, target: bytes) -> bool:
        """True if a message for this Resource-ID ends here. A node outside of the ring is responsible for nothing."""
        return self.is_serving and self.table.is_in_range(target)

    def view(self, *, with_fingers: bool = False) -> NeighborView:
        """Our own tables, for an Update."""
        fingers = self.table.fingers if with_fingers else ()
        return NeighborView(self.table.predecessors, self.table.successors, fingers)

    def take_actions(self) -> list[Action]:
        """What is to be done since the last call, in order."""
        actions, self._actions = self._actions, []
        return actions

    def use_settings(self, settings: ChordSettings, now: float) -> None:
        """The overlay has a new configuration."""
        if settings == self._settings:
            return
        self._settings = settings
        is_changed = self.table.use_neighbors_max(settings.neighbors)
        if self.joining.is_member:
            if is_changed:
                self._neighbors_changed(self.table.range_low, now)
            self._schedule_upkeep(now)

    # Beginning and end

    def start_alone(self, now: float) -> None:
        """Be the ring: the first peer of an overlay (6.4.2.1)."""
        self._serve_alone(now)
        self._actions.append(Joined())

    def start_joining(self, now: float) -> None:
        """Look for the overlay and join it."""
        self.joining.retry_now(now)

    def hurry(self, now: float) -> None:
        """Answers to us may have gone to another: what waits for one, or for time to pass, is tried again at once."""
        self.joining.hurry(now)
        self._candidates.start_over(self._links)
        self._reconsider(now)

    def handle_gateway(self, gateway: NodeId, now: float) -> None:
        """We are linked with a node of the overlay, through which we can go and look for our place (11.4)."""
        if self.joining.state is JoinState.OUTSIDE and gateway in self._links:
            self.joining.gateway = gateway
            self._sought.add(gateway)
            self.joining.enter(JoinState.SEEKING, now)
            if self._serves_alone:
                # 10.7.1: "If connectivity is lost to all successor peers in the Neighbor Table, then this peer [...]
                # MUST use Pings to find a peer and send it a Join."
                self._actions.append(FindPeer(advance(self.node_id, 1), gateway))
            else:
                # 11.4: "send an Attach request over this connection with the destination Resource-ID set to the
                # Joining Node's Node-ID plus 1."
                self._actions.append(Connect(PLACE, advance(self.node_id, 1), gateway))

    def start_leaving(self) -> None:
        """We have told our neighbours that we go: from now on we tell nobody that we are here."""
        self.is_leaving = True
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
        """A link to `node` is up, whoever asked for it.

        `wants_full` says that its Attach had send_update. Without an Attach it came as a stranger, which looks for its
        place in the overlay through us, or we dialled it as a gateway, to look for ours or for another part.
        """
        self._left.discard(node)
        self._candidates.forgive(node)
        is_only_peer = set(self.table.peers) == {node}
        is_crossing = now < self._links.get(node, now) + CROSSING_S
        is_known = node in self._links and node in self.table and self.joining.is_member
        if is_stranger and is_known and (is_only_peer or is_crossing):
            # It dialled us to look for another part before it had this link; or the link fell silent for the only other
            # peer; or it was started again, and is in the ring no more. If it is, it says so: no ring ends for a doubt.
            self._doubted.add(node)
            self._timers.set("doubted", now + DOUBT_S, "is the other peer still in the ring?")
            self._actions.append(AskForUpdate(node))
        elif is_stranger and node == self.joining.admitting_peer and self.joining.is_being_let_in:
            # It has lost the link over which it was letting us in, and forgotten that (`handle_link_lost`).
            self._join_failed(f"{node.short} has dialled us anew", now)
        elif is_stranger:
            # Were it the peer that we know, it would know of our link: it was started again, or lost it.
            self._is_outside(node, now)
        if node not in self._links:
            self._links[node] = now
            self._told.pop(node, None)
        self._candidates.linked(node, now)
        if wants_full or not (is_stranger or is_gateway):
            self._tell(node, is_full=wants_full)
        self._go_on_joining(now)

    def _is_outside(self, node: NodeId, now: float) -> None:
        self._candidates.views.pop(node, None)
        self._sought.discard(node)
        self._candidates.shun(node, CANDIDATE_PAUSE_S, now)
        self._peer_went(node, now)

    def handle_probe_linked(self, node: NodeId, now: float) -> None:
        """We dialled `node` to look for another part of the overlay: the link is let go when that is done."""
        self._sought.add(node)
        self._prune_later(now)
        # 10.7.4.4: "P SHOULD then send a Ping for its own Node-ID routed through B. If a response is received from
        # peer S', which is not P's successor, then the overlay is partitioned". B is linked with us now, so for
        # our own Node-ID it would come back here (10.3): who is asked for is the successor, one place beyond.
        self._actions.append(FindPeer(advance(self.node_id, 1), node))

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """The link to a node failed: 10.7.1 and 10.7.2."""
        node = lost.node
        was_candidate = node in self._candidates.under_way
        for collection in (self._sought, self._left, self._doubted):
            collection.discard(node)
        self._links.pop(node, None)
        self._candidates.lost(node)
        self._told.pop(node, None)
        self._admitting.pop(node, None)
        if node in self.table:
            self._candidates.shun(node, LOST_PAUSE_S, now)
            self._peer_went(node, now)
        elif was_candidate:
            self._candidates.shun(node, CANDIDATE_PAUSE_S, now)
        is_way_in = self.joining.state is JoinState.SEEKING and node == self.joining.gateway
        if not self.joining.is_member and (is_way_in or node == self.joining.admitting_peer):
            self._join_failed(f"lost the link to {node.short}", now)
        self._go_on_joining(now)

    def handle_unreachable(self, node: NodeId, now: float) -> None:
        """A candidate could not be reached, or is no peer: leave it alone for a while, take the next best."""
        self._candidates.drop(node)
        if node not in self._links:
            self._sought.discard(node)
        self._candidates.shun(node, CANDIDATE_PAUSE_S, now)
        self._reconsider(now)
        self._go_on_joining(now)

    def handle_answered(self, key: Hashable, node: NodeId, now: float) -> None:
        """Our Attach was answered: by the Admitting Peer, if it was toward n+1, or by one for the Finger Table."""
        if key == PLACE:
            if self.joining.state is JoinState.SEEKING:
                self.joining.admitting_peer = node
                self._sought.add(node)
                self._go_on_joining(now)
        elif node not in self.table:
            self._sought.add(node)

    def handle_unanswered(self, key: Hashable, reason: str, now: float) -> None:
        """The Attach toward n+1 came to nothing; for a finger, another is sought when they are refreshed."""
        if key == PLACE and self.joining.state is JoinState.SEEKING:
            self._join_failed(reason, now)

    # Messages

    def handle_update(self, sender: NodeId, view: NeighborView | None, now: float) -> None:
        """10.7.3: a peer says what it sees; without a view, that it is ready."""
        if sender not in self._links or sender in self._left:
            return
        self._doubted.discard(sender)
        self._candidates.heard(sender, view)
        self._peer_came(sender, now)
        if sender not in self._told:
            self._tell(sender)
        if self._serves_alone and self.joining.state is JoinState.OUTSIDE:
            self.handle_gateway(sender, now)
        if view is not None and self.joining.state in (JoinState.MEETING, JoinState.MEMBER):
            self._consider(view, sender, now)
        # 10.5 step 7: "AP MUST send JN an Update explicitly labeling JN as its predecessor. At this point, JN is
        # part of the ring".
        if sender == self.joining.admitting_peer and view is not None and self.node_id in view.predecessors:
            if self.joining.state is JoinState.RECEIVING:
                self._become_member(now)
            # On a link that keeps no order it may overtake the answer to our Join.
            self._is_let_in = self.joining.state is JoinState.ASKING
        self._go_on_joining(now)

    def handle_join(self, node: NodeId, now: float) -> None:
        """A node that we are linked with asks to be let in as our predecessor (10.5 steps 5 and 6).

        Raises NotAdmitting if its place is not in our range.
        """
        # Whoever asks to be let in is outside, whatever we knew of it before it was started again.
        self._doubted.discard(node)
        self._candidates.views.pop(node, None)
        self._peer_went(node, now)
        if self.is_leaving or node == self.node_id or not self.is_responsible(node):
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
        # At once: what we send to it from now on, trusting that it is responsible, comes after this Update.
        self._told.pop(node, None)
        self._tell(node)
        self._actions.append(LetIn(node))

    def handle_admission_failed(self, node: NodeId) -> None:
        """What becomes its own did not reach the joining node: it is not let in, and will ask again."""
        self._admitting.pop(node, None)

    def handle_join_answer(self, node: NodeId, is_accepted: bool, now: float) -> None:
        """What the Admitting Peer said."""
        if self.joining.state is not JoinState.ASKING or node != self.joining.admitting_peer:
            return
        if is_accepted:
            if self._is_let_in:
                self._actions.append(AskForUpdate(node))
            self._receive_on(now)
        else:
            self._join_failed(f"{node.short} did not let us in", now)

    def handle_value_received(self, sender: NodeId, now: float) -> None:
        """A peer stored something here; while the Admitting Peer does, we have patience."""
        if self.joining.state is JoinState.RECEIVING and sender == self.joining.admitting_peer:
            self._receive_on(now)

    def _receive_on(self, now: float) -> None:
        """Where the Update that lets us in has overtaken all else, it may be one from before we were started again: the
        next one tells that no more is to come, or else a pause.
        """
        self.joining.enter(JoinState.RECEIVING, now, LET_IN_PAUSE_S if self._is_let_in else None)

    def handle_leave(self, node: NodeId, others: Iterable[NodeId], now: float) -> None:
        """10.9: "follow procedures as if it had detected a peer failure"; it names who comes next."""
        self._left.add(node)
        self._timers.set("left", now + LEFT_WAIT_S, "who has left is linked no more")
        self._candidates.views.pop(node, None)
        self._candidates.shun(node, CANDIDATE_PAUSE_S, now)
        self._peer_went(node, now)
        self._consider(NeighborView(successors=tuple(others)), None, now)

    def handle_found(self, node: NodeId, via: NodeId | None, now: float) -> None:
        """A Ping for a finger, or through `via` for our successor or another part of the overlay, found `node`."""
        if via is not None and via == self.joining.gateway and self.joining.state is JoinState.SEEKING:
            self._successor_found(node, via, now)
        is_news = via is not None or self.table.is_missing_finger(node) or bool(self.table.wanted_among([node]))
        if node != self.node_id and node not in self.table and is_news:
            self._attach(self._candidates.add(node, via, now))

    def _successor_found(self, node: NodeId, gateway: NodeId, now: float) -> None:
        if node == self.node_id:
            self._join_failed(f"{gateway.short} knows nobody but us", now)
        elif self._serves_alone and self.joining.admitting_peer is None:
            self.joining.admitting_peer = node
            self._go_on_joining(now)

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._queue.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        if self.joining.take_due(now):
            self._join_due(now)
        for node in self._candidates.take_silent(now):
            self.handle_unreachable(node, now)
        if self._candidates.take_retry(now):
            self._reconsider(now)
        self._actions += self.replicas.handle_timeout(now)
        for due in self._timers.pop_due(now):
            if due == "announce":
                for node in sorted(self._links):
                    self._tell(node)
            elif due == "update":
                self._stabilize(now)
            elif due == "prune":
                self._prune()
            elif due == "left":
                self._ask_left()
            elif due == "doubted":
                self._end_doubt(now)
            else:
                self._refresh_fingers(now)

    def _join_due(self, now: float) -> None:
        if self.joining.state is JoinState.RECEIVING and self._is_let_in:
            self._become_member(now)
        elif self.joining.state is JoinState.OUTSIDE:
            self._actions.append(SeekBootstrap())
            self.joining.retry_later(now)
        elif self.joining.state is JoinState.MEETING and self._candidates.under_way:
            self._candidates.under_way.clear()
            self._go_on_joining(now)
        else:
            self._join_failed(f"no progress while {self.joining.state.value}", now)

    def _end_doubt(self, now: float) -> None:
        for node in sorted(self._doubted):
            self._is_outside(node, now)
        self._doubted.clear()

    def _ask_left(self) -> None:
        """A leaving peer tells nobody that it is here (10.9); one that does so is another, or is here again."""
        for node in sorted(self._left & self._links.keys()):
            self._left.discard(node)
            self._actions.append(AskForUpdate(node))

    def _stabilize(self, now: float) -> None:
        """10.7.4.1: "A peer MUST periodically send an Update request to every peer in its Neighbor Table"."""
        self._timers.set("update", now + self._settings.update_interval_s * self._rng.uniform(0.8, 1.2), "stabilize")
        if self.is_leaving:
            return
        # "A peer SHOULD randomly offset these Update requests so they do not occur all at once."
        self._actions += [SendUpdate(node) for node in self.table.neighbors]
        if len(self.table.predecessors) >= 3:
            # 10.7.3: "there are three predecessors between x and R": "it SHOULD delete all data associated with R".
            self._actions.append(Forget(self.node_id, self.table.predecessors[2]))
        self._actions.append(self._find_successor())
        # 10.7.4.4: "To detect that a partitioning has occurred and to heal the overlay, a peer P MUST periodically
        # repeat the discovery process used in the initial join".
        self._actions.append(ProbePartition())

    def _find_successor(self) -> FindPeer:
        """Ask who comes after us: where others know better than we, the answer says so."""
        return FindPeer(advance(self.node_id, 1))

    def _prune(self) -> None:
        """Let go of links that we once wanted and that serve neither of us now.

        10.7.3: "x can maintain the now inferior peers as neighbors, but it MUST remember the closer ones." Only who
        wanted a link closes it: the other may route through us without our knowing.
        """
        if not self.joining.is_member:
            return
        wanted = {*self.table.neighbors, *self.table.fingers, *self._candidates.under_way, *self._admitting}
        wanted |= {
            node for node, view in self._candidates.views.items() if self.node_id in view.predecessors + view.successors
        }
        for node in sorted(self._sought & self._links.keys() - wanted):
            self._actions.append(Detach(node))

    def _prune_later(self, now: float) -> None:
        if "prune" not in self._timers:
            self._timers.set("prune", now + PRUNE_DELAY_S * self._rng.uniform(0.5, 1.5), "links no longer of use")

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
        if not self.table.add(node) or not self.joining.is_member:
            return
        if self.table.range_low != low and not has_data:
            # 6.4.2.3: "When a peer detects through an Update that it is no longer responsible for any data
            # value it is storing, it MUST attempt to Store a copy to the correct node".
            self._actions.append(HandOver(node, low, node))
        self.replicas.peer_came(now)
        self._neighbors_changed(low, now)

    def _peer_went(self, node: NodeId, now: float) -> None:
        if node not in self.table:
            return
        successor, low, finger = self.table.successors[0], self.table.range_low, self.table.finger_index(node)
        is_neighbor = self.table.remove(node)
        if not self.joining.is_member:
            return
        if is_neighbor:
            self.replicas.peer_went(node, now)
            self._neighbors_changed(low, now)
            if not len(self.table):
                # 10.7.1: "If connectivity is lost to all successor peers in the Neighbor Table, then this peer
                # SHOULD behave as if it is joining the network".
                self._serve_alone(now)
                return
            if node == successor:
                self._actions.append(self._find_successor())
            self._reconsider(now)
        if finger is not None and self._settings.is_reactive and finger in self.table.invalid_fingers():
            # 10.7.2: "If using reactive recovery, the peer MUST initiate a search for a new Finger Table entry".
            self._actions.append(self._find_finger(finger))

    def _neighbors_changed(self, low_before: NodeId, now: float) -> None:
        self._actions.append(NeighborsChanged())
        # 10.7.3: "When a peer discovers that its range of responsible IDs has changed, it MUST send an Update to all
        # entries in its Connection Table", using reactive recovery or not.
        must_tell = self._settings.is_reactive or self.table.range_low != low_before
        if must_tell and "announce" not in self._timers:
            self._timers.set("announce", now + ANNOUNCE_DELAY_S, "tell our neighbours")
        self._prune_later(now)

    def _tell(self, node: NodeId, *, is_full: bool = False) -> None:
        """Send an Update, unless it would say what the last one over this link said."""
        may_tell = self.joining.is_member or (self._serves_alone and is_full)
        view = self.view()
        if may_tell and not self.is_leaving and (is_full or self._told.get(node) != view):
            self._told[node] = view
            self._actions.append(SendUpdate(node, is_full))

    # Candidates

    def _consider(self, view: NeighborView, via: NodeId | None, now: float) -> None:
        self._attach(self._candidates.consider(view, via, self._left, now))

    def _reconsider(self, now: float) -> None:
        self._candidates.end_pauses(now)
        if self.joining.state in (JoinState.MEETING, JoinState.MEMBER):
            self._attach(self._candidates.consider_again(self._left, now))

    def _attach(self, intents: list[Connect]) -> None:
        for intent in intents:
            assert isinstance(intent.target, NodeId), "a candidate has a name"
            self._sought.add(intent.target)
            self._actions.append(intent)

    # Joining

    def _go_on_joining(self, now: float) -> None:
        """SEEKING is over when the Admitting Peer has spoken, MEETING when every candidate has, or has failed."""
        if self.joining.state is JoinState.SEEKING and self.joining.admitting_peer in self.table:
            self.joining.enter(JoinState.MEETING, now)
            self._reconsider(now)
        if self.joining.state is not JoinState.MEETING or self._candidates.under_way or not len(self.table):
            return
        successor = self.table.successors[0]
        self.joining.admitting_peer = successor
        self.joining.enter(JoinState.ASKING, now)
        self._is_let_in = False
        self._actions.append(SendJoin(successor))

    def _become_member(self, now: float) -> None:
        if self._serves_alone:
            self._actions.append(HandOver(None, self.node_id, self.table.range_low))
        elif self.joining.admitting_peer is not None:
            self.replicas.holds_already(self.joining.admitting_peer)
        self._enter_ring(now)
        self.replicas.peer_came(now)
        self._actions.append(Joined(self.joining.gateway, tuple(filter(None, [self.joining.admitting_peer]))))
        # 10.5 step 9: "JN MUST send Updates to all of the peers in its Neighbor Table."
        for node in sorted(self._links):
            self._tell(node)
        for index in self.table.invalid_fingers():
            # 10.5: "In order to set up its i'th Finger Table entry, JN MUST send an Attach to peer n+2^(128-i)."
            self._actions.append(Connect(index, self.table.finger_place(index, 0)))
        # Whom we were told of while we were being let in: others that are let in beside us.
        self._reconsider(now)
        self._prune_later(now)

    def _enter_ring(self, now: float) -> None:
        self._serves_alone = False
        self.joining.enter(JoinState.MEMBER, now)
        self._schedule_upkeep(now)

    def _schedule_upkeep(self, now: float) -> None:
        self._timers.set("update", now + self._settings.update_interval_s * self._rng.uniform(0.1, 1.0), "stabilize")
        self._timers.set("fingers", now + self._settings.ping_interval_s, "refresh fingers")

    def _serve_alone(self, now: float) -> None:
        self._serves_alone = True
        for timer in ("update", "fingers", "announce"):
            self._timers.cancel(timer)
        self.joining.retry_now(now)

    def _join_failed(self, reason: str, now: float) -> None:
        self._candidates.under_way.clear()
        self._sought &= self._links.keys()
        self._actions.append(JoinFailed(reason, has_found_overlay=self.joining.admitting_peer is not None))
        self.joining.retry_later(now)
