"""A firewall begins to drop UDP, and ceases to, in virtual time: no address is another for that."""

from __future__ import annotations

import itertools
import random

import pytest
from effort import times
from heard_calls import Ears, call_up, pitch
from ice_internet import ice_internet

from p2psip.reload.node.connecting.nat.datagram_watch import KNOCK_S
from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.reload.paths.values import Purpose
from p2psip.reload.wire.link_messages import CandType, OverlayLinkType
from p2psip.sim.ip.boxes import PORT_RESTRICTED, SYMMETRIC
from p2psip.sim.ip.network import Way
from p2psip.sim.ip.packet import Protocol
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone

pytestmark = pytest.mark.usefixtures("long_packets")

NO_UDP = frozenset([Protocol.UDP])
DELAY_S = 0.02
"""One way, between two sites."""

NOTICED_S = 30.0
"""A question for consent, which comes after 24 s at most, and what follows."""

BACK_S = 3.0
"""Within so much both hear each other again."""


def grow(seed: str) -> tuple[InternetSites, list[MachinePhone]]:
    """Two public sites that relay, one behind a symmetric NAT, two behind such as filter by port; a phone at each."""
    world = ice_internet(seed, protocols=("DTLS", "TLS"))
    world.internet.default_way = Way(delay_s=DELAY_S)
    for number in range(5):
        if number < 2:
            site = world.add_public(number, relay=RelayWish.YES)
        else:
            site = world.add_behind_nat(number, SYMMETRIC if number == 2 else PORT_RESTRICTED, forwards=False)
        world.line(site, f"user{number}")
        world.run(2.0)
    world.settle(120.0)
    assert world.run(120.0, stop=lambda: all(site.peer.node.relays.lending for site in world.sites[2:]))
    world.run(60.0)
    return world, [world.phone(site, f"user{site.number}", tone_hz=pitch(site.number)) for site in world.sites]


def block(site: InternetSite, blocks: frozenset[Protocol]) -> None:
    """Its router drops these from now on, and nothing else."""
    assert site.nat is not None, "behind a router"
    site.nat.blocks = blocks


def is_blocked(site: InternetSite) -> bool:
    """True if its peer takes UDP for blocked."""
    return site.peer.node.reach.is_udp_blocked


def await_reach(world: InternetSites, site: InternetSite, *, is_blocked: bool) -> None:
    """Until its peer knows whether UDP passes."""
    assert world.run(NOTICED_S, stop=lambda: site.peer.node.reach.is_udp_blocked is is_blocked)


def over(site: InternetSite) -> set[OverlayLinkType]:
    """What its links run over."""
    return {link.kind for link in site.peer.node.links()}


@pytest.mark.parametrize("pair", [(3, 0), (3, 2), (3, 4)], ids=["with a public one", "over a relay", "punched"])
def test_a_call_goes_on_over_a_stream_and_over_udp_again(
    pair: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the path of a call was, audio is back soon, both ways and in the same call; so it is when UDP passes
    again.
    """
    for seed in range(times(1)):
        world, phones = grow(f"ceases {seed}")
        here, there = (phones[number] for number in pair)
        site = world.sites[pair[0]]
        call, _ = call_up(world, here, there)
        world.run(3.0)
        ears = Ears(world, (here, there))
        assert ears.back_after() == 0.0, "they hear each other to begin with"
        took_s = []
        for blocks in (NO_UDP, frozenset[Protocol]()):
            block(site, blocks)
            took_s.append(ears.back_after())
            await_reach(world, site, is_blocked=bool(blocks))
            took_s.append(ears.back_after())
        with capsys.disabled():
            print(f"\n{seed}, {pair}: audio is back after {took_s[0]:.2f} s, {max(took_s[1:]):.2f} s")
        assert here.ended(call) is None
        assert max(took_s) <= BACK_S


CALLS = 8
"""In one after the other UDP is dropped: whose new AppAttach is first, and is answered before, is chance."""


@pytest.mark.parametrize("seed", [f"ceases r{seed}" for seed in (0, 3)])
def test_whoever_has_asked_for_another_path_when_it_is_noticed(seed: str) -> None:
    """What was answered before leads nowhere: it begins anew, whichever end it was that had asked."""
    world, phones = grow(seed)
    rng, site, took_s = random.Random(seed), world.sites[3], []
    for _ in range(CALLS):
        here, there = rng.sample((phones[3], phones[2]), 2)
        call, _ = call_up(world, here, there)
        world.run(rng.uniform(1.0, 6.0))
        ears = Ears(world, (here, there))
        assert ears.back_after() == 0.0, "they hear each other to begin with"
        for blocks in (NO_UDP, frozenset[Protocol]()):
            block(site, blocks)
            took_s.append(ears.back_after())
            await_reach(world, site, is_blocked=bool(blocks))
            world.run(rng.uniform(1.0, 20.0))
        here.hang_up(call)
        world.run(rng.uniform(2.0, 30.0))
    assert max(took_s) <= BACK_S, took_s


def test_who_has_nothing_to_say_notices_as_well() -> None:
    """Soon after, relays lend over streams, links are over streams, and what it says of itself is what is true; and all
    of that is as before when UDP passes again.
    """
    world, _ = grow("ceases idle")
    site = world.sites[3]
    node = site.peer.node
    assert not lending_streams(world)
    block(site, NO_UDP)
    assert world.run(NOTICED_S, stop=lambda: is_blocked(site))
    assert world.run(5.0, stop=lambda: lending_streams(world) == 3 and bool(node.relays.lending))
    assert world.run(30.0, stop=lambda: OverlayLinkType.TLS_TCP_FH_NO_ICE in over(site))
    assert CandType.SRFLX not in said(site)
    world.run(60.0)
    assert is_blocked(site), "the survey that followed says so as well"
    block(site, frozenset())
    assert world.run(2 * KNOCK_S, stop=lambda: not is_blocked(site))
    assert world.run(30.0, stop=lambda: not lending_streams(world) and bool(node.relays.lending))
    assert world.run(30.0, stop=lambda: OverlayLinkType.DTLS_UDP_SR_NO_ICE in over(site))
    assert CandType.SRFLX in said(site)
    world.run(60.0)
    assert not is_blocked(site)


def lending_streams(world: InternetSites) -> int:
    """Over how many streams the two relays lend something."""
    relays = [relay.peer.node.own_relay for relay in world.sites[:2]]
    return sum(relay._lends_to(flow) for relay in relays for flow in relay.streams.values())


def said(site: InternetSite) -> set[CandType]:
    """Of what types are the candidates that its peer would say now."""
    return {each.type for each in site.peer.node._paths.whereabouts.offering(Purpose.CALLS).candidates}


def test_nobody_takes_udp_for_blocked_where_something_else_has_happened() -> None:
    """A router that is off for a while, one that has another address, a relay and a neighbour without power."""
    world, _ = grow("ceases not")
    blamed = []

    def watch(seconds: float) -> None:
        for _ in range(int(seconds)):
            world.run(1.0)
            blamed.extend(site.name for site in world.running() if is_blocked(site))

    nat = world.sites[3].nat
    assert nat is not None
    for off_s, hosts in itertools.product((0.0, 5.0, 30.0), ((), (world.public_host(77),))):
        nat.reboot(*hosts, off_s=off_s)
        watch(off_s + 60.0)
    world.cut_power(world.sites[4])
    watch(60.0)
    world.cut_power(world.sites[1])
    watch(60.0)
    assert blamed == []
