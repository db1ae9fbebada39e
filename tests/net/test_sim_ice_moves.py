"""Paths of ICE in use whose ends are suddenly elsewhere, in virtual time: NATs reboot, addresses change, relays die."""

from __future__ import annotations

import pytest
from ice_world import IceWorld, Scene

from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.ip.network import Way

BACK_S = 2.0
"""How soon data passes again, where it can."""

NEW_PORTS = NatBehaviour(preserves_port=False)


def talking(scene: Scene, *, seed: str = "moves", uses_relay: bool = False) -> IceWorld:
    """Two hosts with a path, both of which say something all the time."""
    world = IceWorld(seed, scene, uses_relay=uses_relay)
    world.connect()
    assert world.is_connected
    for host in world.hosts:
        host.talk()
    world.internet.run_for(10.0)
    assert not any(host.doubted for host in world.hosts)
    return world


def is_back(world: IceWorld, limit_s: float = BACK_S) -> bool:
    """True if both hear each other again within that."""
    since = world.internet.now + 0.5
    return world.internet.run_for(limit_s, stop=lambda: all(host.came_at > since for host in world.hosts))


@pytest.mark.parametrize("moving", [0, 1], ids=["controlling", "controlled"])
@pytest.mark.parametrize("host", ["203.0.113.100", "203.0.113.77"], ids=["another port", "another address"])
@pytest.mark.parametrize("other", [(), (FULL_CONE,)], ids=["public", "full cone"])
def test_a_nat_forgets_its_mappings(moving: int, host: str, other: tuple[NatBehaviour, ...]) -> None:
    """The other end sees checks from another address, and the path goes there: nothing is lost, no Attach is needed."""
    boxes = ((NEW_PORTS,), other)
    world = talking(Scene(*(boxes if moving == 0 else boxes[::-1])))
    world.nats[moving][0].reboot(host, off_s=0.0)
    assert is_back(world)
    assert [each.lost for each in world.hosts] == [None, None]
    world.internet.run_for(60.0)
    assert is_back(world)


@pytest.mark.parametrize("off_s", [5.0, 20.0])
def test_a_nat_is_away_for_a_while(off_s: float) -> None:
    """It is noticed soon that it is back."""
    world = talking(Scene((NEW_PORTS,), (FULL_CONE,)))
    world.nats[0][0].reboot(off_s=off_s)
    world.internet.run_for(off_s)
    assert is_back(world)


def test_an_idle_path_whose_nat_forgot_it() -> None:
    """The next question for consent tells the other end, without data: both ends have it when there is some."""
    world = talking(Scene((NEW_PORTS,), ()))
    for host in world.hosts:
        host.fall_silent()
    world.internet.run_for(5.0)
    world.nats[0][0].reboot(off_s=0.0)
    world.internet.run_for(30.0)
    for host in world.hosts:
        host.got.clear()
        host.say()
    world.internet.run_for(0.2)
    assert all(host.got for host in world.hosts)


@pytest.mark.parametrize("moving", [0, 1], ids=["controlling", "controlled"])
def test_a_host_has_another_address(moving: int) -> None:
    """It checks from there at once."""
    world = talking(Scene((), ()))
    world.hosts[moving].move("203.0.113.33")
    assert is_back(world, 1.0)
    assert [host.lost for host in world.hosts] == [None, None]
    assert world.hosts[1 - moving].path is not None
    assert world.hosts[1 - moving].path[1].host == "203.0.113.33"


def test_a_host_behind_a_nat_has_another_address() -> None:
    """Of its LAN: the NAT has another mapping for it."""
    world = talking(Scene((PORT_RESTRICTED,), (FULL_CONE,)))
    (old,) = world.hosts[0].machine.hosts
    world.hosts[0].move(old.rpartition(".")[0] + ".201")
    assert is_back(world)


def test_where_nothing_works_it_is_told_soon() -> None:
    """Both behind NATs that let in nobody unasked: only an Attach can say where the one with other mappings is now."""
    world = talking(Scene((NatBehaviour(preserves_port=False),), (PORT_RESTRICTED,)))
    world.nats[0][0].reboot("203.0.113.77", off_s=0.0)
    at = world.internet.now
    assert world.internet.run_for(2.5, stop=lambda: all(host.doubted for host in world.hosts))
    assert not is_back(world)
    assert [host.lost for host in world.hosts] == [None, None]
    world.internet.run_for(60.0)
    assert all(host.lost is not None for host in world.hosts)
    assert world.internet.now - at > 30.0


def test_a_path_over_a_relay_that_dies_is_told_soon() -> None:
    """As there is no other."""
    world = talking(Scene((SYMMETRIC,), (SYMMETRIC,)), uses_relay=True)
    assert not world.is_direct
    world.relay.die()
    assert world.internet.run_for(2.5, stop=lambda: all(host.doubted for host in world.hosts))


def test_loss_is_no_move() -> None:
    """One datagram in ten is lost for ten minutes: the path is what it was, and hardly anybody asks for an Attach."""
    world = talking(Scene((NEW_PORTS,), (FULL_CONE,), way=Way(delay_s=0.05, loss=0.1)))
    world.hosts[0].talk(0.9)
    world.hosts[1].talk(0.9)
    paths = [host.path for host in world.hosts]
    world.internet.run_for(600.0)
    assert [host.path for host in world.hosts] == paths
    assert all(len(host.doubted) < 3 for host in world.hosts)


def test_a_talk_over_a_good_path_costs_no_more_than_consent() -> None:
    """A question every four to six seconds, and the answers to the other end's."""
    world = talking(Scene((NEW_PORTS,), (FULL_CONE,)))
    before = [host.stun_sent for host in world.hosts]
    world.internet.run_for(120.0)
    assert all(host.stun_sent - count <= 2 * 120 / 4 for host, count in zip(world.hosts, before, strict=True))
