"""Calls whose SIP goes inside overlay messages (docs/decisions/tunnel.md), where two peers have no path."""

from __future__ import annotations

import pytest

from p2psip.reload.node.tunnelling.tunnel_commands import is_tunnel
from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.sites.internet import InternetSites
from p2psip.sim.sites.making import identity_of
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers


def apart(seed: str, **settings: object) -> SimulatedPeers:
    """Two public peers, and two sites that are clients of them and that nobody can dial."""
    world = SimulatedPeers(seed, 2, **settings)
    for number in (2, 3):
        world.add(number, is_client=True, is_reachable=False)
    assert world.run(60.0, stop=lambda: all(world[n].peer.node.is_connected for n in (2, 3)))
    world.run(20.0)
    return world


def call(world: SimulatedPeers, caller: SitePhone, target: str) -> tuple[str, float]:
    """Dial, and wait for the end or the answer: "talks", or why not, and after how long."""
    began = world.world.now
    number = caller.dial(target)
    world.run(40.0, stop=lambda: caller.ended(number) is not None or caller.talks)
    return caller.ended(number) or "talks", world.world.now - began


def test_a_call_between_two_sites_that_nobody_can_dial() -> None:
    """After one second, in which AppAttach comes to nothing; the next call goes at once, and BYE goes as well."""
    world = apart("apart", sip_tunnel=True)
    alice, bob, anna = world.with_phones((2, "alice"), (3, "bob"), (2, "anna"))
    what, after_s = call(world, alice, "bob")
    assert (what, bob.talks) == ("talks", True)
    assert 1.0 < after_s < 2.5
    assert all(map(is_tunnel, world[2].peer.flows.calls._by_link))
    bob.hang_up(1)
    world.run(2.0)
    assert not alice.talks
    what, after_s = call(world, anna, "bob")
    assert what == "talks"
    assert after_s < 1.0
    # What AppAttach came to is no reason to end the tunnel.
    world.run(40.0)
    assert world[2].peer.flows.calls.is_tunnelled(world[3].peer.node.node_id)


def test_without_permission_such_a_call_fails_and_says_why() -> None:
    world = apart("not permitted")
    alice, _ = world.with_phones((2, "alice"), (3, "bob"))
    what, _ = call(world, alice, "bob")
    assert what.startswith("480 Temporarily Unavailable; ")


def test_where_there_is_a_path_nobody_opens_a_tunnel() -> None:
    world = SimulatedPeers("path", 2, sip_tunnel=True)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    assert call(world, alice, "bob")[0] == "talks"
    world.run(5.0)
    assert bob.talks
    assert len(world[0].peer.flows.calls) == 0


def seed_with_order(what: str) -> str:
    """A seed with which sites 2 and 4 are not side by side in the ring of 1 to 4: a peer that cannot be linked with its
    neighbour is no member.
    """
    for number in range(1000):
        seed = f"{what} {number}"
        ring = sorted(range(1, 5), key=lambda site: identity_of(seed, f"s{site}").node_id)
        if (ring.index(2) - ring.index(4)) % 2 == 0:
            return seed
    raise AssertionError("one in three has it")


@pytest.mark.long
@pytest.mark.parametrize("kind", [PORT_RESTRICTED, SYMMETRIC], ids=["port-restricted", "symmetric"])
def test_with_no_public_peer_left(kind: NatBehaviour) -> None:
    """Two sites behind NATs that no punch joins, two more behind NATs that both reach, and the public peer by which all
    came in, which loses its power for good.
    """
    world = InternetSites(seed_with_order("none left"), no_ice=False, overlay_link_protocols=("DTLS",), sip_tunnel=True)
    gone = world.add_public(0)
    others = []
    for number, behaviour in enumerate((FULL_CONE, SYMMETRIC, FULL_CONE, kind), start=1):
        world.run(3.0)
        others.append(world.add_behind_nat(number, behaviour, forwards=False))
    _, hill, _, valley = others
    world.line(hill, "alice")
    world.line(valley, "bob")
    world.settle(60.0)
    world.run(30.0)
    world.cut_power(gone)
    world.run(90.0)
    assert not hill.peer.node.is_linked(valley.peer.node.node_id)
    alice, bob = world.phone(hill, "alice"), world.phone(valley, "bob")
    alice.dial("bob")
    assert world.run(20.0, stop=lambda: alice.talks and bob.talks)
    assert hill.peer.flows.calls.is_tunnelled(valley.peer.node.node_id)
