"""Frames of streams on a path between peers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.relay.multiplex import OVERHEAD_BYTES, RTCP, RTP, Frame, MalformedFrame

frames = st.builds(Frame, st.sampled_from([RTP, RTCP]), st.integers(0, 65535), st.binary(max_size=1500))


def test_the_bytes() -> None:
    assert Frame(RTP, 0x0102, b"\x80\x00").encode() == bytes.fromhex("01 0102 8000")
    assert OVERHEAD_BYTES == 3


@given(frames)
def test_what_is_written_is_read(frame: Frame) -> None:
    assert Frame.decode(frame.encode()) == frame
    assert len(frame.encode()) == len(frame.data) + OVERHEAD_BYTES


@given(st.binary(max_size=40))
def test_anything_else_is_said_to_be_none(data: bytes) -> None:
    try:
        frame = Frame.decode(data)
    except MalformedFrame:
        assert len(data) < OVERHEAD_BYTES or data[0] not in (RTP, RTCP)
    else:
        assert frame.encode() == data


@pytest.mark.parametrize("data", [b"", b"\x01\x00", b"\x00\x00\x01x", b"\x03\x00\x01x", b"\x16\xfe\xfd"])
def test_no_frames(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        Frame.decode(data)
