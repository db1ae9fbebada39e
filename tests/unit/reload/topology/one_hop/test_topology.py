"""What happens to one peer (p2psip.reload.topology.one_hop.topology); whole overlays: tests/conform/topology."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue
from p2psip.reload.link.link import LinkLost
from p2psip.reload.security.roles import Signer
from p2psip.reload.topology.actions import AskNode, Connect, HandOver, Tell
from p2psip.reload.topology.joining import JoinState
from p2psip.reload.topology.one_hop.members import MEMBERS_MAX
from p2psip.reload.topology.one_hop.messages import (
    OneHopQuery,
    OneHopRouteQueryAns,
    OneHopUpdate,
    Standing,
    UpdateType,
)
from p2psip.reload.topology.one_hop.topology import WAY_MAX, OneHop
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.rejections import Forbidden
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq, LeaveReq, RouteQueryReq, UpdateAns


def nid(value: int) -> NodeId:
    return NodeId(value.to_bytes(16, "big"))


def request(sender: int, body: object, over: Sequence[int] = ()) -> Any:
    """One that has come over others, of whom we are linked with the last."""
    previous_hop, *before = map(nid, [*reversed(over), sender])
    via_list = tuple(map(Destination.node, reversed(before)))
    message = SimpleNamespace(header=SimpleNamespace(via_list=via_list))
    signer = SimpleNamespace(node_id=nid(sender))
    return SimpleNamespace(signer=signer, previous_hop=previous_hop, body=body, message=message)


AS_MEMBER = RouteQueryReq(False, Destination.node(nid(100)), OneHopQuery(True).encode())


def asks(peer: OneHop, now: float) -> list[AskNode]:
    return [action for action in peer.drain(now) if isinstance(action, AskNode)]


def alone() -> OneHop:
    peer = OneHop(nid(100), random.Random(1), 0.0)
    peer.start_alone(0.0)
    peer.drain(0.0)
    return peer


def with_member(value: int) -> OneHop:
    """A peer that has let another one in."""
    peer = alone()
    peer.handle_linked(nid(value), 0.0)
    assert isinstance(peer.handle(request(value, JoinReq(nid(value))), 0.0), JoinAns)
    peer.handle_handed_over(nid(value), 0.5)
    news = OneHopUpdate(1, b"", UpdateType.NEWS)
    assert isinstance(peer.handle(request(value, news), 1.0), UpdateAns)
    assert nid(value) in peer.members
    return peer


def test_who_joins_gets_what_becomes_its_own_and_is_told_when_it_has_it() -> None:
    peer = alone()
    peer.handle_linked(nid(200), 0.0)
    peer.handle(request(200, JoinReq(nid(200))), 0.0)
    (handed,) = [action for action in peer.drain(0.0) if isinstance(action, HandOver)]
    assert (handed.node, handed.is_admission) == (nid(200), True)
    assert peer.admitting_for(nid(190)) == [nid(200)]
    assert peer.admitting_for(nid(101)) == []
    peer.handle_handed_over(nid(200), 1.0)
    (told,) = [action.body for action in peer.drain(1.0) if isinstance(action, Tell)]
    assert isinstance(told, OneHopUpdate)
    assert told.came == (nid(200),)
    assert nid(200) not in peer.members, "it has not said yet that it is one"


def test_who_is_one_too_many_is_refused_with_the_reason() -> None:
    peer = with_member(200)
    for value in range(1000, 1000 + MEMBERS_MAX):
        peer.members.add(nid(value))
    peer.handle_linked(nid(300), 2.0)
    with pytest.raises(Forbidden, match=f"the overlay is full: {MEMBERS_MAX} members"):
        peer.handle(request(300, JoinReq(nid(300))), 2.0)


def test_who_is_not_linked_is_not_let_in() -> None:
    with pytest.raises(Forbidden):
        alone().handle(request(200, JoinReq(nid(200))), 0.0)


def test_a_name_in_an_update_is_asked_and_not_believed() -> None:
    peer = with_member(200)
    peer.drain(1.0)
    peer.handle(request(200, OneHopUpdate(1, b"", UpdateType.NEWS, came=(nid(300),))), 2.0)
    assert nid(300) not in peer.members
    assert [question.node for question in asks(peer, 2.0)] == [nid(300)]


@pytest.mark.parametrize("is_there", [True, False])
def test_who_asks_as_a_member_over_others_is_asked_back_the_same_way(is_there: bool) -> None:
    """Whoever has passed a question on can do it again when who asked it is gone: nothing in it has a date."""
    peer = with_member(200)
    for now in (2.0, 10.0):
        peer.drain(now)
        peer.handle(request(300, AS_MEMBER, over=(400, 500, 200)), now)
        assert nid(300) not in peer.members
        (question,) = asks(peer, now)
        assert question.node == nid(300)
        assert question.via == tuple(Destination.node(nid(value)) for value in (200, 500, 400))
        standing = Standing.MEMBER if is_there and now > 2 else Standing.GONE
        answer = Answer(Signer(nid(300), "x@sim.example"), OneHopRouteQueryAns(nid(300), standing), (), 0.1, 1)
        peer.handle_outcome(question.context, answer, now + 0.1)
    assert (nid(300) in peer.members) is is_there


def test_however_long_the_way_is_that_a_question_claims_to_have_come_we_send_none_so_far() -> None:
    peer = with_member(200)
    peer.drain(2.0)
    peer.handle(request(300, AS_MEMBER, over=(*range(1000, 1090), 200)), 2.0)
    (question,) = asks(peer, 2.0)
    assert len(question.via) == WAY_MAX


def test_who_asks_as_a_member_over_its_own_link_is_one() -> None:
    peer = with_member(200)
    peer.handle(request(300, AS_MEMBER), 2.0)
    assert nid(300) in peer.members


def test_who_was_struck_out_and_shows_itself_is_not_struck_out_again_for_what_goes_round_still() -> None:
    """Where many join at once that went on for ever, ten thousand Updates a second."""
    peer = with_member(200)
    for value in (300, 400, 500, 600):
        peer.handle_linked(nid(value), 2.0)
        peer.handle(request(value, AS_MEMBER), 2.0)
    gone = OneHopUpdate(1, b"", UpdateType.NEWS, gone=(nid(300),))
    for teller in (200, 400):
        peer.handle(request(teller, OneHopUpdate(1, b"", UpdateType.NEWS)), 2.0)
        peer.handle(request(teller, gone), 3.0)
    assert nid(300) not in peer.members
    peer.handle(request(300, AS_MEMBER), 3.1)
    for teller in (500, 600):
        peer.handle(request(teller, gone), 3.2)
    assert nid(300) in peer.members


def test_who_leaves_asks_nothing_more_by_which_it_would_be_taken_for_a_member() -> None:
    """While it still hands over, it hears of others, and loses its links."""
    peer = with_member(200)
    peer.leave(2.0)
    peer.handle(request(200, OneHopUpdate(1, b"", UpdateType.NEWS, came=(nid(300),))), 2.5)
    peer.handle_link_lost(LinkLost(nid(200), "reset"), 3.0)
    assert not asks(peer, 3.0)


def test_who_leaves_while_it_is_let_in_is_no_member_when_it_is() -> None:
    """Its Join has gone before its Leave, and what it is told now it is told too late."""
    peer = OneHop(nid(100), random.Random(1), 0.0)
    peer.handle_linked(nid(200), 0.0, is_gateway=True)
    peer.handle_gateway(nid(200), 0.0)
    page = OneHopUpdate(1, b"", UpdateType.PAGE, members=(nid(200),), next=(nid(200),))
    peer.handle(request(200, page), 0.1)
    assert any(isinstance(tell.body, JoinReq) for tell in peer.drain(0.1) if isinstance(tell, Tell))
    peer.leave(0.2)
    peer.drain(0.2)
    peer.handle(request(200, OneHopUpdate(1, b"", UpdateType.NEWS, came=(nid(100),))), 0.3)
    assert not peer.joining.is_member
    assert not peer.drain(0.3)


def test_who_has_left_is_let_in_only_over_another_link() -> None:
    """A Join that comes after the Leave was sent before it."""
    peer = with_member(200)
    peer.handle(request(200, LeaveReq(nid(200), b"")), 2.0)
    with pytest.raises(Forbidden):
        peer.handle(request(200, JoinReq(nid(200))), 2.1)
    peer.handle_linked(nid(200), 2.2, is_gateway=True)
    assert isinstance(peer.handle(request(200, JoinReq(nid(200))), 2.3), JoinAns)


def test_who_is_next_to_us_and_not_linked_is_reached_over_who_is_next_to_it() -> None:
    """No other is nearer to it, so nothing would find its way there by itself."""
    peer = with_member(200)
    for value in (110, 120):
        peer.members.add(nid(value))
    for value in (110, 120):
        peer.handle_linked(nid(value), 2.0)
        peer.handle(request(value, OneHopUpdate(1, b"", UpdateType.NEWS)), 2.0)
    peer.drain(2.0)
    assert peer.next_hop(nid(110)) == nid(110)
    peer.handle_link_lost(LinkLost(nid(110), "reset"), 3.0)
    actions = peer.drain(3.0)
    assert [action.via for action in actions if isinstance(action, Connect)] == [nid(120)]
    (itself,) = [action for action in actions if isinstance(action, AskNode) and action.node == nid(110)]
    assert itself.via == (Destination.node(nid(120)),)


def test_a_message_does_not_go_back_to_who_has_sent_it() -> None:
    """It knows of a member that we have not heard of, or we of one that it has not."""
    peer = with_member(200)
    peer.members.add(nid(300))
    assert peer.next_hop(nid(299)) == peer.next_hop(nid(300)) == nid(200)
    assert peer.next_hop(nid(299), nid(200)) is None
    assert peer.next_hop(nid(300), nid(200)) is None
    assert peer.next_hop(nid(210), nid(200)) is None
    assert peer.next_hop(nid(210), nid(50)) == nid(200)


def test_who_is_no_member_hears_of_those_around_us_and_that_there_may_be_others() -> None:
    """A client, when a neighbour of ours has come."""
    peer = with_member(200)
    for value in (*range(40, 100, 10), *range(110, 190, 10)):
        peer.members.add(nid(value))
    peer.handle_linked(nid(105), 2.0, is_stranger=True)
    peer.handle(request(101, AS_MEMBER), 2.0)
    peer.drain(2.0)
    peer.handle_timeout(2.2)
    (page,) = [action.body for action in peer.drain(2.1) if isinstance(action, Tell) and action.node == nid(105)]
    assert isinstance(page, OneHopUpdate)
    assert page.members == tuple(map(nid, (70, 80, 90, 100, 101, 110, 120)))
    assert page.next == (nid(130),)


def test_of_the_names_that_a_gateway_invents_nothing_is_left_when_the_join_fails() -> None:
    """For as long as it does, over and over."""
    queue, now = TimerQueue(), 0.0
    peer = OneHop(nid(100), random.Random(1), now, queue)
    gateway = nid(200)
    for attempt in range(20):
        peer.handle_linked(gateway, now, is_gateway=True)
        peer.handle_gateway(gateway, now)
        for number in range(10):
            invented = tuple(nid(1000 * (1 + attempt) + 10 * number + each) for each in range(10))
            page = OneHopUpdate(1, b"", UpdateType.PAGE, members=invented, next=invented[:1])
            peer.handle(request(200, page), now)
        assert any(isinstance(action, Connect) for action in peer.drain(now))
        for _ in range(10):
            deadline = queue.next_deadline()
            assert deadline is not None
            now = deadline.at
            peer.handle_timeout(now)
            if peer.joining.state is JoinState.OUTSIDE:
                break
    assert len(peer._told_by) + len(peer._sought) + len(peer._awaited) < 100


def test_of_itself_a_peer_knows_what_it_is() -> None:
    peer = with_member(200)
    query = RouteQueryReq(False, Destination.node(nid(100)))
    assert peer.handle(request(200, query), 2.0) == OneHopRouteQueryAns(nid(100), Standing.MEMBER)
    peer.leave(3.0)
    assert peer.handle(request(200, query), 3.0) == OneHopRouteQueryAns(nid(100), Standing.GONE)
