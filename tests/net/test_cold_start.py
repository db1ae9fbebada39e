"""After a power cut everywhere the overlay comes back by itself, in whatever order its peers do."""

from __future__ import annotations

import pytest

from p2psip.reload.node.effects import ContactsChanged
from p2psip.sim.invariants import chord_of
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host

PEERS = 5


def grown(seed: int, peers: int = PEERS) -> tuple[SimulatedOverlay, list[Host]]:
    """An overlay whose peers have all joined."""
    overlay = SimulatedOverlay(seed)
    hosts = []
    for number in range(peers):
        hosts.append(overlay.add_peer(number))
        assert overlay.world.run_for(60, stop=overlay.is_ring)
    return overlay, hosts


def restart(overlay: SimulatedOverlay, host: Host) -> Host:
    """The peer again, with what it remembers of others (contacts.json)."""
    remembered = [event.addresses for event in host.events if isinstance(event, ContactsChanged)][-1:]
    return overlay.add_peer(int(host.name[1:]), contacts=remembered[0] if remembered else ())


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_all_peers_restart_and_find_each_other(seed: int, order: tuple[int, ...]) -> None:
    """The one that may begin the overlay remembers others; that they answer, outside like itself, must not stop it."""
    overlay, hosts = grown(seed)
    for host in hosts:
        overlay.world.crash(host)
    for number in order:
        restart(overlay, hosts[number])
        overlay.world.run_for(5)
    assert overlay.world.run_for(120, stop=overlay.is_ring)


@pytest.mark.parametrize("seed", range(3))
def test_the_first_peer_restarts_into_the_ring_that_went_on(seed: int) -> None:
    """It may begin an overlay, but does not where there is one: nobody ever sees two rings."""
    overlay, hosts = grown(seed)
    overlay.world.crash(hosts[0])
    overlay.world.run_for(20)
    first = restart(overlay, hosts[0])
    assert overlay.world.run_for(60, stop=lambda: overlay.node(first).is_serving)
    assert chord_of(overlay.node(first)).joining.is_member
    assert overlay.world.run_for(60, stop=overlay.is_ring)
