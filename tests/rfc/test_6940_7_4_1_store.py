"""RFC 6940 section 7.4.1, sentence by sentence, against the storage core."""

from __future__ import annotations

from dataclasses import replace

import pytest
from storage_bench import (
    ALICE,
    ALICE_PLACE,
    APPEND,
    ARRAY,
    DICTIONARY,
    NOTES,
    PEER,
    SINGLE,
    UNKNOWN,
    Bench,
    contents,
    element,
    entry,
    everything,
    fetch_some,
    kinds_of,
    request,
    single,
)

from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import Kind
from p2psip.reload.storage.storing import GENERATION_MAX
from p2psip.reload.wire.contents import ErrorCode, UnknownKinds
from p2psip.reload.wire.rejections import (
    DataTooLarge,
    DataTooOld,
    Forbidden,
    GenerationCounterTooLow,
    InvalidMessage,
    UnknownKind,
)
from p2psip.reload.wire.security_block import Signature
from p2psip.reload.wire.storage_messages import (
    FetchKindResponse,
    StoreAns,
    StoredDataValue,
    StoreKindData,
    StoreKindResponse,
    UnknownKindData,
)

# --- 7.4.1.1: Store.


@pytest.mark.must("7.4.1.1/1")
def test_7_4_1_1_the_same_kind_twice_is_invalid() -> None:
    bench = Bench()
    with pytest.raises(InvalidMessage, match="names a Kind twice"):
        bench.send(request(kinds_of(), kinds_of()))


@pytest.mark.must("7.4.1.1/2", "7.4.1.1/3")
def test_7_4_1_1_a_store_is_atomic() -> None:
    """If any operation fails, the state MUST be rolled back to what it was before the request was received."""
    bench = Bench()
    bench.put(NOTES, entry(b"k", b"kept"), storage_time_ms=5000)
    fresh = bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"fresh"))
    notes = [
        bench.signed(ALICE, ALICE_PLACE, NOTES, entry(key, b"lost"), storage_time_ms=time_ms)
        for key, time_ms in ((b"j", 6000), (b"k", 4000))
    ]
    with pytest.raises(DataTooOld):
        bench.send(request(kinds_of(fresh), kinds_of(*notes, kind=NOTES.kind_id)))
    assert bench.read(NOTES) == [b"kept"]
    assert bench.read(SINGLE) == [None]
    assert bench.fetch(everything(NOTES)).answer.kind_responses[0].generation == 1


def test_7_4_1_1_each_value_is_processed_in_turn() -> None:
    bench = Bench()
    older, newer = (bench.signed(ALICE, ALICE_PLACE, SINGLE, single(data)) for data in (b"older", b"newer"))
    bench.send(request(kinds_of(older, newer)))
    assert bench.read(SINGLE) == [b"newer"]
    with pytest.raises(DataTooOld):
        bench.send(request(kinds_of(older)))


@pytest.mark.parametrize("what", ["identity", "algorithm"])
@pytest.mark.must("7.4.1.1/16")
def test_7_4_1_1_only_the_storing_peer_synthesizes_unsigned_values(what: str) -> None:
    """The StoreReq MUST be rejected with an Error_forbidden error."""
    bench = Bench()
    stored = bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"x"))
    none = Signature.none()
    changed = replace(stored.signature, **{what: getattr(none, what)})
    with pytest.raises(Forbidden, match="not signed"):
        bench.send(request(kinds_of(replace(stored, signature=changed))))


@pytest.mark.must("7.4.1.1/13")
def test_7_4_1_1_a_generation_counter_that_is_not_zero_must_be_the_current_one() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"1"))
    assert bench.put(SINGLE, single(b"2"), generation=1).answer.kind_responses[0].generation_counter == 2
    for generation in (1, 3):
        with pytest.raises(GenerationCounterTooLow):
            bench.put(SINGLE, single(b"3"), generation=generation)
    bench.put(SINGLE, single(b"3"), generation=0)
    assert bench.read(SINGLE) == [b"3"]


@pytest.mark.must("7.4.1.1/18", "7.4.1.1/19")
def test_7_4_1_1_all_stored_values_have_a_generation_counter_of_1_or_greater() -> None:
    bench = Bench()
    counters = [
        bench.put(SINGLE, single(data)).answer.kind_responses[0].generation_counter for data in (b"a", b"b", b"c")
    ]
    assert counters == [1, 2, 3]


def test_7_4_1_1_the_generation_counter_stays_where_the_data_is_not_changed() -> None:
    """If the store succeeds and the data is changed, then the peer MUST increase the generation counter."""
    bench = Bench()
    stored = bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"x"))
    first = bench.send(request(kinds_of(stored)))
    again = bench.send(request(kinds_of(replace(stored, lifetime=9999))))
    assert first.answer == again.answer
    assert again.places == ()
    bench.advance(599.0)
    assert bench.read(SINGLE) == [b"x"]
    bench.advance(600.0)
    assert bench.read(SINGLE) == [None], "a lifetime, which is not signed, was lengthened"


@pytest.mark.must("7.4.1.1/14")
def test_7_4_1_1_a_replica_brings_its_generation_counter() -> None:
    """The peer MUST set the generation counter to match [...] and MUST NOT check the generation counter."""
    bench = Bench()
    for generation in (7, 3):
        stored = bench.put(SINGLE, single(b"x"), replica_number=1, generation=generation, requester=PEER)
        assert stored.answer.kind_responses[0].generation_counter == generation
    assert bench.fetch(everything(SINGLE)).answer.kind_responses[0].generation == 3


def test_7_4_1_1_a_counter_at_its_end_does_not_end_replication() -> None:
    """A replica may have brought the greatest counter that is taken; what its owner stores next is replicated still."""
    bench, replica = Bench(), Bench()
    bench.put(SINGLE, single(b"1"), replica_number=1, generation=GENERATION_MAX, requester=PEER)
    bench.put(SINGLE, single(b"2"))
    (transfer,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    replica.send(transfer.request, requester=PEER, certificates=transfer.certificates)
    assert replica.read(SINGLE) == [b"2"]


@pytest.mark.parametrize("generation", [0, 2**62 + 1, 2**64 - 1])
@pytest.mark.must("7.4.1.1/15")
def test_7_4_1_1_a_replica_has_a_generation_counter_that_can_still_grow(generation: int) -> None:
    """Replica Stores MUST NOT use a generation counter of 0."""
    with pytest.raises(InvalidMessage):
        Bench().put(SINGLE, single(b"x"), replica_number=1, generation=generation, requester=PEER)


@pytest.mark.must("7.4.1.1/20")
def test_7_4_1_1_the_lifetime_is_lowered_by_the_time_in_store() -> None:
    """When a peer stores data previously stored by another node, it MUST adjust the lifetime value downward."""
    bench = Bench()
    bench.put(SINGLE, single(b"x"), lifetime_s=600)
    bench.advance(100.5)
    (transfer,) = bench.storage.transfers(ALICE_PLACE, 2, bench.now, size_max=5000)
    assert transfer.request.replica_number == 2
    (data,) = transfer.request.kind_data
    assert isinstance(data, StoreKindData)
    assert [stored.lifetime for stored in data.values] == [499]
    replica = Bench(now=bench.now)
    replica.send(transfer.request, requester=PEER, certificates=transfer.certificates)
    replica.advance(599.4)
    assert replica.read(SINGLE) == [b"x"]
    replica.advance(599.5)
    assert replica.read(SINGLE) == [None]


def test_7_4_1_1_a_replica_keeps_signature_and_storage_time() -> None:
    bench, replica = Bench(), Bench()
    bench.put(DICTIONARY, entry(ALICE.node_id, b"x"))
    (transfer,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    replica.send(transfer.request, requester=PEER, certificates=transfer.certificates)
    assert replica.fetch(everything(DICTIONARY)) == bench.fetch(everything(DICTIONARY))


@pytest.mark.must("7.4.1.1/21")
def test_7_4_1_1_after_a_rejected_replica_the_newer_data_is_fetched_and_used() -> None:
    """The peer MUST fetch the newer data from the peer generating the error and use that to replace its own copy."""
    ours, theirs = Bench(), Bench()
    ours.put(NOTES, entry(b"a", b"old"), entry(b"b", b"new"), storage_time_ms=2000)
    theirs.put(NOTES, entry(b"a", b"newer"), entry(b"c", b"other"), storage_time_ms=3000)
    (transfer,) = ours.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    with pytest.raises(DataTooOld):
        theirs.send(transfer.request, requester=PEER, certificates=transfer.certificates)
    fetched = theirs.fetch(everything(NOTES))
    adopted = ours.storage.adopt(ALICE_PLACE, fetched.answer, fetched.certificates, 0.0)
    ours.settle()
    assert [place.key for place in adopted.places] == [b"a", b"c"]
    (transfer,) = ours.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    theirs.send(transfer.request, requester=PEER, certificates=transfer.certificates)
    assert ours.read(NOTES) == theirs.read(NOTES) == [b"newer", b"new", b"other"]
    assert ours.fetch(everything(NOTES)).answer == theirs.fetch(everything(NOTES)).answer


def test_7_4_1_1_a_store_at_the_end_of_an_array_appends() -> None:
    """A store at index 0xffffffff places the new value at the end; it is fetched with the correct index."""
    bench = Bench()
    bench.put(ARRAY, element(1, b"one"))
    bench.put(ARRAY, element(APPEND, b"two"), element(APPEND, b"three"))
    fetched = bench.fetch(everything(ARRAY))
    assert contents(fetched) == [None, b"one", b"two", b"three"]
    (response,) = fetched.answer.kind_responses
    assert isinstance(response, FetchKindResponse)
    stored = response.values[3]
    assert stored.value == element(3, b"three")
    Bench().storage.rules.signer(ALICE_PLACE, ARRAY.kind_id, stored, fetched.certificates, bench.wall, 0.0)


def test_7_4_1_1_what_is_appended_already_is_not_appended_again() -> None:
    """A Store that comes again, whenever that is, finds its value where it put it; a new one of the same is new."""
    bench = Bench()
    stored = bench.signed(ALICE, ALICE_PLACE, ARRAY, element(APPEND, b"x"), storage_time_ms=7)
    store = request(kinds_of(stored, kind=ARRAY.kind_id))
    bench.send(store)
    bench.put(ARRAY, element(APPEND, b"y"), storage_time_ms=8)
    again = bench.send(store)
    assert bench.read(ARRAY) == [b"x", b"y"]
    assert not again.places
    bench.put(ARRAY, element(APPEND, b"x"), storage_time_ms=9)
    assert bench.read(ARRAY) == [b"x", b"y", b"x"]


@pytest.mark.parametrize("index", [APPEND, 3])
def test_7_4_2_2_what_is_signed_over_its_index_is_not_stored(index: int) -> None:
    """ "the index value in the array is set to zero before the signature is computed": one that was appended is stored
    at an index which its signer did not know, and whatever was signed over another would verify for nobody there.
    """
    bench = Bench()
    entry = element(index, b"x")
    literal = bench.signed(ALICE, ALICE_PLACE, ARRAY, entry)
    prefix = ALICE_PLACE + ARRAY.kind_id.to_bytes(4, "big") + literal.storage_time.to_bytes(8, "big") + entry.encode()
    with pytest.raises(Forbidden):
        bench.send(request(kinds_of(replace(literal, signature=ALICE.sign(prefix)), kind=ARRAY.kind_id)))
    assert bench.read(ARRAY) == []


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (SINGLE, [single(bytes(101))]),
        (ARRAY, [element(8, b"")]),
        (NOTES, [entry(bytes([n]), b"") for n in range(5)]),
    ],
    ids=["max-size", "max-count of an array", "max-count of a dictionary"],
)
@pytest.mark.must("7.4.1.2/4", "13.5.2/1")
def test_7_4_1_2_what_exceeds_the_limits_of_its_kind_is_too_large(kind, what) -> None:  # type: ignore[no-untyped-def]
    bench = Bench()
    with pytest.raises(DataTooLarge) as error:
        bench.put(kind, *what)
    assert error.value.code is ErrorCode.DATA_TOO_LARGE
    assert bench.read(kind) in ([], [None])


def test_7_4_1_2_a_full_dictionary_still_takes_a_value_for_a_key_that_it_has() -> None:
    bench = Bench()
    bench.put(NOTES, *(entry(bytes([n]), b"") for n in range(4)))
    bench.put(NOTES, entry(b"\x02", b"new"))
    assert bench.read(NOTES) == [b"", b"", b"new", b""]


# --- 7.4.1.2: the answer, and the errors.


@pytest.mark.must("7.4.1.2/1", "7.4.1.1/17")
def test_7_4_1_2_the_answer_lists_counters_and_replicas() -> None:
    bench = Bench()
    replicas = (NodeId(b"1" * 16), NodeId(b"2" * 16))
    data = [
        kinds_of(bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"x"))),
        kinds_of(bench.signed(ALICE, ALICE_PLACE, NOTES, entry(b"k", b"x")), kind=NOTES.kind_id),
    ]
    answer = bench.send(request(*data), replicas=replicas).answer
    assert answer == StoreAns(
        (StoreKindResponse(SINGLE.kind_id, 1, replicas), StoreKindResponse(NOTES.kind_id, 1, replicas))
    )


@pytest.mark.must("7.4.1.2/2", "7.4.1.2/3")
def test_7_4_1_2_a_generation_counter_too_low_comes_with_the_correct_ones() -> None:
    """The error_info MUST be a StoreAns with the correct counter for each Kind and an empty replica list."""
    bench = Bench()
    bench.put(SINGLE, single(b"1"))
    bench.put(SINGLE, single(b"2"))
    stale = kinds_of(bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"3")), generation=1)
    other = kinds_of(bench.signed(ALICE, ALICE_PLACE, NOTES, entry(b"k", b"x")), kind=NOTES.kind_id)
    with pytest.raises(GenerationCounterTooLow) as error:
        bench.send(request(stale, other))
    response = error.value.response
    assert response.error_code is ErrorCode.GENERATION_COUNTER_TOO_LOW
    assert StoreAns.decode(response.error_info) == StoreAns(
        (StoreKindResponse(SINGLE.kind_id, 2, ()), StoreKindResponse(NOTES.kind_id, 0, ()))
    )
    assert bench.read(NOTES) == []


@pytest.mark.must("7.4.1.2/5", "7.4.1.1/6", "7.4.1.1/7")
def test_7_4_1_2_unknown_kinds_are_listed() -> None:
    bench = Bench()
    known = kinds_of(bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"x")))
    with pytest.raises(UnknownKind) as error:
        bench.send(request(UnknownKindData(UNKNOWN, 0, b"??"), known, kinds_of(kind=2)))
    response = error.value.response
    assert response.error_code is ErrorCode.UNKNOWN_KIND
    assert UnknownKinds.decode(response.error_info).unknown_kinds == (UNKNOWN, 2)
    assert bench.read(SINGLE) == [None]


# --- 7.4.1.3: removing.


def test_7_4_1_3_a_nonexistent_value_removes() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"k", b"x"), entry(b"l", b"y"))
    bench.put(NOTES, entry(b"k", None))
    assert fetch_some(bench, b"k", b"l") == [None, b"y"]


@pytest.mark.must("7.4.1.3/1")
def test_7_4_1_3_what_was_removed_keeps_older_values_out_until_its_lifetime_ends() -> None:
    """Storing nodes MUST treat these nonexistent values the same way they treat any other stored value: nor does an
    older removal end a newer value.
    """
    bench = Bench()
    removal = bench.signed(ALICE, ALICE_PLACE, SINGLE, single(None))
    old = bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"x"))
    other = Bench()
    other.send(request(kinds_of(old)))
    with pytest.raises(DataTooOld):
        other.send(request(kinds_of(removal)))
    bench.send(request(kinds_of(old)))
    bench.put(SINGLE, single(None), lifetime_s=300)
    with pytest.raises(DataTooOld):
        bench.send(request(kinds_of(old)))
    (transfer,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    replica = Bench()
    replica.send(transfer.request, requester=PEER, certificates=transfer.certificates)
    with pytest.raises(DataTooOld):
        replica.send(request(kinds_of(old)))
    replica.advance(300.0)
    assert replica.store.records(ALICE_PLACE, SINGLE.kind_id) == []


@pytest.mark.must("7.4.1.3/1")
@pytest.mark.parametrize(
    ("kind", "exists", "removed"),
    [
        (SINGLE, single(b"x"), single(None)),
        (ARRAY, element(2, b"x"), element(2, None)),
        (NOTES, entry(b"k", b"x"), entry(b"k", None)),
    ],
)
def test_7_4_1_3_a_removal_is_replicated_wins_there_and_ages_out(
    kind: Kind, exists: StoredDataValue, removed: StoredDataValue
) -> None:
    """ "Storing nodes MUST treat these nonexistent values the same way they treat any other stored value, including
    overwriting the existing value, replicating them, and aging them out as necessary when the lifetime expires."
    """
    bench, replica = Bench(), Bench()
    bench.put(kind, exists, lifetime_s=60)
    (before,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    replica.send(before.request, requester=PEER, certificates=before.certificates)
    bench.put(kind, removed, lifetime_s=60)
    (after,) = bench.storage.transfers(ALICE_PLACE, 1, 0.0, size_max=5000)
    replica.send(after.request, requester=PEER, certificates=after.certificates)
    assert set(replica.read(kind)) == {None}
    with pytest.raises(DataTooOld):
        replica.send(before.request, requester=PEER, certificates=before.certificates)
    (response,) = replica.fetch(everything(kind)).answer.kind_responses
    assert isinstance(response, FetchKindResponse)
    assert response.values[-1].signature != Signature.none()
    replica.advance(61.0)
    assert replica.store.records(ALICE_PLACE, kind.kind_id) == []
    assert replica.storage.value_count == 0


def test_7_4_1_3_a_gap_left_by_expiry_is_not_kept_nor_replicated() -> None:
    bench = Bench()
    bench.put(ARRAY, element(0, b"short"), lifetime_s=10)
    bench.put(ARRAY, element(1, b"long"))
    bench.advance(10.0)
    assert bench.read(ARRAY) == [None, b"long"]
    (transfer,) = bench.storage.transfers(ALICE_PLACE, 1, bench.now, size_max=5000)
    (data,) = transfer.request.kind_data
    assert isinstance(data, StoreKindData)
    assert [stored.value for stored in data.values] == [element(1, b"long")]
