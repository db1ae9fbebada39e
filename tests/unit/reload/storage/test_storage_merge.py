"""Stores that were apart agree once they have exchanged all they have, in whatever order: the newest of each place."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import permutations

import pytest
from effort import times
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_bench import (
    ALICE,
    ALICE_ELSEWHERE,
    ALICE_PLACE,
    ARRAY,
    DICTIONARY,
    NOTES,
    PEER,
    SINGLE,
    Bench,
    element,
    entry,
    everything,
    signer,
    single,
)

from p2psip.reload.config.configuration import Kind
from p2psip.reload.storage.storage import Stored
from p2psip.reload.storage.store.records import Place
from p2psip.reload.storage.stored_values import is_signed, key_of
from p2psip.reload.wire.rejections import DataTooLarge, DataTooOld
from p2psip.reload.wire.storage_messages import APPEND_INDEX, FetchKindResponse, StoreKindData, StoreReq

FEW = replace(NOTES, kind_id=0xF0000007, max_count=2)
KINDS = (SINGLE, ARRAY, NOTES, DICTIONARY, FEW)
ISLANDS = 3

Content = dict[Place, tuple[int, bytes | None]]
"""Of each place the storage_time and the value, None if it was removed."""


def give(giver: Bench, taker: Bench) -> None:
    """What a peer does with values that another should have (RFC 6940 section 7.4.1.1).

    "if [...] that store fails with [...] an Error_Data_Too_Old error, the peer MUST fetch the newer data from the peer
    generating the error and use that to replace its own copy." Then it offers again what it has.
    """
    for transfer in giver.storage.transfers(ALICE_PLACE, 1, giver.now, size_max=400):
        try:
            taker.send(transfer.request, requester=PEER, certificates=transfer.certificates)
        except DataTooOld:
            newer = taker.fetch(*map(everything, KINDS))
            giver.storage.adopt(ALICE_PLACE, newer.answer, newer.certificates, giver.now)
            giver.settle()
            for again in giver.storage.transfers(ALICE_PLACE, 1, giver.now, size_max=10_000):
                taker.send(again.request, requester=PEER, certificates=again.certificates)
            return


def content(bench: Bench) -> Content:
    found: Content = {}
    for response in bench.fetch(*map(everything, KINDS)).answer.kind_responses:
        assert isinstance(response, FetchKindResponse)
        for stored in filter(is_signed, response.values):
            data = stored.data_value.value if stored.data_value.exists else None
            found[Place(ALICE_PLACE, response.kind, key_of(stored.value))] = (stored.storage_time, data)
    return found


@dataclass
class Islands:
    """Peers that cannot reach each other, each of which thinks that it is responsible for one and the same resource."""

    benches: list[Bench] = field(
        default_factory=lambda: [Bench(kinds={kind.kind_id: kind for kind in KINDS}) for _ in range(ISLANDS)]
    )
    newest: Content = field(default_factory=dict)
    time_ms: int = 0

    def write(self, island: int, kind: Kind, where: int, data: bytes | None) -> None:
        """Somebody stores or removes a value, in one of the islands."""
        self.time_ms += 1
        try:
            stored = self.put(self.benches[island], kind, where, data)
        except DataTooLarge:
            return  # the array is at its end, or there are as many as there may be
        (place,) = stored.places
        self.newest[place] = (self.time_ms, data)

    def put(self, bench: Bench, kind: Kind, where: int, data: bytes | None) -> Stored:
        """The same, with the storage_time as it is."""
        owner = ALICE_ELSEWHERE if kind is DICTIONARY and where % 2 else ALICE
        value = {
            SINGLE: single(data),
            ARRAY: element(where, data),
            NOTES: entry(bytes([where % 256]), data),
            FEW: entry(bytes([where % 256]), data),
            DICTIONARY: entry(owner.node_id, data),
        }[kind]
        return bench.put(kind, value, identity=owner, storage_time_ms=self.time_ms)


WRITES = st.lists(
    st.one_of(
        st.tuples(
            st.integers(0, ISLANDS - 1),
            st.sampled_from(KINDS),
            st.sampled_from([0, 1, 2, APPEND_INDEX]),
            st.sampled_from([None, b"x", b"y"]),
        ),
        st.tuples(st.sampled_from(list(permutations(range(ISLANDS), 2)))),
    ),
    max_size=12,
)
"""What happens: a value is stored or removed in an island; or two meet for a moment, and one gives to the other."""


@pytest.mark.long
@settings(max_examples=times(60))
@given(events=WRITES, order=st.permutations(list(permutations(range(ISLANDS), 2))))
def test_islands_agree_on_the_newest_of_each_place(
    events: list[tuple[int, Kind, int, bytes | None] | tuple[tuple[int, int]]], order: list[tuple[int, int]]
) -> None:
    """7.4.1.1: "act as if all the values that need to be merged were stored and as if the order they were stored in
    corresponds to the stored time values"; what was removed is a value like others, so it stays removed.
    """
    islands = Islands()
    for event in events:
        if len(event) == 1:
            give(*(islands.benches[number] for number in event[0]))
        else:
            islands.write(*event)
    for _ in range(2):
        for giver, taker in order:
            give(islands.benches[giver], islands.benches[taker])
    few = sorted((place for place in islands.newest if place.kind == FEW.kind_id), key=islands.newest.__getitem__)
    for place in few[: -FEW.max_count]:
        del islands.newest[place]
    for bench in islands.benches:
        assert content(bench) == islands.newest


def meet_until_quiet(islands: Islands, order: Sequence[tuple[int, int]]) -> list[Content]:
    """They exchange all they have, twice; what each has then."""
    for giver, taker in (*order, *order):
        give(islands.benches[giver], islands.benches[taker])
    return [content(bench) for bench in islands.benches]


SAME_TIMES = st.lists(
    st.tuples(
        st.integers(0, ISLANDS - 1),
        st.sampled_from([SINGLE, NOTES, FEW]),
        st.integers(0, 4),
        st.sampled_from([None, b"x", b"y", b"z"]),
        st.integers(1, 3),
    ),
    max_size=10,
)
"""Writes whose storage_times are the same again and again, as a writer with two machines or a bad clock makes them."""


@pytest.mark.long
@settings(max_examples=times(60))
@given(writes=SAME_TIMES, order=st.permutations(list(permutations(range(ISLANDS), 2))))
def test_islands_agree_whoever_gives_first(
    writes: list[tuple[int, Kind, int, bytes | None, int]], order: list[tuple[int, int]]
) -> None:
    """Also on values of one storage_time, and on which of too many stay."""
    islands, again = Islands(), Islands()
    for island, kind, where, data, time_ms in writes:
        for each in (islands, again):
            with suppress(DataTooLarge, DataTooOld):
                each.time_ms = time_ms
                each.put(each.benches[island], kind, where, data)
    first, *others = meet_until_quiet(islands, order)
    assert others == [first] * len(others)
    assert meet_until_quiet(again, order[::-1]) == [first, *others]
    assert all(sum(place.kind == kind.kind_id for place in first) <= kind.max_count for kind in KINDS)


def test_of_too_many_values_the_newest_stay() -> None:
    """Whoever gives to whom: two islands were full when they met."""
    for giver, taker in ((0, 1), (1, 0)):
        islands = Islands()
        for island, where in ((0, 1), (1, 2), (1, 3), (0, 4)):
            islands.write(island, FEW, where, bytes([where]))
        give(islands.benches[giver], islands.benches[taker])
        give(islands.benches[taker], islands.benches[giver])
        assert [bench.read(FEW) for bench in islands.benches[:2]] == [[b"\3", b"\4"]] * 2
        assert islands.benches[0].storage.value_count == 2


def test_who_holds_no_copies_chooses_not_whose_values_go() -> None:
    """docs/decisions/which-values-stay.md: what any member gives us is taken where there is room for it."""
    bench = Bench()
    bench.put(NOTES, *(entry(bytes([number]), b"old") for number in range(NOTES.max_count)), storage_time_ms=1000)
    newer = bench.signed(ALICE, ALICE_PLACE, NOTES, entry(b"another", b"new"), storage_time_ms=2000)
    request = StoreReq(ALICE_PLACE, 1, (StoreKindData(NOTES.kind_id, 1, (newer,)),))
    with pytest.raises(DataTooLarge):
        bench.storage.store(request, signer(PEER), ALICE.certificates, (), bench.now, is_from_holder=False)
    assert bench.read(NOTES) == [b"old"] * NOTES.max_count
    assert bench.storage.store(request, signer(PEER), ALICE.certificates, (), bench.now).places


def test_of_two_values_with_one_storage_time_all_choose_the_same() -> None:
    """But of a writer itself the second one is refused: "The storage time values are greater than that of any values
    which would be replaced by this Store."
    """
    kept = set()
    for giver, taker in ((0, 1), (1, 0)):
        islands = Islands()
        islands.time_ms = 5
        for island, data in ((0, b"x"), (1, b"y")):
            islands.put(islands.benches[island], NOTES, 1, data)
            with pytest.raises(DataTooOld):
                islands.put(islands.benches[island], NOTES, 1, b"z")
        give(islands.benches[giver], islands.benches[taker])
        one, other = (bench.read(NOTES) for bench in islands.benches[:2])
        assert one == other
        kept.add(one[0])
    assert len(kept) == 1


def test_a_value_removed_in_one_island_does_not_come_back_from_another() -> None:
    """Whoever gives to whom first, and though the island that has the value still serves it until they meet."""
    for giver, taker in ((0, 1), (1, 0)):
        islands = Islands()
        islands.write(0, NOTES, 1, b"x")
        give(islands.benches[0], islands.benches[1])
        islands.write(1, NOTES, 1, None)
        assert islands.benches[0].read(NOTES) == [b"x"]
        give(islands.benches[giver], islands.benches[taker])
        assert [bench.read(NOTES) for bench in islands.benches[:2]] == [[None], [None]]


def test_elements_appended_in_two_islands_at_the_same_index_leave_the_newer() -> None:
    islands = Islands()
    for island, data in ((0, b"first"), (1, b"second")):
        islands.write(island, ARRAY, APPEND_INDEX, data)
    give(islands.benches[1], islands.benches[0])
    give(islands.benches[0], islands.benches[1])
    assert [bench.read(ARRAY) for bench in islands.benches[:2]] == [[b"second"], [b"second"]]
