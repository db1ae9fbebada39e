"""RFC 6940 section 4.2, 4.2.1, 4.2.2 and 6.4.1: clients among simulated peers."""

from __future__ import annotations

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.reload.node.effects import AppLinkUp, RequestRefused
from p2psip.reload.topology.chord.ring import advance, distance, hash_name
from p2psip.reload.topology.client_topology import PEERS_WANTED, ClientTopology
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.storage_messages import StoreReq
from p2psip.reload.wire.topology_messages import JoinReq
from p2psip.sim.capture import Tap
from p2psip.sim.invariants import chord_of
from p2psip.sim.registrations import ask, fetch, fill, grow, is_found, line, store, wait_until
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host


def topology(overlay: SimulatedOverlay, client: Host) -> ClientTopology:
    """Of a client."""
    found = overlay.node(client).topology
    assert isinstance(found, ClientTopology)
    return found


def order(overlay: SimulatedOverlay, client: Host) -> list[NodeId]:
    """The living peers, the one that is responsible for the client first."""
    node_id = overlay.node(client).node_id
    peers = [overlay.node(host).node_id for host in overlay.alive()]
    return sorted(peers, key=lambda peer: distance(node_id, peer))


def is_at_home(overlay: SimulatedOverlay, client: Host) -> bool:
    """True if the client is linked with the peers that it should be linked with."""
    wanted = order(overlay, client)[:PEERS_WANTED]
    return topology(overlay, client).neighbors == tuple(wanted)


def attached(overlay: SimulatedOverlay, *, is_reachable: bool = True) -> Host:
    """One more client, which has found its home."""
    client = overlay.add_client(len(overlay.clients), is_reachable=is_reachable)
    wait_until(overlay, 60.0, lambda: is_at_home(overlay, client))
    return client


def ping(overlay: SimulatedOverlay, host: Host, *destinations: NodeId) -> object:
    """What a Ping to the last of these, by way of the others, comes to."""
    route = [Destination.node(node) for node in destinations]
    handle = ask(overlay, host, OverlayRequest(route, MessageCode.PING_REQ, PingReq()))
    return overlay.wait_done(host, handle).result


@pytest.fixture
def overlay() -> SimulatedOverlay:
    """Eight peers, which may be harmed."""
    return grow("clients", 8, chord_update_interval_s=60)


@pytest.fixture(scope="module")
def calm() -> SimulatedOverlay:
    """Eight peers that no test harms; clients are added."""
    return grow("clients", 8, chord_update_interval_s=60)


def test_4_2_1_the_peer_responsible_for_the_clients_node_id(calm: SimulatedOverlay) -> None:
    """ "Then, requests may be sent from/to the client using its Node-ID in the same manner as if it were a peer"."""
    client = attached(calm)
    node_id = calm.node(client).node_id
    for host in calm.alive():
        answer = ping(calm, host, node_id)
        assert isinstance(answer, Answer)
        assert answer.signer.node_id == node_id
    assert isinstance(ping(calm, client, order(calm, client)[4]), Answer)


def test_4_2_1_a_client_keeps_links_with_who_is_responsible_next(calm: SimulatedOverlay) -> None:
    """Of the bootstrap node it lets go, unless that is one of them."""
    client = attached(calm)
    calm.world.run_for(20.0)
    assert set(calm.node(client).linked) == set(order(calm, client)[:PEERS_WANTED])


@pytest.mark.long
def test_4_2_1_updates_say_that_another_peer_is_responsible(overlay: SimulatedOverlay) -> None:
    """ "The client would then need to form a connection to the appropriate peer."."""
    clients = [attached(overlay) for number in range(4)]
    homes = {client.name: topology(overlay, client).home for client in clients}
    for number in range(8, 16):
        overlay.add_peer(number)
        overlay.world.run_for(1.0)
    wait_until(overlay, 60.0, overlay.is_ring)
    wait_until(overlay, 10.0, lambda: all(is_at_home(overlay, client) for client in clients))
    assert any(topology(overlay, client).home != homes[client.name] for client in clients)
    for client in clients:
        assert isinstance(ping(overlay, overlay.alive()[3], overlay.node(client).node_id), Answer)


@pytest.mark.long
def test_4_2_1_when_its_peer_dies_a_client_is_reached_by_the_next(overlay: SimulatedOverlay) -> None:
    """One peer after the other dies, two of them without a word."""
    client = attached(overlay)
    for is_silent in (False, True, True):
        home = order(overlay, client)[0]
        host = next(host for host in overlay.alive() if overlay.node(host).node_id == home)
        overlay.world.crash(host, is_silent=is_silent)
        wait_until(overlay, 90.0, lambda: is_at_home(overlay, client) and overlay.is_ring())
        assert isinstance(ping(overlay, overlay.alive()[-1], overlay.node(client).node_id), Answer)


def test_4_2_1_by_a_destination_list_through_an_arbitrary_peer(calm: SimulatedOverlay) -> None:
    """ "any node in the overlay that knows the Destination List to its current location can reach it"."""
    client = calm.add_client(len(calm.clients))
    gateway = calm.nodes["p0"].node_id
    wait_until(calm, 5.0, lambda: calm.node(client).is_linked(gateway))
    answer = ping(calm, calm.world.hosts["p5"], gateway, calm.node(client).node_id)
    assert isinstance(answer, Answer)
    assert answer.signer.node_id == calm.node(client).node_id


def test_4_2_1_a_client_that_cannot_be_dialled_dials_its_peer(calm: SimulatedOverlay) -> None:
    """Where the answerer of its Attach cannot connect to it, it connects as with a bootstrap node."""
    client = attached(calm, is_reachable=False)
    answer = ping(calm, calm.alive()[2], calm.node(client).node_id)
    assert isinstance(answer, Answer)
    assert answer.hops >= 1


def test_4_2_a_client_stores_and_fetches(calm: SimulatedOverlay) -> None:
    """4.2: "utilize the same implementation and to benefit from the same security mechanisms as the peers"."""
    client = attached(calm)
    alice = line("alice")
    assert isinstance(calm.wait_done(client, store(calm, client, alice)).result, Answer)
    resource = hash_name(alice.user.encode())
    for host in (client, calm.world.hosts["p6"]):
        assert is_found(calm.wait_done(host, fetch(calm, host, resource)))
    (record,) = fill(calm, 1)
    assert is_found(calm.wait_done(client, fetch(calm, client, record.resource)))


def test_4_2_a_client_gets_data_of_a_peer_that_died(overlay: SimulatedOverlay) -> None:
    """Its requests find another way when the peer that they left by dies."""
    client = attached(overlay)
    records = fill(overlay, 6)
    home = order(overlay, client)[0]
    host = next(host for host in overlay.alive() if overlay.node(host).node_id == home)
    handles = [fetch(overlay, client, record.resource) for record in records]
    overlay.world.crash(host)
    assert all(is_found(overlay.wait_done(client, handle)) for handle in handles)


def test_4_2_peers_take_no_client_for_a_peer(overlay: SimulatedOverlay) -> None:
    """ "correct behavior by peers regardless of whether other nodes attached to them are clients or peers"."""
    clients = [attached(overlay) for number in range(5)]
    overlay.world.run_for(150.0)
    assert overlay.is_ring()
    assert not overlay.violations()
    ids = {overlay.node(client).node_id for client in clients}
    assert all(
        not ids.intersection(chord_of(overlay.node(host)).view(with_fingers=True).nodes) for host in overlay.alive()
    )
    assert all(is_at_home(overlay, client) for client in clients)


def test_4_2_a_client_keeps_nothing_and_lets_nobody_in(calm: SimulatedOverlay) -> None:
    """ "nodes that do not have routing or storage responsibilities"."""
    client = attached(calm)
    node_id = calm.node(client).node_id
    peer = calm.world.hosts["p1"]
    requests = (
        (MessageCode.STORE_REQ, StoreReq(advance(node_id, 0), 1, ())),
        (MessageCode.JOIN_REQ, JoinReq(calm.node(peer).node_id)),
    )
    for code, body in requests:
        handle = ask(calm, peer, OverlayRequest([Destination.node(node_id)], code, body))
        refused = calm.wait_done(peer, handle).result
        assert isinstance(refused, RequestRefused)
        assert refused.code is ErrorCode.FORBIDDEN


def test_4_2_a_client_routes_for_nobody(calm: SimulatedOverlay) -> None:
    """A peer that is named behind a client in a destination list is not reached that way."""
    client = attached(calm)
    home, *_, other = order(calm, client)
    host = next(host for host in calm.alive() if calm.node(host).node_id == home)
    refused = ping(calm, host, calm.node(client).node_id, other)
    assert not isinstance(refused, Answer)
    assert "passes nothing on" in str(refused)


@pytest.mark.long
@pytest.mark.must("6.4.1/2")
def test_6_4_1_clients_get_updates_when_responsibility_changes(overlay: SimulatedOverlay) -> None:
    """ "All overlay algorithms MUST specify maintenance procedures that send Updates to clients and peers that have
    established connections to the peer responsible for a particular ID when the responsibility for that ID changes."
    """
    client = attached(overlay)
    home = next(host for host in overlay.alive() if overlay.node(host).node_id == topology(overlay, client).home)
    tap = Tap(overlay)
    for number in range(8, 14):
        overlay.add_peer(number)
        overlay.world.run_for(2.0)
    wait_until(overlay, 60.0, overlay.is_ring)
    told = [seen for seen in tap.seen if (seen.sender, seen.receiver) == (home.name, client.name)]
    assert any(seen.code is MessageCode.UPDATE_REQ for seen in told)
    answered = [seen for seen in tap.seen if (seen.sender, seen.receiver) == (client.name, home.name)]
    assert any(seen.code is MessageCode.UPDATE_ANS for seen in answered)
    assert not any(
        seen.code in (MessageCode.JOIN_REQ, MessageCode.UPDATE_REQ) for seen in tap.seen if seen.sender == "c0"
    )


def test_4_2_app_attach_to_and_from_a_client(calm: SimulatedOverlay) -> None:
    """6.5.2 by the client's Node-ID alone."""
    client = attached(calm)
    peer = calm.world.hosts["p6"]
    for here, there in ((peer, client), (client, peer)):
        target = calm.node(there).node_id
        calm.world.call(
            here,
            lambda now, here=here, target=target: calm.node(here).app_attach([Destination.node(target)], target, now),  # type: ignore[misc]
        )
        wait_until(
            calm,
            5.0,
            lambda here=here: any(isinstance(effect, AppLinkUp) for effect in here.events),  # type: ignore[misc]
        )


def test_4_2_1_a_client_waits_for_the_overlay_to_come_back() -> None:
    """All peers stop; they come again, and so does the client."""
    overlay = grow("clients come back", 3)
    client = attached(overlay)
    for host in overlay.alive():
        overlay.world.crash(host)
    wait_until(overlay, 30.0, lambda: not overlay.node(client).is_connected)
    for number in range(3):
        overlay.add_peer(number)
    wait_until(overlay, 120.0, lambda: overlay.is_ring() and is_at_home(overlay, client))


def test_11_1_clients_permitted_is_false() -> None:
    """ "If the nodes are not allowed to remain clients after the initial join, the element MUST be set to "false"."."""
    overlay = SimulatedOverlay("no clients", clients_permitted=False)
    overlay.add_peer(0)
    with pytest.raises(LocalMisuse, match=r"sim\.example permits no clients"):
        overlay.add_client(0)
