"""A hundred peers join, a fifth of them crash, and every record is still found."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from p2psip.reload.transport.outcome import Answer
from p2psip.sim.registrations import StoredEntry, fill, grow, missing, wait_whole
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import Case
from p2psip.sim.world import Host


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_hundred_peers_join_a_fifth_of_them_crash_and_every_record_is_still_found(topology: Case) -> None:
    """Killed; and as soon as all is found again as many of the others lose their power, which says nothing."""
    overlay = grow("a hundred", 100, at_once=10, is_direct=True, **topology.settings)
    records = fill(overlay, 100)
    assert hops_of(overlay) < 6.0
    for is_silent, limit_s in ((False, 5.0), (True, 45.0)):
        for victim in victims_of(overlay, records, 20):
            overlay.world.crash(victim, is_silent=is_silent)
        wait_whole(overlay, limit_s, 0.5)
        assert missing(overlay, records) == []


def victims_of(overlay: SimulatedOverlay, records: Sequence[StoredEntry], count: int) -> list[Host]:
    """As chance has it, but of those who have copies of a record one is left: nothing survives the death of all."""
    hosts = overlay.alive()
    copies = [{host for host in hosts if host.store.kinds(record.resource)} for record in records]
    dead: list[Host] = []
    for host in random.Random(1).sample(hosts, len(hosts)):
        if len(dead) < count and not any(holders <= {*dead, host} for holders in copies):
            dead.append(host)
    return dead


def hops_of(overlay: SimulatedOverlay) -> float:
    """How many hops the commands took that were answered, in the mean: O(log N)."""
    hops = [
        event.result.hops  # type: ignore[attr-defined]
        for host in overlay.alive()
        for event in host.events
        if isinstance(getattr(event, "result", None), Answer)
    ]
    return sum(hops) / len(hops)
