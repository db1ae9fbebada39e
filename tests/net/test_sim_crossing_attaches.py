"""Two nodes that attach to each other at once, in an overlay with ICE (RFC 6940 section 6.5.1.2), in virtual time."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from effort import times

from p2psip.base.ids import NodeId
from p2psip.sim.ip.boxes import PORT_RESTRICTED
from p2psip.sim.ip.network import Way
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sim.topologies import CASES

LATENCY_S = 0.043
"""From one site to the other over the third, at the most."""


@pytest.fixture(scope="module")
def world() -> InternetSites:
    """A public bootstrap node and two behind NATs, all linked."""
    made = InternetSites("crossing", no_ice=False, overlay_link_protocols=("DTLS",))
    made.add_public(0)
    for number in (1, 2):
        made.run(2.0)
        made.add_behind_nat(number, PORT_RESTRICTED, forwards=False)
    made.settle(30.0)
    assert made.run(30.0, stop=lambda: all(len(site.peer.node.neighbors) == 2 for site in made.sites))
    made.run(10.0)
    return made


def attach(world: InternetSites, site: InternetSite, other: NodeId) -> None:
    """Attach anew over the bootstrap node."""
    node, via = site.peer.node, world.sites[0].peer.node.node_id

    def renew(now: float) -> None:
        node._intents.renew(other, via, now)
        node._settle(now)

    site.driver.call(renew)


def test_of_two_attaches_that_cross_that_of_the_larger_node_id_goes_on(world: InternetSites) -> None:
    """However they cross there is one new link in the end, and both ends have the same. Who has asked for it is the TLS
    server, and so the one that has accepted it.
    """
    rng = random.Random(7)
    first, second = world.sites[1], world.sites[2]
    ids = first.peer.node.node_id, second.peer.node.node_id
    for _ in range(times(12)):
        before = [{link.number for link in site.peer.node.links(other)} for site, other in _pairs(first, second)]
        apart_s = rng.uniform(-0.2, 0.2)
        sooner, later = ((first, ids[1]), (second, ids[0]))[:: 1 if apart_s >= 0 else -1]
        attach(world, *sooner)
        world.run(abs(apart_s))
        attach(world, *later)
        world.run(8.0)
        links = [site.peer.node.links(other) for site, other in _pairs(first, second)]
        assert [len(each) for each in links] == [1, 1]
        (here,), (there,) = links
        assert here.number not in before[0]
        assert there.number not in before[1]
        has_accepted = here.number % 2 == 1
        assert has_accepted is not (there.number % 2 == 1)
        if abs(apart_s) < LATENCY_S / 2:
            assert has_accepted is (ids[0] > ids[1])
        assert here.rtt_s is None or here.rtt_s < 1.0


@pytest.mark.parametrize("count", [3, 4, 5])
@pytest.mark.parametrize("topology", CASES)
def test_peers_that_start_at_the_same_instant_know_each_other(topology: str, count: int) -> None:
    """One peer admits them all within some milliseconds: each is named to the others before it is a member."""
    for seed in range(times(6)):
        made = started_at_once(f"narrow/{seed}", topology, count)
        made.settle(10.0)
        made.run(10.0 - made.internet.now)
        assert [len(site.peer.node.neighbors) for site in made.sites] == [count - 1] * count, seed


@pytest.mark.parametrize("topology", CASES)
def test_what_is_lost_meanwhile_is_tried_again_soon(topology: str) -> None:
    """One packet in ten, both ways: Attaches, handshakes and Joins among them."""
    for seed in range(times(4)):
        made = started_at_once(f"lossy/{seed}", topology, 4)
        for here, there in combinations(made.sites, 2):
            made.internet.join(here.isp, there.isp, Way(delay_s=0.02, jitter_s=0.005, loss=0.1))
        made.settle(30.0)
        made.run(30.0 - made.internet.now)
        assert [len(site.peer.node.neighbors) for site in made.sites] == [3] * 4, seed


def started_at_once(seed: str, topology: str, count: int) -> InternetSites:
    """A public bootstrap node and others behind NATs, each with a line, that start at the same instant."""
    made = InternetSites(seed, no_ice=False, overlay_link_protocols=("DTLS",), topology_plugin=topology)
    for number in range(count):
        site = made.add_behind_nat(number, PORT_RESTRICTED, forwards=False) if number else made.add_public(number)
        made.line(site, f"user{number}")
    return made


def _pairs(first: InternetSite, second: InternetSite) -> list[tuple[InternetSite, NodeId]]:
    return [(first, second.peer.node.node_id), (second, first.peer.node.node_id)]
