"""RFC 6940 section 7.4.2.2, the reader's side: what to believe of an answer, whatever the data model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from storage_bench import (
    ALICE,
    ALICE_ELSEWHERE,
    ALICE_PLACE,
    ARRAY,
    BOB,
    DICTIONARY,
    NOTES,
    SINGLE,
    UNKNOWN,
    WALL,
    Bench,
    element,
    entry,
    everything,
    single,
)

from p2psip.base.ids import ResourceId
from p2psip.reload.config.configuration import Kind
from p2psip.reload.storage.reading import Fetched
from p2psip.reload.storage.stored_values import nonexistent
from p2psip.reload.storage.verified import Believer, Seen, Value, Verified, read_answer, read_find
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import (
    APPEND_INDEX,
    FetchAns,
    FetchKindResponse,
    FindAns,
    FindKindData,
    FindReq,
    StoredData,
    StoredDataValue,
    UnknownKindData,
)


def read(bench: Bench, fetched: Fetched, seen: Seen | None = None) -> Verified:
    return read_answer(ALICE_PLACE, fetched.answer, fetched.certificates, Believer(bench.rules, WALL, seen), bench.now)


def answer_of(kind: Kind, *values: StoredData) -> Fetched:
    """An answer that somebody made up, with all certificates that it takes."""
    bucket: tuple[GenericCertificate, ...] = (*ALICE.certificates, *ALICE_ELSEWHERE.certificates, *BOB.certificates)
    return Fetched(FetchAns((FetchKindResponse(kind.kind_id, 7, values),)), bucket, None)


def facts(values: tuple[Value, ...]) -> list[tuple[object, bytes | None]]:
    return [(value.key, value.data) for value in values]


def test_the_values_of_each_data_model_come_with_their_place_time_and_signer() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"one"), storage_time_ms=4711)
    bench.put(ARRAY, element(2, b"c"), element(APPEND_INDEX, b"d"))
    bench.put(DICTIONARY, entry(ALICE_ELSEWHERE.node_id, b"there"), identity=ALICE_ELSEWHERE)
    bench.put(NOTES, entry(b"k", None))
    bench.now = 10.0
    verified = read(bench, bench.fetch(*(everything(kind) for kind in (SINGLE, ARRAY, DICTIONARY, NOTES))))
    (value,) = verified.of(SINGLE.kind_id)
    assert (value.key, value.data, value.storage_time_ms, value.lifetime_s) == (None, b"one", 4711, 590)
    assert (value.signer.user, value.signer.node_id) == (ALICE.user, ALICE.node_id)
    assert facts(verified.of(ARRAY.kind_id)) == [(2, b"c"), (3, b"d")]
    (there,) = verified.of(DICTIONARY.kind_id)
    assert (there.key, there.signer.node_id) == (ALICE_ELSEWHERE.node_id, ALICE_ELSEWHERE.node_id)
    assert verified.of(NOTES.kind_id) == ()
    assert facts(verified.removed) == [(b"k", None)]
    assert verified.generations == {SINGLE.kind_id: 1, ARRAY.kind_id: 1, DICTIONARY.kind_id: 1, NOTES.kind_id: 1}
    assert not verified.is_partial


@pytest.mark.must("7.4.2.2/3", "7.4.2.2/4")
@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (SINGLE, single(b"good"), single(b"bad")),
        (ARRAY, element(0, b"good"), element(1, b"bad")),
        (NOTES, entry(b"a", b"good"), entry(b"b", b"bad")),
    ],
)
@pytest.mark.parametrize("fault", ["value", "storage_time", "certificate", "stranger", "another resource", "unsigned"])
def test_values_that_are_not_verified_are_discarded_and_the_application_is_told(
    kind: Kind, good: StoredDataValue, bad: StoredDataValue, fault: str
) -> None:
    """ "nodes MUST verify the signatures on all the received values. Any values with invalid signatures [...] MUST be
    discarded."
    """
    bench = Bench()
    stored = bench.signed(ALICE, ALICE_PLACE, kind, good)
    false = {
        "value": lambda: replace(bench.signed(ALICE, ALICE_PLACE, kind, good), value=bad),
        "storage_time": lambda: replace(bench.signed(ALICE, ALICE_PLACE, kind, bad), storage_time=2**40),
        "certificate": lambda: bench.signed(ALICE_ELSEWHERE, ALICE_PLACE, kind, bad),
        "stranger": lambda: bench.signed(BOB, ALICE_PLACE, kind, bad),
        "another resource": lambda: bench.signed(ALICE, ResourceId(bytes(16)), kind, bad),
        "unsigned": lambda: nonexistent(bad),
    }[fault]()
    for order in ((false, stored), (stored, false)):
        fetched = answer_of(kind, *order)
        if fault == "certificate":
            fetched = replace(fetched, certificates=ALICE.certificates)
        verified = read(bench, fetched)
        assert [value.data for value in verified.values] == [b"good"]
        assert len(verified.dropped) == 1
        assert verified.is_partial


def test_7_4_1_1_an_element_at_0xffffffff_is_refused() -> None:
    """ "The resulting StoredData has the correct index value when it is subsequently fetched": this is none."""
    bench = Bench()
    appended = bench.signed(ALICE, ALICE_PLACE, ARRAY, element(APPEND_INDEX, b"x"))
    fetched = answer_of(ARRAY, appended, bench.signed(ALICE, ALICE_PLACE, ARRAY, element(0, b"good")))
    verified = read(bench, fetched)
    assert facts(verified.values) == [(0, b"good")]
    assert len(verified.dropped) == 1
    adopted = bench.storage.adopt(ALICE_PLACE, fetched.answer, fetched.certificates, bench.now)
    assert [place.key for place in adopted.places] == [bytes(4)]
    assert len(adopted.refused) == 1


def test_what_is_synthesized_is_neither_a_value_nor_a_fault() -> None:
    """ "the entire response is signed by that node": a gap needs no signature of its own."""
    bench = Bench()
    bench.put(ARRAY, element(1, b"x"))
    verified = read(bench, bench.fetch(everything(ARRAY), everything(SINGLE)))
    assert facts(verified.values) == [(1, b"x")]
    assert verified.removed == verified.dropped == ()


def test_a_value_of_another_data_model_or_kind_does_not_count() -> None:
    bench = Bench()
    verified = read(bench, answer_of(SINGLE, bench.signed(ALICE, ALICE_PLACE, SINGLE, element(0, b"x"))))
    assert verified.values == ()
    assert verified.is_partial
    strange = FetchAns((UnknownKindData(UNKNOWN, 1, b"?"),))
    verified = read(bench, Fetched(strange, (), None))
    assert verified.dropped == (f"values of Kind {UNKNOWN:#x}, which this overlay does not have",)


def test_two_values_at_one_place_cannot_both_be_there() -> None:
    bench = Bench()
    values = [bench.signed(ALICE, ALICE_PLACE, NOTES, entry(b"k", data)) for data in (b"first", b"second")]
    verified = read(bench, answer_of(NOTES, *values))
    assert facts(verified.values) == [(b"k", b"first")]
    assert verified.is_partial


def test_13_5_3_an_older_value_than_before_is_a_rollback() -> None:
    """ "a fetching node which receives a data value with a storage time older than the result of the previous fetch
    knows that a rollback has occurred."
    """
    bench, seen = Bench(), Seen()
    old = bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"old"), storage_time_ms=1)
    new = bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"new"), storage_time_ms=2)
    for stored in (old, new, new):
        assert not read(bench, answer_of(SINGLE, stored), seen).is_partial
    verified = read(bench, answer_of(SINGLE, old), seen)
    assert verified.values == ()
    assert "older than what was there before" in verified.dropped[0]


def test_what_a_reader_remembers_is_bounded() -> None:
    bench, seen = Bench(), Seen(places_max=2)
    for key in (b"a", b"b", b"c"):
        read(bench, answer_of(NOTES, bench.signed(ALICE, ALICE_PLACE, NOTES, entry(key, b"new"))), seen)
    assert len(seen._newest) == 2


def test_7_4_4_2_zero_is_no_resource() -> None:
    request = FindReq(ALICE_PLACE, (1, 2, 3))
    answer = FindAns(
        (FindKindData(1, ALICE_PLACE), FindKindData(2, ResourceId(bytes(16))), FindKindData(9, ALICE_PLACE))
    )
    assert read_find(request, answer) == {1: ALICE_PLACE, 2: None}
