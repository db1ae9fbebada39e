"""Relays for sites where UDP does not pass, in virtual time: asked over TLS (RFC 8656 section 3.1, RFC 7443)."""

from __future__ import annotations

import pytest
from heard_calls import Ears, call_up, heard, pitch
from ice_internet import ice_internet

from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.sim.ip.boxes import PORT_RESTRICTED, SYMMETRIC
from p2psip.sim.ip.network import Way
from p2psip.sim.ip.packet import Protocol
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone

pytestmark = pytest.mark.usefixtures("long_packets")

NO_UDP = frozenset([Protocol.UDP])
BLOCKED = (3, 4)


def grow(seed: str) -> tuple[InternetSites, list[MachinePhone]]:
    """Two public sites that relay, one behind a symmetric NAT, two whose routers drop UDP; a phone at each."""
    world = ice_internet(seed, protocols=("DTLS", "TLS"))
    for number in range(5):
        if number < 2:
            site = world.add_public(number, relay=RelayWish.YES)
        elif number == 2:
            site = world.add_behind_nat(number, SYMMETRIC, forwards=False)
        else:
            site = world.add_behind_nat(number, PORT_RESTRICTED, forwards=False, blocks=NO_UDP)
        world.line(site, f"user{number}")
        world.run(2.0)
    world.settle(120.0)
    assert world.run(120.0, stop=lambda: all(has_relay(world.sites[number]) for number in (2, *BLOCKED)))
    phones = [world.phone(site, f"user{site.number}", tone_hz=pitch(site.number)) for site in world.sites]
    return world, phones


def lending_streams(world: InternetSites) -> int:
    """Over how many streams the two relays lend something; others are there to ask as whom one is seen."""
    relays = [relay.peer.node.own_relay for relay in world.sites[:2]]
    return sum(relay._lends_to(flow) for relay in relays for flow in relay.streams.values())


def has_relay(site: InternetSite) -> bool:
    """True if a relay has lent a site's peer something."""
    return bool(site.peer.node.relays.lending)


def test_they_call_everybody_and_are_called_with_audio_both_ways() -> None:
    """Also each other: from relay to relay."""
    world, phones = grow("over tls")
    for here, there in ((3, 0), (1, 3), (2, 3), (3, 2), (3, 4), (4, 3)):
        call, _ = call_up(world, phones[here], phones[there])
        world.run(2.0)
        phones[here].hang_up(call)
        world.run(3.0)
        assert (heard(phones[here]), heard(phones[there])) == (pitch(there) // 10, pitch(here) // 10), (here, there)


def test_a_relay_that_dies_in_a_call_is_replaced_within_3_s() -> None:
    """The other one lends something as well; that the stream has ended is not to be waited for."""
    world, phones = grow("over tls, dies")
    call_up(world, phones[3], phones[4])
    world.run(2.0)
    ears = Ears(world, [phones[3], phones[4]])
    world.cut_power(world.sites[1])
    assert ears.back_after() <= 3.0


def test_udp_that_passes_again_is_used() -> None:
    """The router was replaced: relays are asked over UDP from then on, and no stream is left on which they lend."""
    world, _ = grow("over tls, passes again")
    assert world.run(30.0, stop=lambda: lending_streams(world) == 6), "two for calls and one for links of each"
    site = world.sites[3]
    assert site.nat is not None
    site.nat.blocks = frozenset()
    site.driver.call(lambda now: site.peer.node.survey(now))
    assert world.run(120.0, stop=lambda: lending_streams(world) == 3)
    assert world.run(10.0, stop=lambda: has_relay(site))


def test_the_nearest_relay_lends_over_tls_as_well() -> None:
    """How far away each is a request over a stream says; when another is much nearer it lends instead."""
    world = ice_internet("over tls, near", protocols=("DTLS", "TLS"))
    relays = [world.add_public(number, relay=RelayWish.YES) for number in range(3)]
    world.run(5.0)
    site = world.add_behind_nat(3, PORT_RESTRICTED, forwards=False, blocks=NO_UDP)
    for relay, delay_s in zip(relays, (0.15, 0.01, 0.08), strict=True):
        world.internet.join(relay.isp, site.isp, Way(delay_s=delay_s))
    world.settle(120.0)
    node = site.peer.node
    assert world.run(120.0, stop=lambda: len(node.relays.known) == 3 and has_relay(site))
    assert world.run(1000.0, stop=lambda: all(rtt_s is not None for _, rtt_s in node.relays.known))
    near_first = [relay.peer.node.node_id for relay in (relays[1], relays[2], relays[0])]
    assert [node for node, _ in node.relays.known] == near_first
    assert [rtt_s for _, rtt_s in node.relays.known] == pytest.approx([0.02, 0.16, 0.3], rel=0.2)
    world.run(2000.0)
    by_relay = [len(relay.peer.node.own_relay) for relay in relays]
    assert by_relay == [0, 2, 1], "the nearest to links and calls, the next one to calls besides"
