"""Peers whose routers map ports when they are asked (PCP, NAT-PMP): who can reach whom, without anybody's help."""

from __future__ import annotations

import pytest

from p2psip.sim.ip.boxes import PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.ip.port_server import MappingNat
from p2psip.sim.sites.internet import InternetSite, InternetSites

PUBLIC = 3


def world_with(*maps_by: tuple[str, ...], no_ice: bool = False, behaviour: NatBehaviour = SYMMETRIC) -> InternetSites:
    """Public peers that relay for nobody, and one behind a NAT for each of `maps_by`."""
    world = InternetSites(f"mapping {maps_by}", no_ice=no_ice)
    for number in range(PUBLIC):
        world.add_public(number)
        world.run(2.0)
    for number, languages in enumerate(maps_by, PUBLIC):
        world.add_behind_nat(number, behaviour, forwards=False, maps_by=languages)
        world.run(2.0)
    return world


def are_linked(one: InternetSite, other: InternetSite) -> bool:
    """And both know of it."""
    return one.peer.node.is_linked(other.peer.node.node_id) and other.peer.node.is_linked(one.peer.node.node_id)


@pytest.mark.parametrize("languages", [("PCP",), ("NAT-PMP",)])
def test_two_behind_symmetric_nats_reach_each_other_by_ports_that_their_routers_map(languages: tuple[str, ...]) -> None:
    """Without, RFC 4787's rules leave them no way but a relay, and here nobody relays."""
    world = world_with(languages, languages)
    one, other = world.sites[PUBLIC:]
    assert world.run(120.0, stop=lambda: are_linked(one, other))
    pairs = [link.pair for link in one.peer.node.links(other.peer.node.node_id)]
    assert pairs
    assert not any(pair is not None and "relayed" in pair.types for pair in pairs)
    world.settle()


def test_without_mapped_ports_the_same_two_have_no_way() -> None:
    world = world_with((), ())
    one, other = world.sites[PUBLIC:]
    assert not world.run(120.0, stop=lambda: are_linked(one, other))


@pytest.mark.parametrize("languages", [("PCP",), ("NAT-PMP",)])
def test_without_ice_a_mapped_port_is_what_a_peer_tells_others(languages: tuple[str, ...]) -> None:
    world = world_with(languages, languages, no_ice=True)
    one, other = world.sites[PUBLIC:]
    world.settle()
    assert world.run(120.0, stop=lambda: are_linked(one, other))


def test_a_router_that_reboots_with_another_address_is_asked_again_and_nothing_stays_when_a_peer_ends() -> None:
    world = world_with(("PCP",))
    site = world.sites[PUBLIC]
    nat = site.nat
    assert isinstance(nat, MappingNat)
    assert world.run(30.0, stop=lambda: len(site.peer.node.port_mapping.given) == 4)
    nat.reboot("198.20.3.9")
    assert world.run(200.0, stop=lambda: {at.host for _, at in site.peer.node.port_mapping.given} == {"198.20.3.9"})
    assert len(nat.server.living(world.internet.now)) == 4
    site.driver.call(site.peer.stop)
    assert world.run(5.0, stop=lambda: not nat.server.living(world.internet.now))


@pytest.mark.parametrize("behaviour", [PORT_RESTRICTED, SYMMETRIC], ids=["port-restricted", "symmetric"])
def test_members_confirm_that_a_mapped_port_can_be_dialled(behaviour: NatBehaviour) -> None:
    """Where they see it as the mapped one, and where each sees another."""
    world = world_with(("PCP",), behaviour=behaviour)
    node = world.sites[PUBLIC].peer.node
    assert world.run(120.0, stop=lambda: node.reach.is_dialable)
    assert not node.reach.is_open
