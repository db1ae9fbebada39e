"""A hundred peers join, a fifth of them crash, and every record is still found."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.transport.outcome import Answer
from p2psip.sim.registrations import StoredEntry, fill, grow, missing, wait_whole
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import COPIES, Case
from p2psip.sim.world import Host


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("is_silent", "limit_s"), [(False, 5.0), (True, 45.0)], ids=["killed", "power cut"])
def test_a_hundred_peers_join_a_fifth_of_them_crash_and_every_record_is_still_found(
    topology: Case, is_silent: bool, limit_s: float
) -> None:
    """Killed, or with a power cut that says nothing."""
    overlay = grow("a hundred", 100, at_once=10, is_direct=True, **topology.settings)
    records = fill(overlay, 100)
    assert hops_of(overlay) < 6.0
    for victim in victims_of(overlay, records, topology, 20):
        overlay.world.crash(victim, is_silent=is_silent)
    wait_whole(overlay, limit_s, 0.5)
    assert missing(overlay, records) == []


def victims_of(overlay: SimulatedOverlay, records: Sequence[StoredEntry], topology: Case, count: int) -> list[Host]:
    """As chance has it, but of those who have copies of a record one is left: nothing survives the death of all."""
    hosts = overlay.alive()
    members = [overlay.node(host).node_id for host in hosts]
    copies = [set(topology.holders(members, record.resource)[: 1 + COPIES]) for record in records]
    dead: dict[NodeId, Host] = {}
    for host in random.Random(1).sample(hosts, len(hosts)):
        node = overlay.node(host).node_id
        if len(dead) < count and not any(holders <= {*dead, node} for holders in copies):
            dead[node] = host
    return list(dead.values())


def hops_of(overlay: SimulatedOverlay) -> float:
    """How many hops the commands took that were answered, in the mean: O(log N)."""
    hops = [
        event.result.hops  # type: ignore[attr-defined]
        for host in overlay.alive()
        for event in host.events
        if isinstance(getattr(event, "result", None), Answer)
    ]
    return sum(hops) / len(hops)
