"""Cutting messages for a link's datagrams (p2psip.reload.forwarding.fragmentation)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.forwarding.fragmentation import BODY_BYTES_MIN, VIA_LIST_ROOM, fragment
from p2psip.reload.wire.header import (
    Destination,
    ForwardingHeader,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
)
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.message import join, split

A = NodeId(b"\xaa" * 16)
HEADER = ForwardingHeader(
    overlay=1,
    configuration_sequence=1,
    transaction_id=7,
    via_list=(Destination.node(A), Destination.opaque(b"opaque")),
    destination_list=(Destination.node(A), Destination.resource(ResourceId(b"foo"))),
    options=(ForwardingOption(ForwardingOptionType.EXP_FORWARD, ForwardingOptionFlags.RESPONSE_COPY, b"x"),),
)
HEAD_BYTES = len(HEADER.encode())
PAYLOAD = bytes(range(256)) * 20


def pieces_of(message: bytes, mtu: int) -> list[tuple[ForwardingHeader, bytes]]:
    """Header and payload of each fragment."""
    return [split(piece) for piece in fragment(message, mtu)]


def test_what_fits_stays_whole() -> None:
    """Up to the very last byte of the MTU."""
    message = join(HEADER, PAYLOAD)
    assert fragment(message, len(message)) == [message]


@pytest.mark.must("6.7/3")
def test_the_pieces_are_equal_and_leave_room() -> None:
    """ "equal-sized fragments that are no larger than the Path MTU (PMTU) of the next overlay link minus 32 bytes"."""
    pieces = fragment(join(HEADER, PAYLOAD), 1200)
    assert {len(piece) for piece in pieces} == {HEAD_BYTES + 1024}
    assert max(map(len, pieces)) <= 1200 - VIA_LIST_ROOM


@pytest.mark.must("6.7/5")
def test_offsets_and_the_last_indicator() -> None:
    """ "The first fragment therefore has an offset of 0. The last fragment indicator MUST be appropriately set."."""
    pieces = pieces_of(join(HEADER, PAYLOAD), 1200)
    assert [header.fragment_offset for header, _ in pieces] == [0, 1024, 2048, 3072, 4096]
    assert [header.is_last_fragment for header, _ in pieces] == [False] * 4 + [True]
    assert b"".join(payload for _, payload in pieces) == PAYLOAD


def test_a_fragment_can_be_cut_again() -> None:
    """ "a message may be refragmented multiple times as it traverses the overlay"."""
    first, *_, last = fragment(join(HEADER, PAYLOAD), 1200)
    again = pieces_of(first, 700)
    assert [header.fragment_offset for header, _ in again] == [0, 512]
    assert not any(header.is_last_fragment for header, _ in again)
    assert [header.is_last_fragment for header, _ in pieces_of(last, 700)] == [False, True]
    assert [header.fragment_offset for header, _ in pieces_of(last, 700)] == [4096, 4608]


def test_a_message_that_cannot_be_cut_stays_whole() -> None:
    """ "If these elements cannot fit within the MTU [...], RELOAD fragmentation is not performed"."""
    long = replace(HEADER, via_list=(Destination.node(A),) * 40)
    message = join(long, PAYLOAD)
    assert fragment(message, len(long.encode()) + BODY_BYTES_MIN - 1) == [message]
    short = join(HEADER, bytes(2 * BODY_BYTES_MIN - 1))
    assert fragment(short, len(short) - 1) == [short], "one of the halves would have less than 256 bytes"


def test_the_room_for_the_via_list_is_given_up_first() -> None:
    """It is a SHOULD; the 256 bytes are a MUST."""
    pieces = fragment(join(HEADER, PAYLOAD), HEAD_BYTES + BODY_BYTES_MIN)
    assert {len(piece) for piece in pieces} == {HEAD_BYTES + BODY_BYTES_MIN}


def test_offsets_have_24_bits() -> None:
    """What lies beyond them cannot be said."""
    message = join(replace(HEADER, fragment=0xC0FFFF00), PAYLOAD)
    assert fragment(message, 1200) == [message]


def test_node_ids_of_other_lengths() -> None:
    """Of the overlay's, that is; a length that is not its own does not decode."""
    header = replace(HEADER, via_list=(), destination_list=(Destination.node(NodeId(bytes(20))),))
    message = join(header, PAYLOAD)
    assert len(fragment(message, 1200, node_id_length=20)) == 5
    with pytest.raises(DecodeError):
        fragment(message, 1200)


@pytest.mark.must("6.7/1", "6.7/2")
@given(st.integers(0, 20_000), st.integers(64, 6000))
def test_the_pieces_are_the_message(size: int, mtu: int) -> None:
    """Property: together they are the payload, each has all of the header, 256 bytes of body and fits."""
    message = join(HEADER, bytes(i & 0xFF for i in range(size)))
    pieces = pieces_of(message, mtu)
    assert b"".join(payload for _, payload in pieces) == message[HEAD_BYTES:]
    position = 0
    for header, payload in pieces:
        assert header.fragment_offset == position
        position += len(payload)
        assert replace(header, fragment=HEADER.fragment, length=0) == HEADER
        assert len(pieces) == 1 or (len(payload) >= BODY_BYTES_MIN and header.length <= mtu)
    assert [header.is_last_fragment for header, _ in pieces] == [False] * (len(pieces) - 1) + [True]
