"""Overlays with ICE in which UDP does not pass everywhere, in virtual time: TLS over TCP beside it."""

from __future__ import annotations

import pytest

from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sim.ip.boxes import PORT_RESTRICTED
from p2psip.sim.ip.packet import Protocol
from p2psip.sim.sites.internet import InternetSites

TLS, DTLS = OverlayLinkType.TLS_TCP_FH_NO_ICE, OverlayLinkType.DTLS_UDP_SR_NO_ICE
NO_UDP = frozenset([Protocol.UDP])


def kinds(world: InternetSites, here: int, there: int) -> set[OverlayLinkType]:
    """Over what two sites are linked."""
    return {link.kind for link in world.sites[here].peer.node.links(world.sites[there].peer.node.node_id)}


@pytest.mark.parametrize("protocols", [("TLS",), ("DTLS", "TLS")])
def test_a_peer_whose_udp_is_blocked_is_a_member(protocols: tuple[str, ...]) -> None:
    """It dials the public ones over TLS, which was offered beside the candidates of ICE; these have DTLS among them."""
    world = InternetSites("blocked", no_ice=False, overlay_link_protocols=protocols)
    world.add_public(0)
    world.run(2.0)
    world.add_public(1)
    world.run(2.0)
    world.add_behind_nat(2, PORT_RESTRICTED, forwards=False, blocks=NO_UDP)
    world.settle(30.0)
    assert world.run(30.0, stop=lambda: all(len(site.peer.node.neighbors) == 2 for site in world.sites))
    assert kinds(world, 0, 1) == kinds(world, 1, 0) == {DTLS}
    assert kinds(world, 0, 2) == kinds(world, 2, 0) == kinds(world, 1, 2) == kinds(world, 2, 1) == {TLS}
    world.run(300.0)
    assert all(len(site.peer.node.neighbors) == 2 for site in world.sites)


def test_udp_goes_before_where_it_passes() -> None:
    """Nobody dials over TCP where ICE has a path in time."""
    world = InternetSites("passes", no_ice=False, overlay_link_protocols=("TLS",))
    world.add_public(0)
    for number in (1, 2, 3):
        world.run(2.0)
        world.add_behind_nat(number, PORT_RESTRICTED, forwards=False)
    world.settle(30.0)
    world.run(30.0)
    assert {kind for here in range(4) for there in range(4) for kind in kinds(world, here, there)} == {DTLS}
