"""RFC 6940 section 6.3.2 and 6.7: what the forwarding header looks like."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha1

import pytest

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.wire.header import (
    CompressedDestination,
    Destination,
    ForwardingHeader,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
    overlay_hash,
)
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.message import join, split

A, B = NodeId(b"\xaa" * 16), NodeId(b"\xbb" * 16)
HEADER = ForwardingHeader(
    overlay=overlay_hash("overlay.example"),
    configuration_sequence=22,
    transaction_id=0xC0FFEE,
    destination_list=(Destination.node(A),),
)


def _changed(offset: int, data: bytes) -> bytes:
    encoded = HEADER.encode()
    return encoded[:offset] + data + encoded[offset + len(data) :]


@pytest.mark.must("6.3.2/1")
def test_6_3_2_relo_token() -> None:
    """ "This field MUST contain the value 0xd2454c4f (the string "RELO" with the high bit of the first byte set)." """
    assert bytes([HEADER.encode()[0] ^ 0x80]) + HEADER.encode()[1:4] == b"RELO"
    with pytest.raises(DecodeError, match="0x52454c4f is not the RELOAD token"):
        ForwardingHeader.decode(_changed(0, b"RELO"))


@pytest.mark.must("6.3.2/2")
def test_6_3_2_overlay_is_the_lower_32_bits_of_the_sha1_of_the_name() -> None:
    """ "This MUST be formed by taking the lower 32 bits of the SHA-1 hash of the overlay name." """
    assert HEADER.encode()[4:8] == sha1(b"overlay.example", usedforsecurity=False).digest()[16:]


@pytest.mark.must("6.3.2/4")
@pytest.mark.parametrize("version", [0x01, 0x09, 0x0B, 0xFE])
def test_6_3_2_other_versions_are_rejected(version: int) -> None:
    """ "This document describes version 1.0, with a value of 0x0a. [...] Nodes MUST reject messages with other
    versions." """
    assert HEADER.encode()[10] == 0x0A
    with pytest.raises(DecodeError, match=f"{version:#x} is not version 1.0"):
        ForwardingHeader.decode(_changed(10, bytes([version])))


@pytest.mark.must("6.3.2/7")
def test_6_3_2_initial_ttl_is_100() -> None:
    """ "The initial value of the TTL SHOULD be 100" """
    assert HEADER.encode()[11] == 100


def test_6_3_2_length_counts_the_whole_message() -> None:
    """ "The count in bytes of the size of the message, including the header" """
    message = join(HEADER, bytes(1000))
    assert int.from_bytes(message[16:20], "big") == len(message) == len(HEADER.encode()) + 1000
    assert split(message)[0].length == len(message)


def test_6_3_2_list_lengths_are_bytes_and_precede_the_lists() -> None:
    """ "we depart from the usual variable-length convention of having the length immediately precede the value" """
    option = ForwardingOption(ForwardingOptionType.EXP_FORWARD, ForwardingOptionFlags(0), b"")
    encoded = replace(HEADER, via_list=(Destination.node(A), Destination.node(B)), options=(option,)).encode()
    assert encoded[32:38] == bytes.fromhex("0024 0012 0004")
    assert encoded[38:] == b"\1\x10" + A + b"\1\x10" + B + b"\1\x10" + A + option.encode()


@pytest.mark.must("6.3.2.2/1", "6.3.2.2/2")
def test_6_3_2_2_sixteen_bits_stand_for_an_opaque_id() -> None:
    """ "it MUST be treated as if it were a full structure with a DestinationType of opaque_id_type and an opaque_id
    that was 2 bytes long" """
    compressed, full = CompressedDestination(0x9123), Destination.opaque(b"\x91\x23")
    assert compressed.opaque_id == full.opaque_id == b"\x91\x23"
    assert (compressed.encode(), full.encode()) == (b"\x91\x23", b"\3\3\2\x91\x23")


@pytest.mark.must("6.3.2.2/3")
def test_6_3_2_2_forms_may_alternate_in_one_list() -> None:
    """Each entry's first bit decides, for the via list and the destination list alike; each keeps its form."""
    entries = (
        CompressedDestination(0x8000),
        Destination.node(A),
        CompressedDestination(0xFFFF),
        Destination.opaque(b"\x80\x00"),
        Destination.resource(ResourceId(b"FOO")),
    )
    header = replace(HEADER, via_list=entries[:4], destination_list=entries)
    assert ForwardingHeader.decode(header.encode()) == header


def test_6_3_2_2_unknown_destination_types_can_be_skipped() -> None:
    """ "It also allows an implementation which does not understand a given DestinationType to skip over it." """
    encoded = _changed(38, bytes.fromhex("7f 10"))
    entry = ForwardingHeader.decode(encoded).destination_list[0]
    assert isinstance(entry, Destination)
    assert (entry.type, entry.destination_data) == (0x7F, bytes(A))
    assert (entry.node_id, entry.resource_id, entry.opaque_id) == (None, None, None)


def test_6_3_2_2_resources_have_two_length_bytes() -> None:
    """That of the Destination, and that of the ResourceId in it."""
    assert Destination.resource(ResourceId(b"FOO")).encode() == bytes.fromhex("02 04 03 464f4f")


def test_6_3_2_3_unknown_options_and_flags_are_kept() -> None:
    """ "This structure allows for unknown options types." A forwarding peer passes them on as they are."""
    option = ForwardingOption(ForwardingOptionType(200), ForwardingOptionFlags(0x87), b"data")
    decoded = ForwardingHeader.decode(replace(HEADER, options=(option,)).encode()).options[0]
    assert decoded == option
    assert ForwardingOptionFlags.FORWARD_CRITICAL in decoded.flags


@pytest.mark.parametrize(
    ("flag", "bit"),
    [
        (ForwardingOptionFlags.FORWARD_CRITICAL, 0x01),
        (ForwardingOptionFlags.DESTINATION_CRITICAL, 0x02),
        (ForwardingOptionFlags.RESPONSE_COPY, 0x04),
    ],
)
def test_6_3_2_3_flags(flag: ForwardingOptionFlags, bit: int) -> None:
    """ "FORWARD_CRITICAL(0x01), DESTINATION_CRITICAL(0x02), and RESPONSE_COPY(0x04)" """
    assert ForwardingOption(ForwardingOptionType(1), flag, b"").encode() == bytes([1, bit, 0, 0])


@pytest.mark.must("6.3.2/9", "6.7/5")
def test_6_7_an_unfragmented_message_is_the_only_fragment() -> None:
    """ "the last fragment bit is set and the offset is 0, resulting in a fragment value of 0xC0000000" """
    assert HEADER.encode()[12:16] == bytes.fromhex("c0000000")


@pytest.mark.must("6.3.2/9", "6.7/6", "6.7/7", "6.7/8")
def test_6_7_messages_without_the_high_bit_are_discarded() -> None:
    """ "Because messages MUST be set with the high bit set to 1, implementations SHOULD discard any message with it
    set to 0." """
    with pytest.raises(DecodeError, match="the high bit of fragment is not set"):
        ForwardingHeader.decode(_changed(12, bytes.fromhex("40000000")))


def test_6_7_reserved_bits_are_ignored() -> None:
    """ "The next six bits are reserved and SHOULD be set to zero."; who sets them may mean something by it."""
    header = ForwardingHeader.decode(_changed(12, bytes.fromhex("ff000400")))
    assert (header.is_last_fragment, header.fragment_offset) == (True, 0x400)
