"""Every member stores, and is found, from everywhere; so do clients, and phones."""

from __future__ import annotations

from itertools import permutations

import pytest

from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingReq
from p2psip.sim.registrations import ask, fetch, fill, grow, is_found, line, missing, record_of, store, wait_until
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sim.topologies import Case
from p2psip.sim.world import Host


def ping(overlay: SimulatedOverlay, host: Host, other: Host) -> object:
    """What a Ping from one node to another comes to."""
    route = [Destination.node(overlay.node(other).node_id)]
    handle = ask(overlay, host, OverlayRequest(route, MessageCode.PING_REQ, PingReq()))
    return overlay.wait_done(host, handle).result


def call_and_hang_up(world: SimulatedPeers, caller: SitePhone, called: SitePhone) -> None:
    """One phone calls another, and they talk."""
    call = caller.dial(called.user)
    world.run(20.0, stop=lambda: caller.talks and called.talks)
    assert caller.talks, f"{caller.user} to {called.user}: {caller.ended(call)}"
    assert called.talks
    caller.hang_up(call)
    world.run(2.0)


@pytest.mark.long
def test_every_member_reaches_every_other(topology: Case) -> None:
    """Linked or not."""
    overlay = grow("everybody", 12, **topology.settings)
    for host in overlay.alive():
        for other in overlay.alive():
            answer = ping(overlay, host, other)
            assert isinstance(answer, Answer), f"{host.name} to {other.name}: {answer}"
            assert answer.signer.node_id == overlay.node(other).node_id


def test_what_every_member_stores_every_member_finds(topology: Case) -> None:
    """Each registration from each peer, so also from who is responsible and from who has a copy."""
    overlay = grow("from everywhere", 7, **topology.settings)
    records = [record_of(overlay, line(host.name), host) for host in overlay.alive()]
    for record in records:
        result = overlay.wait_done(record.host, store(overlay, record.host, record.line)).result
        assert isinstance(result, Answer), result
    for host in overlay.alive():
        for record in records:
            handle = fetch(overlay, host, record.resource)
            assert is_found(overlay.wait_done(host, handle)), f"{record.line.user} from {host.name}"


@pytest.mark.long
@pytest.mark.parametrize("is_reachable", [True, False])
def test_a_client_stores_and_finds_and_is_reached(topology: Case, is_reachable: bool) -> None:
    """RFC 6940 section 4.2: also one that can only dial."""
    overlay = grow("client", 8, **topology.settings)
    records = fill(overlay, 5)
    client = overlay.add_client(0, is_reachable=is_reachable)
    wait_until(overlay, 60.0, lambda: overlay.node(client).is_connected)
    own = record_of(overlay, line("of the client"), client)
    assert isinstance(overlay.wait_done(client, store(overlay, client, own.line)).result, Answer)
    assert missing(overlay, [own]) == []
    for record in records:
        assert is_found(overlay.wait_done(client, fetch(overlay, client, record.resource))), record.line.user
    overlay.world.run_for(30.0)
    for host in overlay.alive():
        assert isinstance(ping(overlay, host, client), Answer), host.name
        assert isinstance(ping(overlay, client, host), Answer), host.name


def test_a_client_finds_its_way_when_a_peer_that_it_is_linked_with_dies(topology: Case) -> None:
    """It has others, and looks for more."""
    overlay = grow("client's peer", 6, **topology.settings)
    records = fill(overlay, 5)
    client = overlay.add_client(0)
    wait_until(overlay, 60.0, lambda: overlay.node(client).is_connected)
    overlay.world.run_for(30.0)
    linked = [host for host in overlay.alive() if overlay.node(client).is_linked(overlay.node(host).node_id)]
    for victim in linked[:2]:
        overlay.world.crash(victim)
        overlay.world.run_for(35.0)
        for record in records:
            assert is_found(overlay.wait_done(client, fetch(overlay, client, record.resource))), record.line.user


@pytest.mark.long
def test_phones_at_any_two_peers_call_each_other(topology: Case) -> None:
    """Before and after the peer of neither has died."""
    world = SimulatedPeers("calls", 5, **topology.settings)
    phones = world.with_phones(*((number, f"user{number}") for number in range(4)))
    for caller, called in permutations(phones, 2):
        call_and_hang_up(world, caller, called)
    world.world.crash(world.world.hosts["p4"])
    world.run(35.0)
    for caller, called in permutations(phones, 2):
        call_and_hang_up(world, caller, called)
