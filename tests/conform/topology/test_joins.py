"""Joins in virtual time: in any order and at once they always give one ring."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from p2psip.base.effects import Effect
from p2psip.sim.registrations import fill, grow, missing, responsible, restart, wait_whole
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import CASES, COPIES, Case, is_member, is_whole
from p2psip.sim.world import Host


def join_somehow(topology: Case, seed: int) -> SimulatedOverlay:
    """5 to 20 peers, in an order and with pauses that chance chooses; the invariant is looked at after every event."""
    rng = random.Random(f"joins {seed}")
    overlay = SimulatedOverlay(seed, **topology.settings)
    numbers = list(range(1, rng.randint(5, 20)))
    rng.shuffle(numbers)
    for number in [0, *numbers]:
        overlay.add_peer(number)
        pause_s = rng.choice([0.0, 0.0, 0.0, 0.05, 0.3, 1.0])
        assert not overlay.world.run_for(pause_s, stop=lambda: bool(topology.violations(overlay)))
    return overlay


def check_joins(topology: Case, seed: int) -> None:
    """One ring within 10 s of the last start, and it stays one."""
    overlay = join_somehow(topology, seed)
    wait_whole(overlay, 10.0)
    overlay.world.run_for(30.0)
    assert is_whole(overlay)
    assert topology.violations(overlay) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_joins_gives_one_ring(topology: Case, seed: int) -> None:
    """A few."""
    check_joins(topology, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 12))
def test_any_order_of_joins_gives_one_ring_whatever_the_seed(topology: Case, seed: int) -> None:
    """Many."""
    check_joins(topology, seed)


@pytest.mark.parametrize("peers", [1, 2, 3, 4, 6])
def test_small_rings(topology: Case, peers: int) -> None:
    """Everybody holds everybody, and every record is found from everywhere."""
    overlay = grow(peers, peers, **topology.settings)
    assert missing(overlay, fill(overlay, 10)) == []


def test_a_join_takes_a_second_or_so(topology: Case) -> None:
    """With links of 5 to 50 ms; nothing waits for a timer."""
    overlay = grow("time", 10, **topology.settings)
    began = overlay.world.now
    host = overlay.add_peer(10)
    overlay.world.run_for(10.0, stop=lambda: is_member(overlay.node(host)))
    assert overlay.world.now - began < 1.5


@pytest.mark.long
def test_records_follow_their_responsible_peer(topology: Case) -> None:
    """Who joins answers for what was stored before it came."""
    overlay = grow("follow", 3, **topology.settings)
    records = fill(overlay, 30)
    for number in range(3, 12):
        overlay.add_peer(number)
    wait_whole(overlay, 20.0)
    assert missing(overlay, records) == []
    assert len({responsible(overlay, record).name for record in records}) > 3


def test_each_record_is_kept_by_its_responsible_peer_and_two_replicas(topology: Case) -> None:
    """10.4."""
    overlay = grow("replicas", 8, **topology.settings)
    records = fill(overlay, 20)
    overlay.world.run_for(1.0)
    for record in records:
        holders = {overlay.node(host).node_id for host in overlay.alive() if host.store.kinds(record.resource)}
        members = [overlay.node(host).node_id for host in overlay.alive()]
        assert holders == set(topology.holders(members, record.resource)[: 1 + COPIES])


def test_a_peer_that_is_started_again_at_once_is_let_in_again(topology: Case) -> None:
    """Its neighbours do not know yet that it was gone."""
    overlay = grow("again", 8, **topology.settings)
    for number in (3, 5):
        again = restart(overlay, overlay.world.hosts[f"p{number}"])
        assert overlay.world.run_for(8.0, stop=lambda host=again: is_member(overlay.node(host)))
    wait_whole(overlay, 60.0)


@pytest.mark.long
def test_links_are_not_kept_for_ever(topology: Case) -> None:
    """What joins and searches left behind is let go: neighbours, fingers, and those who have us as finger."""
    overlay = grow("links", 20, **topology.settings)
    overlay.world.run_for(60.0)
    nodes = [overlay.node(host) for host in overlay.alive()]
    assert sum(len(node.links()) for node in nodes) / len(nodes) < 15
    assert all(len(node.links()) == len(node.linked) for node in nodes), "a link that is superseded is not closed"


# Determinism


def transcript(name: str, seed: int) -> str:
    """A digest of all that every core wanted done in a small overlay that grows, stores, and loses two peers."""
    overlay, digest = SimulatedOverlay(seed, **CASES[name].settings), hashlib.sha256()
    do = overlay.world._do

    def record(host: Host, effect: Effect) -> None:
        digest.update(f"{overlay.world.now!r} {host.name} {effect!r}\n".encode())
        do(host, effect)

    overlay.world._do = record  # type: ignore[method-assign]
    for number in range(7):
        overlay.add_peer(number)
        overlay.world.run_for(0.5)
    wait_whole(overlay, 20.0)
    fill(overlay, 5)
    for name in ("p2", "p5"):
        overlay.world.crash(overlay.world.hosts[name], is_silent=name == "p2")
    overlay.world.run_for(60.0)
    return digest.hexdigest()


@pytest.mark.long
def test_the_same_seed_gives_the_same_run(topology: Case) -> None:
    """Also in another process, where sets are ordered otherwise; another seed gives another run."""
    name, here = topology.name, Path(__file__).parent
    script = "import sys; sys.path[:0] = sys.argv[2:]; import test_joins; print(test_joins.transcript(sys.argv[1], 1))"
    command = [sys.executable, "-c", script, name, str(here)]
    other = subprocess.run(command, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert transcript(name, 1) == transcript(name, 1) == other.stdout.strip()
    assert transcript(name, 1) != transcript(name, 2)
