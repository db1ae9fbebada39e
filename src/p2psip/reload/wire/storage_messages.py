"""Stored data and the messages of the storage protocol (RFC 6940 section 7).

What a value looks like depends on the data model of its Kind, which the wire does not carry: decoding takes it
from `models`. Of Kinds that are not in there, requests and answers keep the bytes (UnknownKindData), so that a
peer can name them in Error_Unknown_Kind, and re-encoding is identical.
"""

from __future__ import annotations

from typing import Annotated

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.wire.common import HashAlgorithm, KindId
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.language.codec import ByModel, OfKind, OneOf, Prefixed, Struct, Vector, structure
from p2psip.reload.wire.language.primitives import Boolean, Opaque8, Opaque16, Opaque32, Reader, Uint8, Uint32, Uint64
from p2psip.reload.wire.security_block import Signature

DictionaryKey = Opaque16

APPEND_INDEX = 0xFFFFFFFF
"""The index at which a store appends to an array (section 7.4.1.1); as the end of a range, the final element."""


@structure
class DataValue(Struct):
    """A value, or the statement that there is none (section 7.2.1)."""

    exists: Boolean
    value: Opaque32

    @classmethod
    def nonexistent(cls) -> DataValue:
        """What removes a value, or stands where none is: "exists = False, value = {}" (section 7.4.1.3)."""
        return cls(exists=False, value=b"")


@structure
class ArrayEntry(Struct):
    """An element of an array (section 7.2.2)."""

    index: Uint32
    value: DataValue


@structure
class DictionaryEntry(Struct):
    """An entry of a dictionary (section 7.2.3)."""

    key: DictionaryKey
    value: DataValue


StoredDataValue = DataValue | ArrayEntry | DictionaryEntry


@structure(length_bytes=4)
class StoredData(Struct):
    """The basic unit of stored data (section 7): `storage_time` in ms since 1970, `lifetime` in seconds."""

    storage_time: Uint64
    lifetime: Uint32
    value: Annotated[
        StoredDataValue,
        ByModel(
            {
                DataModel.SINGLE: DataValue,
                DataModel.ARRAY: ArrayEntry,
                DataModel.DICTIONARY: DictionaryEntry,
            }
        ),
    ]
    signature: Signature

    @property
    def data_value(self) -> DataValue:
        """The value itself, whatever the data model."""
        return self.value if isinstance(self.value, DataValue) else self.value.value


@structure
class UnknownKindData(Struct):
    """The values of a Kind whose data model is not known, in Store, Fetch and Stat."""

    kind: KindId
    generation_counter: Uint64
    values: Opaque32


class _OfKnownKind(OneOf):
    """Values of a Kind, if its data model is known."""

    def __init__(self, known: type[Struct]) -> None:
        super().__init__(known, UnknownKindData)

    def choose(self, reader: Reader) -> type[Struct]:
        return self.variants[0 if reader.peek(4) in reader.models else 1]


@structure
class StoreKindData(Struct):
    """Values of one Kind to store (section 7.4.1.1)."""

    kind: KindId
    generation_counter: Uint64
    values: Annotated[tuple[StoredData, ...], Vector(4), OfKind()]


@structure
class StoreReq(Struct):
    """Body of a Store request (section 7.4.1.1)."""

    resource: ResourceId
    replica_number: Uint8
    kind_data: Annotated[tuple[Annotated[StoreKindData | UnknownKindData, _OfKnownKind(StoreKindData)], ...], Vector(4)]


@structure
class StoreKindResponse(Struct):
    """What became of one Kind (section 7.4.1.2)."""

    kind: KindId
    generation_counter: Uint64
    replicas: Annotated[tuple[NodeId, ...], Vector(2)]


@structure
class StoreAns(Struct):
    """Body of a Store answer, and the error_info of Error_Generation_Counter_Too_Low (section 7.4.1.2)."""

    kind_responses: Annotated[tuple[StoreKindResponse, ...], Vector(2)]


@structure
class ArrayRange(Struct):
    """A range of array elements (section 7.4.2.1), unsigned because the last may be 0xffffffff."""

    first: Uint32
    last: Uint32


@structure
class SingleSpecifier(Struct):
    """The value of a single-value Kind."""


@structure
class ArraySpecifier(Struct):
    """Some elements of an array."""

    indices: Annotated[tuple[ArrayRange, ...], Vector(2)]


@structure
class DictionarySpecifier(Struct):
    """Some entries of a dictionary, or all of them if no keys are named."""

    keys: Annotated[tuple[DictionaryKey, ...], Vector(2)]


@structure
class StoredDataSpecifier(Struct):
    """Which values of one Kind are wanted (section 7.4.2.1). Of an unknown Kind the specifier's bytes are kept."""

    kind: KindId
    generation: Uint64
    model_specifier: Annotated[
        SingleSpecifier | ArraySpecifier | DictionarySpecifier | bytes,
        Prefixed(
            2,
            ByModel(
                {
                    DataModel.SINGLE: SingleSpecifier,
                    DataModel.ARRAY: ArraySpecifier,
                    DataModel.DICTIONARY: DictionarySpecifier,
                },
                is_open=True,
            ),
        ),
        OfKind(),
    ]


@structure
class FetchReq(Struct):
    """Body of a Fetch request (section 7.4.2.1)."""

    resource: ResourceId
    specifiers: Annotated[tuple[StoredDataSpecifier, ...], Vector(2)]


@structure
class FetchKindResponse(Struct):
    """The values of one Kind (section 7.4.2.2)."""

    kind: KindId
    generation: Uint64
    values: Annotated[tuple[StoredData, ...], Vector(4), OfKind()]


@structure
class FetchAns(Struct):
    """Body of a Fetch answer (section 7.4.2.2)."""

    kind_responses: Annotated[
        tuple[Annotated[FetchKindResponse | UnknownKindData, _OfKnownKind(FetchKindResponse)], ...], Vector(4)
    ]


@structure
class StatReq(Struct):
    """Body of a Stat request (section 7.4.3.1)."""

    resource: ResourceId
    specifiers: Annotated[tuple[StoredDataSpecifier, ...], Vector(2)]


@structure
class MetaData(Struct):
    """About a value (section 7.4.3.2): the digest covers it "including its 4 leading length bytes"."""

    exists: Boolean
    value_length: Uint32
    hash_algorithm: HashAlgorithm
    hash_value: Opaque8


@structure
class ArrayEntryMeta(Struct):
    """About an element of an array (section 7.4.3.2)."""

    index: Uint32
    value: MetaData


@structure
class DictionaryEntryMeta(Struct):
    """About an entry of a dictionary (section 7.4.3.2)."""

    key: DictionaryKey
    value: MetaData


MetaDataValue = MetaData | ArrayEntryMeta | DictionaryEntryMeta


@structure(length_bytes=4)
class StoredMetaData(Struct):
    """About stored data (section 7.4.3.2).

    Its leading `value_length` is the length of the rest: "the same as the corresponding fields in StoredData".
    """

    storage_time: Uint64
    lifetime: Uint32
    metadata: Annotated[
        MetaDataValue,
        ByModel(
            {
                DataModel.SINGLE: MetaData,
                DataModel.ARRAY: ArrayEntryMeta,
                DataModel.DICTIONARY: DictionaryEntryMeta,
            }
        ),
    ]


@structure
class StatKindResponse(Struct):
    """About the values of one Kind (section 7.4.3.2)."""

    kind: KindId
    generation: Uint64
    values: Annotated[tuple[StoredMetaData, ...], Vector(4), OfKind()]


@structure
class StatAns(Struct):
    """Body of a Stat answer (section 7.4.3.2)."""

    kind_responses: Annotated[
        tuple[Annotated[StatKindResponse | UnknownKindData, _OfKnownKind(StatKindResponse)], ...], Vector(4)
    ]


@structure
class FindReq(Struct):
    """Body of a Find request (section 7.4.4.1)."""

    resource: ResourceId
    kinds: Annotated[tuple[KindId, ...], Vector(1)]


@structure
class FindKindData(Struct):
    """The closest resource of one Kind; "It is 0 if no Resource-ID is known" (section 7.4.4.2)."""

    kind: KindId
    closest: ResourceId


@structure
class FindAns(Struct):
    """Body of a Find answer (section 7.4.4.2)."""

    results: Annotated[tuple[FindKindData, ...], Vector(2)]
