"""A peer that cannot reach the overlay: its own phones call each other all the same, at once."""

from __future__ import annotations

import pytest

from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.agents.types import Registered


def test_a_peer_that_never_got_in() -> None:
    world = SimulatedPeers("lost", 0)
    # Peer 1 may not begin the overlay, and nobody else is there.
    world.add(1)
    for user in ("alice", "bob"):
        world.line(1, user)
    alice, bob = (SitePhone(world[1], user, number).register() for number, user in enumerate(("alice", "bob")))
    world.run(1.0)
    assert alice.of(Registered)
    began = world.world.now
    number = alice.dial("bob")
    world.run(5.0, stop=lambda: alice.talks)
    assert bob.talks
    assert world.world.now - began < 0.6
    alice.hang_up(number)
    world.run(1.0)
    number = alice.dial("carol")
    world.run(5.0, stop=lambda: alice.ended(number) is not None)
    ended = alice.ended(number) or ""
    assert ended.startswith("480 Temporarily Unavailable; lookup of carol@sim.example: this peer is not in the overlay")


def test_the_only_peer() -> None:
    world = SimulatedPeers("only", 1)
    alice, bob = world.with_phones((0, "alice"), (0, "bob"))
    alice.dial("bob")
    world.run(0.6)
    assert bob.talks


def test_a_peer_whose_overlay_has_just_died() -> None:
    """Its neighbours lost their power and it does not know yet: phones at the same peer ring after a second."""
    world = SimulatedPeers("dying", 6)
    alice, bob = world.with_phones((0, "alice"), (0, "bob"))
    for number in range(1, 6):
        world.world.crash(world[number].host, is_silent=True)
    began = world.world.now
    alice.dial("bob")
    world.run(10.0, stop=lambda: alice.talks)
    assert bob.talks
    assert world.world.now - began < 2.0


@pytest.mark.long
@pytest.mark.parametrize("seed", ["islands", 4, 5, 25, 29, 30])
def test_islands_that_find_each_other_again(seed: int | str) -> None:
    """Within two minutes, though the peers of this overlay look for another part of it every 400 s only."""
    world = SimulatedPeers(seed, 4)
    alice, bob, carol = world.with_phones((0, "alice"), (1, "bob"), (2, "carol"))
    for number in (2, 3):
        world[number].host.island = 1
    world.run(120.0)
    alice.dial("bob")
    world.run(20.0, stop=lambda: alice.talks)
    assert bob.talks
    for number in (2, 3):
        world[number].host.island = 0
    world.run(120.0)
    number = alice.dial("carol")
    world.run(20.0, stop=lambda: carol.talks or alice.ended(number) is not None)
    assert carol.talks, alice.ended(number)
