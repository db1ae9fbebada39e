"""RFC 6940 section 7.4.2, sentence by sentence, against the storage core."""

from __future__ import annotations

import pytest
from storage_bench import (
    ALICE,
    ALICE_ELSEWHERE,
    ALICE_PLACE,
    APPEND,
    ARRAY,
    DICTIONARY,
    NOTES,
    SINGLE,
    UNKNOWN,
    Bench,
    contents,
    element,
    entry,
    everything,
    fetch_ranges,
    fetch_some,
    single,
    value,
)

from p2psip.reload.storage.stored_values import Certificates
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.rejections import (
    InvalidMessage,
    ResponseTooLarge,
    UnknownKind,
)
from p2psip.reload.wire.security_block import NoIdentity
from p2psip.reload.wire.storage_messages import (
    DictionarySpecifier,
    FetchKindResponse,
    StoredData,
    StoredDataSpecifier,
)


@pytest.mark.must("7.4.2.2/2")
def test_7_4_2_1_array_ranges() -> None:
    """0 is used to indicate the first element, and 0xffffffff is used to indicate the final element."""
    bench = Bench()
    bench.put(ARRAY, *(element(n, b"%d" % n) for n in (0, 1, 2, 4)))
    assert fetch_ranges(bench, (0, APPEND)) == [b"0", b"1", b"2", None, b"4"]
    assert fetch_ranges(bench, (1, 2)) == [b"1", b"2"]
    assert fetch_ranges(bench, (4, 4), (0, 0)) == [b"0", b"4"]
    assert fetch_ranges(bench, (APPEND, APPEND)) == [b"4"]
    assert fetch_ranges(bench, (5, 7)) == [None, None, None]


def test_7_4_2_1_a_range_makes_no_more_values_than_the_kind_may_have() -> None:
    assert fetch_ranges(Bench(), (0, 0xFFFFFFFE)) == [None] * ARRAY.max_count
    assert fetch_ranges(Bench(), (0, APPEND)) == []
    assert fetch_ranges(Bench(), (APPEND, APPEND)) == []


@pytest.mark.parametrize("ranges", [((2, 1),), ((0, 3), (3, 4)), ((1, 1), (0, APPEND))])
@pytest.mark.must("7.4.2.1/1", "7.4.2.1/2")
def test_7_4_2_1_ranges_are_ordered_and_do_not_overlap(ranges: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(InvalidMessage, match="range"):
        fetch_ranges(Bench(), *ranges)


@pytest.mark.must("7.4.2.2/2")
def test_7_4_2_1_no_keys_is_a_wildcard() -> None:
    bench = Bench()
    assert fetch_some(bench) == []
    bench.put(NOTES, entry(b"b", b"2"), entry(b"a", b"1"))
    assert fetch_some(bench) == [b"1", b"2"]
    assert fetch_some(bench, b"b", b"zz", b"b") == [b"2", None]


def test_7_4_2_1_a_fetch_of_an_unknown_kind_is_rejected() -> None:
    with pytest.raises(UnknownKind) as error:
        Bench().fetch(everything(SINGLE), StoredDataSpecifier(UNKNOWN, 0, b""))
    assert error.value.kinds == (UNKNOWN,)


@pytest.mark.must("7.4.2.2/1")
def test_7_4_2_2_there_is_one_response_for_each_kind_in_the_request() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    fetched = bench.fetch(everything(NOTES), everything(SINGLE))
    assert [response.kind for response in fetched.answer.kind_responses] == [NOTES.kind_id, SINGLE.kind_id]
    with pytest.raises(InvalidMessage, match="twice"):
        bench.fetch(everything(SINGLE), everything(SINGLE))


def test_7_4_2_2_a_generation_counter_that_matches_gets_no_values() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    fetched = bench.fetch(everything(SINGLE, generation=1))
    assert fetched.answer.kind_responses == (FetchKindResponse(SINGLE.kind_id, 1, ()),)
    assert fetched.certificates == ()
    assert contents(bench.fetch(everything(SINGLE, generation=2))) == [b"x"]


def test_7_4_2_2_a_value_nobody_knows_of_is_synthesized_with_an_empty_signature() -> None:
    fetched = Bench().fetch(StoredDataSpecifier(NOTES.kind_id, 0, DictionarySpecifier((b"k",))))
    (response,) = fetched.answer.kind_responses
    assert isinstance(response, FetchKindResponse)
    (stored,) = response.values
    assert stored.value == entry(b"k", None)
    assert isinstance(stored.signature.identity.identity, NoIdentity)
    assert stored.signature.algorithm.encode() == b"\x00\x00"
    assert stored.signature.signature_value == b""
    assert StoredData.decode(stored.encode(), model=DataModel.DICTIONARY) == stored


def test_7_4_2_2_a_removed_value_has_a_valid_signature() -> None:
    bench = Bench()
    bench.put(SINGLE, single(None))
    fetched = bench.fetch(everything(SINGLE))
    (response,) = fetched.answer.kind_responses
    assert isinstance(response, FetchKindResponse)
    (stored,) = response.values
    assert stored.data_value == value(None)
    found = bench.rules.signer(ALICE_PLACE, SINGLE.kind_id, stored, fetched.certificates, bench.wall, 0.0)
    assert found.user == ALICE.user


def test_6_3_4_the_certificates_that_the_values_need_come_along_each_once() -> None:
    """A peer storing data is obligated to retain certificates for the data that it holds."""
    bench = Bench()
    for identity in (ALICE, ALICE_ELSEWHERE):
        bench.put(DICTIONARY, entry(identity.node_id, b"x"), identity=identity)
    bench.put(SINGLE, single(b"x"), identity=ALICE)
    fetched = bench.fetch(everything(DICTIONARY), everything(SINGLE))
    assert sorted(c.encode() for c in fetched.certificates) == sorted(
        c.encode() for who in (ALICE, ALICE_ELSEWHERE) for c in who.certificates
    )
    record = bench.store.records(ALICE_PLACE, SINGLE.kind_id)[0]
    assert bench.store.certificates(record.chain) == Certificates(ALICE.certificates).encode()


def test_6_3_3_1_a_response_beyond_the_maximum_is_too_large() -> None:
    bench = Bench()
    bench.put(SINGLE, single(bytes(100)))
    fetched = bench.fetch(everything(SINGLE))
    size = len(fetched.answer.encode()) + sum(len(c.encode()) for c in fetched.certificates)
    bench.fetch(everything(SINGLE), size_max=size)
    with pytest.raises(ResponseTooLarge):
        bench.fetch(everything(SINGLE), size_max=size - 5)
