"""Islands in virtual time: each works alone, and they grow together again (RFC 6940 section 10.7.4.4)."""

from __future__ import annotations

import random

import pytest

from p2psip.sim.overlay import SimulatedOverlay
from p2psip.sim.records import fill, grow, missing, wait_until
from p2psip.sim.world import Host

HEAL_S = 120.0
"""By then parts of an overlay that reach each other again are one, with the intervals that every overlay has."""


def is_ring_of(overlay: SimulatedOverlay, hosts: list[Host]) -> bool:
    """True if these are one ring among themselves."""
    members = sorted(overlay.node(host).node_id for host in hosts)
    return all(overlay._is_placed(overlay.node(host), members) for host in hosts)


def split(overlay: SimulatedOverlay, away: list[Host]) -> list[Host]:
    """Two islands, each with a ring of its own after a while; those who stay."""
    for host in away:
        host.island = 1
    home = [host for host in overlay.alive() if host.island == 0]
    wait_until(overlay, 40.0, lambda: is_ring_of(overlay, away) and is_ring_of(overlay, home))
    return home


def heal(overlay: SimulatedOverlay, limit_s: float = HEAL_S) -> None:
    """The sea falls dry."""
    for host in overlay.world.hosts.values():
        host.island = 0
    wait_until(overlay, limit_s, overlay.is_ring, 1.0)


def check_islands(seed: int) -> None:
    """Records of before, and of either island, are found by everybody in the end."""
    rng = random.Random(f"islands {seed}")
    peers = rng.randint(2, 14)
    overlay = grow(seed, peers)
    records = fill(overlay, 10)
    overlay.world.run_for(2.0)
    split(overlay, rng.sample(overlay.alive(), rng.randint(1, peers - 1)))
    records += fill(overlay, 20, first=10, seed=seed)
    heal(overlay)
    overlay.world.run_for(35.0)
    assert missing(overlay, records) == []
    assert overlay.violations() == []


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 4])
def test_islands_grow_together(seed: int) -> None:
    """Small ones."""
    check_islands(seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", [*range(5, 11), 13, 14, 16, 20, 21])
def test_islands_grow_together_whatever_the_seed(seed: int) -> None:
    """Of two to fourteen peers, cut anywhere."""
    check_islands(seed)


@pytest.mark.long
def test_an_island_answers_from_what_it_has() -> None:
    """Whoever is elsewhere, and be they most: what is stored here is found here."""
    overlay = grow("alone", 9)
    away = [overlay.world.hosts[name] for name in ("p3", "p6", "p8")]
    for host in split(overlay, away):
        overlay.world.crash(host, is_silent=True)
    records = fill(overlay, 10)
    assert missing(overlay, records) == []


def test_islands_without_a_bootstrap_node_remember_their_lost_neighbors() -> None:
    """The first peer died long ago: neither part has a configured way to the other."""
    overlay = grow("no way", 8)
    overlay.world.crash(overlay.world.hosts["p0"])
    wait_until(overlay, 10.0, overlay.is_ring)
    overlay.world.run_for(60.0)
    split(overlay, [overlay.world.hosts[name] for name in ("p2", "p5", "p7")])
    heal(overlay)


@pytest.mark.long
def test_a_whole_ring_is_never_torn_by_its_own_looking() -> None:
    """Ten update intervals of probes, stabilization and finger searches change nothing."""
    overlay = grow("quiet", 8, chord_update_interval_s=30, chord_ping_interval_s=60)
    records = fill(overlay, 10)
    assert not overlay.world.run_for(300.0, stop=lambda: bool(overlay.violations()) or not overlay.is_ring())
    assert missing(overlay, records) == []
