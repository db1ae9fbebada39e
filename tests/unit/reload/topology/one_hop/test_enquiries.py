"""What others say is a question (p2psip.reload.topology.one_hop.enquiries)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.security.roles import Signer
from p2psip.reload.topology.actions import AskNode
from p2psip.reload.topology.one_hop.enquiries import (
    AGAIN_S,
    BURIED_S,
    DOUBT_PAUSE_S,
    DOUBTS_MAX,
    MISTAKEN_S,
    OPEN_MAX,
    PAUSE_S,
    SILENT_PAUSE_S,
    WAITING_MAX,
    Enquiries,
    Verdict,
    Whether,
)
from p2psip.reload.topology.one_hop.members import MEMBERS_MAX, Members
from p2psip.reload.topology.one_hop.messages import OneHopQuery, OneHopRouteQueryAns, Standing
from p2psip.reload.transport.outcome import Answer, Outcome, Unanswered
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingAns
from p2psip.reload.wire.topology_messages import RouteQueryReq

ME = 100
SILENCE = Unanswered(())
UNASKED = Unanswered((), is_sent=False)


def nid(value: int) -> NodeId:
    return NodeId(value.to_bytes(16, "big"))


class Bench:
    """A peer at 100 with others at 10, 20, ... 190, linked with some."""

    def __init__(self, others: Iterable[int] = range(10, 200, 10), linked: Iterable[int] = (90, 110)) -> None:
        self.members = Members(nid(ME), map(nid, others))
        self.linked = {nid(value) for value in linked}
        self.enquiries = Enquiries(self.members)
        self._asks: list[AskNode] = []
        self._numbers: dict[NodeId, int] = {}

    def asks(self) -> list[AskNode]:
        """The questions since the last call."""
        self._collect()
        asks, self._asks = self._asks, []
        return asks

    def _collect(self) -> None:
        for ask in self.enquiries.take_asks(self.linked):
            assert isinstance(ask.context, Whether)
            self._numbers[ask.context.node] = ask.context.number
            self._asks.append(ask)

    def asked(self) -> dict[int, int]:
        """Who is asked, about whom."""
        found = {}
        for ask in self.asks():
            assert isinstance(ask.context, Whether)
            assert ask.context.asked == ask.node
            found[int.from_bytes(ask.node, "big")] = int.from_bytes(ask.context.node, "big")
        return found

    def come(self, node: int, teller: int, now: float = 0.0, *, is_news: bool = False) -> None:
        self.enquiries.come(nid(node), nid(teller), now, is_news=is_news)

    def gone(self, node: int, teller: int, now: float = 0.0, *, says_so: bool = True) -> bool:
        """True if that is certain now."""
        return self.enquiries.gone(nid(node), nid(teller), now, says_so=says_so)

    def say(
        self, about: int, asked: int, says: bool | None, now: float = 1.0, *, signer: int | None = None
    ) -> Verdict | None:
        """One who was asked says something; None for nothing."""
        standing = Standing.MEMBER if says else Standing.GONE
        outcome = SILENCE if says is None else answer(asked if signer is None else signer, standing)
        return self.hear(about, asked, outcome, now)

    def hear(self, about: int, asked: int, outcome: Outcome, now: float = 1.0) -> Verdict | None:
        """What became of the last question put to `asked`."""
        self._collect()
        return self.enquiries.answered(Whether(nid(about), nid(asked), self._numbers[nid(about)]), outcome, now)

    def standing(self, node: int, now: float = 0.0) -> Standing:
        return self.enquiries.standing(nid(node), self.linked, now)


def answer(signer: int, standing: Standing) -> Outcome:
    body = OneHopRouteQueryAns(nid(signer), standing)
    return Answer(Signer(nid(signer), f"{signer}@sim.example"), body, (), 0.1, 1)


# Who is said to have come


def test_who_is_said_to_have_come_is_asked_itself_by_way_of_who_said_so() -> None:
    bench = Bench()
    bench.come(55, teller=90)
    (ask,) = bench.asks()
    assert (ask.node, ask.via, ask.code) == (nid(55), (Destination.node(nid(90)),), MessageCode.ROUTE_QUERY_REQ)
    assert isinstance(ask.body, RouteQueryReq)
    assert OneHopQuery.decode(ask.body.overlay_specific_data).is_member, "who asks tells of itself"
    assert bench.say(55, 55, True) == Verdict(nid(55), True, nid(90), False)
    assert bench.enquiries.is_at_rest


def test_whose_answer_is_that_it_is_none_or_who_does_not_answer_is_no_member() -> None:
    for says in (False, None):
        bench = Bench()
        bench.come(55, teller=90, is_news=True)
        assert bench.say(55, 55, says) == Verdict(nid(55), False, nid(90), True)


def test_an_answer_that_another_signed_or_of_another_kind_says_nothing() -> None:
    bench = Bench()
    bench.come(55, teller=90)
    assert bench.say(55, 55, True, signer=90) == Verdict(nid(55), False, nid(90), False)
    bench = Bench()
    bench.come(55, teller=90)
    other = Answer(Signer(nid(55), "55@sim.example"), PingAns(1, 1), (), 0.1, 1)
    verdict = bench.hear(55, 55, other)
    assert verdict is not None
    assert not verdict.is_member


@pytest.mark.parametrize(("says", "pause_s"), [(False, PAUSE_S), (None, SILENT_PAUSE_S)])
def test_a_name_that_is_no_member_is_left_alone_for_a_while_however_often_it_is_named(
    says: bool | None, pause_s: float
) -> None:
    """For long if it has said so; if it has said nothing, the way to it may have been another meanwhile."""
    bench = Bench()
    bench.come(55, teller=90)
    bench.say(55, 55, says, now=6.0)
    bench.asks()
    bench.come(55, teller=110, now=6.0 + pause_s - 1)
    assert bench.asks() == []
    bench.come(55, teller=110, now=6.0 + pause_s)
    assert bench.asked() == {55: 55}


def test_it_is_forgiven_at_once_if_it_shows_itself() -> None:
    bench = Bench()
    bench.come(55, teller=90)
    bench.say(55, 55, None, now=6.0)
    bench.asks()
    bench.enquiries.forget(nid(55))
    bench.come(55, teller=90, now=7.0)
    assert bench.asked() == {55: 55}


def test_who_is_known_or_being_asked_for_is_not_asked_for() -> None:
    bench = Bench()
    bench.come(20, teller=90)
    bench.come(55, teller=90)
    bench.come(55, teller=110)
    assert bench.asked() == {55: 55}


def test_names_without_end_are_asked_for_a_few_at_a_time_and_others_do_not_wait_for_it() -> None:
    """One member makes up thousands."""
    bench = Bench()
    for name in range(1000, 9000):
        bench.come(name, teller=90)
    assert len(bench.asks()) == OPEN_MAX // 2
    assert len(bench.enquiries._comings) <= OPEN_MAX + WAITING_MAX
    for name in range(9000, 9010):
        bench.come(name, teller=110)
    assert list(bench.asked()) == list(range(9000, 9010)), "the honest one's turn comes at once"


def test_where_there_is_no_room_nobody_is_asked_for() -> None:
    bench = Bench(others=range(1000, 1000 + MEMBERS_MAX))
    bench.come(55, teller=1000)
    assert bench.asks() == []


# Who is said to have gone


def test_who_is_said_to_have_gone_is_asked_and_so_are_two_of_its_neighbours_not_who_said_so() -> None:
    bench = Bench()
    bench.gone(50, teller=40)
    assert bench.asked() == {60: 50, 70: 50, 50: 50}


def test_a_neighbour_that_we_are_linked_with_is_asked_first() -> None:
    bench = Bench(linked=[80])
    bench.gone(50, teller=40)
    assert 80 in bench.asked()


def test_one_member_alone_buries_nobody() -> None:
    """It answers itself: whatever a mistaken neighbour says later."""
    bench = Bench()
    bench.gone(50, teller=40)
    assert bench.say(50, 50, True) == Verdict(nid(50), True, nid(40), True)
    assert bench.say(50, 60, False) is None
    bench.gone(50, teller=70, now=1.0 + DOUBT_PAUSE_S / 2)
    bench.asks()
    assert bench.enquiries.is_at_rest, "it has just been asked for"
    bench.gone(50, teller=40, now=1.0 + MISTAKEN_S / 2)
    bench.asks()
    assert bench.enquiries.is_at_rest, "that one was mistaken"
    bench.gone(50, teller=70, now=1.0 + MISTAKEN_S / 2)
    assert set(bench.asked().values()) == {50}


def test_who_has_come_back_is_not_struck_out_for_what_others_have_heard_before() -> None:
    """But what we see ourselves counts, and so does what they still say a little later."""
    bench = Bench()
    bench.enquiries.is_back(nid(50), 1.0)
    soon, later = 1.0 + DOUBT_PAUSE_S / 2, 1.0 + DOUBT_PAUSE_S
    assert not any(bench.gone(50, teller=teller, now=soon) for teller in (40, 60, 70))
    assert not bench.asked()
    assert not bench.gone(50, teller=ME, now=soon)
    assert set(bench.asked().values()) == {50}
    assert bench.gone(50, teller=40, now=later)


def test_what_one_says_and_a_neighbour_confirms_is_believed_at_once() -> None:
    bench = Bench()
    bench.gone(50, teller=40)
    assert bench.say(50, 60, False) == Verdict(nid(50), False, nid(40), True)


def test_what_two_say_is_believed_at_once() -> None:
    """Each of them has made sure of it."""
    bench = Bench()
    assert not bench.gone(50, teller=40)
    assert not bench.gone(50, teller=40)
    assert bench.gone(50, teller=70)
    assert bench.enquiries.is_at_rest


def test_what_one_says_and_we_have_seen_ourselves_is_believed_at_once() -> None:
    bench = Bench()
    assert not bench.gone(50, teller=ME)
    assert bench.gone(50, teller=70)


def test_who_does_not_know_a_member_does_not_say_that_it_is_gone() -> None:
    bench = Bench()
    assert not bench.gone(50, teller=40, says_so=False)
    assert not bench.gone(50, teller=70, says_so=False)
    assert not bench.gone(50, teller=80)
    assert bench.gone(50, teller=90)


def test_where_nobody_answers_it_is_gone() -> None:
    bench = Bench()
    bench.gone(50, teller=40)
    assert bench.say(50, 60, None) is None
    assert bench.say(50, 70, None) is None
    assert bench.say(50, 50, None) == Verdict(nid(50), False, nid(40), True)


def test_as_long_as_a_neighbour_sees_it_it_stays_and_is_asked_for_again() -> None:
    """The neighbour may find out only later that it has lost it."""
    bench = Bench()
    bench.gone(50, teller=40)
    bench.asks()
    bench.say(50, 60, True)
    bench.say(50, 70, None)
    assert bench.say(50, 50, None, now=6.0) == Verdict(nid(50), True, nid(40), True)
    deadline = bench.enquiries.next_deadline()
    assert deadline is not None
    assert deadline.at == 6.0 + AGAIN_S
    bench.enquiries.handle_timeout(6.0 + AGAIN_S)
    assert set(bench.asked().values()) == {50}


def test_a_neighbour_that_does_not_see_it_says_nothing_for_it_or_against_it() -> None:
    """So two that have it in their tables, and no link with it, do not keep it alive for one another."""
    for is_there in (True, None):
        bench = Bench()
        bench.gone(50, teller=40)
        for asked in (60, 70):
            assert bench.hear(50, asked, answer(asked, Standing.UNKNOWN)) is None
        assert bench.say(50, 50, is_there) == Verdict(nid(50), bool(is_there), nid(40), True)


def test_a_single_neighbour_buries_nobody_whom_nobody_else_has_lost_sight_of() -> None:
    """A doubt of our own that says nothing yet, as of a dial that failed."""
    bench = Bench()
    assert not bench.gone(50, ME, says_so=False)
    first, second = (node for node in bench.asked() if node != 50)
    assert bench.say(50, first, False) is None
    assert bench.say(50, 50, True) == Verdict(nid(50), True, nid(ME), True)
    assert not bench.gone(50, ME, 5.0, says_so=False)
    assert bench.say(50, first, False) is None
    assert bench.say(50, second, False) == Verdict(nid(50), False, nid(ME), True), "two do"


def test_a_question_that_could_not_be_put_says_nothing() -> None:
    """Too many requests were open: it is doubted again, and a name may be named again."""
    bench = Bench()
    bench.gone(50, teller=40)
    for asked in (60, 70):
        bench.say(50, asked, None)
    assert bench.hear(50, 50, UNASKED, 6.0) == Verdict(nid(50), True, nid(40), True)
    bench.asks()
    bench.enquiries.handle_timeout(6.0 + AGAIN_S)
    assert set(bench.asked().values()) == {50}
    assert bench.standing(50) is not Standing.GONE, "that is no sign that it has gone"
    bench.come(55, teller=90)
    assert bench.hear(55, 55, UNASKED) is None
    bench.asks()
    bench.come(55, teller=90)
    assert bench.asked() == {55: 55}


def test_an_answer_of_an_earlier_enquiry_settles_none_and_who_was_buried_alive_is_asked() -> None:
    bench = Bench()
    bench.gone(50, teller=40)
    earlier = {ask.node: ask.context for ask in bench.asks()}
    assert bench.gone(50, teller=70)
    bench.members.remove(nid(50))
    bench.enquiries.bury(nid(50), 1.0)
    late = earlier[nid(50)]
    assert isinstance(late, Whether)
    assert bench.enquiries.answered(late, answer(50, Standing.MEMBER), 1.5) is None
    assert bench.asked() == {50: 50}, "it may have said so before it went"
    assert bench.say(50, 50, True) == Verdict(nid(50), True, nid(ME), True)
    bench.members.add(nid(50))
    bench.gone(50, teller=40, now=5.0)
    bench.asks()
    witness = earlier[nid(60)]
    assert isinstance(witness, Whether)
    assert bench.enquiries.answered(witness, answer(60, Standing.GONE), 5.5) is None
    assert not bench.gone(50, teller=40, now=5.5), "that was another time"


def test_of_how_many_so_ever_is_said_that_they_have_gone_a_few_are_asked_for_at_a_time() -> None:
    """And what we have lost sight of ourselves does not wait for that."""
    bench = Bench(others=range(1000, 1300))
    for value in range(1000, 1299):
        bench.gone(value, teller=1299)
    assert len({ask.context.node for ask in bench.asks()}) == DOUBTS_MAX // 2
    assert not bench.gone(1298, teller=ME, says_so=False)
    assert set(bench.asked().values()) == {1298}


def test_who_waits_to_be_asked_for_is_buried_by_two_as_well() -> None:
    bench = Bench(others=range(1000, 1300))
    for value in range(1000, 1290):
        assert not bench.gone(value, teller=1299)
    bench.asks()
    assert bench.gone(1289, teller=1298)
    assert bench.gone(1000, teller=1298)
    assert 1001 not in bench.asked().values(), "it is under way already"


def test_who_leaves_asks_nothing() -> None:
    """It would be taken for a member."""
    bench = Bench()
    bench.come(55, teller=90)
    bench.gone(50, teller=40)
    bench.enquiries.end()
    bench.come(56, teller=90)
    bench.gone(60, teller=40)
    assert bench.asks() == []


def test_what_we_say_of_others() -> None:
    """Of whom we have lost sight, or have buried lately, that it is gone."""
    bench = Bench(linked=(50, 60, 90))
    assert bench.standing(50) is Standing.MEMBER
    assert bench.standing(55) is Standing.UNKNOWN
    assert bench.standing(40) is Standing.UNKNOWN, "others say that it is there"
    bench.gone(50, teller=40)
    assert bench.standing(50) is Standing.MEMBER
    bench.gone(60, teller=ME)
    assert bench.standing(60) is Standing.GONE
    bench.members.remove(nid(70))
    bench.enquiries.bury(nid(70), 0.0)
    assert bench.standing(70, BURIED_S - 1) is Standing.GONE
    assert bench.standing(70, BURIED_S) is Standing.UNKNOWN


def test_with_nobody_else_it_is_asked_itself() -> None:
    bench = Bench(others=[50], linked=[])
    bench.gone(50, teller=ME)
    assert bench.asked() == {50: 50}
    assert bench.say(50, 50, None) == Verdict(nid(50), False, nid(ME), True)


def test_who_is_no_member_is_not_doubted() -> None:
    bench = Bench()
    bench.gone(55, teller=90)
    assert bench.asks() == []
