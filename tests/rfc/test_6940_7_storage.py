"""RFC 6940 sections 7 to 7.3, sentence by sentence, against the storage core."""

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
    Bench,
    element,
    entry,
    kinds_of,
    request,
    single,
)

from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.wire.contents import ErrorCode
from p2psip.reload.wire.rejections import (
    DataTooOld,
    Forbidden,
    InvalidMessage,
)
from p2psip.reload.wire.security_block import Signature

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
