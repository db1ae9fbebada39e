"""Messages on a stream, and the data of channels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.stun.framing import CHANNELS, ChannelData, StunFraming, is_channel_data
from p2psip.stun.message import BINDING, MESSAGE_BYTES_MAX, MessageClass, NotStun, StunMessage

QUESTION = StunMessage(MessageClass.REQUEST, BINDING, b"twelve bytes", ((0x8022, b"us"),)).encode()


@pytest.mark.must("8489 6.2.2/1")
@given(
    st.lists(st.one_of(st.just(QUESTION), st.binary(max_size=40)), max_size=6),
    st.lists(st.integers(1, 30), min_size=1, max_size=200),
)
def test_cut_where_they_end_however_they_come(parts: list[bytes], sizes: list[int]) -> None:
    sent = [part if part == QUESTION else ChannelData.encode(0x4001, part, is_stream=True) for part in parts]
    stream, framing, came = b"".join(sent), StunFraming(MESSAGE_BYTES_MAX), []
    at = 0
    for size in [*sizes, len(stream)]:
        came += framing.feed(stream[at : at + size])
        at += size
    assert came == sent


@pytest.mark.parametrize("data", [b"\x50\0\0\0", b"\xff\xff\0\0", b"\0\1\0\3", b"\0\1\xff\xfc", b"\x40\0\xff\xff"])
def test_what_cannot_be_told_ends_the_stream(data: bytes) -> None:
    with pytest.raises(NotStun):
        StunFraming(MESSAGE_BYTES_MAX).feed(data)


@given(st.sampled_from(CHANNELS), st.binary(max_size=50), st.booleans())
def test_12_4_channel_data(channel: int, data: bytes, is_stream: bool) -> None:
    message = ChannelData.encode(channel, data, is_stream=is_stream)
    assert is_channel_data(message)
    assert ChannelData.decode(message) == (channel, data)
    assert not is_stream or len(message) % 4 == 0


@pytest.mark.parametrize("message", [b"", b"\x40\0\0", b"\x40\0\0\1", b"\x50\0\0\0", b"\0\1\0\0"])
def test_12_6_what_is_no_channel_data(message: bytes) -> None:
    with pytest.raises(NotStun):
        ChannelData.decode(message)


def test_a_stun_message_is_no_channel_data() -> None:
    assert not is_channel_data(QUESTION)
    assert not is_channel_data(b"")
