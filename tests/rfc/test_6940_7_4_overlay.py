"""RFC 6940 section 7.4 among simulated peers: copies looked at with Stat, a ring walked with Find."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.storage.fetching import all_values
from p2psip.reload.storage.metadata import is_of
from p2psip.reload.storage.verified import read_find
from p2psip.reload.topology.chord.ring import RING_SIZE, advance, distance, hash_name
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.storage_messages import (
    FetchAns,
    FetchKindResponse,
    FindAns,
    FindReq,
    StatAns,
    StatKindResponse,
    StatReq,
    StoreAns,
    StoredData,
    StoredMetaData,
)
from p2psip.sim.registrations import KIND, StoredEntry, ask, fetch, fill, grow, line, store
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host


@pytest.fixture(scope="module")
def overlay() -> SimulatedOverlay:
    return grow("section 7.4", 7)


@pytest.fixture(scope="module")
def records(overlay: SimulatedOverlay) -> list[StoredEntry]:
    filled = fill(overlay, 15)
    overlay.world.run_for(2.0)
    return filled


def stat(overlay: SimulatedOverlay, host: Host, node: NodeId, resource: ResourceId) -> tuple[StoredMetaData, ...]:
    """What a peer says that it has."""
    request = StatReq(resource, (all_values(overlay.configuration.kinds[KIND]),))
    destinations = [Destination.node(node)]
    handle = ask(overlay, host, OverlayRequest(destinations, MessageCode.STAT_REQ, request))
    result = overlay.wait_done(host, handle).result
    assert isinstance(result, Answer), result
    assert result.signer.node_id == node
    assert isinstance(result.body, StatAns)
    (response,) = result.body.kind_responses
    assert isinstance(response, StatKindResponse)
    return response.values


@pytest.mark.must("7.4.1.2/1", "10.4/2")
def test_7_4_1_2_who_stores_can_verify_with_stat_that_the_replicas_have_been_stored(overlay: SimulatedOverlay) -> None:
    """ "this allows the storing node to independently verify that the replicas have in fact been stored. It does this
    verification by using the Stat method".
    """
    host, who = overlay.world.hosts["p1"], line("verifies")
    done = overlay.wait_done(host, store(overlay, host, who))
    assert isinstance(done.result, Answer)
    assert isinstance(done.result.body, StoreAns)
    (stored,) = done.result.body.kind_responses
    responsible = done.result.signer.node_id
    ring = sorted(node.node_id for node in overlay.nodes.values())
    after = ring[ring.index(responsible) + 1 :] + ring[: ring.index(responsible)]
    assert list(stored.replicas) == after[:2]
    overlay.world.run_for(1.0)
    resource = hash_name(who.user.encode())
    result = overlay.wait_done(host, fetch(overlay, host, resource)).result
    assert isinstance(result, Answer)
    assert isinstance(result.body, FetchAns)
    (response,) = result.body.kind_responses
    assert isinstance(response, FetchKindResponse)
    (value,) = response.values
    assert isinstance(value, StoredData)
    for node in (responsible, *stored.replicas):
        (metadata,) = stat(overlay, host, node, resource)
        assert metadata.storage_time == value.storage_time
        assert is_of(metadata.metadata, value.value)
    assert stat(overlay, host, after[3], resource) == ()


@pytest.mark.must("7.4.4.2/1")
def test_7_4_4_find_walks_the_overlay(overlay: SimulatedOverlay, records: list[StoredEntry]) -> None:
    """ "This method can be used to walk the Overlay Instance by iteratively fetching R_n+1=nearest(1 + R_n)." Who has
    no more in its own range is followed by the peer after it.
    """
    host = overlay.world.hosts["p2"]
    start = at = ResourceId(bytes(16))
    found: list[ResourceId] = []
    gone, asked = 0, 0
    while gone < RING_SIZE:
        request = FindReq(at, (KIND,))
        handle = ask(
            overlay, host, OverlayRequest([Destination.resource(request.resource)], MessageCode.FIND_REQ, request)
        )  # type: ignore[misc]
        result = overlay.wait_done(host, handle).result
        assert isinstance(result, Answer), result
        assert isinstance(result.body, FindAns)
        closest, asked = read_find(request, result.body)[KIND], asked + 1
        end = result.signer.node_id
        is_here = closest is not None and distance(at, closest) <= distance(at, end)
        reached = ResourceId(closest if is_here and closest is not None else end)
        gone += distance(at, reached) + 1
        if is_here and gone <= RING_SIZE:
            found.append(reached)
        at = advance(reached, 1)
    expected = {where for host in overlay.alive() for where in host.store.resources(b"", b"\xff" * 17, 1000, KIND)}
    assert expected.issuperset(record.resource for record in records)
    assert start < min(found)
    assert found == sorted(expected)
    assert asked <= len(found) + len(overlay.nodes) + 1
