"""RFC 6940 section 6.4: the messages of topology plug-ins, at one node and among several."""

from __future__ import annotations

import pytest
from node_bench import ME, NodeBench, identity, nid, offer

from p2psip.base.ids import ResourceId
from p2psip.reload.topology.chord.messages import ChordRouteQueryAns, ChordUpdate
from p2psip.reload.topology.chord.ring import advance
from p2psip.reload.wire.contents import ErrorCode, MessageCode, UnknownBody
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import (
    AttachReqAns,
    PingAns,
    ProbeAns,
    ProbeInformation,
    ProbeInformationType,
    ProbeReq,
)
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq, RouteQueryReq
from p2psip.sim.capture import Tap, node_id
from p2psip.sim.invariants import chord_of
from p2psip.sim.registrations import KIND, fill, grow
from p2psip.sim.simulated_overlay import EPOCH_S

SHARE, COUNT, UPTIME = (
    ProbeInformationType.RESPONSIBLE_SET,
    ProbeInformationType.NUM_RESOURCES,
    ProbeInformationType.UPTIME,
)
PPB = 1_000_000_000
END = b"\xff" * 20


def start() -> NodeBench:
    """Node 100 in a ring with 50 and 150: it is responsible for 50 of 256 places."""
    bench = NodeBench()
    bench.become_ring(150, 50)
    return bench


def probe(bench: NodeBench, *wanted: ProbeInformationType) -> list[tuple[int, int | bytes]]:
    """What the node answers to a Probe: types and values."""
    bench.send(150, MessageCode.PROBE_REQ, ProbeReq(wanted))
    answer = bench.hear_one(150, MessageCode.PROBE_ANS)
    assert isinstance(answer.body, ProbeAns)
    return [(info.type, info.value) for info in answer.body.probe_info]


# Join


@pytest.mark.must("6.4.2.1/5", "6.4.2.1/6")
def test_6_4_2_1_a_join_answer_of_another_is_discarded() -> None:
    """ "Joining Nodes MUST verify that the signature on the JoinAns message matches the expected target [...]. If not,
    they MUST discard the message."
    """
    bench = NodeBench()
    bench.node.start(0.0)
    bench.settle()
    bench.run_for(0.0)
    (dial,) = bench.dials()
    bench.link(150, dial.link)
    bench.answer(150, bench.hear_one(150), MessageCode.ATTACH_ANS, offer(150, b"active"))
    bench.update(150)
    join = bench.hear_one(150, MessageCode.JOIN_REQ)
    bench.answer(150, join, MessageCode.JOIN_ANS, JoinAns(), signer=50)
    bench.update(150, predecessors=(ME,))
    assert not chord_of(bench.node).joining.is_member
    bench.answer(150, join, MessageCode.JOIN_ANS, JoinAns())
    bench.update(150, predecessors=(ME,))
    assert chord_of(bench.node).joining.is_member


@pytest.mark.must("6.4.2.1/7")
def test_6_4_2_1_who_may_be_first_is_told_by_a_flag() -> None:
    """ "implementations MUST provide some mechanism whereby nodes can determine that they are potentially the first
    node": `may_start_alone`; without it a node that reaches nobody does not take the overlay.
    """
    for may in (True, False):
        bench = NodeBench(may_start_alone=may)
        bench.node.start(0.0)
        bench.settle()
        bench.run_for(0.0)
        bench.dial_failed(bench.dials()[0].link)
        assert bench.node.is_serving is may


@pytest.mark.must("6.4.2.1/4")
def test_6_4_2_1_who_is_let_in_gets_its_section_by_stores_and_then_an_update() -> None:
    """ "the responding peer MUST follow up by executing the right sequence of Stores and Updates"."""
    overlay = grow("section", 6)
    records = fill(overlay, 40)
    joining = overlay.add_peer(6)
    overlay.world.run_for(5.0)
    own = [record for record in records if overlay.responsible_for(record.resource) == [joining]]
    assert own
    for record in own:
        assert joining.store.records(record.resource, KIND)


# Leave


@pytest.mark.long
@pytest.mark.must("6.4.2.2/3")
def test_6_4_2_2_a_leave_is_followed_by_stores_and_updates() -> None:
    """ "a peer MUST update its own Routing Table and send the appropriate Store/Update sequences to re-stabilize": the
    neighbours hear of the change, and each record has its three copies again.
    """
    overlay = grow("leaving", 9)
    records = fill(overlay, 20)
    gone, host = node_id(overlay, "p4"), overlay.world.hosts["p4"]
    tap = Tap(overlay)
    overlay.world.call(host, overlay.node(host).leave)
    overlay.world.run_for(1.0)
    told = [seen for seen in tap.seen if seen.sender != "p4" and isinstance(seen.body, ChordUpdate)]
    assert told
    assert not any(gone in seen.body.successors for seen in told if isinstance(seen.body, ChordUpdate))
    overlay.world.crash(host)
    overlay.world.run_for(40.0)
    for record in records:
        (owner,) = overlay.responsible_for(record.resource)
        chord = chord_of(overlay.node(owner))
        assert gone not in chord.table
        for node in (chord.node_id, *chord.table.successors[:2]):
            (name,) = (name for name, other in overlay.nodes.items() if other.node_id == node)
            assert overlay.world.hosts[name].store.records(record.resource, KIND), f"no copy of {record.line.user}"


# RouteQuery


@pytest.mark.must("6.4.2.4.1/1")
def test_6_4_2_4_1_send_update_is_true_or_false_and_nothing_else() -> None:
    """ "Otherwise, this value MUST be set to False": our answers to an Attach ask for no Update; a byte that is neither
    is no Boolean, and gets an error.
    """
    bench = start()
    bench.send(150, MessageCode.ATTACH_REQ, offer(105), signer=105)
    answer = bench.hear_one(150, MessageCode.ATTACH_ANS)
    assert isinstance(answer.body, AttachReqAns)
    assert answer.body.send_update is False
    assert answer.body.encode()[-1] == 0
    query = RouteQueryReq(True, Destination.resource(advance(nid(ME), 0))).encode()
    bench.send(150, MessageCode.ROUTE_QUERY_REQ, UnknownBody(b"\2" + query[1:]))
    assert bench.hear_one(150).error.error_code is ErrorCode.INVALID_MESSAGE


def test_6_4_2_4_a_route_query_without_send_update_brings_no_update() -> None:
    """Only "if the requester has set the send_update flag" (10.8)."""
    bench = start()
    bench.send(150, MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(False, Destination.node(nid(140))))
    assert isinstance(bench.hear_one(150).body, ChordRouteQueryAns)


@pytest.mark.must("10.5/10")
def test_6_4_2_4_who_is_outside_of_the_ring_sends_no_update_even_if_asked() -> None:
    """10.5: a joining node "MUST NOT send any Update message placing itself in the overlay"."""
    bench = NodeBench()
    bench.link(150)
    bench.send(150, MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(True, Destination.node(nid(140))))
    assert bench.hear_one(150).code is MessageCode.ROUTE_QUERY_ANS


@pytest.mark.long
def test_6_4_2_4_iterative_routing_ends_at_the_responsible_peer() -> None:
    """ "Eventually, the sender gets a response from a peer that is closest to the identifier": itself."""
    overlay = grow("iterative", 12)
    target = ResourceId(bytes([77]) * 16)
    (owner,) = overlay.responsible_for(target)
    here, hops = overlay.nodes["p0"], 0
    nodes = {node.node_id: node for node in overlay.nodes.values()}
    while (
        next_peer := chord_of(here).node_id if here.topology.is_responsible(target) else here.topology.next_hop(target)
    ) != (here.node_id):
        assert next_peer is not None
        here, hops = nodes[next_peer], hops + 1
        assert hops < 10
    assert here is overlay.node(owner)


# Probe


def test_6_4_2_5_all_that_was_asked_in_the_order_asked() -> None:
    """ "The responding peer SHOULD include any values that the requesting node requested and that it recognizes. They
    SHOULD be returned in the requested order."
    """
    bench = start()
    bench.run_for(90.5)
    assert probe(bench, UPTIME, SHARE) == [(UPTIME, int(bench.now)), (SHARE, 50 * PPB // 256)]
    assert probe(bench, COUNT, UPTIME) == [(COUNT, len(bench.store.resources(b"", END, 99))), (UPTIME, int(bench.now))]


@pytest.mark.must("6.4.2.5.2/1")
@pytest.mark.parametrize(
    ("wanted", "returned"),
    [
        ((), []),
        ((COUNT,), [COUNT]),
        ((ProbeInformationType.EXP_PROBE, SHARE), [SHARE]),
        ((ProbeInformationType(200), UPTIME, UPTIME), [UPTIME]),
    ],
)
def test_6_4_2_5_2_nothing_else_is_returned(
    wanted: tuple[ProbeInformationType, ...], returned: list[ProbeInformationType]
) -> None:
    """ "Any other values MUST NOT be returned."; nor what we do not recognise, nor anything twice."""
    assert [kind for kind, _ in probe(start(), *wanted)] == returned


def test_6_4_2_5_2_each_value_is_a_32_bit_integer_with_its_length() -> None:
    """ "Each of the current possible Probe information types is a 32-bit unsigned integer."."""
    assert ProbeInformation(COUNT, 12).encode() == bytes([2, 4, 0, 0, 0, 12])


@pytest.mark.long
def test_6_4_2_5_the_shares_of_all_peers_make_the_whole_overlay() -> None:
    """responsible_set is "the fraction of the overlay for which the responding peer is responsible"; alone it is all,
    outside of the ring nothing.
    """
    alone = NodeBench()
    assert alone.node.topology.responsible_ppb == 0
    alone.become_first()
    assert alone.node.topology.responsible_ppb == PPB
    overlay = grow("shares", 12)
    assert PPB - 12 <= sum(node.topology.responsible_ppb for node in overlay.nodes.values()) <= PPB


def test_6_4_2_5_resources_are_counted_once_whatever_is_stored_there() -> None:
    """num_resources: "multiple values under the same Resource-ID are counted only once"."""
    overlay = grow("counted", 3)
    fill(overlay, 10)
    overlay.world.run_for(2.0)
    for host in overlay.alive():
        census = overlay.node(host)._data.storage.census
        assert dict(census.kinds)[KIND] == 10
        assert census.resources == len(host.store.resources(b"", END, 1000))


def test_6_4_2_5_a_probe_is_for_a_node_or_for_a_place() -> None:
    """ "A probe can be addressed to a specific Node-ID or to the peer controlling a given location"."""
    bench = start()
    for destination in (Destination.node(nid(ME)), Destination.resource(ResourceId(nid(75)))):
        bench.send(150, MessageCode.PROBE_REQ, ProbeReq((UPTIME,)), destinations=[destination])
        assert bench.hear_one(150).signer == nid(ME)


# Update


@pytest.mark.must("6.4.1/2")
def test_6_4_1_clients_hear_of_a_change_of_our_range_too() -> None:
    """ "procedures that send Updates to clients and peers that have established connections to the peer responsible for
    a particular ID when the responsibility for that ID changes"."""
    bench = start()
    client = bench.link(7)
    client.heard.clear()
    bench.link(75)
    bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(75)))
    bench.run_for(1.0)
    update = bench.hear_one(7, MessageCode.UPDATE_REQ)
    assert isinstance(update.body, ChordUpdate)
    assert update.body.predecessors[0] == nid(75)


def test_6_5_3_2_the_time_of_a_ping_answer_is_the_date_in_milliseconds() -> None:
    """ "represented in the same way as storage_time"."""
    bench = start()
    bench.run_for(12.345)
    bench.send(150, MessageCode.PING_REQ, UnknownBody(b"\0\0"), signer=identity(150))
    answer = bench.hear_one(150, MessageCode.PING_ANS)
    assert isinstance(answer.body, PingAns)
    assert answer.body.time == int((EPOCH_S + bench.now) * 1000)
