"""Rings as arrays (p2psip.sim.scenario.ring_model), beside the code that runs."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.topology.chord.routing_table import RoutingTable
from p2psip.sim.scenario.ring_model import FINGERS, NEIGHBORS, lookup_hops, model_ring


def as_node(number: int) -> NodeId:
    """A Node-ID with these first eight bytes."""
    return NodeId(int(number).to_bytes(8, "big") + bytes(8))


@pytest.mark.parametrize("peers", [2, 3, 7, 40])
def test_a_model_routes_as_the_routing_table_does(peers: int) -> None:
    """Each hop of each lookup, by tables that know whom the model's peers are linked with."""
    ring = model_ring(peers, seed=peers)
    tables = []
    for number in range(peers):
        table = RoutingTable(as_node(ring.ids[number]), NEIGHBORS)
        for other in ring.links[ring.begins[number] : ring.begins[number + 1]]:
            table.add(as_node(ring.ids[other]))
        tables.append(table)
    by_node = {table.node_id: number for number, table in enumerate(tables)}
    rng = random.Random(peers)
    begins = [rng.randrange(peers) for _ in range(50)]
    targets = [rng.getrandbits(64) for _ in range(50)]
    for begin, target, hops in zip(
        begins, targets, ring.hops(np.array(begins), np.array(targets, np.uint64)), strict=True
    ):
        at, place, walked = begin, as_node(target), 0
        while not tables[at].is_in_range(place):
            found = tables[at].next_hop(place)
            assert found is not None
            at, walked = by_node[found], walked + 1
        assert walked == hops


def test_every_link_has_two_ends_and_neighbours_are_linked() -> None:
    ring = model_ring(50, seed=1)
    links = {
        (here, int(there)) for here in range(50) for there in ring.links[ring.begins[here] : ring.begins[here + 1]]
    }
    assert {(there, here) for here, there in links} == links
    assert all((here, (here + step) % 50) in links for here in range(50) for step in range(1, 1 + NEIGHBORS))
    assert all(here != there for here, there in links)


@pytest.mark.parametrize("peers", [100, 1000])
def test_lookups_take_no_more_hops_than_theory_says(peers: int) -> None:
    hops = lookup_hops(peers, lookups=2000, seed=1)
    assert 0.5 < hops.mean() < 0.5 * math.log2(peers) + 0.5
    assert hops.max() <= FINGERS
    assert (lookup_hops(peers, lookups=2000, seed=1) == hops).all()
    assert (lookup_hops(peers, lookups=2000, seed=2) != hops).any()
