"""one-hop: the topology in which every peer knows every peer (docs/decisions/one-hop.md).

Theory of operation. There is one table, the members. A member enters it when we have seen it ourselves: it has sent us
an Update or a RouteQuery over its own link, as a member, or answered a RouteQuery of ours; each of these is signed, and
of now. What others say of a third, or pass on from it, is a question (`enquiries.py`). A new member asks every member
of which its neighbours tell, and so tells all of itself, who ask it back. Who has gone its neighbours see, who watch it
by their links; they tell those whom they are linked with, who make sure and tell on. Every half minute each peer
compares its table with that of one other by a digest, and what is different is a question again: so whatever was missed
is known in the end, and parts of an overlay grow together.

Joining goes by the steps of `topology/joining.py`:

    OUTSIDE --bootstrap node linked--> SEEKING  ask it who is there
    SEEKING --its page-----------------> MEETING  Attach to those who will be our neighbours
    MEETING --no Attach outstanding----> ASKING   Join to the next member on both sides, who have what becomes ours
    ASKING  --JoinAns------------------> RECEIVING  they store it here
    RECEIVING --an Update of each that says that we have come--> MEMBER

A peer that is linked with no member serves alone, as the first one does, and looks for the others.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from itertools import islice, takewhile

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.forwarding.forwarder import response_route
from p2psip.reload.link.link import LinkLost
from p2psip.reload.topology.actions import (
    Action,
    AskNode,
    HandOver,
    Joined,
    JoinFailed,
    LetIn,
    NeighborsChanged,
    SeekBootstrap,
    Tell,
)
from p2psip.reload.topology.joining import JoinState
from p2psip.reload.topology.one_hop.circle import middle
from p2psip.reload.topology.one_hop.enquiries import Verdict, Whether
from p2psip.reload.topology.one_hop.links import WATCHED
from p2psip.reload.topology.one_hop.members import MEMBERS_MAX, Members
from p2psip.reload.topology.one_hop.messages import (
    NAMES_MAX,
    OneHopQuery,
    OneHopRouteQueryAns,
    OneHopUpdate,
    Standing,
    UpdateType,
)
from p2psip.reload.topology.one_hop.table import PRUNE_DELAY_S, UPKEEP_S, Gateway, Table
from p2psip.reload.transport.outcome import Answer, Outcome, Refused
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.rejections import Forbidden, InvalidMessage
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq, LeaveAns, LeaveReq, RouteQueryReq, UpdateAns

PAGES_PAUSE_S = 5.0
"""How often at most pages are sent to one node unasked."""


SPEAK_MAX_S = 5.0
"""How long a node that we are linked with may take to say that it is a member."""

SHUN_S = 5.0
"""How long a node that could not be linked with is left alone."""

LEFT_S = 6.0
"""How long a peer that has left is not taken for a member: what it sent before may come after its Leave."""

WAY_MAX = 16
"""Over so many at most one is asked back who has asked us over others."""

DOUBTS_A_PAGE = 8
"""Of those whom we know and a page does not so many are asked for: most have only just come."""


@dataclass(frozen=True, slots=True)
class JoinContext:
    """Our Join, at one of those who let us in."""

    node: NodeId


class OneHop(Table):
    """The topology of one peer: what happens to it."""

    @property
    def is_at_rest(self) -> bool:
        """True if nothing is under way."""
        return not len(self._awaited) and self.enquiries.is_at_rest and not self._admitting

    # Actions and time

    def drain(self, now: float) -> list[Action]:
        """What is to be done since the last call, in order."""
        if self.joining.is_member:
            self._want_links(now)
        asks = [self._asked_round(question) for question in self.enquiries.take_asks(self._heard)]
        actions, self._actions = [*self._actions, *asks], []
        return actions

    def _asked_round(self, question: AskNode) -> AskNode:
        via = None if question.via else self.way_round(question.node)
        return question if via is None else replace(question, via=(Destination.node(via),))

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._queue.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        if self.joining.take_due(now):
            self._join_due(now)
        for node in list(self._awaited.pop_due(now)):
            self._not_come(node, now)
        for _ in self._shunned.pop_due(now):
            pass
        for node in self._left.pop_due(now):
            self._may_be_back(node)
        self._actions += self._copies.handle_timeout(now)
        self.enquiries.handle_timeout(now)
        for due in self._timers.pop_due(now):
            match due:
                case "news":
                    self._spread_news(now)
                case "sync":
                    self._sync(now)
                case "upkeep":
                    self._keep_up(now)
                case _:
                    self._prune()

    def use_configuration(self, configuration: OverlayConfiguration, now: float) -> None:
        """Nothing in a configuration is about this topology but its name."""

    # Beginning and end

    def start_alone(self, now: float) -> None:
        """Be the first peer of an overlay."""
        self._serve_alone(now)
        self._actions.append(Joined())

    def start_joining(self, now: float) -> None:
        """Look for the overlay; over and over, until it is found, and again when it is lost."""
        self.joining.retry_now(now)

    def hurry(self, now: float) -> None:
        """Answers to us may have gone to another: try again at once."""
        self.joining.hurry(now)
        self._shunned.clear()
        for node in [node for node in self._sought if node not in self._links]:
            self._awaited.cancel(node)

    def handle_gateway(self, gateway: NodeId, now: float) -> None:
        """We are linked with a node of the overlay: ask it who is there."""
        if self.joining.state is JoinState.OUTSIDE and gateway in self._links:
            self.joining.gateway = gateway
            self._sought.add(gateway)
            self._named.clear()
            self.joining.enter(JoinState.SEEKING, now)
            self._ask_for_pages(gateway)

    @property
    def is_leaving(self) -> bool:
        """True from when it is told to leave."""
        return self._is_leaving

    def leave(self, now: float) -> None:
        """Say goodbye, and give what is ours to those who are nearest after us."""
        self._is_leaving = True
        self.joining.end()
        self.enquiries.end()
        for node in sorted(self._links):
            leaving = LeaveReq(self.node_id, b"")
            self._actions.append(Tell(node, MessageCode.LEAVE_REQ, leaving, transmissions_max=1))
        if self.joining.is_member and len(self.members) > 1:
            (low, high), before, after = self.members.region, self.members.at(-1), self.members.at(1)
            edge = middle(before, after)
            if before == after:
                self._actions.append(HandOver(after, low, high))
            else:
                self._actions += [HandOver(before, low, edge), HandOver(after, edge, high)]

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
        """A link to `node` is up, whoever asked for it."""
        self._left.cancel(node)
        self._shunned.cancel(node)
        if is_stranger and node in self.members:
            # It may have been started again, or look for another part of the overlay, or both of us have dialled.
            self._doubt(node, self.node_id, now, says_so=False)
        if node not in self._links:
            self._links.add(node)
            self._paged.pop(node, None)
        if node in self._awaited:
            self._awaited.set(node, now + SPEAK_MAX_S, "linked, and says nothing")
        if self._may_speak and wants_full and node not in self.members:
            self._send_pages(node, now)
        elif self._may_speak and (wants_full or not (is_stranger or is_gateway)):
            self._tell(node, UpdateType.NEWS, now)
        self._go_on_joining(now)

    def handle_probe_linked(self, node: NodeId, now: float) -> None:
        """We dialled `node` to look for another part of the overlay: whom does it know?"""
        self._sought.add(node)
        self._probed.add(node)
        self._ask_for_pages(node)
        self._timers.set("prune", now + PRUNE_DELAY_S, "links no longer of use")

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """The link to a node failed."""
        node = lost.node
        if node not in self._links:
            return
        was_way_in = self.joining.state is JoinState.SEEKING and node == self.joining.gateway
        self._unlink(node)
        was_way_in |= self.joining.state is JoinState.MEETING and not self._heard
        self._awaited.cancel(node)
        self._admitting.discard(node)
        if node in self.members:
            self._lost(node, now)
        if not self.joining.is_member and (was_way_in or node in self._admitters):
            self._join_failed(f"lost the link to {node.short}", now)
        self._go_on_joining(now)

    def handle_answered(self, key: Hashable, node: NodeId, now: float) -> None:
        """A link is on its way."""

    def handle_unanswered(self, key: Hashable, reason: str, now: float) -> None:
        """Never: who is wanted is known by name."""
        raise AssertionError("one-hop attaches to no places")

    def handle_unreachable(self, node: NodeId, now: float) -> None:
        """A node that we were to be linked with could not be reached, or could not reach us."""
        self._awaited.cancel(node)
        self._not_come(node, now)

    def handle_found(self, node: NodeId, via: NodeId | None, now: float) -> None:
        """Never."""
        raise AssertionError("one-hop looks for no places")

    def handle_not_found(self, via: NodeId | None, reason: str, now: float) -> None:
        """Never."""
        raise AssertionError("one-hop looks for no places")

    def _not_come(self, node: NodeId, now: float) -> None:
        """Leave it alone for a while; whether it is there, if it is a member, others may know."""
        self._shunned.set(node, now + SHUN_S, "try again to be linked")
        self._named.discard(node)
        if node not in self._links:
            self._sought.discard(node)
            self._doubt(node, self.node_id, now, says_so=False)
        self._go_on_joining(now)

    def handle_router(self, node: NodeId, now: float) -> None:
        """No router is nearer to a place than the peer that it belongs to, and we know that one."""

    # What others say

    def handle(self, request: Received, now: float) -> Struct:
        """A request of another to its answer. Raises a Rejection."""
        sender = request.signer.node_id
        match request.body:
            case OneHopUpdate() as body:
                self._updated(sender, body, now)
                return UpdateAns()
            case JoinReq():
                self._asked_to_admit(sender, now)
                return JoinAns()
            case LeaveReq():
                self._leaves(sender, now)
                return LeaveAns()
            case RouteQueryReq() as body:
                return self._asked(request, body, now)
        raise InvalidMessage(f"{request.code.rfc_name} is none of one-hop")

    def _updated(self, sender: NodeId, update: OneHopUpdate, now: float) -> None:
        if sender not in self._links or sender in self._left or self._is_leaving:
            return
        self._awaited.cancel(sender)
        self._heard.add(sender)
        if not self.joining.is_member:
            self._updated_outside(sender, update, now)
            return
        self._came(sender, now)
        for node in update.came[:NAMES_MAX]:
            self.enquiries.come(node, sender, now, is_news=True)
        mistaken = [node for node in update.gone[:NAMES_MAX] if self._watches(node)]
        if mistaken:
            self._tell(sender, UpdateType.NEWS, now, came=mistaken)
        for node in update.gone[:NAMES_MAX]:
            if node not in mistaken:
                self._doubt(node, sender, now)
        if update.type is UpdateType.PAGE:
            self._compare(sender, update, now)
        if update.type is not UpdateType.NEWS and update.digest != self.members.digest:
            self._differs(sender, now)

    def _watches(self, node: NodeId) -> bool:
        """Who watches a member itself, and is linked with it, knows better than others."""
        return node == self.node_id or (node in self._heard and node in self.members.beside(WATCHED))

    def _compare(self, sender: NodeId, page: OneHopUpdate, now: float) -> None:
        named = page.members[:NAMES_MAX]
        for node in named:
            self.enquiries.come(node, sender, now, is_news=sender in self._probed)
        if not named or len(page.next) != 1:
            return
        known = set(named)
        unnamed = [node for node in self.members.within(named[0], page.next[0]) if node not in known]
        unseen = [node for node in unnamed if node not in self._heard and node not in (self.node_id, sender)]
        for node in self._rng.sample(unseen, min(DOUBTS_A_PAGE, len(unseen))):
            self._doubt(node, sender, now, says_so=False)

    def _differs(self, node: NodeId, now: float) -> None:
        """Say whom we see, but not over and over: some of what is different is being asked for already."""
        last = self._paged.get(node)
        if self._may_speak and (last is None or now >= last + PAGES_PAUSE_S):
            self._send_pages(node, now)

    def _leaves(self, node: NodeId, now: float) -> None:
        self._left.set(node, now + LEFT_S, "who has left says nothing more")
        self._is_gone(node, now)

    def _asked(self, request: Received, body: RouteQueryReq, now: float) -> Struct:
        """6.4.2.4. Who asks as a member over its own link is one; who does over others is asked back, the same way."""
        sender = request.signer.node_id
        target = body.destination.node_id or body.destination.resource_id
        if target is None:
            raise Forbidden("an opaque destination cannot be asked for")
        if self.joining.is_member and _is_of_member(body) and sender not in self.members:
            if request.previous_hop == sender:
                self._came(sender, now)
            else:
                self.enquiries.asks(sender, request.previous_hop, _way_back(request), now)
        if body.send_update and self._may_speak and sender in self._links:
            # "If the requester has set the send_update flag, the responder SHOULD initiate an Update immediately".
            self._send_pages(sender, now)
        return OneHopRouteQueryAns(self.next_peer(target), self._standing(target, now))

    def _standing(self, target: bytes, now: float) -> Standing:
        if target == self.node_id:
            return Standing.MEMBER if self._may_speak else Standing.GONE
        if len(target) != len(self.node_id):
            return Standing.UNKNOWN
        return self.enquiries.standing(NodeId(target), self._heard, now)

    def handle_outcome(self, context: object, outcome: Outcome, now: float) -> None:
        """A request of ours is over."""
        match context:
            case JoinContext(node) if node in self._admitters and not isinstance(outcome, Answer):
                if self.joining.state is JoinState.ASKING:
                    self._join_failed(f"{node.short} did not let us in: {_reason(outcome)}", now)
            case JoinContext(node) if node in self._admitters and self.joining.state is JoinState.ASKING:
                self.joining.enter(JoinState.RECEIVING, now)
            case Gateway(node) if self._is_turned_away(node, outcome):
                self._join_failed(f"{node.short} is outside of the overlay as well", now)
            case Whether():
                verdict = self.enquiries.answered(context, outcome, now)
                if verdict is not None:
                    self._judged(verdict, now)

    def _is_turned_away(self, node: NodeId, outcome: Outcome) -> bool:
        if self.joining.state is not JoinState.SEEKING or node != self.joining.gateway:
            return False
        if not isinstance(outcome, Answer):
            return True
        return isinstance(outcome.body, OneHopRouteQueryAns) and outcome.body.standing is not Standing.MEMBER

    def _judged(self, verdict: Verdict, now: float) -> None:
        if not self.joining.is_member:
            return
        if verdict.is_member and verdict.node not in self.members:
            if verdict.teller != self.node_id:
                self._told_by[verdict.node] = verdict.teller
            # It has said so since: the Leave was that of another machine, or it is here again.
            self._left.cancel(verdict.node)
            self._came(verdict.node, now, is_news=verdict.is_news)
        elif not verdict.is_member and verdict.node in self.members:
            self._is_gone(verdict.node, now)

    # Joining, and letting in

    def _asked_to_admit(self, node: NodeId, now: float) -> None:
        """Whoever asks to be let in is outside, whatever we knew of it before it was started again.

        Raises Forbidden where it cannot be let in.
        """
        self._heard.discard(node)
        self._went(node, now)
        if not self._may_speak or node not in self._links or node in self._left:
            raise Forbidden(f"{self.node_id.short} cannot let others in now")
        if len(self.members) + len(self._admitting) >= MEMBERS_MAX:
            raise Forbidden(f"the overlay is full: {MEMBERS_MAX} members are as many as one-hop can do with")
        self._admitting.add(node)
        low, high = Members(node, self.members).region
        self._actions.append(HandOver(node, low, high, is_admission=True))

    def handle_handed_over(self, node: NodeId, now: float) -> None:
        """The joining node has all that we have of what becomes its own: it may call itself a member."""
        if node not in self._admitting or node not in self._links:
            return
        if self._serves_alone:
            self._enter(now)
        self._tell(node, UpdateType.NEWS, now, came=[node])
        self._actions.append(LetIn(node))

    def handle_admission_failed(self, node: NodeId) -> None:
        """What becomes its own did not reach the joining node: it is not let in, and will ask again."""
        self._admitting.discard(node)

    def handle_value_received(self, sender: NodeId, now: float) -> None:
        """While those who let us in send values, we have patience."""
        if self.joining.state is JoinState.RECEIVING and sender in self._admitters:
            self.joining.enter(JoinState.RECEIVING, now)

    def handle_copy_failed(self, node: NodeId, now: float) -> None:
        """A replica lacks something."""
        self._copies.lacks(node, now)

    def _join_due(self, now: float) -> None:
        if self.joining.state is JoinState.OUTSIDE:
            self._actions.append(SeekBootstrap())
            self.joining.retry_later(now)
        else:
            self._join_failed(f"no progress while {self.joining.state.value}", now)

    def _join_failed(self, reason: str, now: float) -> None:
        self._actions.append(JoinFailed(reason, has_found_overlay=bool(self._heard)))
        self.joining.admitting_peer = next(iter(sorted(self._heard)), None)
        self._admitters.clear()
        self._named.clear()
        self._told_by.clear()
        self.joining.retry_later(now)

    def _updated_outside(self, sender: NodeId, update: OneHopUpdate, now: float) -> None:
        if self._serves_alone and self.joining.state is JoinState.OUTSIDE:
            self.handle_gateway(sender, now)
        if len(self._named) < MEMBERS_MAX:
            self._named.update(update.members[:NAMES_MAX])
        if sender in self._admitters and self.node_id in update.came:
            self._admitters[sender] = True
            if all(self._admitters.values()):
                self._become_member(now)
                return
        self._go_on_joining(now)

    def _go_on_joining(self, now: float) -> None:
        """SEEKING is over when the gateway has spoken, MEETING when each of those who will be our neighbours has, or
        could not be reached.
        """
        if self.joining.state is JoinState.SEEKING and self.joining.gateway in self._heard and self._named:
            self.joining.enter(JoinState.MEETING, now)
        if self.joining.state is not JoinState.MEETING:
            return
        around = Members(self.node_id, {*self._named, *self._heard}).beside(WATCHED)
        for node in around:
            if node in self._heard or node in self._awaited or node in self._shunned:
                continue
            if node in self._links:
                self._ask_for_pages(node)
                self._awaited.set(node, now + SPEAK_MAX_S, "linked, and says nothing")
            else:
                if self.joining.gateway is not None:
                    self._told_by[node] = self.joining.gateway
                self._connect(node, now)
        if self._heard and not any(node in self._awaited for node in around):
            self._admitters = dict.fromkeys(Members(self.node_id, self._heard).beside(1), False)
            self.joining.admitting_peer = next(iter(self._admitters))
            self.joining.enter(JoinState.ASKING, now)
            for node in self._admitters:
                self._actions.append(Tell(node, MessageCode.JOIN_REQ, JoinReq(self.node_id), JoinContext(node)))

    def _become_member(self, now: float) -> None:
        gateway = self.joining.gateway or self.node_id
        was_alone, admitters = self._serves_alone, tuple(sorted(self._admitters))
        for node in sorted(self._heard):
            self.members.add(node)
        self._admitters.clear()
        self._enter(now)
        self._copies.entered(now)
        if was_alone:
            low, high = self.members.region
            self._actions.append(HandOver(None, high, low))
        self._actions += [Joined(self.joining.gateway, admitters), NeighborsChanged()]
        for node in sorted(self._links):
            self._tell(node, UpdateType.NEWS, now)
        for node in sorted(self._named):
            self.enquiries.come(node, gateway, now, is_news=False)
        self._named.clear()

    def _enter(self, now: float) -> None:
        self._serves_alone = False
        self.joining.enter(JoinState.MEMBER, now)
        self._compare_soon(now)
        self._timers.set("upkeep", now + UPKEEP_S * self._rng.uniform(0.1, 1.0), "look around")


def _is_of_member(query: RouteQueryReq) -> bool:
    try:
        return OneHopQuery.decode(query.overlay_specific_data).is_member
    except DecodeError:
        return False


def _way_back(request: Received) -> tuple[Destination, ...]:
    """Over whom a request has come, the last first; a peer that has put its own sign in place of names ends it."""
    route = response_route(request.message.header, request.previous_hop)
    names = takewhile(lambda entry: entry.node_id not in (None, request.signer.node_id), route)
    return tuple(Destination.node(entry.node_id) for entry in islice(names, WAY_MAX) if entry.node_id is not None)


def _reason(outcome: Outcome) -> str:
    return str(outcome.cause) if isinstance(outcome, Refused) else "no answer"
