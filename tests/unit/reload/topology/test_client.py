"""p2psip.reload.topology.client_topology: what a client's topology asks for, step by step."""

from __future__ import annotations

import random

from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.link.link import LinkLost
from p2psip.reload.topology.actions import Connect, Detach, DialPeer, Joined, SeekBootstrap, Tell
from p2psip.reload.topology.chord.plugin import PLUGIN
from p2psip.reload.topology.client_topology import ATTACH_MAX_S, PAUSE_S, PRUNE_DELAY_S, ClientTopology
from p2psip.reload.topology.client_topology import HOME as ITS_HOME
from p2psip.reload.topology.joining import place_of
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.topology_messages import RouteQueryReq


def node(number: int) -> NodeId:
    return NodeId(number.to_bytes(16, "big"))


SELF, GATEWAY, HOME, NEXT, THIRD, FOURTH = map(node, (10, 5, 20, 30, 40, 50))


def started() -> ClientTopology:
    """A client whose gateway is linked."""
    configuration = OverlayConfiguration("club.example")
    client = ClientTopology(SELF, PLUGIN, configuration, lambda its: its.chord_update_interval_s, random.Random(1))
    client.start_joining(0.0)
    client.handle_timeout(0.0)
    assert client.drain(0.0) == [SeekBootstrap()]
    client.handle_linked(GATEWAY, 0.1, is_gateway=True)
    client.handle_gateway(GATEWAY, 0.1)
    assert client.drain(0.0) == [Connect(ITS_HOME, place_of(SELF), GATEWAY)]
    return client


def at_home() -> ClientTopology:
    """A client with the home that it was told of."""
    client = started()
    client.handle_answered(ITS_HOME, HOME, 0.2)
    client.handle_linked(HOME, 0.3)
    client.handle_update(HOME, (NEXT, THIRD, FOURTH, GATEWAY), 0.4)
    return client


def test_nothing_goes_through_a_node_that_sent_no_update_but_the_gateway() -> None:
    """6.5.1: "it MUST NOT route messages through B to other peers"."""
    client = started()
    assert client.next_hop(FOURTH) == GATEWAY
    client.handle_answered(ITS_HOME, HOME, 0.2)
    client.handle_linked(HOME, 0.3)
    assert client.next_hop(FOURTH) == GATEWAY
    client.handle_update(HOME, (), 0.4)
    assert client.next_hop(FOURTH) == HOME
    assert not client.is_responsible(SELF)


def test_it_attaches_to_who_comes_after_its_home() -> None:
    client = at_home()
    actions = client.drain(0.0)
    assert Joined() in actions
    assert [action for action in actions if isinstance(action, Connect) and action.key != ITS_HOME] == [
        Connect(NEXT, NEXT, HOME),
        Connect(THIRD, THIRD, HOME),
    ]
    assert client.is_connected
    assert client.home == HOME


def test_the_gateway_is_let_go() -> None:
    client = at_home()
    client.drain(0.0)
    client.handle_timeout(0.4 + PRUNE_DELAY_S)
    assert client.drain(0.0) == [Detach(GATEWAY)]


def test_who_was_not_asked_is_no_peer_of_ours() -> None:
    """Whoever has a certificate may be linked with us and send an Update."""
    client = at_home()
    stranger = node(11)
    client.handle_linked(stranger, 1.0, is_stranger=True)
    client.handle_update(stranger, (node(12),), 1.1)
    assert client.home == HOME
    assert not any(isinstance(action, Connect) and action.target == node(12) for action in client.drain(0.0))


def test_a_peer_that_cannot_reach_us_is_dialled_and_asked_for_its_update() -> None:
    client = started()
    client.handle_answered(ITS_HOME, HOME, 0.2)
    client.drain(0.0)
    client.handle_unreachable(HOME, 15.0)
    assert client.drain(0.0) == [DialPeer(HOME)]
    client.handle_linked(HOME, 16.0, is_gateway=True)
    client.handle_gateway(HOME, 16.0)
    assert client.drain(0.0) == [
        Tell(HOME, MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(True, Destination.resource(place_of(SELF))))
    ]
    client.handle_update(HOME, (), 16.1)
    assert client.home == HOME


def test_who_cannot_be_reached_at_all_is_left_alone_for_a_while() -> None:
    client = at_home()
    client.drain(0.0)
    client.handle_unreachable(NEXT, 1.0)
    client.handle_unreachable(NEXT, 1.5)
    client.drain(0.0)
    client.handle_update(HOME, (NEXT, THIRD), 2.0)
    assert Connect(NEXT, NEXT, HOME) not in client.drain(0.0)
    client.handle_timeout(1.6 + PAUSE_S)
    assert Connect(NEXT, NEXT, HOME) in client.drain(0.0)


def test_names_that_lead_nowhere_are_not_remembered() -> None:
    """However many a peer of ours makes up."""
    client = at_home()
    for number in range(100):
        now, made_up = 1.0 + number, node(3 + number)
        client.handle_update(HOME, (made_up,), now)
        for named in (made_up, NEXT, THIRD):
            client.handle_unreachable(named, now)
            client.handle_unreachable(named, now)
    assert client._sought <= {GATEWAY, HOME}


def test_a_candidate_that_says_nothing_is_given_up() -> None:
    client = at_home()
    client.drain(0.0)
    client.handle_linked(NEXT, 1.0)
    client.handle_timeout(0.4 + ATTACH_MAX_S)
    assert not any(isinstance(action, DialPeer) and action.node == NEXT for action in client.drain(0.0))
    assert client.home == HOME


def test_without_a_peer_it_begins_again() -> None:
    client = at_home()
    client.handle_link_lost(LinkLost(GATEWAY, "reset"), 1.0)
    client.drain(0.0)
    client.handle_link_lost(LinkLost(HOME, "reset"), 2.0)
    assert not client.is_connected
    client.handle_timeout(2.0)
    assert SeekBootstrap() in client.drain(0.0)


def test_a_home_whose_update_has_overtaken_its_answer_is_asked_for_another() -> None:
    """It has dialled us while its answer to the Attach was still on the way; until then it was a stranger."""
    client = started()
    client.handle_linked(HOME, 0.2)
    client.handle_update(HOME, (NEXT,), 0.2)
    assert client.home is None
    client.handle_answered(ITS_HOME, HOME, 0.3)
    asked = RouteQueryReq(True, Destination.resource(place_of(SELF)))
    assert client.drain(0.3) == [Joined(), Tell(HOME, MessageCode.ROUTE_QUERY_REQ, asked)]
    client.handle_update(HOME, (NEXT,), 0.4)
    assert client.home == HOME
