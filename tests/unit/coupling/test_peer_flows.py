"""The pool of SIP connections to other peers (p2psip.coupling.peer_flows), as one of its peers sees it."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import AskAnswered
from p2psip.base.ids import NodeId
from p2psip.coupling.peer_flows import (
    ABSENT_S,
    DOUBT_AGAIN_S,
    DOUBTED_S,
    PING,
    PONG,
    PONG_DOUBTFUL_S,
    PONG_MAX_S,
    UNACKNOWLEDGED_MAX_S,
    FlowOver,
    PeerFlows,
)
from p2psip.reload.node.effects import AppLinkUp
from p2psip.reload.paths.values import CutIfSilent
from p2psip.reload.wire.header import Destination
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.questions import NotLocated

REMOTE = Address("203.0.113.5", 5061)


def answers(flows: PeerFlows) -> list[object]:
    """What those who wait for a connection are told."""
    return [effect.answer for effect in flows.drain() if isinstance(effect, AskAnswered)]


def want(flows: PeerFlows, node: NodeId, now: float) -> None:
    flows.want([Destination.node(node)], node, 1001, now)


def test_a_peer_that_is_linked_again_is_called_at_once_whatever_is_remembered_of_it() -> None:
    world = SimulatedPeers("linked again", 3)
    flows, now = world[0].peer.flows, world.world.now
    nobody, linked = NodeId(bytes(15) + b"\x01"), next(iter(world[0].peer.node._connections))
    for node in (nobody, linked):
        assert flows._on_absent(node, now) == {}
    want(flows, nobody, now)
    (refused,) = answers(flows)
    assert isinstance(refused, NotLocated)
    assert refused.reason == f"peer {nobody.short} is not in the overlay"
    want(flows, linked, now)
    assert answers(flows) == []
    assert flows.waiting == 1, "a connection to it is being made"
    want(flows, nobody, now + ABSENT_S)
    assert answers(flows) == [], "after a moment it is sought again"


def up(flows: PeerFlows, node: NodeId, now: float) -> int:
    """A connection is up, and its other end has answered a keep-alive."""
    flows.up(AppLinkUp(7, node, REMOTE, REMOTE), now)
    flows.heard(7, PONG, now, is_between_messages=True)
    return 7


ANSWER = b"SIP/2.0 100 Trying\r\n\r\n"


@pytest.mark.parametrize(
    ("came", "is_between_messages", "answers"),
    [
        (PONG, True, True),
        (PONG + ANSWER, True, True),
        (PING + PONG + ANSWER, True, True),
        (PING, True, False),
        (ANSWER, True, False),
        (PONG + ANSWER, False, False),
    ],
    ids=["alone", "with an answer", "with a question", "a question", "an answer", "a part of a message"],
)
def test_who_answers_keep_alives_is_told_by_the_answer_whatever_comes_with_it(
    came: bytes, is_between_messages: bool, answers: bool
) -> None:
    """On a busy machine several things come at once."""
    world = SimulatedPeers("pong", 1)
    flows, now = world[0].peer.flows, world.world.now
    flows.up(AppLinkUp(7, NodeId(bytes(16)), REMOTE, REMOTE), now)
    flows.heard(7, came, now, is_between_messages=is_between_messages)
    flows.drain()
    assert flows.outgoing(7, b"INVITE", now) == b"INVITE" + PING
    flows.handle_timeout(now + PONG_MAX_S)
    assert [type(effect) for effect in flows.drain()] == ([FlowOver] if answers else [])


def test_one_keep_alive_is_under_way_at_a_time() -> None:
    """The answers to two, one behind the other, look like a question."""
    world = SimulatedPeers("one", 1)
    flows, now = world[0].peer.flows, world.world.now
    flows.up(AppLinkUp(7, NodeId(bytes(16)), REMOTE, REMOTE), now)
    assert flows.ping(7, now) == PING
    assert flows.outgoing(7, b"INVITE", now) == b"INVITE"
    flows.heard(7, ANSWER, now, is_between_messages=True)
    assert flows.outgoing(7, b"ACK", now) == b"ACK" + PING


def test_a_silent_peer_is_asked_after_again_as_the_ring_may_not_know_yet_that_it_is_gone() -> None:
    """For as long as a request waits for an answer, and no longer; not once something has come."""
    world = SimulatedPeers("again", 3)
    flows, now = world[0].peer.flows, world.world.now
    nobody = NodeId(bytes(15) + b"\x01")
    flows.up(AppLinkUp(7, nobody, REMOTE, REMOTE), now)
    flows.outgoing(7, b"INVITE", now)
    asked = 0
    for step in range(1, 200):
        flows.handle_timeout(now + step * PONG_DOUBTFUL_S)
        asked += nobody in flows._asked
        flows._asked.clear()
    assert asked == pytest.approx(DOUBTED_S / DOUBT_AGAIN_S, abs=1)
    flows.outgoing(7, b"another INVITE", now + 100.0)
    flows.heard(7, ANSWER, now + 100.1, is_between_messages=True)
    flows.handle_timeout(now + 110.0)
    assert nobody not in flows._asked


def test_of_who_answers_no_keep_alives_the_overlay_is_asked_whether_it_is_there() -> None:
    """A connection to a peer that has gone, and says nothing, is given up however it was before."""
    world = SimulatedPeers("gone", 3)
    flows, now = world[0].peer.flows, world.world.now
    nobody = NodeId(bytes(15) + b"\x01")
    flows.up(AppLinkUp(7, nobody, REMOTE, REMOTE), now)
    flows.outgoing(7, b"INVITE", now)
    flows.handle_timeout(now + PONG_DOUBTFUL_S)
    assert nobody in flows._asked
    flows._asked.clear()
    flows.outgoing(7, b"another INVITE", now + 60.0)
    flows.handle_timeout(now + 60.0 + PONG_DOUBTFUL_S)
    assert nobody in flows._asked, "it may have gone in the minute since"
    assert flows._on_absent(nobody, now + 1.0) == {7: f"peer {nobody.short} is not in the overlay"}
    flows.heard(7, ANSWER, now + 1.0, is_between_messages=True)
    assert flows._on_absent(nobody, now + 1.0) == {}


def test_a_connection_is_cut_if_what_goes_over_it_is_not_acknowledged() -> None:
    """That no acknowledgement comes the driver sees, whatever the other end says of keep-alives."""
    world = SimulatedPeers("cut", 1)
    flows, now = world[0].peer.flows, world.world.now
    link = up(flows, NodeId(bytes(16)), now)
    assert flows.drain() == [CutIfSilent(link, UNACKNOWLEDGED_MAX_S)]


def test_the_way_of_a_connection_that_falls_silent_is_taken_for_narrow() -> None:
    """Whether large packets vanish there or nobody is there, nobody knows."""
    world = SimulatedPeers("silent", 1)
    peer, now = world[0].peer, world.world.now
    link = up(peer.flows, NodeId(bytes(16)), now)
    assert peer.flows.outgoing(link, b"INVITE", now) == b"INVITE" + PING
    assert not peer.node._paths.is_narrow(REMOTE.host)
    peer.flows.drain()
    peer.flows.handle_timeout(now + PONG_MAX_S)
    assert [type(effect) for effect in peer.flows.drain()] == [FlowOver]
    assert peer.node._paths.is_narrow(REMOTE.host)
