"""Frames on a stream (p2psip.reload.link.framing)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.reload.link.framing import (
    Deframer,
    FramingError,
    MessageTooLarge,
    ReceivedWindow,
    frame_ack,
    frame_data,
)
from p2psip.reload.wire.framing import FramedMessage, FramedMessageType

MAX = 5000

frames = st.one_of(
    st.builds(FramedMessage.data, st.integers(0, 0xFFFFFFFF), st.binary(max_size=60)),
    st.builds(FramedMessage.ack, st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF)),
)


def cut(frame: FramedMessage) -> tuple[int, bytes | int]:
    """A frame as the Deframer gives it; of an acknowledgement only the number counts on a stream."""
    if frame.type is FramedMessageType.DATA:
        return frame.sequence, frame.message
    return frame.ack_sequence, frame.received


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 600), max_size=12))
def test_agrees_with_the_declared_structure_however_the_stream_is_cut(
    sent: list[FramedMessage], cuts: list[int]
) -> None:
    """Property: any chunking of the encoded FramedMessages gives the frames back."""
    stream = b"".join(frame.encode() for frame in sent)
    edges = [0, *sorted(min(edge, len(stream)) for edge in cuts), len(stream)]
    deframer = Deframer(MAX)
    received = [frame for start, end in itertools.pairwise(edges) for frame in deframer.feed(stream[start:end])]
    assert received == [cut(frame) for frame in sent]


@given(st.integers(0, 0xFFFFFFFF), st.binary(max_size=60))
def test_writes_what_is_declared(sequence: int, message: bytes) -> None:
    """Property: the bytes are those of FramedMessage."""
    assert frame_data(sequence, message) == FramedMessage.data(sequence, message).encode()
    assert frame_ack(sequence, 0x80000001) == FramedMessage.ack(sequence, 0x80000001).encode()


@given(st.binary(max_size=200))
def test_garbage_ends_in_one_exception(garbage: bytes) -> None:
    """Property: frames, or FramingError, and nothing else."""
    deframer = Deframer(64)
    try:
        deframer.feed(garbage)
    except FramingError:
        return
    assert len(deframer._buffer) <= 64 + 8


def test_a_stream_of_something_else_is_refused_at_its_first_byte() -> None:
    """Whoever speaks SIP or HTTP to us is not waited for."""
    with pytest.raises(FramingError, match="starts with 71, neither data"):
        Deframer(MAX).feed(b"G")


def test_a_message_that_is_too_large_is_refused_before_it_is_here() -> None:
    """6.6: "this error can be sent and the session closed before the peer receives the complete message"."""
    deframer = Deframer(100)
    assert deframer.feed(frame_data(0, b"x" * 100)) == [(0, b"x" * 100)]
    assert deframer.feed(frame_data(1, b"x" * 101)[:7]) == []
    with pytest.raises(MessageTooLarge, match="101 bytes, where max-message-size is 100") as caught:
        deframer.feed(b"\x65" + b"x" * 10)
    assert caught.value.beginning == b"x" * 10


def test_6_6_2_the_bitmask_is_literal() -> None:
    """ "if the sequence number M is less than N but greater than N-32, the N-M bit of the received bitmask is set"."""
    window = ReceivedWindow()
    assert window.acknowledge(0) == frame_ack(0, 0)
    assert window.acknowledge(1) == frame_ack(1, 0b10)
    assert window.acknowledge(2) == frame_ack(2, 0b110)
    assert window.acknowledge(5) == frame_ack(5, 0b111000)
    assert window.acknowledge(4) == frame_ack(4, 0b011100)
    for sequence in range(6, 200):
        acknowledgement = window.acknowledge(sequence)
    assert acknowledgement == frame_ack(199, 0xFFFFFFFE)


def test_sequence_numbers_wrap() -> None:
    """After 0xffffffff comes 0, which is one further."""
    window = ReceivedWindow()
    window.acknowledge(0xFFFFFFFE)
    window.acknowledge(0xFFFFFFFF)
    assert window.acknowledge(0) == frame_ack(0, 0b110)


@given(st.lists(st.one_of(st.just(1), st.integers(-40, 40)), max_size=80), st.integers(0, 0xFFFFFFFF))
def test_the_bitmask_like_the_words_of_the_rfc(steps: list[int], sequence: int) -> None:
    """Property: the same as looking at each of the "32 previously received packets", whatever their order."""
    window, before = ReceivedWindow(), []
    for step in steps:
        sequence = (sequence + step) % (1 << 32)
        received = 0
        for earlier in before[-32:]:
            if 0 < (sequence - earlier) % (1 << 32) < 32:
                received |= 1 << (sequence - earlier) % (1 << 32)
        assert window.acknowledge(sequence) == frame_ack(sequence, received)
        before.append(sequence)
