"""Sites that take part as clients of a few public peers (docs/decisions/super-peers.md), in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingReq
from p2psip.sim.registrations import ask, grow, wait_until
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sim.topologies import CASES
from p2psip.sim.world import Host

SUPER = 4
SITES = 6


def overlay(seed: str, *, is_reachable: bool = True, **settings: object) -> SimulatedPeers:
    """Four public peers, and six sites that are their clients."""
    world = SimulatedPeers(seed, SUPER, **settings)
    for number in range(SUPER, SUPER + SITES):
        world.add(number, is_client=True, is_reachable=is_reachable)
        world.run(1.0)
    sites = clients(world)
    assert world.run(60.0, stop=lambda: all(len(site.peer.node.neighbors) >= 3 for site in sites))
    return world


def clients(world: SimulatedPeers) -> list[Site]:
    return [site for site in world.sites.values() if not site.peer.node.is_serving]


def call(world: SimulatedPeers, caller: SitePhone, target: str) -> tuple[str, float]:
    """Dial, and wait for the end or the answer: "talks", or why not, and after how long."""
    began = world.world.now
    number = caller.dial(target)
    world.run(40.0, stop=lambda: caller.ended(number) is not None or caller.talks)
    return caller.ended(number) or "talks", world.world.now - began


def test_clients_call_each_other_and_peers_and_are_called() -> None:
    world = overlay("super")
    places = [(SUPER, "alice"), (SUPER + 3, "bob"), (SUPER + 1, "anna"), (1, "carol"), (2, "dora"), (SUPER + 5, "eve")]
    phones = world.with_phones(*places)
    for caller, called in zip(phones[::2], phones[1::2], strict=True):
        what, after_s = call(world, caller, called.user)
        assert (what, called.talks) == ("talks", True)
        assert after_s < 1.5
    assert all(site.peer.node.records_held.count == 0 for site in clients(world)), "clients keep nothing for others"


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_public_peer_dies_and_its_clients_call_and_are_called(is_silent: bool) -> None:
    """A client has links with three; within seconds another of them is its way in and out."""
    world = overlay(f"dies {is_silent}")
    alice, _ = world.with_phones((SUPER, "alice"), (SUPER + 3, "bob"))
    home = world[SUPER + 3].peer.node.neighbors[0]
    dead = next(site for site in world.sites.values() if site.peer.node.node_id == home)
    world.world.crash(dead.host, is_silent=is_silent)
    world.run(20.0)
    assert call(world, alice, "bob")[0] == "talks"
    assert home not in world[SUPER + 3].peer.node.linked


@pytest.mark.long
@pytest.mark.parametrize(("topology", "public", "most"), [("one-hop", 11, 3), ("CHORD-RELOAD", 4, 2)])
def test_at_most_three_hops_to_whomever(topology: str, public: int, most: int) -> None:
    """Client, its public peer, that of the other one, client: each public peer knows which one that is. In Chord it
    passes on to the one before that (10.3); but with up to four public peers each client is linked with all of them but
    one.
    """
    overlay = grow("super hops", public, **CASES[topology].settings)
    for number in range(6):
        overlay.add_client(number, is_reachable=False)
    nodes = overlay.clients.values()
    wait_until(overlay, 60.0, lambda: all(node.is_connected for node in nodes))
    overlay.world.run_for(60.0)
    everybody = (*overlay.clients.values(), *overlay.nodes.values())
    hops = Counter(
        _hops(overlay, overlay.world.hosts[here], there.node_id)
        for here, node in overlay.clients.items()
        for there in everybody
        if there is not node
    )
    assert max(hops) == most


def _hops(overlay: SimulatedOverlay, host: Host, node: NodeId) -> int:
    """Of a Ping to a node."""
    asked = OverlayRequest([Destination.node(node)], MessageCode.PING_REQ, PingReq())
    answer = overlay.wait_done(host, ask(overlay, host, asked)).result
    assert isinstance(answer, Answer)
    return answer.hops
