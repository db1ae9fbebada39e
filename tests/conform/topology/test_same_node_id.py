"""A state directory was copied: the same Node-ID on two machines, in virtual time."""

from __future__ import annotations

import pytest
from effort import times

from p2psip.reload.node.connecting.twins import LOOK_AFTER_S
from p2psip.reload.security.roles import Identity
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import Case, is_whole, neighbors
from p2psip.sim.world import Host

TRUE, COPY = 3, 103
WHOLE_S = 10.0
NAMED_S = 5.0


class Copied(SimulatedOverlay):
    """Peer 103 has the state directory of peer 3."""

    def identity(self, number: int) -> Identity:
        return super().identity(number % 100)


def grown(topology: Case, seed: object) -> Copied:
    overlay = Copied(f"copied/{seed}", **topology.settings)
    for number in range(6):
        overlay.add_peer(number)
        overlay.world.run_for(5.0)
    overlay.world.run_for(30.0, stop=lambda: is_whole(overlay))
    assert is_whole(overlay)
    return overlay


def leave(overlay: Copied, copy: Host) -> None:
    """The copy is stopped as one stops a peer."""
    overlay.world.call(copy, overlay.nodes[copy.name].leave)
    overlay.world.run_for(3.0)
    overlay.world.crash(copy)


def whole_after_s(overlay: Copied) -> float:
    """How long after the copy was stopped the ring is whole with the true peer in it."""
    stopped = overlay.world.now
    leave(overlay, overlay.world.hosts[f"p{COPY}"])
    overlay.world.run_for(2 * WHOLE_S, stop=lambda: is_whole(overlay))
    assert is_whole(overlay)
    return overlay.world.now - stopped


def named_after_s(overlay: Copied) -> float:
    """How long after the copy was started each says where the other is."""
    world = overlay.world
    overlay.add_peer(COPY)
    started = world.now
    there = [overlay.address_of(COPY).host, overlay.address_of(TRUE).host]

    def named() -> list[str]:
        return [overlay.nodes[f"p{number}"].same_node_id_at(world.now).partition(":")[0] for number in (TRUE, COPY)]

    world.run_for(2 * NAMED_S, stop=lambda: named() == there)
    assert named() == there
    return world.now - started


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 6, 58])
def test_when_the_copy_has_left_the_true_peer_is_whole_again(topology: Case, seed: int) -> None:
    """Nobody holds against it what the other has said in its name, and no answer to it that went to the other."""
    overlay = grown(topology, seed)
    overlay.add_peer(COPY)
    overlay.world.run_for(10.0)
    assert whole_after_s(overlay) <= WHOLE_S


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 100 + times(8)))
def test_it_is_so_whatever_their_place_and_however_they_take_turns(topology: Case, seed: int) -> None:
    overlay = grown(topology, seed)
    assert named_after_s(overlay) <= NAMED_S
    overlay.world.run_for(30.0)
    assert whole_after_s(overlay) <= WHOLE_S


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 69, 93])
def test_both_know_of_each_other_and_where_the_other_is(topology: Case, seed: int) -> None:
    overlay = grown(topology, seed)
    assert not any(overlay.nodes[host.name].same_node_id_at(overlay.world.now) for host in overlay.alive())
    world = overlay.world
    assert named_after_s(overlay) <= NAMED_S
    assert not any(overlay.nodes[f"p{number}"].same_node_id_at(world.now) for number in (0, 1, 2, 4, 5))
    leave(overlay, world.hosts[f"p{COPY}"])
    world.run_for(60.0)
    assert overlay.nodes["p3"].same_node_id_at(world.now) == "", "it is over"


@pytest.mark.parametrize("seed", range(3))
def test_an_attach_of_ours_that_a_bad_path_has_held_up_is_no_other_machine_s(topology: Case, seed: int) -> None:
    """What TCP kept while nothing passed comes when the request has long been given up."""
    latency_s = 0.02
    overlay = SimulatedOverlay(f"held up/{seed}", latency_s=lambda _: latency_s, **topology.settings)
    for number in range(4):
        host = overlay.add_peer(number)
        overlay.world.run_for(5.0)
    assert is_whole(overlay)
    world, node = overlay.world, overlay.node(host)
    world.call(host, lambda now: node._twins.look(neighbors(node)[0], now))
    world.run_for(LOOK_AFTER_S - 0.01)
    latency_s = 6.0
    world.run_for(1.0)
    latency_s = 0.02
    assert not world.run_for(30.0, stop=lambda: bool(node.same_node_id_at(world.now))), node.same_node_id_at(world.now)
