"""The forwarding header (p2psip.reload.wire.header)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_strategies import values_of

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.wire.header import (
    UNFRAGMENTED,
    CompressedDestination,
    Destination,
    DestinationType,
    ForwardingHeader,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
    overlay_hash,
)
from p2psip.reload.wire.kinds import REGISTERED_MODELS
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError, Reader

A, B = NodeId(b"\xaa" * 16), NodeId(b"\xbb" * 16)
RESOURCE = ResourceId(b"FOO")

HEADER = ForwardingHeader(
    overlay=0x01020304,
    configuration_sequence=5,
    ttl=100,
    transaction_id=0x1122334455667788,
    max_response_length=9,
    via_list=(Destination.node(A),),
    destination_list=(CompressedDestination(0x8001), Destination.node(B), Destination.resource(RESOURCE)),
    options=(ForwardingOption(ForwardingOptionType(77), ForwardingOptionFlags.RESPONSE_COPY, b"xyz"),),
)

HEADER_HEX = f"""
    d2454c4f 01020304 0005 0a 64 c0000000 00000000 1122334455667788 00000009
    0012 001a 0007
    01 10 {"aa" * 16}
    8001  01 10 {"bb" * 16}  02 04 03 464f4f
    4d 04 0003 78797a
"""


def test_byte_for_byte() -> None:
    """Fields in the RFC's order, the three list lengths in bytes and ahead of the lists."""
    assert HEADER.encode() == bytes.fromhex(HEADER_HEX)
    assert ForwardingHeader.decode(bytes.fromhex(HEADER_HEX)) == HEADER


@given(values_of(ForwardingHeader))
def test_its_size_is_that_of_its_bytes(header: ForwardingHeader) -> None:
    """Without encoding it."""
    assert header.size == len(header.encode())


def _outcome(read: Callable[[Reader], ForwardingHeader], data: bytes, node_id_length: int) -> object:
    reader = Reader(data, 0, node_id_length, REGISTERED_MODELS, None)
    try:
        return read(reader), reader.offset
    except DecodeError as error:
        return str(error)


def _assert_both_agree(data: bytes, node_id_length: int) -> None:
    declared = _outcome(ForwardingHeader.decode_declared, data, node_id_length)
    assert _outcome(ForwardingHeader.decode_from, data, node_id_length) == declared


@pytest.mark.long
@settings(max_examples=150)
@given(data=st.data(), length=st.integers(16, 20))
def test_doing_it_by_hand_agrees_with_the_declaration(data: st.DataObject, length: int) -> None:
    """On headers, and on headers with a byte changed or the end cut off."""
    entries = st.builds(Destination.node, st.binary(min_size=length, max_size=length).map(NodeId)) | st.builds(
        Destination.resource, st.binary(max_size=30).map(ResourceId)
    )
    lists = st.lists(entries, max_size=3).map(tuple)
    usual = st.builds(
        ForwardingHeader,
        overlay=st.integers(0, 2**32 - 1),
        configuration_sequence=st.integers(0, 2**16 - 1),
        transaction_id=st.integers(0, 2**64 - 1),
        via_list=lists,
        destination_list=lists,
    )
    header = data.draw(usual | values_of(ForwardingHeader, None, length))
    encoded = header.encode()
    declared = bytearray()
    Struct.encode_to(header, declared)
    assert encoded == declared
    at = data.draw(st.integers(0, len(encoded) - 1))
    byte = bytes([data.draw(st.sampled_from([0, 1, 2, 3, 16, 17, 254, 255]) | st.integers(0, 255))])
    _assert_both_agree(encoded, length)
    _assert_both_agree(encoded[:at] + byte + encoded[at + 1 :], length)
    _assert_both_agree(encoded[:at], length)


def test_usual_headers_are_written_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = replace(HEADER, destination_list=HEADER.destination_list[1:], options=())
    declared = bytearray()
    Struct.encode_to(usual, declared)
    monkeypatch.setattr(Struct, "encode_to", None)
    assert usual.encode() == declared


def test_usual_headers_are_read_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the property above would compare the declaration with itself."""
    usual = replace(HEADER, destination_list=HEADER.destination_list[1:], options=())
    monkeypatch.setattr(ForwardingHeader, "decode_declared", None)
    assert ForwardingHeader.decode(usual.encode()) == usual


@pytest.mark.parametrize(
    ("destination", "node_id", "resource_id", "opaque_id", "text"),
    [
        (Destination.node(A), A, None, None, "node " + "aa" * 16),
        (Destination.resource(RESOURCE), None, RESOURCE, None, "resource 464f4f"),
        (Destination.opaque(b"\1\2"), None, None, b"\1\2", "opaque_id_type 0102"),
        (Destination.opaque(A), None, None, bytes(A), "opaque_id_type " + "aa" * 16),
        (CompressedDestination(0x8102), None, None, b"\x81\2", "opaque 0x8102 (16 bits)"),
        (Destination(DestinationType(9), b"\1"), None, None, None, "unknown(9) 01"),
    ],
)
def test_what_a_destination_is(
    destination: Destination | CompressedDestination,
    node_id: NodeId | None,
    resource_id: ResourceId | None,
    opaque_id: bytes | None,
    text: str,
) -> None:
    """Exactly one of the three, or none for a type of tomorrow."""
    assert destination.node_id == node_id
    assert destination.resource_id == resource_id
    assert destination.opaque_id == opaque_id
    assert destination.summary() == text


def test_destinations_that_would_read_as_the_other_form_do_not_exist() -> None:
    """The top bit belongs to the 16-bit form."""
    with pytest.raises(ValueError, match="128 is no DestinationType"):
        Destination(DestinationType(128), b"")
    with pytest.raises(ValueError, match="top bit of 0x7fff is not set"):
        CompressedDestination(0x7FFF)


def test_fragment_field() -> None:
    """Always-set bit, last-fragment bit, 24 bits of offset."""
    assert HEADER.fragment == UNFRAGMENTED == 0xC0000000
    assert HEADER.is_unfragmented
    first, last = (
        ForwardingHeader(overlay=1, configuration_sequence=1, transaction_id=1, destination_list=(), fragment=fragment)
        for fragment in (0x80000000, 0xC0000400)
    )
    assert (first.is_unfragmented, first.is_last_fragment, first.fragment_offset) == (False, False, 0)
    assert (last.is_unfragmented, last.is_last_fragment, last.fragment_offset) == (False, True, 0x400)


def test_overlay_hash_is_the_end_of_the_sha1() -> None:
    """SHA-1 of "abc" ends in 9cd0d89d (FIPS 180-1, appendix A)."""
    assert overlay_hash("abc") == 0x9CD0D89D


@pytest.mark.long
@given(data=st.data())
def test_an_altered_header_is_a_replaced_one(data: st.DataObject) -> None:
    """Any of the fields that may be altered, and nothing else."""
    header, other = data.draw(values_of(ForwardingHeader)), data.draw(values_of(ForwardingHeader))
    alterable = [name for name in signature(ForwardingHeader.altered).parameters if name != "self"]
    changes: dict[str, Any] = {
        name: getattr(other, name) for name in data.draw(st.sets(st.sampled_from(alterable)), label="altered")
    }
    assert header.altered(**changes) == replace(header, **changes)  # type: ignore[arg-type]
