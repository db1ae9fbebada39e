"""Properties that hold for every structure, because it is declared (p2psip.reload.wire.language.codec)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_strategies import all_structures, values_of

from p2psip.base.errors import LocalMisuse, RemoteProtocolError
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.topology.chord.messages import ChordUpdate, ChordUpdateType
from p2psip.reload.wire.common import HashAlgorithm
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, UnknownBody, UnknownKinds
from p2psip.reload.wire.kinds import REGISTERED_MODELS, DataModel
from p2psip.reload.wire.language.codec import Struct, Vector, When, structure
from p2psip.reload.wire.language.primitives import DecodeError, Opaque8, Reader, Uint8, Uint16, WireEnum
from p2psip.reload.wire.link_messages import AttachReqAns, ConfigUpdateReq, PingReq, ProbeReq
from p2psip.reload.wire.storage_messages import StoreAns, StoredData, StoreKindResponse, StoreReq
from p2psip.reload.wire.topology_messages import JoinReq

EACH = pytest.mark.parametrize("struct", all_structures(), ids=lambda struct: struct.__name__)
FEW = settings(max_examples=8, suppress_health_check=list(HealthCheck))
MODELS = st.sampled_from(DataModel)
LENGTHS = st.integers(16, 20)


def test_there_are_structures_to_test() -> None:
    """The parametrized tests below would pass with none."""
    assert len(all_structures()) > 70


@EACH
@FEW
@given(data=st.data(), model=MODELS, length=LENGTHS)
def test_what_is_constructed_survives_encode_and_decode(
    struct: type[Struct], data: st.DataObject, model: DataModel, length: int
) -> None:
    """Constructible means encodable, and decoding gives the value back."""
    value = data.draw(values_of(struct, model, length))
    assert struct.decode(value.encode(), node_id_length=length, model=model) == value


@EACH
@FEW
@given(data=st.data(), model=MODELS)
def test_any_bytes_end_in_a_value_or_decode_error(struct: type[Struct], data: st.DataObject, model: DataModel) -> None:
    """Noise, and encodings with a byte changed, cut or added; what is accepted encodes to the same bytes."""
    encoded = data.draw(st.binary(max_size=60) | values_of(struct, model).map(Struct.encode))
    for mutated in _mutations(encoded, data):
        try:
            value = struct.decode(mutated, model=model)
        except DecodeError:
            continue
        assert value.encode() == mutated


@EACH
@FEW
@given(data=st.data(), model=MODELS, length=LENGTHS)
def test_what_is_made_of_a_declaration_does_what_it_says(
    struct: type[Struct], data: st.DataObject, model: DataModel, length: int
) -> None:
    """The functions that `structure` makes encode and decode as the fields do, one by one, errors included."""
    value = data.draw(values_of(struct, model, length))
    declared = bytearray()
    value.encode_declared(declared)
    assert value.encode() == declared
    for mutated in [bytes(declared), *_mutations(bytes(declared), data)]:
        assert _outcome(struct.decode_from, mutated, length, model) == _outcome(
            struct.decode_declared, mutated, length, model
        )


@EACH
@FEW
@given(data=st.data(), model=MODELS)
def test_a_field_of_another_type_is_refused(struct: type[Struct], data: st.DataObject, model: DataModel) -> None:
    """Whichever of its fields it is: what is constructible is what the declaration permits."""
    value = data.draw(values_of(struct, model))
    for name in struct.codecs:
        with pytest.raises(ValueError, match=rf"^{struct.__name__}\.{name}: "):
            replace(value, **{name: 1.5})


def _outcome(read: Callable[[Reader], Struct], data: bytes, length: int, model: DataModel) -> object:
    reader = Reader(data, 0, length, REGISTERED_MODELS, model)
    try:
        return read(reader), reader.offset
    except DecodeError as error:
        return str(error)


def _mutations(encoded: bytes, data: st.DataObject) -> list[bytes]:
    at = data.draw(st.integers(0, len(encoded)))
    byte = bytes([data.draw(st.integers(0, 255))])
    return [encoded, encoded[:at], encoded[:at] + byte + encoded[at:], encoded[:at] + byte + encoded[at + 1 :]]


@EACH
@FEW
@given(data=st.data(), model=MODELS)
def test_decode_prefix_stops_where_the_structure_ends(
    struct: type[Struct], data: st.DataObject, model: DataModel
) -> None:
    """What stands before and behind does not matter, except to what extends to the end."""
    value = data.draw(values_of(struct, model))
    encoded = value.encode()
    behind = b"" if struct is UnknownBody else b"behind"
    assert struct.decode_prefix(b"before" + encoded + behind, 6, model=model) == (value, 6 + len(encoded))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: PingReq(bytes(0x10000)), "PingReq.padding: 65536 bytes do not fit in 65535"),
        (lambda: ErrorResponse(2, b""), "ErrorResponse.error_code: ErrorCode wanted, not int"),  # type: ignore[arg-type]
        (lambda: ErrorResponse(ErrorCode.FORBIDDEN, "no"), "ErrorResponse.error_info: bytes wanted, not str"),  # type: ignore[arg-type]
        (lambda: UnknownKinds((2**32,)), "UnknownKinds.unknown_kinds: [0]: 4294967296 is not in 0..4294967295"),
        (lambda: UnknownKinds((-1,)), "UnknownKinds.unknown_kinds: [0]: -1 is not in 0..4294967295"),
        (lambda: UnknownKinds((1,) * 64), "UnknownKinds.unknown_kinds: 256 bytes of elements, 0 to 255 fit"),
        (lambda: UnknownKinds([1]), "UnknownKinds.unknown_kinds: tuple wanted, not list"),  # type: ignore[arg-type]
        (lambda: JoinReq(bytes(16)), "JoinReq.joining_peer_id: NodeId wanted, not bytes"),  # type: ignore[arg-type]
        (lambda: StoreReq(b"r", 0, ()), "StoreReq.resource: ResourceId wanted, not bytes"),  # type: ignore[arg-type]
        (
            lambda: StoreAns((StoreKindResponse(1, 1, (NodeId(bytes(16)),) * 4096),)),
            "StoreKindResponse.replicas: 65536 bytes of elements, 0 to 65535 fit",
        ),
        (
            lambda: AttachReqAns(b"", b"", b"", (), 1),  # type: ignore[arg-type]
            "AttachReqAns.send_update: bool wanted, not int",
        ),
        (
            lambda: ChordUpdate(0, ChordUpdateType.PEER_READY, successors=(NodeId(bytes(16)),)),
            "ChordUpdate.successors: not in a structure of type peer_ready",
        ),
        (lambda: ConfigUpdateReq.config(bytes(1 << 24)), "ConfigUpdateReq.data: 16777216 bytes do not fit in 16777215"),
    ],
)
def test_what_cannot_be_encoded_cannot_be_constructed(make: object, complaint: str) -> None:
    """ValueError, at the caller who made the mistake, naming the field."""
    assert callable(make)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        make()
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("struct", "data", "complaint"),
    [
        (PingReq, b"", "PingReq.padding: 2 bytes wanted, 0 left, at byte 0"),
        (PingReq, b"\0\5abc", "PingReq.padding: 5 bytes wanted, 3 left, at byte 2"),
        (PingReq, b"\0\1abc", "PingReq: 2 bytes left over, at byte 3"),
        (ProbeReq, b"\2\1", "ProbeReq.requested_info: a length of 2 bytes, 1 left, at byte 1"),
        (ChordUpdate, b"\0\0\0\0\4", "ChordUpdate.type: 4 is no ChordUpdateType, at byte 4"),
        (AttachReqAns, b"\0\0\0\0\0\2", "AttachReqAns.send_update: 2 is not a Boolean, at byte 5"),
        (
            AttachReqAns,
            b"\0\0\0\0\x05\1\6abc",
            "AttachReqAns.candidates[0].addr_port.addr_port: a length of 6 bytes, 3 left, at byte 7",
        ),
        (
            UnknownKinds,
            b"\5\0\0\0\1\0",
            "UnknownKinds.unknown_kinds[1]: 4 bytes wanted, 1 left, at byte 5",
        ),
        (
            StoreReq,
            b"\xff" + bytes(255),
            "StoreReq.resource: a Resource-ID has at most 254 bytes, not 255, at byte 0",
        ),
        (
            ConfigUpdateReq,
            b"\1\0\0\0\5\0\0\1xy",
            "ConfigUpdateReq.data: 1 bytes left over, at byte 9",
        ),
    ],
)
def test_decode_error_names_field_and_byte(struct: type[Struct], data: bytes, complaint: str) -> None:
    """For people who look for the bug on the other side."""
    with pytest.raises(DecodeError) as caught:
        struct.decode(data)
    assert str(caught.value) == complaint
    assert isinstance(caught.value, RemoteProtocolError)


def test_values_of_unknown_models_cannot_be_read_alone() -> None:
    """StoredData does not say what Kind it is of; who decodes it must."""
    with pytest.raises(DecodeError, match="the data model of this Kind is not known"):
        StoredData.decode(bytes.fromhex("0000000c 0000000000000000 00000000"))


def test_node_id_length_is_the_callers_to_get_right() -> None:
    """A wrong configuration is not the remote's fault."""
    with pytest.raises(LocalMisuse, match="16 to 20 bytes, not 21"):
        JoinReq.decode(bytes(21), node_id_length=21)


def test_structures_are_immutable_hashable_and_compare_by_value() -> None:
    """They are values."""
    one, other = PingReq(b"x"), PingReq(b"x")
    assert one == other
    assert len({one, other}) == 1
    with pytest.raises(AttributeError):
        one.padding = b"y"  # type: ignore[misc]


def test_open_enums_keep_what_they_have_no_name_for() -> None:
    """A code point of tomorrow passes through unharmed; closed enums refuse it."""
    assert ErrorCode(0x7777) == 0x7777
    assert ErrorCode(0x7777).rfc_name == "unknown(30583)"
    assert ErrorCode(0x7777) == ErrorCode(0x7777)
    assert len(set(ErrorCode)) == len(ErrorCode), "unknown values do not become members"
    with pytest.raises(ValueError, match="65536"):
        ErrorCode(0x10000)
    with pytest.raises(ValueError, match="9"):
        ChordUpdateType(9)


def test_rfc_names() -> None:
    """An enum's name in print is the RFC's."""
    assert ErrorCode.NOT_FOUND.rfc_name == "Error_Not_Found"
    assert HashAlgorithm.SHA256.rfc_name == "sha256"


class Shape(WireEnum, width=1):
    """Of the example below."""

    ROUND = 1
    SQUARE = 2


@structure
class Example(Struct):
    """All that a declaration can say about one field and another."""

    shape: Shape
    radius: Annotated[Uint16, When("shape", Shape.ROUND)] = 0
    sides: Annotated[tuple[Uint8, ...], Vector(1, least=2), When("shape", Shape.SQUARE)] = ()
    label: Opaque8 = b""


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (Example(Shape.ROUND, radius=258, label=b"o"), "01 0102 01 6f"),
        (Example(Shape.SQUARE, sides=(3, 4)), "02 02 03 04 00"),
    ],
)
def test_a_declaration_is_the_wire_format(value: Example, encoded: str) -> None:
    """Fields in order, those of the other type left out."""
    assert value.encode() == bytes.fromhex(encoded)
    assert Example.decode(bytes.fromhex(encoded)) == value


def test_least_length_of_a_vector() -> None:
    """<2..2^8-1>: fewer bytes are wrong on both sides."""
    with pytest.raises(ValueError, match="1 bytes of elements, 2 to 255 fit"):
        Example(Shape.SQUARE, sides=(1,))
    with pytest.raises(DecodeError, match=r"Example.sides: 1 bytes of elements, at least 2 wanted, at byte 2"):
        Example.decode(b"\2\1\1\0")


def test_resource_ids_of_every_permitted_length() -> None:
    """0 to 254 bytes."""
    for length in (0, 1, 254):
        request = StoreReq(ResourceId(bytes(length)), 0, ())
        assert StoreReq.decode(request.encode()) == request


def test_functions_are_compiled_when_they_are_first_called() -> None:
    """Who imports hundreds of structures pays for those that it uses, once for each, and for no one's failure twice."""

    @structure
    class Rare(Struct):
        number: Uint8

    def compiled() -> tuple[bool, ...]:
        return tuple(vars(Rare)[name].__qualname__ == "function" for name in ("encode_to", "decode_from"))

    assert compiled() == (False, False)
    assert Rare(7).encode() == b"\7"
    assert compiled() == (True, False)
    with pytest.raises(DecodeError):
        Rare.decode(b"")
    assert compiled() == (True, True)
    assert Rare.decode(b"\7") == Rare(7)
