"""Kinds as an application names them: a Kind-ID, and with it the data model that types its values (RFC 6940 7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.wire.kinds import REGISTERED_NAMES, DataModel
from p2psip.reload.wire.storage_messages import (
    APPEND_INDEX,
    ArrayEntry,
    ArrayRange,
    ArraySpecifier,
    DataValue,
    DictionaryEntry,
    DictionarySpecifier,
    SingleSpecifier,
    StoredDataSpecifier,
    StoredDataValue,
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A Kind by its number, or by the name that it has in the registry or in the overlay's configuration."""

    kind: int | str
    model: ClassVar[DataModel]

    def kind_id(self, configuration: OverlayConfiguration) -> int:
        """Its number. Raises LocalMisuse if the overlay does not have it, or has it with another data model."""
        named = {**REGISTERED_NAMES, **{kind.name: kind.kind_id for kind in configuration.required_kinds if kind.name}}
        number = named.get(self.kind) if isinstance(self.kind, str) else self.kind
        known = None if number is None else configuration.kinds.get(number)
        if known is None:
            what = self.kind if isinstance(self.kind, str) else f"{self.kind:#x}"
            raise LocalMisuse(
                f"{configuration.instance_name} has no Kind {what}: its operator adds it to the configuration"
            )
        if known.data_model is not self.model:
            raise LocalMisuse(f"Kind {known.kind_id:#x} is of the data model {known.data_model.value}")
        return known.kind_id


@dataclass(frozen=True, slots=True)
class SingleKind(_Kind):
    """A Kind with one value at each resource."""

    model: ClassVar[DataModel] = DataModel.SINGLE


@dataclass(frozen=True, slots=True)
class ArrayKind(_Kind):
    """A Kind whose values are a sparse array."""

    model: ClassVar[DataModel] = DataModel.ARRAY


@dataclass(frozen=True, slots=True)
class DictionaryKind(_Kind):
    """A Kind whose values are a dictionary; under most access policies its keys are Node-IDs."""

    model: ClassVar[DataModel] = DataModel.DICTIONARY


AnyKind = SingleKind | ArrayKind | DictionaryKind

Name = str | bytes
"""A Resource Name, which is hashed (text as UTF-8); a ResourceId is taken as it is."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A Store was acknowledged: it is on the disk of the responsible peer, and on its way to the replicas."""

    resource: ResourceId
    storage_time_ms: int
    generation: int
    responsible: NodeId
    replicas: tuple[NodeId, ...]


def value_at(kind: AnyKind, data: bytes | None, key: bytes | None, index: int | None, own: NodeId) -> StoredDataValue:
    """A value at its place in the data model; None removes."""
    value = DataValue.nonexistent() if data is None else DataValue(exists=True, value=data)
    if isinstance(kind, SingleKind):
        _refuse(key is not None or index is not None, "a single value has neither key nor index")
        return value
    if isinstance(kind, ArrayKind):
        _refuse(key is not None, "an array has an index, not a key")
        _refuse(data is None and index is None, "say which index is to be removed")
        _refuse(index is not None and not 0 <= index < APPEND_INDEX, "an index is from 0 to 4294967294")
        return ArrayEntry(APPEND_INDEX if index is None else index, value)
    _refuse(index is not None, "a dictionary has a key, not an index")
    return DictionaryEntry(bytes(own if key is None else key), value)


def specifier(
    kind: AnyKind, kind_id: int, keys: Sequence[bytes], ranges: Sequence[tuple[int, int]], generation: int = 0
) -> StoredDataSpecifier:
    """Which values of a Kind are wanted: of a dictionary all, if no keys are named; of an array all, or ranges."""
    if isinstance(kind, SingleKind):
        _refuse(bool(keys or ranges), "a single value has neither keys nor ranges")
        return StoredDataSpecifier(kind_id, generation, SingleSpecifier())
    if isinstance(kind, ArrayKind):
        _refuse(bool(keys), "an array has ranges, not keys")
        indices = tuple(ArrayRange(first, last) for first, last in ranges or [(0, APPEND_INDEX)])
        return StoredDataSpecifier(kind_id, generation, ArraySpecifier(indices))
    _refuse(bool(ranges), "a dictionary has keys, not ranges")
    return StoredDataSpecifier(kind_id, generation, DictionarySpecifier(tuple(map(bytes, keys))))


def _refuse(is_wrong: bool, why: str) -> None:
    if is_wrong:
        raise LocalMisuse(why)
