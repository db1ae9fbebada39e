"""What whole peers find out about the boxes that they are behind, with nobody to ask but other members (RFC 5780)."""

from __future__ import annotations

from p2psip.reload.node.effects import ReachChanged
from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.reload.paths.nat.reach import EndpointDependence, Reach
from p2psip.sim.ip.boxes import PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.sites.internet import InternetSites

PUBLIC = 4


def world_with(behaviour: NatBehaviour, *, forwards: bool = False) -> InternetSites:
    """Public peers, and then one behind a box of this kind."""
    world = InternetSites(f"survey {behaviour}", no_ice=False, overlay_link_protocols=("DTLS",))
    for number in range(PUBLIC):
        world.add_public(number, relay=RelayWish.AUTO)
        world.run(2.0)
    world.add_behind_nat(PUBLIC, behaviour, forwards=forwards)
    world.settle(60.0)
    return world


def surveyed(world: InternetSites, number: int) -> Reach:
    """What a peer has found out when its survey is over."""
    node = world.sites[number].peer.node
    assert world.run(60.0, stop=lambda: node.reach.helpers > 0), "no survey"
    return node.reach


def test_public_peers_find_out_that_they_are_and_who_is_behind_a_nat_what_kind_that_is() -> None:
    world = world_with(SYMMETRIC)
    behind = surveyed(world, PUBLIC)
    assert behind.mapping is behind.filtering is EndpointDependence.ADDRESS_AND_PORT
    assert behind.address is not None
    assert behind.address.host == world.sites[PUBLIC].advertised
    assert (behind.is_open, behind.is_dialable) == (False, False)
    assert not world.sites[PUBLIC].peer.node.relays.is_offered
    # The first ones have been on their own for a while, and ask again.
    assert world.run(180.0, stop=lambda: all(site.peer.node.reach.is_open for site in world.sites[:PUBLIC]))
    for site in world.sites[:PUBLIC]:
        reach = site.peer.node.reach
        assert reach.is_open, site.name
        assert len(set(reach.opened_by)) >= 2
        assert site.peer.node.relays.is_offered, "who is open to all relays, unless its operator says that it must not"
        told = [effect for _, effect in site.driver.events if isinstance(effect, ReachChanged)]
        assert told[-1].reach == reach


def test_a_port_that_a_router_forwards_is_found_to_be_dialable() -> None:
    world = world_with(PORT_RESTRICTED, forwards=True)
    reach = surveyed(world, PUBLIC)
    assert reach.filtering is EndpointDependence.ADDRESS_AND_PORT
    assert reach.is_dialable
    assert not reach.is_open


def test_who_asks_again_and_again_is_told_the_same() -> None:
    """Somebody tries the settings of a router, one after the other; what members lend is bounded."""
    world = world_with(PORT_RESTRICTED, forwards=True)
    surveyed(world, PUBLIC)
    node = world.sites[PUBLIC].peer.node
    for _ in range(12):
        before = node.reach.at
        node.survey(world.internet.now)
        assert world.run(90.0, stop=lambda before=before: node.reach.at > before), "no survey"  # type: ignore[misc]
        assert node.reach.is_dialable
        assert not node.reach.is_cut_short
