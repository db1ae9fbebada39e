"""Peers that are clients for a while (docs/decisions/shedding.md), and back: no record is lost."""

from __future__ import annotations

import pytest

from p2psip.sim.registrations import fill, grow, missing, wait_until, wait_whole
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import Case
from p2psip.sim.world import Host


def turn(overlay: SimulatedOverlay, host: Host, *, is_client: bool) -> Host:
    """It leaves, as one that stops, and starts anew as the other thing."""
    node = overlay.node(host)
    overlay.world.call(host, node.leave)
    assert overlay.world.run_for(10.0, stop=lambda: node.has_left)
    overlay.world.run_for(0.1)
    overlay.world.crash(host)
    again = overlay.add_peer(int(host.name.removeprefix("p")), is_client=is_client)
    wait_until(overlay, 30.0, lambda: overlay.node(again).is_connected)
    return again


@pytest.mark.long
def test_a_peer_sheds_and_comes_back_while_others_die(topology: Case) -> None:
    overlay = grow("sheds", 9, **topology.settings)
    records = fill(overlay, 30)
    overlay.world.run_for(1.0)
    shed = turn(overlay, overlay.world.hosts["p3"], is_client=True)
    assert missing(overlay, records) == []
    assert not overlay.node(shed).is_serving
    assert overlay.node(shed).records_held.count == 0
    overlay.world.crash(overlay.world.hosts["p5"])
    wait_whole(overlay, 40.0)
    records += fill(overlay, 10, first=30)
    assert missing(overlay, records) == []
    back = turn(overlay, shed, is_client=False)
    overlay.world.crash(overlay.world.hosts["p7"])
    wait_whole(overlay, 40.0)
    assert overlay.node(back).records_held.count > 0
    assert missing(overlay, records, seed=2) == []


@pytest.mark.long
def test_all_but_four_shed_one_after_the_other(topology: Case) -> None:
    """As few as may remain: each record has its three holders, and whoever came back has its share again."""
    overlay = grow("one after the other", 8, **topology.settings)
    records = fill(overlay, 20)
    overlay.world.run_for(1.0)
    for number in range(4, 8):
        turn(overlay, overlay.world.hosts[f"p{number}"], is_client=True)
    assert missing(overlay, records) == []
    for number in range(4, 8):
        turn(overlay, overlay.world.hosts[f"p{number}"], is_client=False)
    wait_whole(overlay, 40.0)
    assert missing(overlay, records) == []
