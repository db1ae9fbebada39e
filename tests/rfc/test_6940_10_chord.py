"""RFC 6940 sections 10 and 12 among real nodes: what a join, a store and a leave look like on the wire."""

from __future__ import annotations

import pytest
from node_bench import ME, NodeBench, nid, offer

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.topology.chord.messages import ChordUpdate
from p2psip.reload.topology.chord.ring import RING_SIZE, advance, distance, hash_name
from p2psip.reload.topology.chord.routing_table import FINGERS
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingAns, PingReq
from p2psip.reload.wire.storage_messages import StoreReq
from p2psip.reload.wire.topology_messages import JoinReq
from p2psip.sim.capture import Tap, node_id
from p2psip.sim.invariants import chord_of
from p2psip.sim.registrations import fill, grow, responsible


@pytest.mark.long
@pytest.mark.must("10.5/3", "10.5/4", "10.5/5", "10.5/6", "10.5/7")
def test_12_the_message_flow_of_a_join() -> None:
    """Attach toward JN+1, the Admitting Peer's Update, Attaches to the neighbours, Join, Stores, Update, Updates."""
    overlay = grow("flow", 8)
    fill(overlay, 60)
    overlay.world.run_for(10.0)
    tap = Tap(overlay)
    joining = overlay.add_peer(8)
    overlay.world.run_for(3.0)
    jn = overlay.node(joining)
    ap = next(name for name, node in overlay.nodes.items() if node.node_id == chord_of(jn).table.successors[0])
    admitting = overlay.nodes[ap]

    def first(sender: str, receiver: str, code: MessageCode) -> float:
        return next(seen.at for seen in tap.seen if (seen.sender, seen.receiver, seen.code) == (sender, receiver, code))

    attach = next(seen for seen in tap.seen if seen.sender == "p8")
    assert attach.code is MessageCode.ATTACH_REQ
    target = attach.header.destination_list[-1].resource_id
    assert target is not None
    assert distance(jn.node_id, target) == 1
    named = next(
        seen.at
        for seen in tap.between(ap, "p8")
        if isinstance(seen.body, ChordUpdate) and jn.node_id in seen.body.predecessors
    )
    stores = [seen.at for seen in tap.between(ap, "p8") if seen.code is MessageCode.STORE_REQ and seen.at < named]
    steps = [
        attach.at,
        first(ap, "p8", MessageCode.UPDATE_REQ),
        first("p8", ap, MessageCode.JOIN_REQ),
        first(ap, "p8", MessageCode.JOIN_ANS),
        stores[0],
        stores[-1],
        named,
        next(seen.at for seen in tap.seen if seen.sender == "p8" and seen.code is MessageCode.UPDATE_REQ),
    ]
    assert steps == sorted(steps)
    met = {
        seen.header.destination_list[-1].node_id
        for seen in tap.seen
        if seen.sender == "p8" and seen.code is MessageCode.ATTACH_REQ and seen.at < steps[2]
    }
    assert {node for node in chord_of(jn).table.neighbors if node != admitting.node_id} <= met


@pytest.mark.must("10.5/2", "10.5/8", "10.5/10")
def test_10_5_a_joining_node_places_itself_nowhere_before_it_is_in() -> None:
    """ "MUST NOT send any Update message placing itself in the overlay until it has successfully completed an Attach
    with each peer that should be in its Neighbor Table"."""
    overlay = grow("early", 8)
    tap = Tap(overlay)
    joining = overlay.add_peer(8)
    overlay.world.run_for(3.0, stop=lambda: chord_of(overlay.node(joining)).joining.is_member)
    joined_at = overlay.world.now
    overlay.world.run_for(1.0)
    updates = [seen.at for seen in tap.seen if seen.sender == "p8" and seen.code is MessageCode.UPDATE_REQ]
    assert updates
    assert min(updates) >= joined_at
    assert set(chord_of(overlay.node(joining)).table.neighbors) == {
        node.node_id for name, node in overlay.nodes.items() if name != "p8"
    }
    # Step 9: "JN MUST send Updates to all of the peers in its Neighbor Table."
    told = {seen.receiver for seen in tap.seen if seen.sender == "p8" and seen.code is MessageCode.UPDATE_REQ}
    assert told == set(overlay.nodes) - {"p8"}


@pytest.mark.long
@pytest.mark.must("10.6/1", "10.5/9")
def test_10_6_attaches_to_neighbors_are_source_routed_those_to_fingers_are_not() -> None:
    """ "it MUST source-route the Attach request through the peer from which it learned the new peer's Node-ID"."""
    overlay = grow("attaches", 30)
    tap = Tap(overlay)
    joining = overlay.add_peer(30)
    overlay.world.run_for(8.0)
    node = overlay.node(joining)
    attaches = [
        seen.header.destination_list
        for seen in tap.seen
        if seen.sender == "p30" and seen.code is MessageCode.ATTACH_REQ and seen.header.via_list == ()
    ]
    assert any(entries[-1].node_id in chord_of(node).table.neighbors for entries in attaches)
    for neighbor in chord_of(node).table.neighbors:
        lists = [entries for entries in attaches if entries[-1].node_id == neighbor]
        assert all(len(entries) == 2 for entries in lists)
    # 10.5: "In order to set up its i'th Finger Table entry, JN MUST send an Attach to peer n+2^(128-i)."
    places = {Destination.resource(chord_of(node).table.finger_place(index, 0)) for index in range(1, FINGERS + 1)}
    fingers = [entries for entries in attaches if entries[-1] in places]
    assert fingers
    assert all(len(entries) == 1 for entries in fingers)
    for entries in fingers:
        (host,) = overlay.responsible_for(entries[0].resource_id)
        assert node.is_linked(overlay.node(host).node_id)


@pytest.mark.must("10.4/2")
def test_10_4_replicas_are_addressed_to_their_peers() -> None:
    """ "these Store requests are addressed to those specific peers, even though the Resource-ID they are being asked to
    store is outside the range that they are responsible for"; the number grows with each successor.
    """
    overlay = grow("addressed", 10)
    tap = Tap(overlay)
    (record,) = fill(overlay, 1)
    overlay.world.run_for(1.0)
    owner = responsible(overlay, record)
    successors = chord_of(overlay.node(owner)).table.successors
    sent = [seen for seen in tap.seen if seen.sender == owner.name and isinstance(seen.body, StoreReq)]
    replicas = {
        seen.header.destination_list: seen.body.replica_number
        for seen in sent
        if isinstance(seen.body, StoreReq) and seen.body.replica_number
    }
    assert replicas == {(Destination.node(node),): number for number, node in enumerate(successors[:2], start=1)}


def test_10_1_every_identifier_belongs_to_the_first_peer_at_or_after_it() -> None:
    """ "A peer, x, is responsible for a particular Resource-ID, k, if k is less than or equal to x and k is greater
    than p, where p is the Node-ID of the previous peer"."""
    overlay = grow("owner", 12)
    members = sorted(node.node_id for node in overlay.nodes.values())
    for number in range(60):
        resource = hash_name(f"name {number}".encode())
        first = min(members, key=lambda node: distance(resource, node))
        (host,) = overlay.responsible_for(resource)
        assert overlay.node(host).node_id == first
    for node in overlay.nodes.values():
        assert node.is_responsible(node.node_id)
        after = NodeId(((int.from_bytes(node.node_id, "big") + 1) % RING_SIZE).to_bytes(16, "big"))
        assert not node.is_responsible(after)


@pytest.mark.must("10.7.1/1", "10.7.1/2", "10.7.1/3")
def test_10_7_1_a_failure_is_told_to_all_links_at_once() -> None:
    """ "the Update MUST be sent to all nodes in its Connection Table" where the range is another."""
    overlay = grow("told", 10)
    overlay.world.run_for(10.0)
    victim = overlay.world.hosts["p4"]
    gone = node_id(overlay, "p4")
    successor = chord_of(overlay.node(victim)).table.successors[0]
    name = next(name for name, node in overlay.nodes.items() if node.node_id == successor)
    tap = Tap(overlay)
    overlay.world.crash(victim)
    overlay.world.run_for(1.0)
    told = {seen.receiver for seen in tap.seen if seen.sender == name and isinstance(seen.body, ChordUpdate)}
    assert {node_id(overlay, other) for other in told} == set(overlay.nodes[name].linked)
    assert not any(
        gone in seen.body.successors + seen.body.predecessors
        for seen in tap.seen
        if isinstance(seen.body, ChordUpdate) and seen.at > overlay.world.now - 0.5
    )


@pytest.mark.long
@pytest.mark.must("10.9/1")
def test_10_9_a_leave_names_the_neighbors_on_the_other_side() -> None:
    """ "from_succ: The Leave request was sent by a successor", and brings the sender's successor list."""
    overlay = grow("leaves", 14)
    overlay.world.run_for(20.0)
    tap = Tap(overlay)
    host = overlay.world.hosts["p5"]
    overlay.world.call(host, overlay.node(host).leave)
    overlay.world.run_for(1.0)
    told = {seen.receiver for seen in tap.seen if seen.sender == "p5" and seen.code is MessageCode.LEAVE_REQ}
    neighbors = set(chord_of(overlay.node(host)).table.neighbors)
    assert neighbors <= {node_id(overlay, name) for name in told}


# One node, message by message


def start(*others: int) -> NodeBench:
    """Node 100 in a ring with others."""
    bench = NodeBench()
    bench.become_ring(*others)
    return bench


def ping_to(bench: NodeBench, by: int, resource: ResourceId) -> None:
    """A Ping for a place comes by way of a neighbour."""
    bench.send(by, MessageCode.PING_REQ, PingReq(), destinations=[Destination.resource(resource)])


@pytest.mark.must("10.3/1")
def test_10_3_a_resource_id_that_is_the_node_id_of_a_link_goes_there() -> None:
    """ "If a peer is not responsible for a Resource-ID k, but is directly connected to a node with Node-ID k, then it
    MUST route the message to that node.": a client, which is in no Routing Table.
    """
    bench = start(150, 50)
    bench.link(120)
    ping_to(bench, 50, ResourceId(nid(120)))
    assert bench.hear_one(120, MessageCode.PING_REQ)
    assert bench.heard(150) == []
    ping_to(bench, 50, ResourceId(nid(121)))
    assert bench.hear_one(150, MessageCode.PING_REQ)
    assert bench.heard(120) == []


@pytest.mark.must("10.7.1/4")
def test_10_7_1_a_lost_neighbor_is_out_until_it_is_back() -> None:
    """ "In the case of an attempt to reestablish connectivity with a lost neighbor, the peer MUST be removed from the
    Neighbor Table. Such a peer is returned to the Neighbor Table once connectivity is reestablished."
    """
    bench = start(150, 160, 50)
    bench.drop(150)
    bench.run_for(1.0)
    bench.update(160, predecessors=(150, ME))
    assert bench.heard(160, MessageCode.ATTACH_REQ)
    assert nid(150) not in chord_of(bench.node).table.neighbors
    bench.link(150)
    bench.update(150)
    assert chord_of(bench.node).table.successors[0] == nid(150)


@pytest.mark.must("10.7.1/5")
def test_10_7_1_who_lost_all_successors_pings_for_a_peer_and_joins_there() -> None:
    """ "If connectivity is lost to all successor peers in the Neighbor Table, then this peer [...] MUST use Pings to
    find a peer and send it a Join."
    """
    bench = start(150)
    bench.drop(150)
    bench.run_for(0.0)
    (dial,) = bench.dials()
    bench.link(1, dial.link)
    ping = bench.hear_one(1)
    gateway = Destination.node(nid(1))
    assert (ping.code, ping.header.destination_list[0]) == (MessageCode.PING_REQ, gateway)
    assert ping.header.destination_list[1] == Destination.resource(advance(nid(ME), 1))
    bench.answer(1, ping, MessageCode.PING_ANS, PingAns(1, 1), signer=170)
    attach = bench.hear_one(1)
    assert attach.header.destination_list == (gateway, Destination.node(nid(170)))
    bench.answer(1, attach, MessageCode.ATTACH_ANS, offer(170, b"active"), signer=170)
    bench.link(170)
    bench.update(170)
    assert bench.hear_one(170, MessageCode.JOIN_REQ).body == JoinReq(nid(ME))


def test_10_7_1_who_finds_only_itself_looks_again_later() -> None:
    """The node that it asked knows nobody else."""
    bench = start(150)
    bench.drop(150)
    bench.run_for(0.0)
    bench.link(1, bench.dials()[0].link)
    bench.answer(1, bench.hear_one(1), MessageCode.PING_ANS, PingAns(1, 1), signer=ME)
    assert "knows nobody but us" in str(bench.notes("joining failed")[0].facts["reason"])
    bench.run_for(60.0)
    assert len(bench.heard(1, MessageCode.PING_REQ)) >= 2


@pytest.mark.long
@pytest.mark.must("10.7/1", "10.7/2")
def test_10_7_every_neighbor_is_linked_and_there_are_three_on_each_side() -> None:
    """ "A peer MUST maintain an association (via Attach) to every member of its neighbor set. A peer MUST attempt to
    maintain at least three predecessors and three successors".
    """
    overlay = grow("associations", 16)
    overlay.world.crash(overlay.world.hosts["p7"])
    overlay.world.run_for(30.0)
    for host in overlay.alive():
        node = overlay.node(host)
        assert min(len(chord_of(node).table.successors), len(chord_of(node).table.predecessors)) >= 3
        assert set(chord_of(node).table.neighbors) <= set(node.linked)
