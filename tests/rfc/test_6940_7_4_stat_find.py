"""RFC 6940 sections 7.4.3 (Stat) and 7.4.4 (Find), against the storage core."""

from __future__ import annotations

import hashlib

import pytest
from storage_bench import (
    ALICE_PLACE,
    ARRAY,
    BOB,
    BOB_PLACE,
    BY_NODE,
    NOTES,
    SINGLE,
    UNKNOWN,
    Bench,
    element,
    entry,
    everything,
    single,
    value,
)

from p2psip.base.ids import ResourceId
from p2psip.reload.storage.metadata import describe, is_of
from p2psip.reload.topology.chord.ring import advance
from p2psip.reload.wire.common import HashAlgorithm
from p2psip.reload.wire.rejections import InvalidMessage, ResponseTooLarge, UnknownKind
from p2psip.reload.wire.security_block import Signature
from p2psip.reload.wire.storage_messages import (
    ArrayEntryMeta,
    ArrayRange,
    ArraySpecifier,
    DictionaryEntryMeta,
    DictionarySpecifier,
    FindAns,
    FindKindData,
    FindReq,
    MetaData,
    StatKindResponse,
    StatReq,
    StoredData,
    StoredDataSpecifier,
    StoredMetaData,
)

NONE = ResourceId(bytes(16))
FIRST, SECOND = sorted((ALICE_PLACE, BOB_PLACE))


def stat(bench: Bench, *specifiers: StoredDataSpecifier, size_max: int | None = None) -> list[StatKindResponse]:
    answer = bench.storage.stat(StatReq(ALICE_PLACE, specifiers), bench.now, size_max=size_max).answer
    assert all(isinstance(response, StatKindResponse) for response in answer.kind_responses)
    return list(answer.kind_responses)  # type: ignore[arg-type]


def find(bench: Bench, resource: ResourceId, *kinds: int) -> dict[int, ResourceId]:
    answer = bench.storage.find(FindReq(resource, kinds), bench.now).answer
    assert FindAns.decode(answer.encode()) == answer
    return {result.kind: result.closest for result in answer.results}


def sha256_of_field(data: bytes) -> bytes:
    return hashlib.sha256(len(data).to_bytes(4, "big") + data).digest()


# --- 7.4.3: Stat.


def test_7_4_3_2_metadata_tell_length_and_digest_instead_of_the_value() -> None:
    """ "A digest using hash_algorithm on the value field of the DataValue, including its 4 leading length bytes."""
    bench = Bench()
    bench.put(SINGLE, single(b"hello"), storage_time_ms=4711)
    bench.now += 10
    (response,) = stat(bench, everything(SINGLE))
    meta = MetaData(True, 5, HashAlgorithm.SHA256, sha256_of_field(b"hello"))
    assert response == StatKindResponse(SINGLE.kind_id, 1, (StoredMetaData(4711, 590, meta),))


def test_7_4_3_1_the_request_selects_as_that_of_a_fetch_does() -> None:
    """ "The Stat response contains the same sort of entries that a Fetch response would contain." """
    bench = Bench()
    bench.put(ARRAY, element(0, b"a"), element(2, b"c"))
    bench.put(NOTES, entry(b"k", b"v"), entry(b"l", b"w"))
    array, notes = stat(
        bench,
        StoredDataSpecifier(ARRAY.kind_id, 0, ArraySpecifier((ArrayRange(1, 2),))),
        StoredDataSpecifier(NOTES.kind_id, 0, DictionarySpecifier((b"l", b"m"))),
    )
    assert [entry.metadata.index for entry in array.values if isinstance(entry.metadata, ArrayEntryMeta)] == [1, 2]
    assert [entry.metadata.value.exists for entry in array.values] == [False, True]  # type: ignore[union-attr]
    assert [entry.metadata.key for entry in notes.values if isinstance(entry.metadata, DictionaryEntryMeta)] == [
        b"l",
        b"m",
    ]
    assert [entry.metadata.value.value_length for entry in notes.values] == [1, 0]  # type: ignore[union-attr]


def test_7_4_3_a_generation_counter_that_matches_gets_no_entries() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    assert stat(bench, everything(SINGLE, generation=1)) == [StatKindResponse(SINGLE.kind_id, 1, ())]
    assert len(stat(bench, everything(SINGLE, generation=7))[0].values) == 1


@pytest.mark.must("7.4.1.2/5")
def test_7_4_3_an_unknown_kind_is_rejected() -> None:
    """7.4.1.2: "If any type of request tries to access a data Kind that the peer does not know about"."""
    with pytest.raises(UnknownKind) as error:
        stat(Bench(), everything(SINGLE), StoredDataSpecifier(UNKNOWN, 0, b""))
    assert error.value.kinds == (UNKNOWN,)


def test_6_3_3_1_a_stat_answer_beyond_the_maximum_is_too_large() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"k", b"v"))
    with pytest.raises(ResponseTooLarge):
        stat(bench, everything(NOTES), size_max=40)


@pytest.mark.parametrize(
    "algorithm", [HashAlgorithm.SHA1, HashAlgorithm.SHA256, HashAlgorithm.SHA384, HashAlgorithm.SHA512]
)
def test_7_4_3_2_each_hash_algorithm_tells_a_value_from_another(algorithm: HashAlgorithm) -> None:
    stored = StoredData(5, 60, element(3, b"value"), Signature.none())
    described = describe(stored, algorithm)
    assert (described.storage_time, described.lifetime) == (5, 60)
    assert is_of(described.metadata, element(3, b"value"))
    assert not is_of(described.metadata, element(4, b"value"))
    assert not is_of(described.metadata, element(3, b"other"))
    assert not is_of(described.metadata, element(3, None))
    assert not is_of(described.metadata, value(b"value"))


def test_7_4_3_2_metadata_with_an_unknown_hash_algorithm_say_nothing() -> None:
    meta = MetaData(True, 1, HashAlgorithm.NONE, b"")
    with pytest.raises(ValueError, match="hash algorithm"):
        is_of(meta, value(b"x"))


# --- 7.4.4: Find.


@pytest.mark.must("7.4.4.2/1")
def test_7_4_4_2_the_closest_resource_of_each_kind_comes_first_clockwise() -> None:
    """ "For each Kind-ID in the request, the response MUST contain a FindKindData"."""
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    bench.put(SINGLE, single(b"x"), identity=BOB, resource=BOB_PLACE)
    bench.put(NOTES, entry(b"k", b"v"), identity=BOB, resource=BOB_PLACE)
    kinds = (SINGLE.kind_id, NOTES.kind_id)
    assert find(bench, FIRST, *kinds) == {SINGLE.kind_id: FIRST, NOTES.kind_id: BOB_PLACE}
    assert find(bench, advance(FIRST, 1), *kinds) == {SINGLE.kind_id: SECOND, NOTES.kind_id: BOB_PLACE}
    assert find(bench, advance(SECOND, 1), *kinds) == {SINGLE.kind_id: FIRST, NOTES.kind_id: BOB_PLACE}


def test_7_4_4_iterated_it_walks_over_all_resources() -> None:
    """ "This method can be used to walk the Overlay Instance by iteratively fetching R_n+1=nearest(1 + R_n)." """
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    bench.put(SINGLE, single(b"x"), identity=BOB, resource=BOB_PLACE)
    at, seen = FIRST, []
    for _ in range(4):
        at = find(bench, at, SINGLE.kind_id)[SINGLE.kind_id]
        seen.append(at)
        at = advance(at, 1)
    assert seen == [FIRST, SECOND, FIRST, SECOND]


@pytest.mark.must("7.4.4.2/2")
def test_7_4_4_2_an_unknown_kind_and_one_without_values_have_no_closest_resource() -> None:
    """ "If a Kind-ID is not known, then the corresponding Resource-ID MUST be 0." """
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    found = find(bench, ALICE_PLACE, UNKNOWN, BY_NODE.kind_id, SINGLE.kind_id)
    assert found == {UNKNOWN: NONE, BY_NODE.kind_id: NONE, SINGLE.kind_id: ALICE_PLACE}


@pytest.mark.must("7.4.4.1/1", "7.4.4.1/2")
def test_7_4_4_1_the_same_kind_twice_is_an_error() -> None:
    """ "Each value MUST appear only once. Otherwise, the request MUST be rejected with an error." """
    with pytest.raises(InvalidMessage):
        find(Bench(), ALICE_PLACE, SINGLE.kind_id, SINGLE.kind_id)


def test_7_4_4_what_has_expired_is_not_found() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"), lifetime_s=5)
    bench.now = 5.0
    assert find(bench, ALICE_PLACE, SINGLE.kind_id) == {SINGLE.kind_id: NONE}


def test_7_4_4_a_find_does_not_look_at_the_whole_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hardly anything may be shown, as after a reboot without the date, one Find is no more work than another."""
    monkeypatch.setattr("p2psip.reload.storage.reading.FIND_MAX", 1)
    bench = Bench()
    bench.put(SINGLE, single(b"x"), lifetime_s=5)
    bench.put(SINGLE, single(b"x"), identity=BOB, resource=BOB_PLACE)
    first = BOB_PLACE if BOB_PLACE == FIRST else NONE
    bench.now = 5.0
    assert find(bench, NONE, SINGLE.kind_id) == {SINGLE.kind_id: first}


def test_what_is_not_committed_yet_is_found_and_waits_for_its_commit() -> None:
    bench = Bench(is_slow=True)
    bench.put(SINGLE, single(b"x"))
    found = bench.storage.find(FindReq(BOB_PLACE, (SINGLE.kind_id,)), bench.now)
    assert found.answer == FindAns((FindKindData(SINGLE.kind_id, ALICE_PLACE),))
    assert found.after == bench.asked[0].token
    described = bench.storage.stat(StatReq(ALICE_PLACE, (everything(SINGLE),)), bench.now)
    assert described.after == bench.asked[0].token
