"""Peers that die, leave, or lose everybody, in virtual time: records are still found, the ring closes again."""

from __future__ import annotations

import random

import pytest
from effort import times

from p2psip.reload.paths.values import Purpose
from p2psip.reload.topology.actions import Connect
from p2psip.sim.registrations import (
    StoredEntry,
    fill,
    grow,
    host_of,
    missing,
    responsible,
    restart,
    wait_until,
    wait_whole,
)
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import Case, is_whole, neighbors, replicas_for
from p2psip.sim.world import Host


def lose_a_fifth(
    topology: Case, seed: int | str, peers: int, *, is_silent: bool
) -> tuple[SimulatedOverlay, list[StoredEntry]]:
    """An overlay with records, a fifth of whose peers have just died together."""
    overlay = grow(seed, peers, **topology.settings)
    records = fill(overlay, 2 * peers)
    overlay.world.run_for(2.0)
    for victim in random.Random(f"victims {seed}").sample(overlay.alive(), peers // 5):
        overlay.world.crash(victim, is_silent=is_silent)
    return overlay, records


@pytest.mark.long
@pytest.mark.parametrize("seed", range(times(2)))
def test_a_fifth_is_killed(topology: Case, seed: int) -> None:
    """Their links are reset: the ring closes within a second, and every record is found."""
    overlay, records = lose_a_fifth(topology, seed, 15, is_silent=False)
    wait_whole(overlay, 2.0)
    assert missing(overlay, records) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(times(1)))
def test_a_fifth_loses_its_power(topology: Case, seed: int) -> None:
    """Only silence tells: after 30 s, most of them sooner, all is well."""
    overlay, records = lose_a_fifth(topology, seed, 15, is_silent=True)
    wait_whole(overlay, 30.0)
    assert missing(overlay, records) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3, 3 + times(2)))
@pytest.mark.parametrize("is_silent", [False, True])
def test_a_fifth_dies_whatever_the_seed(topology: Case, seed: int, is_silent: bool) -> None:
    """Many, and the invariant holds at every moment."""
    overlay, records = lose_a_fifth(topology, seed, 5 * random.Random(seed).randint(2, 5), is_silent=is_silent)
    assert not overlay.world.run_for(35.0, stop=lambda: bool(topology.violations(overlay)))
    assert is_whole(overlay)
    assert missing(overlay, records) == []


@pytest.mark.long
@pytest.mark.parametrize(("is_silent", "limit_s"), [(False, 5.0), (True, 30.0)])
def test_the_responsible_peer_and_its_first_replica_die_together(
    topology: Case, is_silent: bool, limit_s: float
) -> None:
    """The second replica has the record, and soon knows that it is responsible."""
    overlay = grow("together", 8, **topology.settings)
    (record,) = fill(overlay, 1)
    overlay.world.run_for(1.0)
    owner = responsible(overlay, record)
    replica = host_of(overlay, replicas_for(overlay.node(owner), record.resource)[0])
    for victim in (owner, replica):
        overlay.world.crash(victim, is_silent=is_silent)
    began = overlay.world.now
    while missing(overlay, [record], seed=int(overlay.world.now)):
        assert overlay.world.now - began < limit_s
    assert overlay.world.now - began < limit_s


@pytest.mark.long
@pytest.mark.parametrize("is_silent", [False, True])
def test_neighbours_of_one_another_die_at_once(topology: Case, is_silent: bool) -> None:
    """Three of nine, side by side; those who are left are one overlay, and it works."""
    overlay = grow("side by side", 9, **topology.settings)
    first = overlay.world.hosts["p4"]
    beside = neighbors(overlay.node(first))[:2]
    for victim in (first, *(host_of(overlay, node) for node in beside)):
        overlay.world.crash(victim, is_silent=is_silent)
    wait_whole(overlay, 35.0)
    assert missing(overlay, fill(overlay, 10)) == []


@pytest.mark.long
def test_copies_are_made_again_after_a_death(topology: Case) -> None:
    """So that the next one does no harm: one after the other, until three are left."""
    overlay = grow("one by one", 9, **topology.settings)
    records = fill(overlay, 20)
    for victim in random.Random(1).sample(overlay.alive(), 6):
        overlay.world.crash(victim)
        overlay.world.run_for(35.0)
    assert len(overlay.alive()) == 3
    assert missing(overlay, records) == []


@pytest.mark.long
def test_who_leaves_hands_its_records_over(topology: Case) -> None:
    """All but two of ten leave, one after the other, without a pause for new copies; nothing is lost."""
    overlay = grow("leave", 10, **topology.settings)
    records = fill(overlay, 30)
    overlay.world.run_for(1.0)
    for host in random.Random(2).sample(overlay.alive(), 8):
        node = overlay.node(host)
        overlay.world.call(host, node.leave)
        assert overlay.world.run_for(10.0, stop=lambda node=node: node.has_left)
        overlay.world.run_for(0.1)
        overlay.world.crash(host)
    wait_whole(overlay, 10.0)
    assert missing(overlay, records) == []


def test_a_leave_is_known_at_once(topology: Case) -> None:
    """Before the link goes, and nobody brings the one that left back in."""
    overlay = grow("known", 8, **topology.settings)
    host = overlay.world.hosts["p3"]
    gone = overlay.node(host).node_id
    overlay.world.call(host, overlay.node(host).leave)
    overlay.world.run_for(0.5)
    others = [overlay.node(other) for other in overlay.alive() if other is not host]
    assert not any(topology.counts_on(node, gone) for node in others)
    overlay.world.run_for(10.0)
    assert not any(topology.counts_on(node, gone) for node in others)


def test_who_leaves_refuses_an_attach(topology: Case) -> None:
    """It would dial, and be gone in a moment: who asked is to ask again, or another."""
    overlay = grow("refused", 4, **topology.settings)
    host, asking = overlay.world.hosts["p3"], overlay.world.hosts["p1"]
    overlay.world.call(host, overlay.node(host).leave)
    node, gone = overlay.node(asking), overlay.node(host).node_id
    overlay.world.run_for(0.2)
    links = set(host.links)

    def attach(now: float) -> None:
        node._intents.connect(Connect(gone, gone), now)
        node._settle(now)

    overlay.world.call(asking, attach)
    assert node._paths.offers.is_awaited(Purpose.RELOAD, gone)
    overlay.world.run_for(0.5)
    assert not node._paths.offers.is_awaited(Purpose.RELOAD, gone), "it is answered"
    assert set(host.links) == links


def cut_off(overlay: SimulatedOverlay, host: Host, seconds: float) -> None:
    """A host loses its network for a while."""
    host.island = 9
    overlay.world.run_for(seconds)
    host.island = 0


@pytest.mark.long
def test_a_peer_that_lost_all_links_comes_back_by_itself(topology: Case) -> None:
    """It serves alone meanwhile: its own phones can call each other. What was stored there is found everywhere."""
    overlay = grow("cut off", 8, **topology.settings)
    records = fill(overlay, 20)
    host = overlay.world.hosts["p4"]
    host.island = 9
    wait_until(overlay, 30.0, lambda: is_whole(overlay, [host]))
    assert overlay.node(host).is_serving
    host.island = 0
    wait_whole(overlay, 90.0)
    overlay.world.run_for(5.0)
    assert missing(overlay, records) == []


@pytest.mark.long
@pytest.mark.parametrize("seconds", [1.0, 5.0, 20.0, 40.0])
def test_a_short_cut_heals(topology: Case, seconds: float) -> None:
    """Streams that stood still are given up, and made anew."""
    overlay = grow(f"cut {seconds}", 8, **topology.settings)
    records = fill(overlay, 10)
    cut_off(overlay, overlay.world.hosts["p2"], seconds)
    overlay.world.run_for(1.0)
    wait_whole(overlay, 120.0)
    overlay.world.run_for(40.0)
    assert is_whole(overlay)
    assert missing(overlay, records) == []


@pytest.mark.long
def test_without_the_bootstrap_node_remembered_contacts_lead_back(topology: Case) -> None:
    """No node is special: the first peer is dead for ever, another one loses its network and comes back."""
    overlay = grow("no bootstrap", 8, **topology.settings)
    overlay.world.crash(overlay.world.hosts["p0"], is_silent=True)
    wait_whole(overlay, 40.0)
    cut_off(overlay, overlay.world.hosts["p5"], 60.0)
    assert is_whole(overlay, [overlay.world.hosts["p5"]]), "it serves alone"
    wait_whole(overlay, 120.0)


def test_a_peer_that_is_started_again_with_nothing_loses_nothing(topology: Case) -> None:
    """It gets back what it answers for before it is asked for it."""
    overlay = grow("returns", 4, **topology.settings)
    records = fill(overlay, 10)
    overlay.world.run_for(1.0)
    restart(overlay, overlay.world.hosts["p2"])
    wait_whole(overlay, 60.0)
    assert missing(overlay, records) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(times(3)))
def test_after_any_churn_the_ring_closes(topology: Case, seed: int) -> None:
    """Joins, deaths of both kinds, leaves and restarts at random; then quiet: one ring, nothing left undone."""
    overlay = churn(topology, seed)
    wait_whole(overlay, 900.0, 2.0)
    overlay.world.run_for(60.0)
    assert is_whole(overlay)
    for host in overlay.alive():
        node = overlay.node(host)
        assert not node._moving.is_handing_over
        assert topology.is_at_rest(node)


def churn(topology: Case, seed: int) -> SimulatedOverlay:
    """Forty events, no pause or a long one between them; the bootstrap node lives at the end."""
    rng = random.Random(f"churn {seed}")
    overlay = SimulatedOverlay(seed, chord_update_interval_s=120, **topology.settings)
    overlay.add_peer(0)
    overlay.world.run_for(1.0)
    for _ in range(40):
        what = rng.choices(["join", "kill", "power cut", "leave", "restart"], [8, 2, 2, 2, 3])[0]
        dead = [host for host in overlay.world.hosts.values() if not host.is_alive]
        if what == "join" and len(overlay.world.hosts) < 20:
            overlay.add_peer(len(overlay.world.hosts))
        elif what == "restart" and dead:
            restart(overlay, rng.choice(dead))
        elif what in ("kill", "power cut", "leave") and len(overlay.alive()) > 2:
            victim = rng.choice(overlay.alive())
            if what == "leave":
                overlay.world.call(victim, overlay.node(victim).leave)
                overlay.world.run_for(rng.uniform(0.0, 2.0))
            overlay.world.crash(victim, is_silent=what == "power cut")
        overlay.world.run_for(rng.choice([0.0, 0.1, 1.0, 5.0, 20.0]))
    if not overlay.world.hosts["p0"].is_alive:
        restart(overlay, overlay.world.hosts["p0"])
    return overlay
