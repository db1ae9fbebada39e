"""RFC 6940 section 7, sentence by sentence, against the storage core."""

from __future__ import annotations

from dataclasses import replace

import pytest
from storage_bench import (
    ALICE,
    ALICE_ELSEWHERE,
    ALICE_PLACE,
    ARRAY,
    BOB,
    BOB_PLACE,
    BY_NODE,
    DICTIONARY,
    MULTIPLE,
    NOTES,
    PEER,
    SINGLE,
    UNKNOWN,
    Bench,
    contents,
    element,
    entry,
    everything,
    single,
    value,
)

from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import Kind
from p2psip.reload.storage.stored_values import Certificates
from p2psip.reload.storage.storing import GENERATION_MAX
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.wire.contents import ErrorCode, UnknownKinds
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.rejections import (
    DataTooLarge,
    DataTooOld,
    Forbidden,
    GenerationCounterTooLow,
    InvalidMessage,
    ResponseTooLarge,
    UnknownKind,
)
from p2psip.reload.wire.security_block import NoIdentity, Signature
from p2psip.reload.wire.storage_messages import (
    ArrayRange,
    ArraySpecifier,
    DictionarySpecifier,
    FetchKindResponse,
    StoreAns,
    StoredData,
    StoredDataSpecifier,
    StoredDataValue,
    StoreKindData,
    StoreKindResponse,
    StoreReq,
    UnknownKindData,
)

APPEND = 0xFFFFFFFF


def request(*data: StoreKindData | UnknownKindData, replica_number: int = 0) -> StoreReq:
    return StoreReq(ALICE_PLACE, replica_number, data)


def kinds_of(*values: StoredData, kind: int = SINGLE.kind_id, generation: int = 0) -> StoreKindData:
    return StoreKindData(kind, generation, values)


def fetch_some(bench: Bench, *keys: bytes) -> list[bytes | None]:
    return contents(bench.fetch(StoredDataSpecifier(NOTES.kind_id, 0, DictionarySpecifier(keys))))


def fetch_ranges(bench: Bench, *ranges: tuple[int, int]) -> list[bytes | None]:
    specifier = ArraySpecifier(tuple(ArrayRange(*ends) for ends in ranges))
    return contents(bench.fetch(StoredDataSpecifier(ARRAY.kind_id, 0, specifier)))


# --- 7, 7.1: StoredData and its signature.


def test_7_1_the_signature_covers_resource_kind_storage_time_value_and_identity() -> None:
    """resource_id || kind || storage_time || StoredDataValue || SignerIdentity, and not the lifetime."""

    class Recorder:
        prefix = b""

        def sign(self, prefix: bytes) -> Signature:
            self.prefix = prefix
            return Signature.none()

    recorder = Recorder()
    bench = Bench()
    bench.signed(recorder, ALICE_PLACE, SINGLE, single(b"abc"), storage_time_ms=0x0102)  # type: ignore[arg-type]
    value_bytes = b"\x01" + b"\x00\x00\x00\x03abc"
    assert recorder.prefix == ALICE_PLACE + b"\xf0\x00\x00\x01" + bytes(6) + b"\x01\x02" + value_bytes


@pytest.mark.parametrize("changed", ["storage_time", "value", "kind", "resource", "signature"])
@pytest.mark.must("7.4.1.1/7", "7.4.1.1/8")
def test_7_1_a_value_that_was_not_signed_so_is_forbidden(changed: str) -> None:
    bench = Bench()
    stored = bench.signed(ALICE, BOB_PLACE if changed == "resource" else ALICE_PLACE, SINGLE, single(b"x"))
    if changed == "storage_time":
        stored = replace(stored, storage_time=stored.storage_time + 1)
    elif changed == "value":
        stored = replace(stored, value=single(b"y"))
    elif changed == "signature":
        stored = replace(stored, signature=replace(stored.signature, signature_value=b"forged"))
    kind = BY_NODE.kind_id if changed == "kind" else SINGLE.kind_id
    with pytest.raises(Forbidden, match="the signature is not that of alice"):
        bench.send(request(kinds_of(stored, kind=kind)))


def test_7_1_the_lifetime_is_not_signed() -> None:
    bench = Bench()
    stored = replace(bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"x")), lifetime=5)
    bench.send(request(kinds_of(stored)))
    assert bench.read(SINGLE) == [b"x"]


@pytest.mark.parametrize("storage_time_ms", [999, 1000])
@pytest.mark.must("7/1", "13.5.3/1", "13.5.3/2")
def test_7_a_storage_time_that_is_not_greater_is_too_old(storage_time_ms: int) -> None:
    """7: "This prevents rollback attacks."; 7.4.1.1: "greater than that of any values which would be replaced"."""
    bench = Bench()
    bench.put(SINGLE, single(b"new"), storage_time_ms=1000)
    with pytest.raises(DataTooOld) as error:
        bench.put(SINGLE, single(b"old"), storage_time_ms=storage_time_ms)
    assert error.value.code is ErrorCode.DATA_TOO_OLD
    assert bench.read(SINGLE) == [b"new"]


def test_7_storage_times_are_compared_with_each_other_not_with_the_clock() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"far future"), storage_time_ms=2**64 - 2)
    bench.put(SINGLE, single(b"later still"), storage_time_ms=2**64 - 1)
    assert bench.read(SINGLE) == [b"later still"]


# --- 7.2: data models.


def test_7_2_1_there_is_one_single_value() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"first"))
    bench.put(SINGLE, single(b"second"))
    assert bench.read(SINGLE) == [b"second"]


def test_7_2_1_emptiness_is_not_nonexistence() -> None:
    bench = Bench()
    assert bench.read(SINGLE) == [None]
    bench.put(SINGLE, single(b""))
    assert bench.read(SINGLE) == [b""]


def test_7_2_2_arrays_are_sparse() -> None:
    """A Store of "X" at index 2 in an empty array produces an array with the values [ NA, NA, "X"]."""
    bench = Bench()
    bench.put(ARRAY, element(2, b"X"))
    assert bench.read(ARRAY) == [None, None, b"X"]


def test_7_2_3_a_dictionary_has_one_value_for_each_key() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"k", b"1"), entry(b"", b"2"))
    bench.put(NOTES, entry(b"k", b"3"))
    assert bench.read(NOTES) == [b"2", b"3"]


def test_7_2_a_value_of_another_model_than_its_kind_is_invalid() -> None:
    with pytest.raises(InvalidMessage, match="data model SINGLE"):
        Bench().put(SINGLE, element(0, b"x"))


# --- 7.3: access control.


@pytest.mark.must("7.3.1/1", "7.4.1.1/9", "13.5.1/2")
def test_7_3_1_user_match() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"), identity=ALICE_ELSEWHERE)
    with pytest.raises(Forbidden, match=r"USER-MATCH keeps bob@example\.org"):
        bench.put(SINGLE, single(b"y"), identity=BOB)


@pytest.mark.must("7.3.2/1", "7.4.1.1/9")
def test_7_3_2_node_match() -> None:
    bench = Bench()
    at = hash_name(ALICE.node_id)
    bench.put(BY_NODE, single(b"x"), resource=at)
    with pytest.raises(Forbidden, match="NODE-MATCH keeps"):
        bench.put(BY_NODE, single(b"y"), identity=ALICE_ELSEWHERE, resource=at)


@pytest.mark.must("7.3.3/1", "7.3.3/2", "7.4.1.1/9")
def test_7_3_3_user_node_match() -> None:
    bench = Bench()
    bench.put(DICTIONARY, entry(ALICE.node_id, b"x"))
    with pytest.raises(Forbidden, match="USER-NODE-MATCH keeps"):
        bench.put(DICTIONARY, entry(ALICE.node_id, b"y"), identity=ALICE_ELSEWHERE)
    with pytest.raises(Forbidden, match="USER-NODE-MATCH keeps"):
        bench.put(DICTIONARY, entry(BOB.node_id, b"y"), identity=BOB)


@pytest.mark.must("7.3.4/1", "7.3.4/3", "7.4.1.1/9")
def test_7_3_4_node_multiple() -> None:
    """H(Node-ID || i) is equal to the Resource-ID for some small integer value of i."""
    bench = Bench()
    for i in (0, 1, 3):
        bench.put(MULTIPLE, single(b"x"), resource=hash_name(ALICE.node_id + bytes([i])))
    for i in (4, 255):
        with pytest.raises(Forbidden, match="NODE-MULTIPLE keeps"):
            bench.put(MULTIPLE, single(b"x"), resource=hash_name(ALICE.node_id + bytes([i])))


@pytest.mark.must("7.3/2", "7.4.1.1/10", "13.5.1/2")
def test_7_3_an_original_store_is_signed_by_one_who_may_write_the_values() -> None:
    """Both the signer of the StoredValue and the signer of the StoreReq MUST conform to the policy."""
    bench = Bench()
    with pytest.raises(Forbidden, match=r"keeps peer@example\.org from writing"):
        bench.put(SINGLE, single(b"x"), requester=PEER)
    bench.put(SINGLE, single(b"x"), requester=ALICE_ELSEWHERE)
    with pytest.raises(Forbidden, match="USER-NODE-MATCH keeps alice"):
        bench.put(DICTIONARY, entry(ALICE.node_id, b"x"), requester=ALICE_ELSEWHERE)


@pytest.mark.must("7.3/3")
def test_7_3_a_replica_store_is_signed_by_any_peer_but_its_values_are_not() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"), requester=PEER, replica_number=1, generation=1)
    with pytest.raises(Forbidden, match=r"USER-MATCH keeps bob@example\.org"):
        bench.put(SINGLE, single(b"y"), identity=BOB, requester=PEER, replica_number=1, generation=2)


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


# --- 7.4.2: Fetch.


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
