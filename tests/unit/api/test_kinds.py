"""p2psip.api.kinds."""

from __future__ import annotations

import pytest

from p2psip.api.kinds import AnyKind, ArrayKind, DictionaryKind, SingleKind, specifier, value_at
from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import SIP_REGISTRATION_KIND, OverlayConfiguration
from p2psip.reload.wire.storage_messages import (
    APPEND_INDEX,
    ArrayEntry,
    ArrayRange,
    ArraySpecifier,
    DataValue,
    DictionaryEntry,
    DictionarySpecifier,
    SingleSpecifier,
)

OWN = NodeId(bytes(15) + b"\1")
HERE = OverlayConfiguration("club.example", required_kinds=(SIP_REGISTRATION_KIND,))


def test_a_kind_by_number_or_by_name() -> None:
    assert DictionaryKind(1).kind_id(HERE) == DictionaryKind("SIP-REGISTRATION").kind_id(HERE) == 1


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (SingleKind(1), "Kind 0x1 is of the data model DICTIONARY"),
        (SingleKind(0xF0000001), "has no Kind 0xf0000001"),
        (SingleKind("TURN-SERVICE"), "has no Kind TURN-SERVICE"),
        (SingleKind("nonsense"), "has no Kind nonsense"),
    ],
)
def test_a_kind_that_the_overlay_does_not_have_so(kind: AnyKind, why: str) -> None:
    with pytest.raises(LocalMisuse, match=why):
        kind.kind_id(HERE)


def test_values_have_their_place() -> None:
    value = DataValue(exists=True, value=b"x")
    assert value_at(SingleKind(5), b"x", None, None, OWN) == value
    assert value_at(SingleKind(5), None, None, None, OWN) == DataValue.nonexistent()
    assert value_at(ArrayKind(5), b"x", None, None, OWN) == ArrayEntry(APPEND_INDEX, value)
    assert value_at(ArrayKind(5), b"x", None, 3, OWN) == ArrayEntry(3, value)
    assert value_at(DictionaryKind(5), b"x", None, None, OWN) == DictionaryEntry(bytes(OWN), value)
    assert value_at(DictionaryKind(5), b"x", b"k", None, OWN) == DictionaryEntry(b"k", value)


@pytest.mark.parametrize(
    ("kind", "data", "key", "index"),
    [
        (SingleKind(5), b"x", b"k", None),
        (SingleKind(5), b"x", None, 0),
        (ArrayKind(5), b"x", b"k", None),
        (ArrayKind(5), None, None, None),
        (ArrayKind(5), b"x", None, -1),
        (ArrayKind(5), b"x", None, APPEND_INDEX),
        (DictionaryKind(5), b"x", None, 0),
    ],
)
def test_a_place_that_the_data_model_does_not_have(
    kind: AnyKind, data: bytes | None, key: bytes | None, index: int | None
) -> None:
    with pytest.raises(LocalMisuse):
        value_at(kind, data, key, index, OWN)


def test_specifiers() -> None:
    assert specifier(SingleKind(5), 5, (), ()).model_specifier == SingleSpecifier()
    everything = ArraySpecifier((ArrayRange(0, APPEND_INDEX),))
    assert specifier(ArrayKind(5), 5, (), ()).model_specifier == everything
    assert specifier(ArrayKind(5), 5, (), [(1, 2)]).model_specifier == ArraySpecifier((ArrayRange(1, 2),))
    assert specifier(DictionaryKind(5), 5, [b"k"], ()).model_specifier == DictionarySpecifier((b"k",))
    with pytest.raises(LocalMisuse):
        specifier(SingleKind(5), 5, [b"k"], ())
    with pytest.raises(LocalMisuse):
        specifier(ArrayKind(5), 5, [b"k"], ())
    with pytest.raises(LocalMisuse):
        specifier(DictionaryKind(5), 5, (), [(0, 1)])
