"""Outlines: what is still known of values whose bytes somebody else gives back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from storage_bench import (
    ALICE,
    ALICE_PLACE,
    ARRAY,
    BOB,
    DICTIONARY,
    LIFETIME_S,
    NOTES,
    SINGLE,
    UNKNOWN,
    Bench,
    element,
    entry,
    everything,
    single,
)

from p2psip.reload.storage.outline import GivenBack, LentValueChanged, LentValueMissing, Outline
from p2psip.reload.storage.reading import Fetched
from p2psip.reload.storage.stored_values import nonexistent
from p2psip.reload.wire.rejections import ResponseTooLarge
from p2psip.reload.wire.storage_messages import (
    DictionarySpecifier,
    FetchAns,
    FetchKindResponse,
    FetchReq,
    StoredData,
    StoredDataSpecifier,
)


def outline(bench: Bench) -> Outline:
    found = bench.storage.outline(ALICE_PLACE, NOTES.kind_id, bench.now)
    assert found is not None
    return found


def filled() -> Bench:
    bench = Bench()
    for key in (b"a", b"b", b"c"):
        bench.put(NOTES, entry(key, key * 20))
    return bench


def given(fetched: Fetched, *, values: tuple[StoredData, ...] | None = None) -> GivenBack:
    (response,) = fetched.answer.kind_responses
    changed = FetchKindResponse(NOTES.kind_id, 99, response.values if values is None else values)
    return GivenBack(FetchAns((changed,)), fetched.certificates)


def back(bench: Bench, request: FetchReq, given_back: GivenBack, *, size_max: int | None = None) -> Fetched:
    outlines = {NOTES.kind_id: outline(bench)}
    return bench.storage.fetch_from(request, outlines, given_back, bench.now, size_max=size_max)


ALL = FetchReq(ALICE_PLACE, (everything(NOTES),))


def test_what_is_given_back_makes_the_answer_that_the_own_copy_makes() -> None:
    """With this peer's generation counter and what is left of lifetimes, whatever was said of them elsewhere."""
    bench = filled()
    fetched = bench.fetch(everything(NOTES))
    values = tuple(replace(each, lifetime=4_000_000) for each in fetched.answer.kind_responses[0].values)
    bench.now += 100.0
    assert back(bench, ALL, given(fetched, values=values)) == bench.fetch(everything(NOTES))
    assert bench.fetch(everything(NOTES)).answer.kind_responses[0].values[0].lifetime == LIFETIME_S - 100


def test_some_of_the_values_are_asked_for() -> None:
    bench = filled()
    some = FetchReq(ALICE_PLACE, (StoredDataSpecifier(NOTES.kind_id, 0, DictionarySpecifier((b"b", b"x"))),))
    own = bench.fetch(*some.specifiers)
    assert back(bench, some, given(own)) == own
    assert back(bench, some, given(bench.fetch(everything(NOTES)))) == own, "more than was asked for does no harm"


@pytest.mark.parametrize("number", range(3))
def test_a_value_too_few_is_missed(number: int) -> None:
    bench = filled()
    fetched = bench.fetch(everything(NOTES))
    values = fetched.answer.kind_responses[0].values
    with pytest.raises(LentValueMissing):
        back(bench, ALL, given(fetched, values=values[:number] + values[number + 1 :]))
    synthetic = nonexistent(replace(values[number].value, value=replace(values[number].data_value, exists=False)))
    with pytest.raises(LentValueMissing):
        back(bench, ALL, given(fetched, values=(*values[:number], synthetic, *values[number + 1 :])))


def test_an_answer_without_what_verifies_it_is_none() -> None:
    bench = filled()
    fetched = bench.fetch(everything(NOTES))
    with pytest.raises(LentValueMissing):
        back(bench, ALL, GivenBack(given(fetched).answer, BOB.certificates))


def test_an_older_value_is_not_the_one_that_was_placed() -> None:
    bench = filled()
    old = bench.fetch(everything(NOTES))
    bench.put(NOTES, entry(b"b", b"newer"))
    with pytest.raises(LentValueChanged):
        back(bench, ALL, given(old))


def test_nor_is_one_that_its_writer_has_signed_otherwise() -> None:
    bench = filled()
    fetched = bench.fetch(everything(NOTES))
    other = bench.signed(ALICE, ALICE_PLACE, NOTES, entry(b"b", b"other"))
    values = fetched.answer.kind_responses[0].values
    with pytest.raises(LentValueChanged):
        back(bench, ALL, given(fetched, values=(values[0], other, values[2])))


def test_an_answer_has_no_more_bytes_than_are_wanted() -> None:
    bench = filled()
    with pytest.raises(ResponseTooLarge):
        back(bench, ALL, given(bench.fetch(everything(NOTES))), size_max=100)


def test_an_outline_has_none_of_the_bytes() -> None:
    bench = filled()
    assert all(value.record.data == b"" for value in outline(bench).values.values())
    assert sum(value.size for value in outline(bench).values.values()) == bench.storage.size


def test_it_is_current_until_something_changes() -> None:
    bench = filled()
    before = outline(bench)
    assert bench.storage.is_current(before, bench.now)
    bench.put(SINGLE, single(b"something else"))
    assert bench.storage.is_current(before, bench.now)
    bench.put(NOTES, entry(b"b", b"newer"))
    assert not bench.storage.is_current(before, bench.now)
    assert bench.storage.is_current(outline(bench), bench.now)


def test_it_is_not_while_a_change_is_on_its_way_to_the_disk() -> None:
    bench = filled()
    before = outline(bench)
    bench.is_slow = True
    bench.put(NOTES, entry(b"d", b"new"))
    assert not bench.storage.is_current(before, bench.now)
    assert bench.storage.outline(ALICE_PLACE, NOTES.kind_id, bench.now) is None


def test_it_is_not_when_a_value_has_expired_or_is_dropped() -> None:
    bench = filled()
    before = outline(bench)
    assert not bench.storage.is_current(before, bench.now + LIFETIME_S)
    bench.storage.drop(ALICE_PLACE, bench.now)
    assert not bench.storage.is_current(before, bench.now)


def test_it_is_not_when_its_kind_is_no_more() -> None:
    bench = filled()
    before = outline(bench)
    bench.storage.use_rules(replace(bench.rules, kinds={SINGLE.kind_id: SINGLE}), bench.now)
    assert not bench.storage.is_current(before, bench.now)


def test_there_is_none_of_nothing() -> None:
    bench = filled()
    for kind in (DICTIONARY.kind_id, ARRAY.kind_id, UNKNOWN):
        assert bench.storage.outline(ALICE_PLACE, kind, bench.now) is None


def test_elements_of_arrays_and_single_values_are_known_by_their_place() -> None:
    for kind, what in ((ARRAY, element(2, b"element")), (SINGLE, single(b"single"))):
        bench = Bench()
        bench.put(kind, what)
        found = bench.storage.outline(ALICE_PLACE, kind.kind_id, bench.now)
        assert found is not None
        own = bench.fetch(everything(kind))
        request = FetchReq(ALICE_PLACE, (everything(kind),))
        given_back = GivenBack(own.answer, own.certificates)
        assert bench.storage.fetch_from(request, {kind.kind_id: found}, given_back, bench.now) == own
