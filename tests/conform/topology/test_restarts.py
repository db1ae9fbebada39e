"""A peer that starts again finds the overlay, wherever others look for it (RFC 6940 section 11.4)."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.reload.node.connecting.bootstrap import ASK_AFTER_S
from p2psip.reload.node.effects import ContactsChanged
from p2psip.sim.simulated_overlay import PORT, SimulatedOverlay
from p2psip.sim.topologies import Case, is_whole
from p2psip.sim.world import Host

PEERS = 4


def grown(topology: Case, seed: int) -> tuple[SimulatedOverlay, list[Host]]:
    """An overlay whose first peer has dialled nobody: all the others have dialled it."""
    overlay, hosts = SimulatedOverlay(seed, **topology.settings), []
    for number in range(PEERS):
        hosts.append(overlay.add_peer(number))
        assert overlay.world.run_for(60, stop=lambda: is_whole(overlay))
    overlay.world.run_for(2 * ASK_AFTER_S)
    return overlay, hosts


def elsewhere(number: int) -> Address:
    """Where peer `number` is from now on, which no configuration says."""
    return Address(f"172.20.0.{number + 1}", PORT)


def restart(overlay: SimulatedOverlay, host: Host) -> Host:
    """The peer again, with what it remembers of others (contacts.json)."""
    remembered = [event.addresses for event in host.events if isinstance(event, ContactsChanged)]
    return overlay.add_peer(int(host.name[1:]), contacts=remembered[-1] if remembered else ())


@pytest.mark.parametrize("seed", range(3))
def test_who_was_only_dialled_knows_who_has(topology: Case, seed: int) -> None:
    """Restarted with another address, where nobody looks for it, it comes back into the overlay that went on."""
    overlay, hosts = grown(topology, seed)
    overlay.world.crash(hosts[0])
    overlay.world.run_for(20)
    overlay.address_of = elsewhere  # type: ignore[method-assign]
    first = restart(overlay, hosts[0])
    assert overlay.world.run_for(30, stop=lambda: is_whole(overlay))
    assert not [event for event in first.events if "begins the overlay" in str(event)]


@pytest.mark.parametrize("seed", range(3))
def test_who_has_begun_alone_goes_on_looking_for_those_who_dialled_it(topology: Case, seed: int) -> None:
    """After a power cut the first peer is back before all others, and where the others do not look for it."""
    overlay, hosts = grown(topology, seed)
    for host in hosts:
        overlay.world.crash(host)
    there = overlay.address_of
    overlay.address_of = elsewhere  # type: ignore[method-assign]
    first = restart(overlay, hosts[0])
    assert overlay.world.run_for(60, stop=lambda: overlay.node(first).is_serving)
    overlay.address_of = there  # type: ignore[method-assign]
    for host in hosts[1:]:
        restart(overlay, host)
    assert overlay.world.run_for(600, stop=lambda: is_whole(overlay))
