"""The directory in virtual time: every peer has all entries, whoever comes, goes, splits or lies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.coupling.directory import directory_keeper
from p2psip.coupling.lines import Line
from p2psip.directory.listing import Card, Listed, ReachState
from p2psip.reload.config.configuration import DIRECTORY_KINDS, SIP_REGISTRATION_KIND
from p2psip.reload.node.spreading import spreading
from p2psip.reload.usages import directory_usage
from p2psip.reload.wire.kinds import DIRECTORY_ENTRY, LINES_REACHED
from p2psip.sim.sites.making import line_of
from p2psip.sim.sites.site import Site
from p2psip.sim.sites.site_peers import SimulatedPeers

LIFETIME_S = 1200

KINDS = (SIP_REGISTRATION_KIND, *DIRECTORY_KINDS)


def club(seed: str, count: int = 4) -> SimulatedPeers:
    """Peers whose overlay has a directory."""
    return SimulatedPeers(seed, count, required_kinds=KINDS)


def add_line(world: SimulatedPeers, number: int, user: str, card: Card) -> Line:
    """A line that says who it is."""
    line = replace(line_of(world.seed, number, user, user), card=card)
    site = world[number]
    site.call(lambda now: site.peer.add_line(line, now))
    return line


def entries(site: Site) -> dict[str, Listed]:
    """What a peer shows."""
    return {entry.user: entry for entry in site.peer.directory.entries(site.world.now)}


def everywhere(world: SimulatedPeers, users: set[str]) -> bool:
    """True if all peers show these users and no others."""
    return all(set(entries(site)) == users for site in world.sites.values())


ALICE = Card("Alice Hill", "200", "Hill", "DL1ABC")
BOB = Card("Bob", "", "Valley", "OE3XYZ")


def test_every_peer_has_every_entry_and_what_it_says() -> None:
    world = club("all")
    add_line(world, 0, "alice", ALICE)
    add_line(world, 2, "bob", BOB)
    assert world.run(180.0, stop=lambda: everywhere(world, {"alice", "bob"}))
    for site in world.sites.values():
        shown = entries(site)
        assert (shown["alice"].card, shown["bob"].card) == (ALICE, BOB)
        assert shown["alice"].peer == str(world[0].peer.node.node_id)


def test_who_says_something_else_or_goes_is_followed() -> None:
    world = club("changes")
    add_line(world, 0, "alice", ALICE)
    add_line(world, 1, "bob", BOB)
    assert world.run(180.0, stop=lambda: everywhere(world, {"alice", "bob"}))
    add_line(world, 0, "alice", replace(ALICE, name="Alice of the hill"))
    world[1].call(lambda now: world[1].peer.remove_line("bob", now))
    assert world.run(
        180.0,
        stop=lambda: (
            everywhere(world, {"alice"})
            and all(entries(site)["alice"].card.name == "Alice of the hill" for site in world.sites.values())
        ),
    )


def test_who_is_reachable_is_known_everywhere_and_forgotten_with_a_dead_peer() -> None:
    world = club("reachable")
    add_line(world, 0, "alice", ALICE)
    add_line(world, 1, "bob", BOB)
    world.settle_records((0, 1))
    world.phone(1, "bob")
    other = world[3]
    assert world.run(240.0, stop=lambda: "bob" in entries(other) and entries(other)["bob"].is_reachable)
    shown = entries(other)
    assert shown["bob"].reach is ReachState.PHONE
    assert shown["bob"].heard_s is not None
    assert shown["bob"].heard_s < 240.0
    assert entries(world[1])["bob"].reach is ReachState.HERE
    assert world.run(
        240.0, stop=lambda: "alice" in entries(other) and entries(other)["alice"].reach is ReachState.NO_PHONE
    )
    world.world.crash(world[1].host)
    world.run(300.0)
    assert entries(other)["bob"].is_reachable, "for half an hour it is not known that its peer is dead"
    world.run(1800.0)
    assert entries(other)["bob"].reach is ReachState.UNKNOWN


@pytest.fixture
def short_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two weeks are twenty minutes."""
    lifetimes = {DIRECTORY_ENTRY: LIFETIME_S, LINES_REACHED: 900}
    for module in (directory_usage, spreading):
        monkeypatch.setattr(module, "LIFETIMES_S", lifetimes)
    for module in (directory_usage, directory_keeper):
        monkeypatch.setattr(module, "ENTRY_LIFETIME_S", LIFETIME_S)
        monkeypatch.setattr(module, "ENTRY_REFRESH_S", LIFETIME_S // 2)


@pytest.mark.usefixtures("short_lives")
def test_entries_outlive_a_dead_peer_for_their_lifetime_and_are_signed_anew_before_it_ends() -> None:
    world = club("weeks", 3)
    add_line(world, 1, "bob", BOB)
    add_line(world, 2, "carol", Card("Carol"))
    assert world.run(180.0, stop=lambda: everywhere(world, {"bob", "carol"}))
    world.world.crash(world[1].host)
    del world.sites["p1"]
    world.run(LIFETIME_S - 300.0)
    assert everywhere(world, {"bob", "carol"})
    world.run(301.0)
    assert everywhere(world, {"carol"})


def test_islands_that_meet_again_have_each_others_entries() -> None:
    world = club("islands")
    for site in (world[2], world[3]):
        site.host.island = 1
    world.run(120.0)
    add_line(world, 0, "alice", ALICE)
    add_line(world, 2, "bob", BOB)
    world.run(180.0)
    assert set(entries(world[1])) == {"alice"}
    assert set(entries(world[3])) == {"bob"}
    for site in (world[2], world[3]):
        site.host.island = 0
    assert world.run(600.0, stop=lambda: everywhere(world, {"alice", "bob"}))


def test_a_peer_that_starts_anew_has_all_of_it_soon() -> None:
    world = club("restart")
    add_line(world, 0, "alice", ALICE)
    assert world.run(180.0, stop=lambda: everywhere(world, {"alice"}))
    world.restart(2)
    assert world.run(60.0, stop=lambda: everywhere(world, {"alice"}))


def test_an_overlay_without_its_kinds_has_no_directory() -> None:
    world = SimulatedPeers("none", 2)
    add_line(world, 0, "alice", ALICE)
    world.run(300.0)
    assert not world[0].peer.directory.is_there
    assert not world[0].peer.node.spreading.copies
