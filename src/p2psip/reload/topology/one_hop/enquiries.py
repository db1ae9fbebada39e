"""Nothing that others say of a third is believed: it is a question, which is put to those who must know.

Who is said to have come is asked itself: its answer is signed, and says whether it is a member. So is who asks us as a
member over others: they may have kept its question, and put it again when it is long gone; the answer to a question of
ours is of now.

Of a member who is said to have gone two of its neighbours are asked, which watch it, neither of them the one who said
so, and it itself. Two voices bury it, each of one that says that it is gone or has lost sight of it, we perhaps among
them; so does silence, its own and that of who sees it. Its own answer outweighs everything. So a member that is
mistaken, or lies, can bury nobody alone, and what it makes others ask is bounded.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TypeVar

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.topology.actions import AskNode
from p2psip.reload.topology.one_hop.links import WATCHED
from p2psip.reload.topology.one_hop.members import MEMBERS_MAX, Members
from p2psip.reload.topology.one_hop.messages import OneHopQuery, OneHopRouteQueryAns, Standing
from p2psip.reload.topology.one_hop.turns import Turns
from p2psip.reload.transport.outcome import Answer, Outcome, Unanswered
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination, Entry
from p2psip.reload.wire.topology_messages import RouteQueryReq

K = TypeVar("K")

OPEN_MAX = 128
"""Names that are asked for at once; the others wait."""

WAITING_MAX = 2 * MEMBERS_MAX
"""Names that wait to be asked for."""

DOUBTS_MAX = 32
"""Members of which it is made sure at once that they are there; the others wait."""

TRANSMISSIONS = 2
"""Who does not answer in six seconds is not there."""

VOICES = 2
WITNESSES = 2

PAUSE_S = 60.0
"""How long a name that has said that it is no member is left alone, however often it is named."""

SILENT_PAUSE_S = 5.0
"""The same of one that did not answer: where parts grow together, the way to it may have been another meanwhile."""

DOUBT_PAUSE_S = 2.0
"""How long a member that has just proved to be there is not doubted again."""

MISTAKEN_S = 10.0
"""How long one who has doubted it is not heard about it."""

AGAIN_S = 10.0
"""When a member is doubted again that a neighbour still sees, though it does not answer: watching takes a while."""

BURIED_S = 60.0
"""How long is remembered that a node was a member."""

REMEMBERED_MAX = 1024
"""Nodes that are left alone, as many that are remembered, and as many that were mistaken about another."""


@dataclass(frozen=True, slots=True)
class Whether:
    """A question put to `asked`, for the enquiry with this number: is `node` a member?"""

    node: NodeId
    asked: NodeId
    number: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an enquiry came to. `teller` is who had named it; with `is_news` it is worth telling others."""

    node: NodeId
    is_member: bool
    teller: NodeId
    is_news: bool


@dataclass(slots=True)
class _Coming:
    """Whether a name is that of a member."""

    teller: NodeId
    via: tuple[Entry, ...]
    is_news: bool
    number: int = 0


@dataclass(slots=True)
class _Doubt:
    """Whether a member is there still."""

    teller: NodeId
    voices: set[NodeId]
    """Who says that it is gone."""
    number: int = 0
    awaited: int = 0
    is_seen: bool = False
    """A neighbour of it sees it."""
    is_unasked: bool = False
    """A question could not be put."""


class Enquiries:
    """What one peer is making sure of."""

    def __init__(self, members: Members, queue: TimerQueue | None = None) -> None:
        self._members = members
        self._comings: Turns[_Coming] = Turns(OPEN_MAX, WAITING_MAX)
        self._doubts: dict[NodeId, _Doubt] = {}
        """Each of a member."""
        self._doubting: Turns[_Doubt] = Turns(DOUBTS_MAX, 2 * MEMBERS_MAX)
        """Whose turn it is. There is room for all: each waits for one who has said so, and for ourselves."""
        self._paused: dict[NodeId, float] = {}
        self._mistaken: dict[tuple[NodeId, NodeId], float] = {}
        self._buried: dict[NodeId, float] = {}
        self._back: dict[NodeId, float] = {}
        """Who has come back: until when what others say of its end is what they have heard of its last one."""
        self._again: Timers[tuple[NodeId, bool]] = Timers(queue)
        """Members to be doubted again, and whether that they did not answer says that they are gone."""
        self._number = 0
        self._asks: list[AskNode] = []
        self._is_over = False

    @property
    def is_at_rest(self) -> bool:
        """True if there is nothing to be made sure of."""
        return not len(self._comings) and not self._doubts

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._again.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Doubt again."""
        for node, says_so in self._again.pop_due(now):
            self.gone(node, self._members.own, now, says_so=says_so)

    def start_over(self) -> None:
        """We are outside of the overlay."""
        remembered = (self._paused, self._mistaken, self._buried, self._back)
        for collection in (self._comings, self._doubts, self._doubting, *remembered):
            collection.clear()
        self._again.clear()

    def end(self) -> None:
        """We leave: nothing is asked any more, as who asks is taken for a member."""
        self.start_over()
        self._is_over = True

    # What is known

    def standing(self, node: NodeId, linked: Container[NodeId], now: float) -> Standing:
        """What we can say of another ourselves: what is only in our table may be there as others have it in theirs."""
        doubt = self._doubts.get(node)
        is_out_of_sight = doubt is not None and self._members.own in doubt.voices
        if node in self._members and node in linked and not is_out_of_sight:
            return Standing.MEMBER
        return Standing.GONE if is_out_of_sight or self._buried.get(node, now) > now else Standing.UNKNOWN

    def bury(self, node: NodeId, now: float) -> None:
        """It is a member no more; for a while we can say so. Whom it has named another may name."""
        self.forget(node)
        self._comings.withdraw(node)
        _remember(self._buried, node, BURIED_S, now)

    def forget(self, node: NodeId) -> None:
        """Whatever is open about it is settled, first-hand."""
        self._comings.end(node)
        self._end_doubt(node)
        for says_so in (False, True):
            self._again.cancel((node, says_so))
        self._paused.pop(node, None)
        self._buried.pop(node, None)

    def is_back(self, node: NodeId, now: float) -> None:
        """A member that had gone shows itself.

        That it has gone is on its way between others still, of whom each two would make a third strike it out again,
        and tell of it, as soon as it has shown itself: without end.
        """
        _remember(self._back, node, DOUBT_PAUSE_S, now)

    # What others say

    def come(
        self, node: NodeId, teller: NodeId, now: float, *, is_news: bool, via: tuple[Entry, ...] | None = None
    ) -> None:
        """`teller` says that `node` is a member, which we do not know. It is asked by way of the teller, or `via`."""
        is_known = node in self._members or self._paused.get(node, now) > now
        if not is_known and self._comings.under_way(node) is None and not self._members.is_full and not self._is_over:
            if via is None:
                via = () if teller == self._members.own else (Destination.node(teller),)
            self._comings.wait(node, teller, _Coming(teller, via, is_news))

    def asks(self, node: NodeId, teller: NodeId, via: tuple[Entry, ...], now: float) -> None:
        """`node` has asked us as a member, by way of `teller`: it is asked back, though it be left alone otherwise."""
        self._paused.pop(node, None)
        self.come(node, teller, now, is_news=False, via=via)

    def gone(self, node: NodeId, teller: NodeId, now: float, *, says_so: bool = True) -> bool:
        """`teller`, perhaps we ourselves, has lost sight of a member, or, unless it `says_so`, does not know it.

        True if that is certain now.
        """
        is_hearsay = teller != self._members.own and self._back.get(node, now) > now
        is_heard = self._paused.get(node, now) <= now and self._mistaken.get((node, teller), now) <= now
        if node not in self._members or is_hearsay or not is_heard or self._is_over:
            return False
        doubt = self._doubts.get(node)
        if doubt is None:
            doubt = self._doubts[node] = _Doubt(teller, set())
        if not doubt.number and teller in (doubt.teller, self._members.own):
            # What we have seen ourselves does not wait for the turn of whoever has said it before.
            self._doubting.wait(node, teller, doubt)
        doubt.voices |= {teller} if says_so else set()
        if len(doubt.voices) < VOICES:
            return False
        self._end_doubt(node)
        return True

    def _end_doubt(self, node: NodeId) -> None:
        if self._doubts.pop(node, None) is not None:
            self._doubting.end(node)

    # Questions

    def take_asks(self, linked: Container[NodeId]) -> list[AskNode]:
        """The questions to be put since the last call; witnesses are those first who are `linked` with us."""
        asks: list[AskNode] = []
        if not (self._comings.waits or self._doubting.waits):
            return asks
        for node, coming in self._comings.begin():
            if node in self._members:
                self._comings.end(node)
            else:
                coming.number = self._next_number()
                asks.append(_question(Whether(node, node, coming.number), coming.via))
        for node, doubt in self._doubting.begin():
            doubt.number = self._next_number()
            asked = (*self._witnesses(node, doubt.teller, linked), node)
            doubt.awaited = len(asked)
            asks += [_question(Whether(node, each, doubt.number), ()) for each in asked]
        return asks

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _witnesses(self, node: NodeId, teller: NodeId, linked: Container[NodeId]) -> list[NodeId]:
        able = [each for each in self._members.beside(WATCHED, node) if each not in (teller, self._members.own)]
        return sorted(able, key=lambda each: each not in linked)[:WITNESSES]

    def answered(self, context: Whether, outcome: Outcome, now: float) -> Verdict | None:
        """A question was answered, or not; what is certain by now."""
        said = _said(context.asked, outcome)
        coming, doubt = self._comings.under_way(context.node), self._doubts.get(context.node)
        if coming is not None and coming.number == context.number:
            return self._has_come(context.node, coming, said, outcome, now)
        if doubt is not None and doubt.number == context.number:
            return self._weigh(context, doubt, said, outcome, now)
        if context.asked == context.node and said is Standing.MEMBER:
            # It may have said so before it went, or have been buried alive: what it says now counts.
            self.come(context.node, self._members.own, now, is_news=True)
        return None

    def _has_come(
        self, node: NodeId, coming: _Coming, said: Standing | None, outcome: Outcome, now: float
    ) -> Verdict | None:
        self._comings.end(node)
        if _is_unasked(outcome):
            return None
        is_member = said is Standing.MEMBER
        if not is_member:
            _remember(self._paused, node, SILENT_PAUSE_S if isinstance(outcome, Unanswered) else PAUSE_S, now)
        return Verdict(node, is_member, coming.teller, coming.is_news)

    def _weigh(
        self, context: Whether, doubt: _Doubt, said: Standing | None, outcome: Outcome, now: float
    ) -> Verdict | None:
        node = context.node
        doubt.awaited -= 1
        doubt.is_seen |= said is Standing.MEMBER
        doubt.is_unasked |= _is_unasked(outcome)
        if said is Standing.GONE:
            doubt.voices.add(context.asked)
        if context.asked == node and said is not None:
            is_there = said is Standing.MEMBER
            if is_there:
                self._pause_doubts(node, doubt, now)
        elif len(doubt.voices) >= VOICES:
            is_there = False
        elif doubt.awaited:
            return None
        else:
            is_there = doubt.is_seen or doubt.is_unasked
            if is_there:
                self._again.set((node, not doubt.is_unasked), now + AGAIN_S, "a member that does not answer")
        self._end_doubt(node)
        return Verdict(node, is_there, doubt.teller, is_news=True)

    def _pause_doubts(self, node: NodeId, doubt: _Doubt, now: float) -> None:
        _remember(self._paused, node, DOUBT_PAUSE_S, now)
        for mistaken in sorted({doubt.teller, *doubt.voices} - {self._members.own}):
            _remember(self._mistaken, (node, mistaken), MISTAKEN_S, now)


def _question(context: Whether, via: tuple[Entry, ...]) -> AskNode:
    query = RouteQueryReq(False, Destination.node(context.node), OneHopQuery(True).encode())
    return AskNode(context.asked, MessageCode.ROUTE_QUERY_REQ, query, context, via, TRANSMISSIONS)


def _is_unasked(outcome: Outcome) -> bool:
    return isinstance(outcome, Unanswered) and not outcome.is_sent


def _remember(nodes: dict[K, float], node: K, for_s: float, now: float) -> None:
    for other in [other for other, until in nodes.items() if until <= now]:
        del nodes[other]
    if len(nodes) < REMEMBERED_MAX:
        nodes[node] = now + for_s


def _said(asked: NodeId, outcome: Outcome) -> Standing | None:
    """What the one who was asked says; None if it says nothing."""
    if not isinstance(outcome, Answer) or outcome.signer.node_id != asked:
        return None
    return outcome.body.standing if isinstance(outcome.body, OneHopRouteQueryAns) else None
