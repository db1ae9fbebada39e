"""Islands in virtual time: each works alone, and they grow together again (RFC 6940 section 10.7.4.4)."""

from __future__ import annotations

import random

import pytest

from p2psip.sim.registrations import fill, grow, missing, wait_until, wait_whole
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import Case, is_whole, watch_whole
from p2psip.sim.world import Host

HEAL_S = 30.0
"""By then parts of an overlay that reach each other again are one, with the intervals that every overlay has."""


def split(overlay: SimulatedOverlay, away: list[Host]) -> list[Host]:
    """Two islands, each with a ring of its own after a while; those who stay."""
    for host in away:
        host.island = 1
    home = [host for host in overlay.alive() if host.island == 0]
    wait_until(overlay, 40.0, lambda: is_whole(overlay, away) and is_whole(overlay, home))
    return home


def heal(overlay: SimulatedOverlay, limit_s: float = HEAL_S) -> None:
    """The sea falls dry."""
    for host in overlay.world.hosts.values():
        host.island = 0
    wait_whole(overlay, limit_s, 1.0)


def check_islands(topology: Case, seed: int) -> None:
    """Records of before, and of either island, are found by everybody in the end."""
    rng = random.Random(f"islands {seed}")
    peers = rng.randint(2, 14)
    overlay = grow(seed, peers, **topology.settings)
    records = fill(overlay, 10)
    overlay.world.run_for(2.0)
    split(overlay, rng.sample(overlay.alive(), rng.randint(1, peers - 1)))
    records += fill(overlay, 20, first=10, seed=seed)
    heal(overlay)
    overlay.world.run_for(35.0)
    assert missing(overlay, records) == []
    assert topology.violations(overlay) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 4])
def test_islands_grow_together(topology: Case, seed: int) -> None:
    """Small ones."""
    check_islands(topology, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", [*range(5, 11), 13, 14, 16, 20, 21])
def test_islands_grow_together_whatever_the_seed(topology: Case, seed: int) -> None:
    """Of two to fourteen peers, cut anywhere."""
    check_islands(topology, seed)


@pytest.mark.long
def test_an_island_answers_from_what_it_has(topology: Case) -> None:
    """Whoever is elsewhere, and be they most: what is stored here is found here."""
    overlay = grow("alone", 9, **topology.settings)
    away = [overlay.world.hosts[name] for name in ("p3", "p6", "p8")]
    for host in split(overlay, away):
        overlay.world.crash(host, is_silent=True)
    records = fill(overlay, 10)
    assert missing(overlay, records) == []


@pytest.mark.long
def test_islands_without_a_bootstrap_node_remember_their_lost_neighbors(topology: Case) -> None:
    """The first peer died long ago: neither part has a configured way to the other."""
    overlay = grow("no way", 8, **topology.settings)
    overlay.world.crash(overlay.world.hosts["p0"])
    wait_whole(overlay, 10.0)
    overlay.world.run_for(60.0)
    split(overlay, [overlay.world.hosts[name] for name in ("p2", "p5", "p7")])
    heal(overlay)


@pytest.mark.long
def test_a_whole_ring_is_never_torn_by_its_own_looking(topology: Case) -> None:
    """Ten update intervals of probes, stabilization and finger searches change nothing."""
    overlay = grow("quiet", 8, chord_update_interval_s=30, chord_ping_interval_s=60, **topology.settings)
    records = fill(overlay, 10)
    is_still_whole = watch_whole(overlay)
    assert not overlay.world.run_for(300.0, stop=lambda: bool(topology.violations(overlay)) or not is_still_whole())
    assert is_whole(overlay)
    assert missing(overlay, records) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_the_first_peer_that_begins_anew_is_found_by_those_who_came_by_it(topology: Case, seed: int) -> None:
    """It is killed before it has remembered anybody, and is its own bootstrap node: they dial it where they did."""
    overlay = grow(f"first anew {seed}", 5, at_once=1, **topology.settings)
    overlay.world.crash(overlay.world.hosts["p0"])
    overlay.world.run_for(10.0)
    overlay.add_peer(0)
    wait_whole(overlay, HEAL_S)
