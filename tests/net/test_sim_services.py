"""Services in whole simulated overlays (RFC 7374 section 4): dozens of providers, searches from anywhere."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from effort import times

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import (
    REDIR_KIND,
    SIP_REGISTRATION_KIND,
    OverlayConfiguration,
    ServicePermission,
)
from p2psip.reload.node.service_discovery import ServiceDiscovery, ServiceFailed, ServiceRegistered, ServicesFound
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.sim.discovery_runs import ServiceBench, choose, closest, grow_with_services
from p2psip.sim.simulated_overlay import SimulatedOverlay


def announce(bench: ServiceBench, count: int) -> list[NodeId]:
    """So many peers announce the relay service; who they are."""
    hosts = choose(bench, count)
    for number, host in enumerate(hosts):
        bench.register(host, "turn-server", capacity=number, load=50, policy="members")
        bench.run_for(0.5)
    bench.run_for(5.0)
    for host in hosts:
        assert any(isinstance(effect, ServiceRegistered) for effect in bench.effects[host.name]), host.name
    return [bench.overlay.node(host).node_id for host in hosts]


def check_searches(bench: ServiceBench, nodes: list[NodeId], count: int) -> None:
    """Searches from peers and for places that chance chooses find the closest providers."""
    rng = random.Random(count)
    for number in range(count):
        host, near, want = rng.choice(bench.overlay.alive()), hash_name(b"%d" % number), rng.choice((1, 3, 5))
        found = bench.find(host, "turn-server", near, want)
        assert found.error is None
        assert [provider.node for provider in found.providers] == closest(nodes, near, want)


def test_4_providers_are_found_by_their_closeness() -> None:
    bench = grow_with_services("services", 12)
    nodes = announce(bench, 6)
    check_searches(bench, nodes, 10)
    everybody = bench.find(bench.overlay.alive()[0], "turn-server", bytes(16), 100)
    assert [provider.node for provider in everybody.providers] == sorted(nodes)
    (first,) = bench.find(bench.overlay.alive()[0], "turn-server", nodes[3]).providers
    assert first.node == nodes[3]
    assert first.offer is not None
    assert (first.offer.capacity, first.offer.load, first.offer.policy) == (3, 50, b"members")
    assert not bench.find(bench.overlay.alive()[0], "voice-mail", bytes(16)).providers


def test_4_4_refreshed_as_long_as_the_provider_lives() -> None:
    """ "All state in the ReDiR tree is soft."; who dies is gone after the lifetime of its record."""
    bench = grow_with_services("services live", 8)
    nodes = announce(bench, 3)
    victim = next(host for host in bench.overlay.alive() if bench.overlay.node(host).node_id == nodes[0])
    bench.run_for(60.0)
    bench.overlay.world.crash(victim)
    bench.run_for(650.0)
    check_searches(bench, nodes[1:], 5)


def test_4_6_removed() -> None:
    """ "by storing exists=False values in their place"."""
    bench = grow_with_services("services go", 8)
    nodes = announce(bench, 3)
    host = next(host for host in bench.overlay.alive() if bench.overlay.node(host).node_id == nodes[1])
    bench.overlay.world.call(host, lambda now: bench.services(host).unregister("turn-server", now))
    bench.run_for(2.0)
    assert not bench.services(host).is_withdrawing
    check_searches(bench, [nodes[0], nodes[2]], 5)


def test_who_is_not_permitted_is_told_so_and_stored_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The own configuration says no at once; one that lies to itself is refused by the others."""
    only = ServicePermission("turn-server", ("peer-p1@sim.example",))
    bench = grow_with_services("services permitted", 5, services=(only,))
    allowed, other = bench.overlay.world.hosts["p1"], bench.overlay.world.hosts["p2"]
    with pytest.raises(LocalMisuse, match="does not permit peer-p2"):
        bench.services(other).register("turn-server", bench.overlay.world.now)
    with pytest.raises(LocalMisuse, match="does not permit peer-p1"):
        bench.services(allowed).register("voice-mail", bench.overlay.world.now)
    bench.register(allowed, "turn-server")
    with monkeypatch.context() as lie:
        lie.setattr(OverlayConfiguration, "permits_service", lambda *_: True)
        bench.register(other, "turn-server")
    bench.run_for(10.0)
    failures = [effect for effect in bench.effects["p2"] if isinstance(effect, ServiceFailed)]
    assert "Error_Forbidden" in str(failures[0].error)
    check_searches(bench, [bench.overlay.node(allowed).node_id], 3)


def test_an_overlay_without_the_kind() -> None:
    overlay = SimulatedOverlay("no services", required_kinds=(SIP_REGISTRATION_KIND,))
    host = overlay.add_peer(0)
    with pytest.raises(LocalMisuse, match="no service discovery"):
        ServiceDiscovery(overlay.node(host)).find("turn-server", bytes(16), 1, None, 0.0)
    assert REDIR_KIND.kind_id == 0x104


def test_a_configuration_that_takes_service_discovery_away() -> None:
    """Who provides or searches is told so, and goes on when the Kind is there again."""
    bench = grow_with_services("services taken away", 5)
    host = bench.overlay.world.hosts["p1"]
    node, configuration = bench.overlay.node(host), bench.configuration
    bench.register(host, "turn-server")
    bench.services(host).find("turn-server", bytes(16), 3, "a search", bench.overlay.world.now)
    node._exchange.configuration = replace(configuration, required_kinds=(SIP_REGISTRATION_KIND,))
    bench.run_for(10.0)
    failed = [effect for effect in bench.effects["p1"] if isinstance(effect, ServiceFailed)]
    assert "no service discovery any more" in str(failed[0].error)
    (found,) = (effect for effect in bench.effects["p1"] if isinstance(effect, ServicesFound))
    assert (found.context, str(found.error)) == ("a search", "the overlay has no service discovery any more")
    node._exchange.configuration = configuration
    bench.run_for(120.0)
    assert any(isinstance(effect, ServiceRegistered) for effect in bench.effects["p1"])


def test_many_peers_of_which_four_in_ten_provide() -> None:
    """RFC 7374 section 1: "a large fraction of the peers (e.g., on the order of one out of ten or more)".

    `make soak` has a hundred.
    """
    peers = min(100, times(40))
    bench = grow_with_services("services hundred", peers)
    nodes = announce(bench, peers * 4 // 10)
    check_searches(bench, nodes, 15)
    bench.run_for(560.0)
    check_searches(bench, nodes, 15)
