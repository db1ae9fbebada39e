"""What a Stat says of a value instead of the value itself (RFC 6940 section 7.4.3.2)."""

from __future__ import annotations

from p2psip.reload.security.keys import digest
from p2psip.reload.wire.common import HashAlgorithm
from p2psip.reload.wire.storage_messages import (
    ArrayEntry,
    ArrayEntryMeta,
    DataValue,
    DictionaryEntry,
    DictionaryEntryMeta,
    MetaData,
    MetaDataValue,
    StoredData,
    StoredDataValue,
    StoredMetaData,
)


def describe(stored: StoredData, algorithm: HashAlgorithm = HashAlgorithm.SHA256) -> StoredMetaData:
    """ "the same as the corresponding fields in StoredData, except that there is no signature field"."""
    return StoredMetaData(stored.storage_time, stored.lifetime, _meta_of(stored.value, algorithm))


def is_of(metadata: MetaDataValue, value: StoredDataValue) -> bool:
    """True if the metadata are of this value, at this place; ValueError for a hash algorithm that is not known."""
    return metadata == _meta_of(value, meta_data_of(metadata).hash_algorithm)


def meta_data_of(metadata: MetaDataValue) -> MetaData:
    """The metadata themselves, whatever the data model."""
    return metadata if isinstance(metadata, MetaData) else metadata.value


def _meta_of(value: StoredDataValue, algorithm: HashAlgorithm) -> MetaDataValue:
    match value:
        case ArrayEntry(index, data):
            return ArrayEntryMeta(index, _meta(data, algorithm))
        case DictionaryEntry(key, data):
            return DictionaryEntryMeta(key, _meta(data, algorithm))
        case DataValue():
            return _meta(value, algorithm)


def _meta(data: DataValue, algorithm: HashAlgorithm) -> MetaData:
    # "A digest using hash_algorithm on the value field of the DataValue, including its 4 leading length bytes."
    field = len(data.value).to_bytes(4, "big") + data.value
    return MetaData(data.exists, len(data.value), algorithm, digest(algorithm, field))
