"""Damaged messages: the decoders end in a value or DecodeError, and a value encodes to what was decoded."""

from __future__ import annotations

import pytest
import wire_specimens
from effort import times
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_specimens import BODIES

from p2psip.reload.topology.chord.messages import BODIES as CHORD_BODIES
from p2psip.reload.wire.framing import FramedMessage, frame_length
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.message import Message, body_of, join, split

MESSAGES = [wire_specimens.message(code, body).encode() for _, code, body in BODIES]
LENGTH_FIELD = slice(16, 20)


@st.composite
def damaged_messages(draw: st.DrawFn) -> bytes:
    """A message with bytes changed, cut out, doubled or put in; mostly the header's length is made right again."""
    message = bytearray(draw(st.sampled_from(MESSAGES)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(message)))
        end = min(len(message), start + draw(st.integers(0, 8)))
        noise = draw(st.binary(max_size=8) | st.just(bytes(message[start:end]) * 2))
        message[start:end] = noise
    if len(message) > LENGTH_FIELD.stop and draw(st.integers(0, 9)):
        message[LENGTH_FIELD] = len(message).to_bytes(4, "big")
    return bytes(message)


@pytest.mark.long
@settings(max_examples=times(800))
@given(damaged_messages())
def test_damaged_messages(data: bytes) -> None:
    """Header, contents, body and security block."""
    try:
        message = Message.decode(data)
    except DecodeError:
        return
    assert message.encode() == data
    try:
        body = body_of(message.contents, topology=CHORD_BODIES)
    except DecodeError:
        return
    assert body.encode() == message.contents.message_body


@settings(max_examples=times(150))
@given(damaged_messages())
def test_damaged_messages_are_forwarded_unharmed_or_not_at_all(data: bytes) -> None:
    """What a forwarding peer does not look at, it does not change."""
    try:
        header, payload = split(data)
    except DecodeError:
        return
    assert join(header, payload) == data


@settings(max_examples=times(150))
@given(st.lists(st.binary(max_size=30) | st.sampled_from(MESSAGES).map(lambda m: FramedMessage.data(1, m).encode())))
def test_streams_of_frames(chunks: list[bytes]) -> None:
    """A reader of a stream moves on with every frame, waits for more, or gives the stream up."""
    stream = b"".join(chunks)
    start = 0
    while True:
        try:
            length = frame_length(stream, start)
        except DecodeError:
            return
        if length is None or start + length > len(stream):
            return
        frame = stream[start : start + length]
        assert FramedMessage.decode(frame).encode() == frame
        start += length
