"""What happens to one peer (p2psip.reload.topology.one_hop.topology); whole overlays: tests/conform/topology."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue
from p2psip.reload.topology.actions import Ask, Connect, HandOver, Tell
from p2psip.reload.topology.joining import JoinState
from p2psip.reload.topology.one_hop.members import MEMBERS_MAX
from p2psip.reload.topology.one_hop.messages import OneHopRouteQueryAns, OneHopUpdate, Standing, UpdateType
from p2psip.reload.topology.one_hop.topology import OneHop
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.rejections import Forbidden
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq, RouteQueryReq, UpdateAns


def nid(value: int) -> NodeId:
    return NodeId(value.to_bytes(16, "big"))


def request(sender: int, body: object) -> Any:
    return SimpleNamespace(signer=SimpleNamespace(node_id=nid(sender)), previous_hop=nid(sender), body=body)


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
    assert [action.node for action in peer.drain(2.0) if isinstance(action, Ask)] == [nid(300)]


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
