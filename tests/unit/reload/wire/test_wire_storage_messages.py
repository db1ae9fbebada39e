"""Store, Fetch, Stat, Find (p2psip.reload.wire.storage_messages)."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.wire.common import HashAlgorithm
from p2psip.reload.wire.kinds import CERTIFICATE_BY_NODE, REGISTERED_MODELS, SIP_REGISTRATION, TURN_SERVICE, DataModel
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.security_block import Signature
from p2psip.reload.wire.storage_messages import (
    APPEND_INDEX,
    ArrayEntry,
    ArrayEntryMeta,
    ArrayRange,
    ArraySpecifier,
    DataValue,
    DictionaryEntry,
    DictionaryEntryMeta,
    DictionarySpecifier,
    FetchAns,
    FetchKindResponse,
    FetchReq,
    FindAns,
    FindKindData,
    FindReq,
    MetaData,
    SingleSpecifier,
    StatAns,
    StatKindResponse,
    StatReq,
    StoreAns,
    StoredData,
    StoredDataSpecifier,
    StoredMetaData,
    StoreKindData,
    StoreKindResponse,
    StoreReq,
    UnknownKindData,
)

A = NodeId(b"\xaa" * 16)
AH = A.hex()
FOO, FOO_HEX = ResourceId(b"FOO"), "03 464f4f"
TIME, TIME_HEX = 0x0102030405060708, "0102030405060708"
NOBODY, NOBODY_HEX = Signature.none(), "00 00 03 0000 0000"

VALUE, VALUE_HEX = DataValue(True, b"abc"), "01 00000003 616263"
SINGLE = StoredData(TIME, 60, VALUE, NOBODY)
SINGLE_HEX = f"0000001b {TIME_HEX} 0000003c {VALUE_HEX} {NOBODY_HEX}"
ARRAY = StoredData(TIME, 60, ArrayEntry(APPEND_INDEX, VALUE), NOBODY)
ARRAY_HEX = f"0000001f {TIME_HEX} 0000003c ffffffff {VALUE_HEX} {NOBODY_HEX}"
DICTIONARY = StoredData(TIME, 60, DictionaryEntry(b"key", DataValue.nonexistent()), NOBODY)
DICTIONARY_HEX = f"0000001d {TIME_HEX} 0000003c 0003 6b6579 00 00000000 {NOBODY_HEX}"

META, META_HEX = MetaData(True, 3, HashAlgorithm.SHA256, b"HH"), "01 00000003 04 02 4848"
UNKNOWN, UNKNOWN_HEX = UnknownKindData(0xF0000001, 7, b"??"), "f0000001 0000000000000007 00000002 3f3f"


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (
            StoreReq(
                FOO,
                2,
                (
                    StoreKindData(TURN_SERVICE, 1, (SINGLE,)),
                    StoreKindData(SIP_REGISTRATION, 0, (DICTIONARY, DICTIONARY)),
                    UNKNOWN,
                ),
            ),
            f"{FOO_HEX} 02 00000093"
            f"00000002 0000000000000001 0000001f {SINGLE_HEX}"
            f"00000001 0000000000000000 00000042 {DICTIONARY_HEX} {DICTIONARY_HEX}"
            f"{UNKNOWN_HEX}",
        ),
        (
            StoreAns((StoreKindResponse(TURN_SERVICE, 9, (A, A)),)),
            f"002e 00000002 0000000000000009 0020 {AH} {AH}",
        ),
        (
            FetchReq(
                FOO,
                (
                    StoredDataSpecifier(TURN_SERVICE, 1, SingleSpecifier()),
                    StoredDataSpecifier(
                        CERTIFICATE_BY_NODE, 2, ArraySpecifier((ArrayRange(0, 1), ArrayRange(3, 0xFFFFFFFF)))
                    ),
                    StoredDataSpecifier(SIP_REGISTRATION, 3, DictionarySpecifier((b"k", b""))),
                    StoredDataSpecifier(SIP_REGISTRATION, 3, DictionarySpecifier(())),
                    StoredDataSpecifier(0xF0000001, 4, b"??"),
                ),
            ),
            f"{FOO_HEX} 0063"
            "00000002 0000000000000001 0000"
            "00000003 0000000000000002 0012 0010 00000000 00000001 00000003 ffffffff"
            "00000001 0000000000000003 0007 0005 0001 6b 0000"
            "00000001 0000000000000003 0002 0000"
            "f0000001 0000000000000004 0002 3f3f",
        ),
        (StatReq(FOO, ()), f"{FOO_HEX} 0000"),
        (
            FetchAns((FetchKindResponse(CERTIFICATE_BY_NODE, 5, (ARRAY,)), UNKNOWN)),
            f"00000045 00000003 0000000000000005 00000023 {ARRAY_HEX} {UNKNOWN_HEX}",
        ),
        (
            StatAns(
                (
                    StatKindResponse(TURN_SERVICE, 5, (StoredMetaData(TIME, 60, META),)),
                    StatKindResponse(CERTIFICATE_BY_NODE, 5, (StoredMetaData(TIME, 60, ArrayEntryMeta(4, META)),)),
                    StatKindResponse(SIP_REGISTRATION, 5, (StoredMetaData(TIME, 60, DictionaryEntryMeta(b"k", META)),)),
                    UNKNOWN,
                )
            ),
            "00000094"
            f"00000002 0000000000000005 00000019 00000015 {TIME_HEX} 0000003c {META_HEX}"
            f"00000003 0000000000000005 0000001d 00000019 {TIME_HEX} 0000003c 00000004 {META_HEX}"
            f"00000001 0000000000000005 0000001c 00000018 {TIME_HEX} 0000003c 0001 6b {META_HEX}"
            f"{UNKNOWN_HEX}",
        ),
        (FindReq(FOO, (TURN_SERVICE, 5)), f"{FOO_HEX} 08 00000002 00000005"),
        (FindAns((FindKindData(TURN_SERVICE, FOO),)), f"0008 00000002 {FOO_HEX}"),
    ],
)
def test_byte_for_byte(value: Struct, encoded: str) -> None:
    """Written by hand from the RFC's definitions; each data model, and a Kind nobody knows."""
    assert value.encode() == bytes.fromhex(encoded)
    assert type(value).decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    ("value", "encoded", "model"),
    [
        (SINGLE, SINGLE_HEX, DataModel.SINGLE),
        (ARRAY, ARRAY_HEX, DataModel.ARRAY),
        (DICTIONARY, DICTIONARY_HEX, DataModel.DICTIONARY),
    ],
)
def test_stored_data_alone(value: StoredData, encoded: str, model: DataModel) -> None:
    """As a store keeps it, next to its Kind."""
    assert value.encode() == bytes.fromhex(encoded)
    assert StoredData.decode(bytes.fromhex(encoded), model=model) == value


def test_data_value_whatever_the_model() -> None:
    """The value under its index or key."""
    assert SINGLE.data_value == ARRAY.data_value == VALUE
    assert DICTIONARY.data_value == DataValue.nonexistent()


def test_an_overlay_may_know_more_kinds() -> None:
    """With the configuration's models, the same bytes have values."""
    request = StoreReq(FOO, 0, (StoreKindData(0xF0000001, 0, (DICTIONARY,)),))
    (unknown,) = StoreReq.decode(request.encode()).kind_data
    assert isinstance(unknown, UnknownKindData)
    models = {**REGISTERED_MODELS, 0xF0000001: DataModel.DICTIONARY}
    assert StoreReq.decode(request.encode(), models=models) == request


def test_length_of_stored_data_must_hold() -> None:
    """One byte more than value and signature take."""
    data = bytearray(bytes.fromhex(f"{SINGLE_HEX} 00"))
    data[3] += 1
    with pytest.raises(DecodeError, match=r"StoredData: 1 bytes left over, at byte 31"):
        StoredData.decode(bytes(data), model=DataModel.SINGLE)


def test_values_must_be_of_some_model() -> None:
    """Bytes are no StoredDataValue."""
    with pytest.raises(ValueError, match="bytes is no variant of it"):
        StoredData(0, 0, b"abc", NOBODY)  # type: ignore[arg-type]
