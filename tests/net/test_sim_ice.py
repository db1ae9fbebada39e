"""Two agents of ICE behind boxes of every kind, in virtual time, beside an oracle of what can be punched."""

from __future__ import annotations

import itertools
import random

import pytest
from effort import EFFORT
from ice_oracle import can_be_punched
from ice_world import DATA, IceWorld, Scene

from p2psip.sim.ip.boxes import Dependence, Hairpin, NatBehaviour
from p2psip.sim.ip.network import Way

SEEDS = 300 if EFFORT == 1 else 500 * EFFORT
CHUNK = 50

KINDS = [
    NatBehaviour(mapping, filtering, hairpin=hairpin, preserves_port=preserves)
    for mapping, filtering, hairpin, preserves in itertools.product(
        Dependence, Dependence, (Hairpin.NO, Hairpin.EXTERNAL), (True, False)
    )
]


def scene_of(rng: random.Random) -> Scene:
    """Anything that two hosts may be behind."""

    def boxes(most: int) -> tuple[NatBehaviour, ...]:
        return tuple(
            NatBehaviour(
                rng.choice(list(Dependence)),
                rng.choice(list(Dependence)),
                rng.choice(list(Hairpin)),
                timeout_s=rng.choice((60.0, 120.0, 300.0)),
                inbound_refresh=rng.random() < 0.5,
                preserves_port=rng.random() < 0.5,
                preserves_parity=rng.random() < 0.5,
            )
            for _ in range(rng.randint(0, most))
        )

    shared = boxes(2) if rng.random() < 0.3 else ()
    way = Way(
        delay_s=rng.uniform(0.005, 0.1),
        jitter_s=rng.uniform(0, 0.05),
        loss=rng.choice((0.0, 0.0, 0.02, 0.05)),
        duplication=rng.choice((0.0, 0.05)),
        reordering=rng.choice((0.0, 0.1)),
    )
    return Scene((*boxes(2), *shared), (*boxes(2), *shared), len(shared), rng.random() < 0.3, way)


def try_scene(seed: int | str, scene: Scene, *, answer_s: float = 0.1) -> None:
    """It connects directly exactly when a path exists, over the relay exactly when none does, and then data passes."""
    expected = can_be_punched(scene)
    world = IceWorld(seed, scene)
    world.connect(answer_s=answer_s)
    assert world.is_connected, [host.lost for host in world.hosts]
    world.wait_direct(45.0 if expected else 5.0)
    assert world.is_direct is expected, [host.agents.reports(host.ufrag) for host in world.hosts]
    first, second = (host.path for host in world.hosts)
    assert first is not None
    assert second is not None
    assert first[2] == second[2]
    assert world.data_passes()
    # What it is asked for from there, a relay passes on to nobody inside.
    assert all(host.startswith(("203.0.113.", "198.51.100.")) for host in world.relay.sent_to)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_anything_that_two_hosts_may_be_behind(first: int) -> None:
    """Chance decides: boxes, what they share, the way, its losses, and when the answer comes."""
    for seed in range(first, first + CHUNK):
        rng = random.Random(f"ice {seed}")
        try:
            try_scene(seed, scene_of(rng), answer_s=rng.uniform(0.02, 1.0))
        except AssertionError as failed:
            failed.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize("first", KINDS, ids=str)
def test_every_pair_of_kinds(first: NatBehaviour) -> None:
    """Each kind of box with each other, and with none."""
    for number, second in enumerate([None, *KINDS]):
        try_scene(number, Scene((first,), () if second is None else (second,)))


@pytest.mark.parametrize("timeout_s", [30.0, 120.0])
def test_an_idle_path_outlives_the_patience_of_nats(timeout_s: float) -> None:
    """Ten minutes without data; what is then sent arrives at once."""
    behaviour = NatBehaviour(filtering=Dependence.ADDRESS_AND_PORT, timeout_s=timeout_s)
    world = IceWorld("idle", Scene((behaviour,), (behaviour,)))
    world.connect()
    world.internet.run_for(600.0)
    assert world.is_direct
    for host in world.hosts:
        host.say()
    world.internet.run_for(0.2)
    assert [host.got for host in world.hosts] == [[DATA], [DATA]]


def test_a_nat_that_reboots_ends_the_path() -> None:
    """Both ends learn it within a minute; a new Attach makes another (RFC 6940 has no restart)."""
    world = IceWorld("reboot", Scene((NatBehaviour(preserves_port=False),), (NatBehaviour(),)), uses_relay=False)
    world.connect()
    assert world.is_direct
    world.nats[0][0].reboot("203.0.113.77", off_s=5.0)
    world.internet.run_for(60.0)
    assert [host.lost.reason for host in world.hosts if host.lost] == 2 * ["the other end does not answer any more"]


@pytest.mark.parametrize("interfaces", [16, 40])
def test_many_interfaces(interfaces: int) -> None:
    """One of them has the way out; its pair is found among a hundred within seconds, whatever the others promise."""
    world = IceWorld("many", Scene((NatBehaviour(),), (NatBehaviour(),)), interfaces=interfaces)
    world.connect()
    world.wait_direct(10.0)
    assert world.is_direct
    assert world.internet.now - world.began_at < 8.0
    assert world.data_passes()
