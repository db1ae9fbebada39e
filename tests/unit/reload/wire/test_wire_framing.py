"""Frames (p2psip.reload.wire.framing)."""

from __future__ import annotations

import pytest

from p2psip.reload.wire.framing import FramedMessage, frame_length
from p2psip.reload.wire.language.primitives import DecodeError

DATA = FramedMessage.data(0x01020304, b"message")
ACK = FramedMessage.ack(0x01020304, 0x80000001)


def test_byte_for_byte() -> None:
    """Data has a three-byte length, an ack none."""
    assert DATA.encode() == bytes.fromhex("80 01020304 000007") + b"message"
    assert ACK.encode() == bytes.fromhex("81 01020304 80000001")


def test_length_is_known_from_the_first_bytes() -> None:
    """As soon as they are there, and not before."""
    stream = b"before" + DATA.encode()
    assert [frame_length(stream[:cut], 6) for cut in range(6, len(stream))] == [None] * 8 + [15] * 7
    assert frame_length(ACK.encode()[:1]) == 9
    assert frame_length(b"") is None


def test_other_types_are_no_frames() -> None:
    """A stream that has lost its frame cannot be read on."""
    with pytest.raises(DecodeError, match=r"FramedMessage\.type: 130 is no FramedMessageType, at byte 1"):
        frame_length(b"x\x82", 1)
    with pytest.raises(DecodeError, match=r"FramedMessage\.type: 210 is no FramedMessageType"):
        FramedMessage.decode(b"\xd2")


def test_fields_of_the_other_type_are_not_there() -> None:
    """Neither to set nor to show."""
    assert [name for name, _, _ in DATA.items()] == ["type", "sequence", "message"]
    assert [name for name, _, _ in ACK.items()] == ["type", "ack_sequence", "received"]
    with pytest.raises(ValueError, match="received: not in a structure of type data"):
        FramedMessage(DATA.type, received=1)


def test_largest_message() -> None:
    """2^24-1 bytes."""
    assert len(FramedMessage.data(0, bytes(0xFFFFFF)).encode()) == 0xFFFFFF + 8
    with pytest.raises(ValueError, match="16777216 bytes do not fit"):
        FramedMessage.data(0, bytes(0x1000000))
