"""RFC 6940 sections 10 and 12 among real nodes: what a join, a store and a leave look like on the wire."""

from __future__ import annotations

from sim_capture import Tap, node_id
from sim_records import fill, grow, responsible

from p2psip.base.ids import NodeId
from p2psip.reload.topology.ring import RING_SIZE, distance, hash_name
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.storage_messages import StoreReq
from p2psip.reload.wire.topology_messages import ChordUpdate


def test_12_the_message_flow_of_a_join() -> None:
    """Attach toward JN+1, the Admitting Peer's Update, Attaches to the neighbours, Join, Stores, Update, Updates."""
    overlay = grow("flow", 8)
    fill(overlay, 60)
    overlay.world.run_for(10.0)
    tap = Tap(overlay)
    joining = overlay.add_peer(8)
    overlay.world.run_for(3.0)
    jn = overlay.node(joining)
    ap = next(name for name, node in overlay.nodes.items() if node.node_id == jn.chord.table.successors[0])
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
    assert {node for node in jn.chord.table.neighbors if node != admitting.node_id} <= met


def test_10_5_a_joining_node_places_itself_nowhere_before_it_is_in() -> None:
    """ "MUST NOT send any Update message placing itself in the overlay until it has successfully completed an Attach
    with each peer that should be in its Neighbor Table"."""
    overlay = grow("early", 8)
    tap = Tap(overlay)
    joining = overlay.add_peer(8)
    overlay.world.run_for(3.0, stop=lambda: overlay.node(joining).chord.joining.is_member)
    joined_at = overlay.world.now
    overlay.world.run_for(1.0)
    updates = [seen.at for seen in tap.seen if seen.sender == "p8" and seen.code is MessageCode.UPDATE_REQ]
    assert updates
    assert min(updates) >= joined_at
    assert set(overlay.node(joining).chord.table.neighbors) == {
        node.node_id for name, node in overlay.nodes.items() if name != "p8"
    }


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
    for neighbor in node.chord.table.neighbors:
        lists = [entries for entries in attaches if entries[-1].node_id == neighbor]
        assert all(len(entries) == 2 for entries in lists)
    fingers = [entries for entries in attaches if entries[-1].node_id in set(node.chord.table.fingers)]
    assert any(len(entries) == 1 for entries in fingers)


def test_10_4_replicas_are_addressed_to_their_peers() -> None:
    """ "these Store requests are addressed to those specific peers, even though the Resource-ID they are being asked to
    store is outside the range that they are responsible for"; the number grows with each successor.
    """
    overlay = grow("addressed", 10)
    tap = Tap(overlay)
    (record,) = fill(overlay, 1)
    overlay.world.run_for(1.0)
    owner = responsible(overlay, record)
    successors = overlay.node(owner).chord.table.successors
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
        assert node.chord.is_responsible(node.node_id)
        after = NodeId(((int.from_bytes(node.node_id, "big") + 1) % RING_SIZE).to_bytes(16, "big"))
        assert not node.chord.is_responsible(after)


def test_10_7_1_a_failure_is_told_to_all_links_at_once() -> None:
    """ "the Update MUST be sent to all nodes in its Connection Table" where the range is another."""
    overlay = grow("told", 10)
    overlay.world.run_for(10.0)
    victim = overlay.world.hosts["p4"]
    gone = node_id(overlay, "p4")
    successor = overlay.node(victim).chord.table.successors[0]
    name = next(name for name, node in overlay.nodes.items() if node.node_id == successor)
    tap = Tap(overlay)
    overlay.world.crash(victim)
    overlay.world.run_for(1.0)
    told = {seen.receiver for seen in tap.seen if seen.sender == name and isinstance(seen.body, ChordUpdate)}
    assert {node_id(overlay, other) for other in told} == set(overlay.nodes[name].connections)
    assert not any(
        gone in seen.body.successors + seen.body.predecessors
        for seen in tap.seen
        if isinstance(seen.body, ChordUpdate) and seen.at > overlay.world.now - 0.5
    )


def test_10_9_a_leave_names_the_neighbors_on_the_other_side() -> None:
    """ "from_succ: The Leave request was sent by a successor", and brings the sender's successor list."""
    overlay = grow("leaves", 14)
    overlay.world.run_for(20.0)
    tap = Tap(overlay)
    host = overlay.world.hosts["p5"]
    overlay.world.call(host, overlay.node(host).leave)
    overlay.world.run_for(1.0)
    told = {seen.receiver for seen in tap.seen if seen.sender == "p5" and seen.code is MessageCode.LEAVE_REQ}
    neighbors = set(overlay.node(host).chord.table.neighbors)
    assert neighbors <= {node_id(overlay, name) for name in told}
