"""How a node finds the overlay, and another part of it (RFC 6940 section 10.7.4.4, 11.4)."""

from __future__ import annotations

import pytest
from candidates import Dial, addresses_of
from node_bench import ME, Heard, NodeBench, address, nid, offer

from p2psip.base.address import Address
from p2psip.reload.config.configuration import BootstrapNode
from p2psip.reload.node.connecting.bootstrap import ASK_AFTER_S, OUTSIDERS_S
from p2psip.reload.node.connecting.coming_in.lost_neighbors import (
    LOOK_FIRST_S,
    LOOK_LATER_S,
    LOOK_MAX_S,
    LOST_LONG_S,
)
from p2psip.reload.node.effects import ConfigurationOutdated, ContactsChanged
from p2psip.reload.node.limits import CONTACTS_KEPT
from p2psip.reload.paths.dialling import DIAL_MAX_S
from p2psip.reload.paths.offers import LINK_WAIT_S
from p2psip.reload.paths.values import Purpose
from p2psip.reload.topology.chord.ring import advance
from p2psip.reload.topology.joining import RETRY_FIRST_S, RETRY_MAX_S, JoinState
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingAns, PingReq
from p2psip.reload.wire.storage_messages import DictionarySpecifier, FetchReq, StoredDataSpecifier
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq
from p2psip.sim.invariants import chord_of


def start(**settings: object) -> NodeBench:
    """A node that looks for the overlay; the configured bootstrap node is 1."""
    bench = NodeBench(**settings)  # type: ignore[arg-type]
    bench.node.start(0.0)
    bench.settle()
    bench.run_for(0.0)
    return bench


def dialled(bench: NodeBench) -> Dial:
    """The one dialling under way."""
    (dial,) = bench.dials()
    return dial


@pytest.mark.must("10.5/1", "10.5/3", "11.4/1", "11.4/2", "11.4/3")
def test_11_4_joining_through_the_bootstrap_node() -> None:
    """The whole way, message by message."""
    bench = start()
    dial = dialled(bench)
    assert (dial.purpose, addresses_of(dial)) == (Purpose.RELOAD, (address(1),))
    bench.link(1, dial.link)
    attach = bench.hear_one(1)
    place = Destination.resource(advance(nid(ME), 1))
    assert attach.header.destination_list == (Destination.node(nid(1)), place)
    bench.answer(1, attach, MessageCode.ATTACH_ANS, offer(150, b"active"), signer=150)
    bench.link(150)
    bench.update(150)
    bench.heard(150, MessageCode.UPDATE_ANS)
    join = bench.hear_one(150)
    assert join.body == JoinReq(nid(ME))
    bench.answer(150, join, MessageCode.JOIN_ANS, JoinAns())
    assert not bench.node.is_serving
    bench.update(150, predecessors=(ME,))
    assert chord_of(bench.node).joining.is_member
    assert bench.notes("joined")


@pytest.mark.must("6.5.1.14/1")
def test_the_admitting_peer_may_be_linked_before_it_answers() -> None:
    """As the bootstrap node is, or who was quick to dial: then no further link is waited for."""
    bench = start()
    bench.link(1, dialled(bench).link)
    attach = bench.hear_one(1)
    bench.answer(1, attach, MessageCode.ATTACH_ANS, offer(1, b"active"), signer=1)
    bench.update(1)
    bench.answer(1, bench.heard(1)[-1], MessageCode.JOIN_ANS, JoinAns())
    bench.update(1, predecessors=(ME,))
    bench.run_for(LINK_WAIT_S + 1)
    assert bench.notes("joined")
    assert bench.notes("attach failed") == []


def refusal() -> ErrorResponse:
    """What a node says that is outside itself."""
    return ErrorResponse.of(ErrorCode.NOT_FOUND, "no way")


def test_who_hears_that_the_way_in_is_outside_itself_takes_another_at_once() -> None:
    """It would wait three times for an answer that cannot come, while others do the same through it."""
    bench = start()
    bench.link(1, dialled(bench).link)
    bench.answer(1, bench.hear_one(1, MessageCode.ATTACH_REQ), MessageCode.ERROR, refusal())
    bench.link(2)
    bench.run_for(3 * RETRY_FIRST_S)
    attaches = [*bench.heard(1, MessageCode.ATTACH_REQ), *bench.heard(2, MessageCode.ATTACH_REQ)]
    assert len(attaches) == 1


def test_who_serves_alone_hears_that_the_way_in_is_outside_itself() -> None:
    """It asks with a Ping (10.7.1)."""
    bench = start(may_start_alone=True)
    bench.dial_failed(dialled(bench).link)
    assert bench.node.is_serving
    bench.link(1, dialled_soon(bench).link)
    bench.answer(1, bench.hear_one(1, MessageCode.PING_REQ), MessageCode.ERROR, refusal())
    bench.run_for(2 * RETRY_MAX_S)
    assert bench.heard(1, MessageCode.PING_REQ)


def test_who_serves_alone_does_not_ask_a_client_for_its_place_over_and_over() -> None:
    """That one passes nothing on, and says so each time: it is asked as seldom as who says nothing."""
    bench = start(may_start_alone=True)
    bench.dial_failed(dialled(bench).link)
    bench.link(1, dialled_soon(bench).link)
    asked = 0
    for _ in range(120):
        for ping in bench.heard(1, MessageCode.PING_REQ):
            asked += 1
            refused = ErrorResponse.of(ErrorCode.FORBIDDEN, "this node is a client, it passes nothing on")
            bench.answer(1, ping, MessageCode.ERROR, refused)
        bench.run_for(1.0)
    assert 1 <= asked <= 120 / 10


def test_the_first_peer_does_not_begin_an_overlay_because_one_other_is_outside() -> None:
    """That one may look for an overlay that there is; only when nobody has led into one for a while is there none."""
    bench = start(may_start_alone=True)
    bench.link(1, dialled(bench).link)
    while not bench.node.is_serving:
        for attach in bench.heard(1, MessageCode.ATTACH_REQ):
            bench.answer(1, attach, MessageCode.ERROR, refusal())
        bench.run_for(0.1)
    assert OUTSIDERS_S <= bench.now <= OUTSIDERS_S + 1.5 * RETRY_MAX_S


@pytest.mark.parametrize("code", [MessageCode.ATTACH_REQ, MessageCode.PING_REQ])
def test_who_looks_for_a_place_through_a_node_that_is_outside_is_told_so(code: MessageCode) -> None:
    bench = start()
    bench.link(7)
    place = Destination.resource(advance(nid(7), 1))
    body = offer(7) if code is MessageCode.ATTACH_REQ else PingReq()
    bench.send(7, code, body, destinations=(Destination.node(nid(ME)), place))
    error = bench.hear_one(7, MessageCode.ERROR).body
    assert isinstance(error, ErrorResponse)
    assert error.error_code is ErrorCode.NOT_FOUND


def test_what_comes_by_routing_to_a_node_that_is_outside_or_is_no_search_for_a_peer_is_dropped() -> None:
    """Its sender hears nothing, and sends it another way: an error would be the end of it."""
    bench = start()
    bench.link(7)
    place = advance(nid(7), 1)
    bench.send(7, MessageCode.PING_REQ, PingReq(), destinations=(Destination.resource(place),))
    asked = FetchReq(place, (StoredDataSpecifier(1, 0, DictionarySpecifier(())),))
    through_us = (Destination.node(nid(ME)), Destination.resource(place))
    bench.send(7, MessageCode.FETCH_REQ, asked, destinations=through_us)
    assert bench.heard(7) == []
    assert len(bench.notes("message dropped")) == 2


def test_a_join_answer_of_another_is_discarded() -> None:
    """6.4.2.1: "Joining Nodes MUST verify that the signature on the JoinAns message matches the expected target"."""
    bench = start()
    bench.link(1, dialled(bench).link)
    bench.answer(1, bench.hear_one(1), MessageCode.ATTACH_ANS, offer(150, b"active"), signer=150)
    bench.link(150)
    bench.update(150)
    bench.heard(150, MessageCode.UPDATE_ANS)
    bench.answer(150, bench.hear_one(150), MessageCode.JOIN_ANS, JoinAns(), signer=1)
    assert chord_of(bench.node).joining.state is JoinState.ASKING


def test_one_dialling_at_a_time() -> None:
    """A bootstrap node that is slow is not dialled again and again meanwhile."""
    bench = start()
    dial = dialled(bench)
    bench.run_for(DIAL_MAX_S - 1)
    assert bench.dials() == []
    bench.dial_failed(dial.link)
    for _ in range(60):
        bench.run_for(1.0)
        assert len(bench.node._connections.dialled_for()) <= 1
    assert len(bench.dials()) > 1


def test_remembered_nodes_are_tried_together_with_the_configured_ones() -> None:
    """11.4: "as an optimization it MAY attempt to use one or more of them"; all of them in time, not the first only."""
    contacts = [address(place) for place in range(10, 20)]
    bench, tried = start(contacts=contacts), set()
    for _ in range(40):
        for dial in bench.dials():
            assert address(1) in addresses_of(dial)
            tried |= set(addresses_of(dial))
            bench.dial_failed(dial.link)
        bench.run_for(50.0)
    assert tried == {*contacts, address(1)}


def test_our_own_addresses_are_not_dialled() -> None:
    """A bootstrap node is in its own configuration."""
    bench = NodeBench(contacts=[address(ME)], may_start_alone=True)
    bench.node.use_addresses({purpose: (address(ME), address(1)) for purpose in Purpose}, 0.0)
    bench.node.start(0.0)
    bench.settle()
    bench.run_for(0.0)
    assert bench.dials() == []
    assert bench.node.is_serving


def test_who_leaves_before_it_was_in_does_not_begin_again_with_another_address() -> None:
    """The network may come or go while a machine is shut down."""
    bench = start()
    bench.dial_failed(dialled(bench).link)
    bench.node.leave(1.0)
    bench.node.use_addresses({Purpose.RELOAD: (address(ME),)}, 1.0)
    bench.run_for(300.0)
    assert bench.dials() == []


def test_6_4_2_1_only_who_may_begins_the_overlay() -> None:
    """ "some mechanism whereby nodes can determine that they are potentially the first node"."""
    for may in (False, True):
        bench = start(may_start_alone=may)
        bench.dial_failed(dialled(bench).link)
        assert bench.node.is_serving is may
        # What is right for the first peer does not look like a failure.
        assert bool(bench.notes("no way into the overlay yet")) is not may
        assert bool(bench.notes("begins the overlay")) is may
        assert bool(bench.node.trouble) is not may


def test_a_client_never_begins_the_overlay() -> None:
    """4.2: it has no "routing or storage responsibilities". Neither where its operator says that it may, nor at the
    address of a bootstrap node.
    """
    bench = start(may_start_alone=True, is_client=True)
    bench.dial_failed(dialled(bench).link)
    bench.node.use_addresses({Purpose.RELOAD: (address(1),)}, bench.now)
    bench.run_for(300.0)
    assert not bench.node.is_connected
    assert bench.notes("no way into the overlay yet")


def dialled_soon(bench: NodeBench) -> Dial:
    """The next that is dialled, within 40 s."""
    for _ in range(40):
        if found := bench.dials():
            return found[0]
        bench.run_for(1.0)
    raise AssertionError("nobody is dialled")


def test_who_is_not_admitted_knows_it_and_says_it_once() -> None:
    """Links that come up and are closed before the other end has said anything: a revoked peer hears no more."""
    bench = start()
    bench.acknowledges = False
    for attempt in range(3):
        bench.link(1, dialled_soon(bench).link)
        bench.drop(1)
        assert "192.0.2.1:6084 does not admit this peer" in bench.node.trouble
        assert len(bench.notes("not admitted")) == 1
        assert len(bench.take(ConfigurationOutdated)) == (0 if attempt else 1)
    bench.dial_failed(dialled_soon(bench).link)
    assert "does not admit" in bench.node.trouble


def test_who_dials_us_several_times_and_keeps_one_of_these_links_does_not_shut_us_out() -> None:
    """As a joiner does that reaches its first peer by several ways at once."""
    bench = start()
    bench.acknowledges = False
    for has_another in (False, True):
        dropped = bench.link(1).number
        if has_another:
            bench.link(1, dialled_soon(bench).link)
        bench.node.handle_link_down(dropped, "closed by the other end", bench.now)
        bench.settle()
        assert not bench.notes("not admitted")
        assert "does not admit" not in bench.node.trouble


def test_a_link_that_is_lost_later_is_no_refusal() -> None:
    bench = start()
    bench.link(1, dialled(bench).link)
    attach = bench.hear_one(1)
    bench.answer(1, attach, MessageCode.ATTACH_ANS, offer(150, b"active"), signer=150)
    bench.drop(1)
    assert not bench.notes("not admitted")


def test_a_gateway_outside_of_the_ring_is_asked_again_later() -> None:
    """It may have found the ring by then; it is linked, so it is not dialled anew."""
    bench = start()
    bench.link(1, dialled(bench).link)
    assert bench.hear_one(1).code is MessageCode.ATTACH_REQ
    bench.run_for(9.0)
    bench.heard(1)
    bench.run_for(2.0)
    again = bench.hear_one(1)
    assert bench.dials() == []
    bench.answer(1, again, MessageCode.ATTACH_ANS, offer(150, b"active"), signer=150)
    assert chord_of(bench.node).joining.admitting_peer == nid(150)


@pytest.mark.must("11.4/4")
def test_where_linked_peers_can_be_dialled_is_worth_remembering() -> None:
    """11.4: "Peers that are not directly connected MUST NOT be cached"; told when it changes."""
    bench = NodeBench()
    bench.become_ring(150, 50)
    bench.send(150, MessageCode.ATTACH_REQ, offer(120), signer=120)
    bench.link(120, bench.dials()[0].link)
    bench.update(120)
    assert bench.take(ContactsChanged) == [ContactsChanged((address(120),))]
    bench.update(120)
    bench.link(110)
    bench.update(110)
    assert bench.take(ContactsChanged) == []


def asked(bench: NodeBench) -> dict[int, Heard]:
    """Who is sent an Attach within the time after which it is asked where it can be dialled."""
    for _ in range(int(2 * ASK_AFTER_S)):
        bench.run_for(1.0)
        found = {place: bench.heard(place, MessageCode.ATTACH_REQ) for place in bench.remotes}
        if any(found.values()):
            return {place: requests[0] for place, requests in found.items() if requests}
    raise AssertionError("nobody is asked")


def test_who_has_dialled_us_is_asked_where_it_can_be_dialled() -> None:
    """A first peer that all others dial would know nobody after a restart. Its answer says so, once for each link."""
    bench = NodeBench()
    bench.become_ring(150, 50)
    requests = asked(bench)
    assert requests[150].header.destination_list == (Destination.node(nid(150)),)
    for place in (150, 50):
        bench.answer(place, requests[place], MessageCode.ATTACH_ANS, offer(place, b"active"), signer=place)
    assert bench.take(ContactsChanged) == [
        ContactsChanged((address(150),)),
        ContactsChanged((address(150), address(50))),
    ]
    bench.link(150)
    assert nid(150) in bench.node.topology.routes
    bench.link(110)
    bench.update(110)
    assert set(asked(bench)) == {110}


def test_the_answer_that_comes_after_its_link_counts_as_well() -> None:
    """Who answers dials at once, and messages take their time."""
    bench = NodeBench()
    bench.become_ring(150, 50)
    attach = asked(bench)[150]
    bench.link(150)
    bench.answer(150, attach, MessageCode.ATTACH_ANS, offer(150, b"active"), signer=150)
    assert bench.take(ContactsChanged) == [ContactsChanged((address(150),))]


def test_so_many_are_asked_as_are_remembered() -> None:
    """11.4: "The suggested number of peers to cache is 10"."""
    bench = NodeBench()
    bench.become_ring(*range(20, 50, 2))
    assert len(asked(bench)) == CONTACTS_KEPT


def probed(bench: NodeBench) -> Dial:
    """Let time go on until the node looks for another part of the overlay."""
    for _ in range(200):
        bench.run_for(10.0)
        bench.settle_updates()
        if dials := bench.dials():
            return dials[0]
    raise AssertionError("it never looks")


@pytest.mark.must("10.7.4.4/1")
@pytest.mark.parametrize("found", [110, 200])
def test_10_7_4_4_looking_for_another_part_of_the_overlay(found: int) -> None:
    """ "If a response is received from peer S', which is not P's successor, then the overlay is partitioned and P
    SHOULD send an Attach to S' routed through B". The Ping goes one place beyond our own Node-ID: a B that is linked
    with us would pass one for that very place back to us (10.3). Where S' is farther than the successor, 6.3.4 would
    have it no answer: "at least as close to the target Resource-ID as any node in the requesting node's Neighbor
    Table".
    """
    bench = NodeBench()
    bench.become_ring(150, 50)
    dial = probed(bench)
    assert addresses_of(dial) == (address(1),)
    bench.link(1, dial.link)
    ping = bench.hear_one(1)
    assert ping.body == PingReq()
    beyond = Destination.resource(advance(nid(ME), 1))
    assert ping.header.destination_list == (Destination.node(nid(1)), beyond)
    bench.answer(1, ping, MessageCode.PING_ANS, PingAns(1, 1), signer=found)
    attach = bench.hear_one(1)
    assert attach.code is MessageCode.ATTACH_REQ
    assert attach.header.destination_list == (Destination.node(nid(1)), Destination.node(nid(found)))


def test_when_there_is_no_other_part_the_link_is_let_go() -> None:
    """A bootstrap node is not linked with everybody for ever."""
    bench = NodeBench()
    bench.become_ring(150, 50)
    dial = probed(bench)
    bench.link(1, dial.link)
    bench.heard(1)
    bench.run_for(16.0)
    assert dial.link in bench.hung_up()


def with_lost_neighbor(**settings: object) -> NodeBench:
    """A member of a ring whose neighbour 120 has just been lost."""
    bench = NodeBench(**settings)  # type: ignore[arg-type]
    bench.become_ring(150, 50)
    bench.send(150, MessageCode.ATTACH_REQ, offer(120), signer=120)
    bench.link(120, bench.dials()[0].link)
    bench.update(120)
    bench.drop(120)
    bench.dials()
    return bench


def test_neighbors_that_were_lost_are_looked_for_wherever_the_bootstrap_nodes_are() -> None:
    """They may live on in another part; who looks for one of them alone looks for all others as well."""
    bench, tried = with_lost_neighbor(chord_update_interval_s=10), set[tuple[Address, ...]]()
    bench.run_for(13.0)
    for dial in bench.dials():
        tried.add(tuple(sorted(addresses_of(dial))))
    assert tried == {(address(120),), (address(1), address(120))}


def looked_for(bench: NodeBench, within_s: float = 1.5 * LOOK_MAX_S) -> Dial:
    """The dialling by which a member looks for the neighbour that it lost."""
    limit_s = bench.now + within_s
    while not (dials := bench.dials()) and bench.now < limit_s:
        bench.run_for(0.5)
    (dial,) = dials
    assert addresses_of(dial) == (address(120),)
    return dial


@pytest.mark.long
def test_neighbors_that_were_lost_are_looked_for_soon_and_for_ever() -> None:
    """However seldom all peers look for another part."""
    bench = with_lost_neighbor(chord_update_interval_s=1_000_000)
    bench.dial_failed(looked_for(bench, 1.5 * LOOK_FIRST_S + 0.5).link)
    for _ in range(9):
        bench.dial_failed(looked_for(bench).link)
    bench.run_for(LOST_LONG_S - bench.now + 1.5 * LOOK_MAX_S)
    bench.dials()
    for _ in range(3):
        bench.dial_failed(looked_for(bench, 1.5 * LOOK_LATER_S + 0.5).link)


def test_a_client_that_lost_a_peer_looks_for_no_other_part_of_the_overlay() -> None:
    """It is a part of none: it looks for its home, wherever that is. 10.7.4.4 is for "a peer P"."""
    bench = start(is_client=True)
    bench.link(1, dialled(bench).link)
    bench.answer(
        1, bench.hear_one(1, MessageCode.ATTACH_REQ), MessageCode.ATTACH_ANS, offer(150, b"active"), signer=150
    )
    bench.link(150)
    bench.update(150, successors=(160,))
    attach = bench.heard(150, MessageCode.ATTACH_REQ)[-1]
    bench.answer(150, attach, MessageCode.ATTACH_ANS, offer(160, b"active"), signer=160)
    bench.link(160)
    bench.update(160)
    assert set(bench.node.neighbors) == {nid(150), nid(160)}
    bench.drop(150)
    bench.run_for(3 * LOOK_FIRST_S)
    assert [dial for dial in bench.dials() if address(150) in addresses_of(dial)] == []


def test_who_leaves_looks_for_nobody() -> None:
    """Whoever its neighbours were."""
    bench = with_lost_neighbor(chord_update_interval_s=1_000_000)
    bench.node.leave(bench.now)
    bench.settle()
    bench.run_for(60.0)
    assert bench.dials() == []


def test_a_lost_neighbor_that_is_back_is_looked_for_no_more() -> None:
    bench = with_lost_neighbor(chord_update_interval_s=1_000_000)
    bench.send(150, MessageCode.ATTACH_REQ, offer(120), signer=120)
    bench.link(120, bench.dials()[0].link)
    bench.update(120)
    bench.run_for(1000.0)
    assert bench.dials() == []


def test_a_lost_neighbor_that_proves_to_be_there_and_no_neighbor_is_let_go_and_forgotten() -> None:
    bench = with_lost_neighbor(chord_update_interval_s=1_000_000)
    dial = looked_for(bench)
    bench.link(120, dial.link)
    ping = bench.hear_one(120)
    assert ping.body == PingReq()
    bench.answer(120, ping, MessageCode.PING_ANS, PingAns(1, 1), signer=150)
    bench.run_for(1000.0)
    assert dial.link in bench.hung_up()
    assert bench.dials() == []


def test_of_several_bootstrap_nodes_another_is_tried_each_time() -> None:
    """Shuffled, so that the load is shared."""
    nodes = tuple(BootstrapNode(f"198.51.100.{number}", 6084) for number in range(1, 9))
    bench, tried = start(bootstrap_nodes=nodes), set()
    for _ in range(30):
        for dial in bench.dials():
            tried |= set(addresses_of(dial))
            bench.dial_failed(dial.link)
        bench.run_for(50.0)
    assert tried == {Address(node.address, node.port) for node in nodes}


def test_an_attempt_that_was_given_up_does_not_fail_the_next() -> None:
    """Its Attach is forgotten with it."""
    nodes = (BootstrapNode(*address(1)), BootstrapNode(*address(2)))
    bench = start(bootstrap_nodes=nodes)
    bench.link(1, dialled(bench).link)
    bench.run_for(5.0)
    bench.drop(1)
    bench.run_for(2.0)
    bench.link(2, dialled(bench).link)
    bench.run_for(5.0)
    assert chord_of(bench.node).joining.state is JoinState.SEEKING
    assert len(bench.notes("joining failed")) == 1


def test_who_is_admitted_by_a_peer_that_cannot_reach_it_says_so() -> None:
    """Its neighbour is behind another NAT, say. A link with that one ends the trouble."""
    bench = start()
    bench.link(1, dialled(bench).link)
    attach = bench.hear_one(1)
    bench.answer(1, attach, MessageCode.ATTACH_ANS, offer(150, b"active"), signer=150)
    bench.run_for(LINK_WAIT_S + 40.0)
    note = bench.notes("joining failed")[-1]
    named = nid(150).short
    assert note.facts["unreached"] == [f"{named}: the connection did not come"]
    assert bench.node.trouble == (
        f"not in the overlay yet, as peer {named} cannot be reached: the connection did not come"
    )
    (failed,) = bench.node.failed_attempts
    assert (failed.node, failed.reason, failed.tried) == (nid(150), "the connection did not come", ())
    bench.link(150)
    bench.update(150)
    assert bench.node.trouble == ""
    assert bench.node.failed_attempts == ()
