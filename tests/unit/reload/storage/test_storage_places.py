"""The storage core beyond section 7: what lies where, what moves, what is dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest
from storage_bench import (
    ALICE,
    ALICE_ELSEWHERE,
    ALICE_PLACE,
    BOB,
    BOB_PLACE,
    DICTIONARY,
    KINDS,
    NOTES,
    PEER,
    SINGLE,
    Bench,
    anywhere,
    entry,
    everything,
    place_of,
    single,
)

from p2psip.reload.storage.limits import Limits
from p2psip.reload.topology.chord.ring import is_between
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.rejections import UnknownKind
from p2psip.reload.wire.storage_messages import StoreKindData


@pytest.mark.parametrize("is_slow", [False, True], ids=["committed", "uncommitted"])
def test_resources_come_clockwise_from_the_low_end(is_slow: bool) -> None:
    bench = Bench()
    numbers = [0, 1, 5, 9, 2**127, 2**128 - 1]
    bench.is_slow = is_slow
    anywhere(bench, *map(place_of, reversed(numbers)))
    for low in (0, 1, 4, 5, 2**127, 2**128 - 1):
        for high in (0, 1, 4, 5, 2**127, 2**128 - 1):
            found = list(bench.storage.resources_in(place_of(low), place_of(high), 0.0))
            expected = [number for number in numbers if is_between(place_of(number), place_of(low), place_of(high))]
            expected.sort(key=lambda number: (number - low - 1) % 2**128)
            assert found == list(map(place_of, expected)), (low, high)


def test_a_range_is_looked_up_page_by_page_while_it_changes() -> None:
    bench = Bench()
    anywhere(bench, *map(place_of, range(1, 251)))
    found = bench.storage.resources_in(place_of(0), place_of(1000), 0.0)
    head = [next(found) for _ in range(50)]
    for number in (120, 230):
        bench.storage.drop(place_of(number), 0.0)
        bench.settle()
    bench.is_slow = True
    anywhere(bench, place_of(300))
    tail = list(found)
    assert len(set(head + tail)) == len(head + tail) == 249
    assert not {place_of(120), place_of(230)}.intersection(tail)
    assert tail[-1] == place_of(300)


def test_a_resource_with_nothing_to_show_is_not_in_the_range() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"), lifetime_s=10)
    bench.is_slow = True
    bench.put(SINGLE, single(b"x"), identity=BOB, resource=BOB_PLACE)
    assert set(bench.storage.resources_in(b"", b"", 0.0)) == {ALICE_PLACE, BOB_PLACE}
    bench.storage.drop(BOB_PLACE, 0.0)
    assert list(bench.storage.resources_in(b"", b"", 0.0)) == [ALICE_PLACE]
    assert list(bench.storage.resources_in(b"", b"", 10.0)) == []


def test_dropping_forgets_values_certificates_and_counters() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    bench.put(NOTES, entry(b"a", b""), entry(b"b", b""))
    bench.storage.drop(ALICE_PLACE, 0.0)
    assert bench.fetch(everything(SINGLE)).answer.kind_responses[0].generation == 0
    assert (bench.read(SINGLE), bench.read(NOTES)) == ([None], [])
    bench.settle()
    assert bench.store.kinds(ALICE_PLACE) == []
    assert bench.store.generation(ALICE_PLACE, SINGLE.kind_id) == 0
    assert bench.storage.value_count == 0
    bench.storage.drop(ALICE_PLACE, 0.0)
    assert bench.storage.drain() == []


def test_a_transfer_is_cut_into_messages() -> None:
    bench = Bench()
    for identity in (ALICE, ALICE_ELSEWHERE):
        bench.put(DICTIONARY, entry(identity.node_id, bytes(100)), identity=identity)
    bench.put(NOTES, *(entry(bytes([n]), bytes(100)) for n in range(4)))
    for size_max in (100, 400, 700, 5000):
        pieces = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=size_max)
        sizes = [len(p.request.encode()) + sum(len(c.encode()) for c in p.certificates) for p in pieces]
        values = [sum(len(data.values) for data in p.request.kind_data) for p in pieces]  # type: ignore[union-attr]
        assert sum(values) == 6
        assert all(size <= size_max + 30 or count == 1 for size, count in zip(sizes, values, strict=True))
        replica = Bench()
        for piece in pieces:
            replica.send(piece.request, requester=PEER, certificates=piece.certificates)
        for kind in (DICTIONARY, NOTES):
            assert replica.fetch(everything(kind)).answer == bench.fetch(everything(kind)).answer
    assert len(pieces) == 1


def test_a_certificate_counts_once_in_a_transfer() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"a", b""), entry(b"b", b""))
    (whole,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    values = [value.encode() for data in whole.request.kind_data for value in data.values]  # type: ignore[union-attr]
    size = 16 + sum(map(len, values)) + len(ALICE.certificates[0].encode())
    assert len(bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=size)) == 1
    assert len(bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=size - 1)) == 2


def test_a_transfer_of_some_places_only() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"a", b""), entry(b"b", b""))
    stored = bench.put(NOTES, entry(b"b", b"new"))
    (transfer,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000, places=stored.places)
    (data,) = transfer.request.kind_data
    assert isinstance(data, StoreKindData)
    assert [value.value for value in data.values] == [entry(b"b", b"new")]
    assert data.generation_counter == 2


def test_a_kind_that_the_overlay_has_given_up_is_not_handed_on() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    bench.put(NOTES, entry(b"k", b""))
    kinds = {kind_id: kind for kind_id, kind in KINDS.items() if kind is not SINGLE}
    bench.storage.use_rules(replace(bench.rules, kinds=kinds), bench.now)
    (transfer,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    assert [data.kind for data in transfer.request.kind_data] == [NOTES.kind_id]
    with pytest.raises(UnknownKind):
        bench.read(SINGLE)


def test_11_1_values_of_a_kind_that_the_overlay_has_given_up_are_discarded() -> None:
    """Some at a time, those included whose commit was under way, and the generation counters with them."""
    bench = Bench(limits=Limits(sweep_max=2))
    bench.put(NOTES, *(entry(bytes([n]), b"x") for n in range(4)))
    bench.put(SINGLE, single(b"stays"))
    bench.is_slow = True
    bench.put(NOTES, entry(b"\0", b"newer"))
    kinds = {kind_id: kind for kind_id, kind in KINDS.items() if kind is not NOTES}
    bench.storage.use_rules(replace(bench.rules, kinds=kinds), bench.now)
    bench.answer(bench.asked[0])
    bench.is_slow = False
    commits = bench.store.commit
    sizes: list[int] = []
    bench.store.commit = lambda commit: (sizes.append(len(commit.changes)), commits(commit))[1]  # type: ignore[method-assign]
    bench.advance(bench.now + 1)
    assert sizes == [2, 3]
    assert bench.store.stored_kinds() == [SINGLE.kind_id]
    assert bench.store.generation(ALICE_PLACE, NOTES.kind_id) == 0
    assert bench.storage.value_count == 1
    assert bench.read(SINGLE) == [b"stays"]


def test_11_1_they_are_discarded_after_a_restart_as_well_and_after_a_disk_that_failed() -> None:
    before = Bench()
    before.put(NOTES, entry(b"k", b"x"))
    kinds = {kind_id: kind for kind_id, kind in KINDS.items() if kind is not NOTES}
    after = Bench(store=before.store, kinds=kinds, is_slow=True)
    after.advance(0.0)
    after.fail(after.asked[0])
    after.advance(9.0)
    assert after.asked == []
    after.is_slow = False
    after.advance(10.0)
    assert before.store.stored_kinds() == []


def test_values_of_a_kind_that_has_another_data_model_now_are_discarded() -> None:
    before = Bench()
    before.put(NOTES, entry(b"k", b"x"))
    after = Bench(store=before.store, kinds=KINDS | {NOTES.kind_id: replace(NOTES, data_model=DataModel.ARRAY)})
    after.advance(0.0)
    assert before.store.stored_kinds() == []
