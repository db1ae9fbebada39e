"""Values that were removed in one island stay removed when it meets the others (RFC 6940 section 7.4.1.1, 7.4.1.3)."""

from __future__ import annotations

import pytest

from p2psip.reload.transport.outcome import Answer
from p2psip.reload.wire.storage_messages import FetchAns, FetchKindResponse, StoredData
from p2psip.sim.registrations import KIND, LIFETIME_S, StoredEntry, fetch, fill, grow, remove, store, wait_until
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host

UPDATE_INTERVAL_S = 120


def found(overlay: SimulatedOverlay, host: Host, record: StoredEntry) -> StoredData:
    """What a peer finds under the line's name."""
    result = overlay.wait_done(host, fetch(overlay, host, record.resource)).result
    assert isinstance(result, Answer), result
    assert isinstance(result.body, FetchAns)
    (response,) = result.body.kind_responses
    assert isinstance(response, FetchKindResponse)
    (value,) = response.values
    return value


def kept(overlay: SimulatedOverlay, record: StoredEntry) -> set[tuple[int, bool]]:
    """What all peers that have the record keep: storage_time and whether it exists."""
    model = overlay.configuration.kinds[KIND].data_model
    values = [
        StoredData.decode(kept.data, model=model)
        for host in overlay.alive()
        for kept in host.store.records(record.resource, KIND)
    ]
    assert values
    return {(value.storage_time, value.data_value.exists) for value in values}


def is_ring_of(overlay: SimulatedOverlay, hosts: list[Host]) -> bool:
    members = sorted(overlay.node(host).node_id for host in hosts)
    return all(overlay._is_placed(overlay.node(host), members) for host in hosts)


@pytest.mark.must("7.4.1.3/1", "7.4.1.1/21")
@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_removed_in_an_island_is_removed_everywhere(seed: int) -> None:
    """Each third record is removed, each third stored anew, in the island that its line is in; the newest word wins."""
    overlay = grow(f"removed {seed}", 6, chord_update_interval_s=UPDATE_INTERVAL_S)
    records = fill(overlay, 12, seed=seed)
    overlay.world.run_for(2.0)
    hosts = overlay.alive()
    away, home = hosts[seed::2], [host for host in hosts if host not in hosts[seed::2]]
    for host in away:
        host.island = 1
    wait_until(overlay, 60.0, lambda: is_ring_of(overlay, away) and is_ring_of(overlay, home))
    removed, renewed, untouched = records[0::3], records[1::3], records[2::3]
    for record in removed:
        assert isinstance(overlay.wait_done(record.host, remove(overlay, record.host, record.line)).result, Answer)
    for record in renewed:
        overlay.wait_done(record.host, store(overlay, record.host, record.line))
    assert {record.host in away for record in removed} == {True, False}
    for host in hosts:
        host.island = 0
    wait_until(overlay, 2 * UPDATE_INTERVAL_S, overlay.is_ring, 1.0)
    overlay.world.run_for(40.0)
    for record in records:
        exists = record not in removed
        assert {found(overlay, host, record).data_value.exists for host in hosts} == {exists}
    # 10.7.3: who is neither responsible nor a replica any more forgets its copy when it stabilizes.
    overlay.world.run_for(UPDATE_INTERVAL_S)
    for record in records:
        exists = record not in removed
        copies = kept(overlay, record)
        assert len(copies) == 1, f"{record.line.user}: the copies differ"
        assert {is_there for _, is_there in copies} == {exists}
    assert len(untouched) == 4


def test_a_removal_is_kept_as_long_as_the_value_would_have_been() -> None:
    """7.4.1.3: "a lifetime for the nonexistent value that is at least as long as the remainder"; then both are gone."""
    overlay = grow("kept", 4, chord_update_interval_s=UPDATE_INTERVAL_S)
    (record,) = fill(overlay, 1)
    overlay.world.run_for(1.0)
    assert isinstance(overlay.wait_done(record.host, remove(overlay, record.host, record.line)).result, Answer)
    overlay.world.run_for(5.0)
    assert {exists for _, exists in kept(overlay, record)} == {False}
    for host in overlay.alive():
        for one in host.store.records(record.resource, KIND):
            assert one.expires_at >= overlay.world.now - 10 + LIFETIME_S
