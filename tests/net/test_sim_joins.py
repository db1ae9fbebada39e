"""Joins in virtual time: in any order and at once they always give one ring."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from p2psip.base.effects import Effect
from p2psip.base.ids import ResourceId
from p2psip.sim.overlay import SimulatedOverlay
from p2psip.sim.records import fill, grow, missing, responsible, restart, wait_until
from p2psip.sim.world import Host


def join_somehow(seed: int) -> SimulatedOverlay:
    """5 to 20 peers, in an order and with pauses that chance chooses; the invariant is looked at after every event."""
    rng = random.Random(f"joins {seed}")
    overlay = SimulatedOverlay(seed)
    numbers = list(range(1, rng.randint(5, 20)))
    rng.shuffle(numbers)
    for number in [0, *numbers]:
        overlay.add_peer(number)
        pause_s = rng.choice([0.0, 0.0, 0.0, 0.05, 0.3, 1.0])
        assert not overlay.world.run_for(pause_s, stop=lambda: bool(overlay.violations())), overlay.violations()
    return overlay


def assert_sound(overlay: SimulatedOverlay) -> None:
    """Decision 6: with at most r others everybody knows everybody; each identifier has one responsible peer."""
    members = {overlay.node(host).node_id for host in overlay.alive()}
    for host in overlay.alive():
        node = overlay.node(host)
        if len(members) - 1 <= overlay.configuration.successors:
            assert set(node.chord.table.successors) == members - {node.node_id}
    rng = random.Random(1)
    for _ in range(50):
        assert len(overlay.responsible_for(ResourceId(rng.randbytes(16)))) == 1


def check_joins(seed: int) -> None:
    """One ring within 10 s of the last start, and it stays one."""
    overlay = join_somehow(seed)
    wait_until(overlay, 10.0, overlay.is_ring)
    assert_sound(overlay)
    overlay.world.run_for(30.0)
    assert overlay.is_ring()
    assert overlay.violations() == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_joins_gives_one_ring(seed: int) -> None:
    """A few."""
    check_joins(seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 12))
def test_any_order_of_joins_gives_one_ring_whatever_the_seed(seed: int) -> None:
    """Many."""
    check_joins(seed)


@pytest.mark.parametrize("peers", [1, 2, 3, 4, 6])
def test_small_rings(peers: int) -> None:
    """Everybody holds everybody, and every record is found from everywhere."""
    overlay = grow(peers, peers)
    assert_sound(overlay)
    assert missing(overlay, fill(overlay, 10)) == []


def test_a_join_takes_a_second_or_so() -> None:
    """With links of 5 to 50 ms; nothing waits for a timer."""
    overlay = grow("time", 10)
    began = overlay.world.now
    host = overlay.add_peer(10)
    overlay.world.run_for(10.0, stop=lambda: overlay.node(host).chord.joining.is_member)
    assert overlay.world.now - began < 1.5


@pytest.mark.long
def test_records_follow_their_responsible_peer() -> None:
    """Who joins answers for what was stored before it came."""
    overlay = grow("follow", 3)
    records = fill(overlay, 30)
    for number in range(3, 12):
        overlay.add_peer(number)
    wait_until(overlay, 20.0, overlay.is_ring)
    assert missing(overlay, records) == []
    assert len({responsible(overlay, record).name for record in records}) > 3


def test_each_record_is_kept_by_its_responsible_peer_and_two_replicas() -> None:
    """10.4."""
    overlay = grow("replicas", 8)
    records = fill(overlay, 20)
    overlay.world.run_for(1.0)
    for record in records:
        table = overlay.node(responsible(overlay, record)).chord.table
        holders = {overlay.node(host).node_id for host in overlay.alive() if host.store.kinds(record.resource)}
        assert holders == {table.node_id, *table.successors[:2]}


def test_a_peer_that_is_started_again_at_once_is_let_in_again() -> None:
    """Its neighbours do not know yet that it was gone."""
    overlay = grow("again", 8)
    for number in (3, 5):
        again = restart(overlay, overlay.world.hosts[f"p{number}"])
        assert overlay.world.run_for(8.0, stop=lambda host=again: overlay.node(host).chord.joining.is_member)
    wait_until(overlay, 60.0, overlay.is_ring)


@pytest.mark.long
def test_links_are_not_kept_for_ever() -> None:
    """What joins and searches left behind is let go: neighbours, fingers, and those who have us as finger."""
    overlay = grow("links", 20)
    overlay.world.run_for(60.0)
    connections = [overlay.node(host).connections for host in overlay.alive()]
    assert sum(map(len, connections)) / len(connections) < 15
    assert all(len(each.all()) == len(each) for each in connections), "a link that is superseded is not closed"


# Determinism


def transcript(seed: int) -> str:
    """A digest of all that every core wanted done in a small overlay that grows, stores, and loses two peers."""
    overlay, digest = SimulatedOverlay(seed), hashlib.sha256()
    do = overlay.world._do

    def record(host: Host, effect: Effect) -> None:
        digest.update(f"{overlay.world.now!r} {host.name} {effect!r}\n".encode())
        do(host, effect)

    overlay.world._do = record  # type: ignore[method-assign]
    for number in range(7):
        overlay.add_peer(number)
        overlay.world.run_for(0.5)
    wait_until(overlay, 20.0, overlay.is_ring)
    fill(overlay, 5)
    for name in ("p2", "p5"):
        overlay.world.crash(overlay.world.hosts[name], is_silent=name == "p2")
    overlay.world.run_for(60.0)
    return digest.hexdigest()


@pytest.mark.long
def test_the_same_seed_gives_the_same_run() -> None:
    """Also in another process, where sets are ordered otherwise; another seed gives another run."""
    support = Path(__file__).parent.parent / "support"
    script = "import sys; sys.path[:0] = sys.argv[1:]; import test_sim_joins; print(test_sim_joins.transcript(1))"
    command = [sys.executable, "-c", script, str(support), str(Path(__file__).parent)]
    other = subprocess.run(command, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert transcript(1) == transcript(1) == other.stdout.strip()
    assert transcript(1) != transcript(2)
