"""A state directory was copied: the same Node-ID on two machines, in virtual time."""

from __future__ import annotations

import pytest

from p2psip.reload.node.twins import LOOK_AFTER_S
from p2psip.reload.security.roles import Identity
from p2psip.sim.overlay import SimulatedOverlay
from p2psip.sim.world import Host

TRUE, COPY = 3, 103
WHOLE_S = 10.0
AT_THE_LATEST_S = 20.0
"""Where an answer has gone to the copy just before it went, an Attach is given up after 9 s and made again."""


class Copied(SimulatedOverlay):
    """Peer 103 has the state directory of peer 3."""

    def identity(self, number: int) -> Identity:
        return super().identity(number % 100)


def grown(seed: object) -> Copied:
    overlay = Copied(f"copied/{seed}")
    for number in range(6):
        overlay.add_peer(number)
        overlay.world.run_for(5.0)
    overlay.world.run_for(30.0, stop=overlay.is_ring)
    assert overlay.is_ring()
    return overlay


def leave(overlay: Copied, copy: Host) -> None:
    """The copy is stopped as one stops a peer."""
    overlay.world.call(copy, overlay.nodes[copy.name].leave)
    overlay.world.run_for(3.0)
    overlay.world.crash(copy)


def whole_after_s(seed: int) -> float:
    """How long after the copy was stopped the ring is whole with the true peer in it."""
    overlay = grown(seed)
    copy = overlay.add_peer(COPY)
    overlay.world.run_for(60.0)
    stopped = overlay.world.now
    leave(overlay, copy)
    overlay.world.run_for(AT_THE_LATEST_S, stop=overlay.is_ring)
    assert overlay.is_ring()
    return overlay.world.now - stopped


@pytest.mark.parametrize("seed", range(4))
def test_when_the_copy_has_left_the_true_peer_is_whole_again(seed: int) -> None:
    """Nobody holds against it what the other has said in its name."""
    assert whole_after_s(seed) <= AT_THE_LATEST_S


@pytest.mark.long
def test_that_takes_ten_seconds_as_a_rule() -> None:
    assert sum(whole_after_s(seed) <= WHOLE_S for seed in range(4, 14)) >= 9


@pytest.mark.parametrize("seed", range(4))
def test_both_know_of_each_other_and_where_the_other_is(seed: int) -> None:
    overlay = grown(seed)
    assert not any(overlay.nodes[host.name].twins.at(overlay.world.now) for host in overlay.alive())
    copy, world = overlay.add_peer(COPY), overlay.world

    def named() -> list[str]:
        return [overlay.nodes[f"p{number}"].twins.at(world.now).partition(":")[0] for number in (TRUE, COPY)]

    there = [overlay.address_of(COPY).host, overlay.address_of(TRUE).host]
    world.run_for(60.0, stop=lambda: named() == there)
    assert named() == there
    assert not any(overlay.nodes[f"p{number}"].twins.at(world.now) for number in (0, 1, 2, 4, 5))
    leave(overlay, copy)
    world.run_for(60.0)
    assert overlay.nodes["p3"].twins.at(world.now) == "", "it is over"


@pytest.mark.parametrize("seed", range(3))
def test_an_attach_of_ours_that_a_bad_path_has_held_up_is_no_other_machine_s(seed: int) -> None:
    """What TCP kept while nothing passed comes when the request has long been given up."""
    latency_s = 0.02
    overlay = SimulatedOverlay(f"held up/{seed}", latency_s=lambda _: latency_s)
    for number in range(4):
        host = overlay.add_peer(number)
        overlay.world.run_for(5.0)
    assert overlay.is_ring()
    world, node = overlay.world, overlay.node(host)
    world.call(host, node.twins.look_soon)
    world.run_for(LOOK_AFTER_S - 0.01)
    latency_s = 6.0
    world.run_for(1.0)
    latency_s = 0.02
    assert not world.run_for(30.0, stop=lambda: bool(node.twins.at(world.now))), node.twins.at(world.now)
