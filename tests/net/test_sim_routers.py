"""Routers (docs/decisions/bad-memory.md) in virtual time: they pass messages on, and have nothing."""

from __future__ import annotations

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.effects import RequestRefused
from p2psip.reload.topology.client_topology import PEERS_WANTED
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.private_messages import ROUTER, PrivateReq
from p2psip.reload.wire.storage_messages import (
    DictionarySpecifier,
    FetchAns,
    FetchKindResponse,
    FetchReq,
    FindReq,
    StatReq,
    StoredDataSpecifier,
    StoreReq,
)
from p2psip.reload.wire.topology_messages import JoinReq
from p2psip.sim.capture import Tap
from p2psip.sim.registrations import KIND, StoredEntry, ask, fill, grow, missing, wait_until, wait_whole
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import CASES, is_whole, replicas_for
from p2psip.sim.world import Host

PEERS, ROUTERS = 24, 3


def with_routers(seed: str, peers: int, routers: int) -> tuple[SimulatedOverlay, list[Host]]:
    """Routers come in when the peers are one overlay, and know as many of them as they like."""
    overlay = grow(seed, peers)
    hosts = [overlay.add_client(number, is_router=True) for number in range(routers)]
    wait_until(overlay, 60.0, lambda: all(len(overlay.node(host).topology.routes) > PEERS_WANTED for host in hosts))
    overlay.world.run_for(2.0)
    return overlay, hosts


@pytest.fixture(scope="module")
def calm() -> tuple[SimulatedOverlay, list[Host], list[StoredEntry]]:
    """An overlay in which nobody dies, with records."""
    overlay, routers = with_routers("routers", PEERS, ROUTERS)
    return overlay, routers, fill(overlay, 2 * PEERS)


Calm = tuple[SimulatedOverlay, list[Host], list[StoredEntry]]


def refusal(overlay: SimulatedOverlay, host: Host, node: NodeId, code: MessageCode, body: Struct) -> ErrorCode | None:
    """With which error a node answers."""
    result = overlay.wait_done(host, ask(overlay, host, OverlayRequest([Destination.node(node)], code, body))).result
    return result.code if isinstance(result, RequestRefused) else None


def test_messages_of_others_go_by_routers_and_arrive(calm: Calm) -> None:
    overlay, routers, records = calm
    tap = Tap(overlay)
    assert missing(overlay, records, seed=7) == []
    own = {overlay.node(host).node_id for host in routers}
    passed = [
        each
        for each in tap.seen
        if each.sender in {host.name for host in routers}
        and each.code is MessageCode.FETCH_REQ
        and own.isdisjoint(entry.node_id for entry in each.header.destination_list)
    ]
    assert passed, "none of the routers was on any way"
    assert all(each.header.via_list for each in passed), "they passed on what others had sent"
    assert max(len(each.header.via_list) for each in tap.seen) <= 5, "each hop is nearer"


def test_find_proves_that_a_router_has_nothing(calm: Calm) -> None:
    """7.4.4.2: "If the processing peer is not responsible for the specified Resource-ID, it SHOULD return an
    Error_Not_Found error code": wherever one asks; and neither Fetch nor Stat brings anything.
    """
    overlay, routers, records = calm
    asking = overlay.alive()[5]
    specifier = StoredDataSpecifier(KIND, 0, DictionarySpecifier(()))
    for router in routers:
        node = overlay.node(router).node_id
        places = [*(record.resource for record in records[:8]), ResourceId(node), ResourceId(bytes(16))]
        for place in places:
            finding = FindReq(place, (KIND,))
            assert refusal(overlay, asking, node, MessageCode.FIND_REQ, finding) is ErrorCode.NOT_FOUND
            asked = OverlayRequest([Destination.node(node)], MessageCode.FETCH_REQ, FetchReq(place, (specifier,)))
            answer = overlay.wait_done(asking, ask(overlay, asking, asked)).result
            assert isinstance(answer, Answer)
            assert isinstance(answer.body, FetchAns)
            (kind,) = answer.body.kind_responses
            assert isinstance(kind, FetchKindResponse)
            assert kind.values == ()
        assert refusal(overlay, asking, node, MessageCode.STAT_REQ, StatReq(records[0].resource, (specifier,))) is None
        assert overlay.node(router).records_held.count == 0


def test_routers_are_in_nobody_s_replica_set_and_responsible_for_nothing(calm: Calm) -> None:
    overlay, routers, records = calm
    assert is_whole(overlay), "the peers are an overlay as if there were no routers"
    own = {overlay.node(host).node_id for host in routers}
    for host in overlay.alive():
        node = overlay.node(host)
        assert own.isdisjoint(node.neighbors)
        assert own.isdisjoint(node.topology.routes)
        assert all(own.isdisjoint(replicas_for(node, record.resource)) for record in records)
    assert not any(overlay.node(router).is_responsible(record.resource) for router in routers for record in records)


def test_a_router_refuses_to_store_and_to_let_in(calm: Calm) -> None:
    overlay, (router, *_), records = calm
    asking, node = overlay.alive()[5], overlay.node(router).node_id
    for replica_number in (0, 1):
        storing = StoreReq(records[0].resource, replica_number, ())
        assert refusal(overlay, asking, node, MessageCode.STORE_REQ, storing) is ErrorCode.FORBIDDEN
    joining = JoinReq(overlay.node(asking).node_id)
    assert refusal(overlay, asking, node, MessageCode.JOIN_REQ, joining) is ErrorCode.FORBIDDEN


def test_nobody_is_a_router_by_the_word_of_another(calm: Calm) -> None:
    """It says so itself, over its own link."""
    overlay, (router, *_), _ = calm
    asking = next(host for host in overlay.alive() if not overlay.node(host).is_linked(overlay.node(router).node_id))
    far = next(
        node
        for host in overlay.alive()
        if not overlay.node(asking).is_linked(node := overlay.node(host).node_id) and host is not asking
    )
    said = PrivateReq(ROUTER, b"")
    assert refusal(overlay, asking, far, MessageCode.PRIVATE_REQ, said) is ErrorCode.FORBIDDEN


def test_a_peer_comes_in_by_a_router_alone() -> None:
    overlay, (router,) = with_routers("by a router", 8, 1)
    overlay.world.crash(overlay.world.hosts["p0"])
    wait_whole(overlay, 30.0)
    overlay.add_peer(8, contacts=[router.address])
    wait_whole(overlay, 30.0)
    records = fill(overlay, 8)
    assert missing(overlay, records) == []


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_router_that_dies_takes_nothing_with_it(is_silent: bool) -> None:
    overlay, routers = with_routers(f"dies {is_silent}", 12, 2)
    records = fill(overlay, 24)
    overlay.world.crash(routers[0], is_silent=is_silent)
    if is_silent:
        # What goes by it is lost until the links to it have been silent for long enough.
        overlay.world.run_for(35.0)
    assert missing(overlay, records, seed=3) == []


def test_with_one_hop_nothing_would_go_by_a_router() -> None:
    overlay = SimulatedOverlay("one hop", **CASES["one-hop"].settings)
    with pytest.raises(LocalMisuse, match="nothing would go by a router"):
        overlay.add_client(0, is_router=True)
