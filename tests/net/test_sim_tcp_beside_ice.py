"""Overlays with ICE in which UDP does not pass everywhere, in virtual time: TLS over TCP beside it."""

from __future__ import annotations

import pytest
from ice_internet import ice_internet

from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.simultaneous import open_candidates, opens
from p2psip.reload.paths.simultaneous.outside_port import OutsidePorts
from p2psip.reload.paths.values import Purpose
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sim.ip.boxes import PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.ip.network import Way
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


def behind_nats(
    seed: str,
    *blocks: frozenset[Protocol],
    behaviour: NatBehaviour = PORT_RESTRICTED,
    delay_s: float = 0.02,
    settles: bool = True,
) -> InternetSites:
    """Two public sites that relay, and one behind a NAT for each of `blocks`; all are members if it settles."""
    world = ice_internet(seed, protocols=("DTLS", "TLS"))
    world.internet.default_way = Way(delay_s=delay_s)
    for number in range(2):
        world.add_public(number, relay=RelayWish.YES)
        world.run(2.0)
    for number, blocked in enumerate(blocks):
        world.add_behind_nat(2 + number, behaviour, forwards=False, blocks=blocked)
        world.run(2.0)
    if settles:
        world.settle(120.0)
    return world


def are_all_linked(world: InternetSites) -> bool:
    """True if every site has every other for a neighbour."""
    return all(len(site.peer.node.neighbors) == len(world.sites) - 1 for site in world.sites)


def ends(world: InternetSites, here: int, there: int) -> list[str]:
    """Where one site has another, by its links."""
    return [link.remote.host for link in world.sites[here].peer.node.links(world.sites[there].peer.node.node_id)]


@pytest.mark.parametrize("delay_s", [0.02, 0.2])
@pytest.mark.parametrize("blocks", [(NO_UDP, NO_UDP), (frozenset(), NO_UDP)], ids=["at both", "at one"])
def test_two_behind_nats_without_udp_are_linked_directly(
    blocks: tuple[frozenset[Protocol], ...], delay_s: float
) -> None:
    """Both open a stream at once, though a relay would do; each has the other where its NAT shows it, and it stays.

    On long ways the relay has its path before the stream is secured.
    """
    world = behind_nats("both open", *blocks, delay_s=delay_s)
    assert world.run(120.0, stop=lambda: are_all_linked(world) and kinds(world, 2, 3) == kinds(world, 3, 2) == {TLS})
    world.run(300.0)
    assert kinds(world, 2, 3) == kinds(world, 3, 2) == {TLS}
    assert (ends(world, 2, 3), ends(world, 3, 2)) == ([world.public_host(3)], [world.public_host(2)])


@pytest.mark.parametrize("together_s", [1.5, 1.7, 1.9, 5.0])
def test_a_stream_takes_the_place_of_a_relay_whenever_it_comes(
    monkeypatch: pytest.MonkeyPatch, together_s: float
) -> None:
    """While the relay's path is looked for, found, secured, or in use."""
    monkeypatch.setattr(opens, "TOGETHER_S", together_s)
    world = behind_nats("late", NO_UDP, NO_UDP, delay_s=0.05)
    assert world.run(120.0, stop=lambda: are_all_linked(world) and kinds(world, 2, 3) == kinds(world, 3, 2) == {TLS})
    world.run(60.0)
    assert kinds(world, 2, 3) == kinds(world, 3, 2) == {TLS}


def test_where_udp_passes_no_stream_is_opened_beside() -> None:
    """Both have a port for one."""
    world = behind_nats("both have udp", frozenset(), frozenset())
    assert world.run(120.0, stop=lambda: are_all_linked(world))
    world.run(60.0)
    assert all(site.peer.node._paths.punching.outside.mapped() for site in world.sites[2:])
    second, third = (world.sites[number].peer for number in (2, 3))
    # They were linked before they had them, and are once more now.
    second.node._intents.renew(third.node.node_id, world.sites[0].peer.node.node_id, world.sites[2].machine.now)
    world.sites[2].driver.call(lambda now: None)
    world.run(30.0)
    assert kinds(world, 2, 3) == kinds(world, 3, 2) == {DTLS}


def test_where_a_nat_maps_by_destination_the_relay_stays() -> None:
    world = behind_nats("by destination", NO_UDP, NO_UDP, behaviour=SYMMETRIC)
    assert world.run(120.0, stop=lambda: are_all_linked(world))
    world.run(60.0)
    assert kinds(world, 2, 3) == kinds(world, 3, 2) == {DTLS}


@pytest.mark.parametrize("seed", ["a", "b"])
def test_an_attach_that_was_answered_before_a_relay_lent_something_is_not_waited_for(seed: str) -> None:
    """Both begin while nobody knows that UDP is blocked. Waited for, it was 40 and 28 s until all were linked."""
    world = behind_nats(seed, NO_UDP, NO_UDP, behaviour=SYMMETRIC, settles=False)
    assert world.run(25.0, stop=lambda: are_all_linked(world))


def test_an_end_that_knows_nothing_of_it_is_linked_over_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before: what it does not say is not tried, and what is said to it, which it dials, does not hurt."""
    monkeypatch.setattr(open_candidates, "is_simultaneous", lambda candidate: False)
    says = OutsidePorts.mapped
    saying: list[OutsidePorts] = []

    def first_only(ports: OutsidePorts, purpose: Purpose = Purpose.RELOAD) -> list[Mapped]:
        if (said := says(ports, purpose)) and not saying:
            saying.append(ports)
        return said if saying == [ports] else []

    monkeypatch.setattr(OutsidePorts, "mapped", first_only)
    world = behind_nats("knows nothing", NO_UDP, NO_UDP)
    assert world.run(120.0, stop=lambda: are_all_linked(world))
    world.run(60.0)
    assert saying
    assert kinds(world, 2, 3) == kinds(world, 3, 2) == {DTLS}
