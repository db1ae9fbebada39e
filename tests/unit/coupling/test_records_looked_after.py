"""A living line is found: where all who kept its record have died together, it is stored anew before its refresh."""

from __future__ import annotations

import pytest

from p2psip.coupling.lines import LOOK_FIRST_S, LOOK_SPREAD_S
from p2psip.reload.usages.sip_registration import REFRESH_S
from p2psip.sim.sites.site import Site
from p2psip.sim.sites.site_peers import SimulatedPeers

PEERS = 12
FOUND_S = 60.0
"""After the ring is whole again."""


def holders(world: SimulatedPeers, user: str) -> list[Site]:
    """Who keeps the record of a line of p0: the responsible peer and its replicas."""
    placed = world[0].peer.publisher.placed(user)
    assert placed is not None
    kept_by = {placed.responsible, *placed.replicas}
    return [site for site in world.sites.values() if site.peer.node.node_id in kept_by]


def world_with_a_line_that_others_keep() -> tuple[SimulatedPeers, str]:
    """Of some lines at p0 the first whose record p0 keeps no copy of."""
    world = SimulatedPeers("looked after", PEERS)
    users = [f"user{number}" for number in range(8)]
    for user in users:
        world.line(0, user)
    world.settle_records([0])
    world.run(LOOK_FIRST_S + LOOK_SPREAD_S + 1.0)
    return world, next(user for user in users if world[0] not in holders(world, user))


def is_found(world: SimulatedPeers, user: str) -> bool:
    """By one who lives."""
    at = next(number for number in range(PEERS) if world[number].host.is_alive)
    found = world.look_up(at, user)
    return found.registrations is not None and bool(found.registrations.entries)


@pytest.mark.long
@pytest.mark.parametrize("is_silent", [False, True])
def test_all_who_keep_a_record_die_together(is_silent: bool) -> None:
    world, user = world_with_a_line_that_others_keep()
    lost = holders(world, user)
    assert len(lost) == 3
    for site in lost:
        world.world.crash(site.host, is_silent=is_silent)
    assert not is_found(world, user)
    neighbours = {site.peer.node.node_id for site in world.sites.values() if site.host.is_alive}
    assert world.run(60.0, stop=lambda: set(world[0].peer.node.neighbors) <= neighbours)
    world.run(FOUND_S)
    assert is_found(world, user)
    assert is_found(world, user), "and there it stays"


@pytest.mark.long
def test_what_is_there_is_not_stored_anew_whoever_comes_and_goes() -> None:
    world, user = world_with_a_line_that_others_keep()
    before = world[0].peer.publisher.placed(user)
    kept_by = holders(world, user)
    others = [site for site in world.sites.values() if site not in kept_by and site is not world[0]]
    for site in others[:3]:
        world.world.crash(site.host)
        world.run(LOOK_FIRST_S)
    world.run(3 * (LOOK_FIRST_S + LOOK_SPREAD_S))
    assert world[0].peer.publisher.placed(user) == before
    assert is_found(world, user)


def test_where_nothing_happens_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SimulatedPeers("quiet", 3)
    world.line(1, "bob")
    world.settle_records([1])
    world.run(2 * (LOOK_FIRST_S + LOOK_SPREAD_S))
    fetched: list[object] = []
    node = world[1].peer.node
    monkeypatch.setattr(node, "fetch", lambda *asked: fetched.append(asked))
    world.run(REFRESH_S)
    assert fetched == []


def test_events_without_end_are_a_look_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers come and go all the time: once in twenty seconds at the most, and no less often than in forty-five."""
    world = SimulatedPeers("restless", 2)
    world.line(1, "bob")
    world.settle_records([1])
    looks: list[float] = []
    node, publisher = world[1].peer.node, world[1].peer.publisher
    fetch = node.fetch
    monkeypatch.setattr(node, "fetch", lambda *asked: (looks.append(world.world.now), fetch(*asked)))
    for _ in range(200):
        world[1].call(publisher.look_after)
        world.run(1.0)
    assert 200 / (LOOK_FIRST_S + LOOK_SPREAD_S) - 1 <= len(looks) <= 200 / LOOK_FIRST_S
