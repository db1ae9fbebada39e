"""Parts of an overlay that lived on apart, each with its users, and grow together within half a minute.

Whatever is signed and lives is found everywhere, by the newest word of its owner; what was removed stays removed, and
what was not refreshed dies in its time, however often it was passed on (RFC 6940 section 7.4.1.1, 7.4.1.3, 10.7.4.4).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from p2psip.reload.transport.outcome import Answer
from p2psip.reload.wire.storage_messages import FetchAns, FetchKindResponse, StoredData
from p2psip.sim.registrations import (
    KIND,
    LIFETIME_S,
    StoredEntry,
    fetch,
    fill,
    grow,
    missing,
    record_of,
    remove,
    route_to,
    store,
    wait_until,
    wait_whole,
)
from p2psip.sim.simulated_overlay import Command, SimulatedOverlay
from p2psip.sim.topologies import Case, is_whole
from p2psip.sim.world import Host

MERGE_S = 30.0
"""By then all parts are one, once there is a path."""

SETTLE_S = 35.0
"""What goes to whoever is responsible now, and copies, are there after that."""

REFRESH_S = LIFETIME_S / 2
DIES_IN_S = 20.0
"""How much longer than its lifetime a value may be kept: Stores take their time, and clocks may differ."""


def part(overlay: SimulatedOverlay, seed: int | str, islands: int) -> list[list[Host]]:
    """So many islands, as equal as can be, each of whom chance chooses; each is one overlay after a while."""
    hosts = overlay.alive()
    random.Random(f"islands {seed}").shuffle(hosts)
    parts = [hosts[number::islands] for number in range(islands)]
    for island, members in enumerate(parts):
        for host in members:
            host.island = island
    wait_until(overlay, 60.0, lambda: all(is_whole(overlay, members) for members in parts), 1.0)
    return parts


def join(overlay: SimulatedOverlay) -> float:
    """There is a path from all to all; after how long they are one."""
    for host in overlay.alive():
        host.island = 0
    return wait_whole(overlay, MERGE_S, 0.5)


def values_at(overlay: SimulatedOverlay, host: Host, record: StoredEntry) -> Sequence[StoredData]:
    """What a peer finds at a line's name."""
    result = overlay.wait_done(host, fetch(overlay, host, record.resource)).result
    assert isinstance(result, Answer), result
    assert isinstance(result.body, FetchAns)
    (kind,) = result.body.kind_responses
    assert isinstance(kind, FetchKindResponse)
    return kind.values


def said_of(overlay: SimulatedOverlay, record: StoredEntry) -> set[bytes]:
    """What peers of all parts find: the route to somebody, or nothing."""
    found = [values_at(overlay, host, record) for host in overlay.alive()]
    return {each.data_value.value for values in found for each in values if each.data_value.exists}


def done(overlay: SimulatedOverlay, host: Host, command: Command) -> None:
    """It has been acknowledged."""
    result = overlay.wait_done(host, command).result
    assert isinstance(result, Answer), result


def kept_until(overlay: SimulatedOverlay, record: StoredEntry) -> float:
    """How long the longest-lived copy of a record is kept."""
    copies = [copy for host in overlay.alive() for copy in host.store.records(record.resource, KIND)]
    return max((copy.expires_at for copy in copies), default=0.0)


@pytest.mark.long
@pytest.mark.parametrize("apart_s", [1200.0, 3600.0])
def test_what_users_did_in_two_halves_holds_in_the_whole(topology: Case, apart_s: float) -> None:
    """Of the lines of each half some go, some move, some stay, and some are heard of no more. Where they were twenty
    minutes apart, each half still has what was removed in the other one.
    """
    overlay = grow(f"apart {apart_s}", 8, **topology.settings)
    records = fill(overlay, 24)
    stored_at = overlay.world.now
    overlay.world.run_for(2.0)
    halves = part(overlay, apart_s, 2)
    lines = [[record for record in records if record.host in half] for half in halves]
    gone, moved, silent = ([record for half in lines for record in half[turn::4]] for turn in range(3))
    assert min(map(len, lines)) >= 3, "of each kind there is one in each half"
    began = overlay.world.now
    overlay.world.run_for(300.0)
    for record in gone:
        done(overlay, record.host, remove(overlay, record.host, record.line))
    homes = {record.line.user: record.host for record in records if record not in gone + silent}
    for record in moved:
        homes[record.line.user] = next(host for host in halves[record.host.island] if host is not record.host)
    while overlay.world.now < began + apart_s:
        for record in records:
            if (home := homes.get(record.line.user)) is not None:
                done(overlay, home, store(overlay, home, record.line))
        overlay.world.run_for(min(REFRESH_S, began + apart_s - overlay.world.now))
    join(overlay)
    overlay.world.run_for(SETTLE_S)
    for record in gone:
        assert said_of(overlay, record) == set(), f"{record.line.user} came back"
    for record in records:
        if (home := homes.get(record.line.user)) is not None:
            assert said_of(overlay, record) == {route_to(overlay, home)}, f"{record.line.user} is not found at home"
    for record in silent:
        assert kept_until(overlay, record) <= stored_at + LIFETIME_S + DIES_IN_S
        assert bool(said_of(overlay, record)) is (apart_s < LIFETIME_S)
    assert topology.violations(overlay) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_three_islands_at_once(topology: Case, seed: int) -> None:
    """Twelve peers; each island has registered somebody whom the others do not know, and one user has moved."""
    overlay = grow(f"three {seed}", 12, **topology.settings)
    records = fill(overlay, 6)
    overlay.world.run_for(2.0)
    islands = part(overlay, seed, 3)
    overlay.world.run_for(120.0)
    (first, second, third), mover = islands, records[0]
    records += fill(overlay, 12, first=6, seed=seed)
    for number, island in enumerate((first, second, third)):
        overlay.world.run_for(10.0)
        done(overlay, island[number], store(overlay, island[number], mover.line))
    join(overlay)
    overlay.world.run_for(SETTLE_S)
    assert missing(overlay, records) == []
    assert said_of(overlay, record_of(overlay, mover.line, third[2])) == {route_to(overlay, third[2])}
    assert topology.violations(overlay) == []


@pytest.mark.long
@pytest.mark.parametrize("apart_s", [5.0, 120.0])
def test_two_halves_of_fifty_peers(topology: Case, apart_s: float) -> None:
    """Also where none of them had been lost for long."""
    overlay = grow(f"fifty {apart_s}", 50, is_direct=True, **topology.settings)
    records = fill(overlay, 20)
    overlay.world.run_for(2.0)
    part(overlay, apart_s, 2)
    overlay.world.run_for(apart_s)
    records += fill(overlay, 20, first=20, seed=2)
    join(overlay)
    overlay.world.run_for(SETTLE_S)
    assert missing(overlay, records) == []
    assert topology.violations(overlay) == []
