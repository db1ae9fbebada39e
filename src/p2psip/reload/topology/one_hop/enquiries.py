"""Nothing that others say of a third is believed: it is a question, which is put to those who must know.

Who is said to have come is asked itself: its answer is signed, and says whether it is a member. Of a member who is said
to have gone two of its neighbours are asked, which watch it, neither of them the one who said so, and it itself. A
neighbour that does not see it either is believed; its own answer outweighs everything; where nobody answers it is gone.
So a member that is mistaken, or lies, can bury nobody alone, and what it makes others ask is bounded. Two who say so,
of whom we may be one, are believed at once: each has made sure.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.topology.actions import Ask
from p2psip.reload.topology.one_hop.members import MEMBERS_MAX, Members
from p2psip.reload.topology.one_hop.messages import OneHopQuery, OneHopRouteQueryAns, Standing
from p2psip.reload.transport.outcome import Answer, Outcome
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.topology_messages import RouteQueryReq

OPEN_MAX = 64
"""Enquiries under way at once; the others wait."""

WAITING_MAX = 2 * MEMBERS_MAX
"""Names that wait to be asked for."""

TRANSMISSIONS = 2
"""Who does not answer in six seconds is not there."""

VOICES = 2
WITNESSES = 2
NEIGHBORHOOD = 6
"""Among so many members around the one in doubt witnesses are looked for."""

PAUSE_S = 60.0
"""How long a name that proved to be no member is left alone, however often it is named."""

DOUBT_PAUSE_S = 2.0
"""How long a member that has just proved to be there is not doubted again."""

AGAIN_S = 10.0
"""When a member is doubted again that a neighbour still sees, though it does not answer: watching takes a while."""

BURIED_S = 60.0
"""How long is remembered that a node was a member."""

REMEMBERED_MAX = 1024
"""Nodes that are left alone, and as many that are remembered."""


@dataclass(frozen=True, slots=True)
class Whether:
    """A question put to `asked`: is `node` a member?"""

    node: NodeId
    asked: NodeId


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an enquiry came to. `teller` is who had named it; with `is_news` it is worth telling others."""

    node: NodeId
    is_member: bool
    teller: NodeId | None
    is_news: bool


@dataclass(slots=True)
class _Enquiry:
    teller: NodeId | None
    is_news: bool
    is_doubt: bool
    awaited: int
    voices: set[NodeId] = field(default_factory=set)
    """Who says that it is gone."""
    is_seen: bool = False
    """A neighbour of it sees it."""


class Enquiries:
    """What one peer is making sure of."""

    def __init__(self, members: Members, queue: TimerQueue | None = None) -> None:
        self._members = members
        self._open: dict[NodeId, _Enquiry] = {}
        self._waiting: dict[NodeId | None, dict[NodeId, bool]] = {}
        """By who told of them: names, and whether they are news."""
        self._paused: dict[NodeId, float] = {}
        self._buried: dict[NodeId, float] = {}
        self._again: Timers[NodeId] = Timers(queue)
        self._asks: list[Ask] = []

    @property
    def is_at_rest(self) -> bool:
        """True if there is nothing to be made sure of."""
        return not self._open and not self._waiting

    def take_asks(self) -> list[Ask]:
        """The questions to be put since the last call."""
        asks, self._asks = self._asks, []
        return asks

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._again.next_deadline()

    def handle_timeout(self, linked: Container[NodeId], now: float) -> None:
        """Doubt again."""
        for node in self._again.pop_due(now):
            self.gone(node, self._members.own, linked, now)

    def standing(self, node: NodeId, now: float) -> Standing:
        """What we can say of another."""
        enquiry = self._open.get(node)
        is_out_of_sight = enquiry is not None and self._members.own in enquiry.voices
        if node in self._members and not is_out_of_sight:
            return Standing.MEMBER
        return Standing.GONE if is_out_of_sight or self._buried.get(node, now) > now else Standing.UNKNOWN

    def bury(self, node: NodeId, now: float) -> None:
        """It is a member no more; for a while we can say so."""
        self.forget(node)
        _remember(self._buried, node, BURIED_S, now)

    def forget(self, node: NodeId) -> None:
        """Whatever is open about it is settled, first-hand."""
        self._open.pop(node, None)
        self._again.cancel(node)
        self._paused.pop(node, None)
        self._buried.pop(node, None)

    def start_over(self) -> None:
        """We are outside of the overlay."""
        for collection in (self._open, self._waiting, self._paused, self._buried):
            collection.clear()
        self._again.clear()

    def come(self, node: NodeId, teller: NodeId | None, now: float, *, is_news: bool) -> None:
        """`teller` says that `node` is a member, which we do not know."""
        is_known = node in self._members or node in self._open or self._paused.get(node, now) > now
        if not is_known and not self._members.is_full and self._make_room(teller):
            self._waiting.setdefault(teller, {})[node] = is_news
            self._go_on()

    def gone(
        self, node: NodeId, teller: NodeId, linked: Container[NodeId], now: float, *, says_so: bool = True
    ) -> bool:
        """`teller`, perhaps we ourselves, has lost sight of a member, or, unless it `says_so`, does not know it.

        True if that is certain now.
        """
        if node not in self._members or self._paused.get(node, now) > now:
            return False
        if (enquiry := self._open.get(node)) is not None:
            enquiry.voices |= {teller} if says_so else set()
            if not enquiry.is_doubt or len(enquiry.voices) < VOICES:
                return False
            del self._open[node]
            self._go_on()
            return True
        self._open[node] = self._doubt(node, teller, linked, {teller} if says_so else set())
        return False

    def _doubt(self, node: NodeId, teller: NodeId, linked: Container[NodeId], voices: set[NodeId]) -> _Enquiry:
        around = self._members.closest(node, NEIGHBORHOOD + 1)
        able = [each for each in around if each not in (node, teller, self._members.own)]
        witnesses = sorted(able, key=lambda each: each not in linked)[:WITNESSES]
        for asked in (*witnesses, node):
            self._ask(node, asked, None)
        return _Enquiry(teller, is_news=True, is_doubt=True, awaited=1 + len(witnesses), voices=voices)

    def answered(self, context: Whether, outcome: Outcome, linked: Container[NodeId], now: float) -> Verdict | None:
        """A question was answered, or not; what is certain by now."""
        enquiry = self._open.get(context.node)
        if enquiry is None:
            return None
        said = _said(context.asked, outcome)
        enquiry.awaited -= 1
        is_settled: bool | None = None
        if context.asked == context.node and said is not None:
            is_settled = said is Standing.MEMBER
        elif said is Standing.GONE:
            is_settled = False
        enquiry.is_seen |= said is Standing.MEMBER
        if is_settled is None and enquiry.awaited:
            return None
        del self._open[context.node]
        if is_settled is None and enquiry.is_seen:
            self._again.set(context.node, now + AGAIN_S, "a member that does not answer")
        else:
            _remember(self._paused, context.node, DOUBT_PAUSE_S if is_settled else PAUSE_S, now)
        self._go_on()
        is_member = bool(is_settled) or (is_settled is None and enquiry.is_seen)
        return Verdict(context.node, is_member, enquiry.teller, enquiry.is_news)

    def _make_room(self, teller: NodeId | None) -> bool:
        """True if one more name of this teller may wait: who has told the most waits with the least."""
        if sum(map(len, self._waiting.values())) < WAITING_MAX:
            return True
        most = max(self._waiting, key=lambda each: len(self._waiting[each]))
        if len(self._waiting[most]) <= len(self._waiting.get(teller, ())) + 1:
            return False
        self._waiting[most].popitem()
        return True

    def _go_on(self) -> None:
        """Take turns among those who told: nobody keeps the names that others told waiting."""
        while self._waiting and len(self._open) < OPEN_MAX:
            asked = [enquiry.teller for enquiry in self._open.values()]
            teller = min(self._waiting, key=asked.count)
            names = self._waiting[teller]
            node = next(iter(names))
            is_news = names.pop(node)
            if not names:
                del self._waiting[teller]
            if node not in self._members and node not in self._open:
                self._open[node] = _Enquiry(teller, is_news, is_doubt=False, awaited=1)
                self._ask(node, node, teller)

    def _ask(self, node: NodeId, asked: NodeId, via: NodeId | None) -> None:
        query = RouteQueryReq(False, Destination.node(node), OneHopQuery(True).encode())
        context = Whether(node, asked)
        self._asks.append(Ask(asked, MessageCode.ROUTE_QUERY_REQ, query, context, via, TRANSMISSIONS))


def _remember(nodes: dict[NodeId, float], node: NodeId, for_s: float, now: float) -> None:
    for other in [other for other, until in nodes.items() if until <= now]:
        del nodes[other]
    if len(nodes) < REMEMBERED_MAX:
        nodes[node] = now + for_s


def _said(asked: NodeId, outcome: Outcome) -> Standing | None:
    """What the one who was asked says; None if it says nothing."""
    if not isinstance(outcome, Answer) or outcome.signer.node_id != asked:
        return None
    return outcome.body.standing if isinstance(outcome.body, OneHopRouteQueryAns) else None
