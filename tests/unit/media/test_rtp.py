"""The RTP packet (RFC 3550 section 5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.rtp import MalformedRtp, RtpPacket

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence_number=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=400),
    marker=st.booleans(),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
)


@given(packets)
def test_decode_gives_back_what_was_encoded(packet: RtpPacket) -> None:
    assert RtpPacket.decode(packet.encode()) == packet


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_malformed(data: bytes) -> None:
    try:
        packet = RtpPacket.decode(data)
    except MalformedRtp:
        return
    assert data[0] >> 6 == 2
    assert packet.payload in data


def test_header_extension_and_padding_are_skipped() -> None:
    header = bytes.fromhex("b1 80 0001 00000002 00000003 00000004")
    extension = bytes.fromhex("bede 0001 aabbccdd")
    packet = RtpPacket.decode(header + extension + b"voice" + b"\0\0\3")
    assert packet == RtpPacket(0, 1, 2, 3, b"voice", marker=True, csrcs=(4,))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("80 00 0001 00000002 000000", "too few"),
        ("40 00 0001 00000002 00000003", "version 1"),
        ("82 00 0001 00000002 00000003 00000004", "contributing"),
        ("90 00 0001 00000002 00000003 bede", "cut short"),
        ("90 00 0001 00000002 00000003 bede0001", "longer than the packet"),
        ("a0 00 0001 00000002 00000003", "padding"),
        ("a0 00 0001 00000002 00000003 aa00", "padding"),
        ("a0 00 0001 00000002 00000003 aa03", "padding"),
    ],
)
def test_malformed_says_why(data: str, reason: str) -> None:
    with pytest.raises(MalformedRtp, match=reason):
        RtpPacket.decode(bytes.fromhex(data))
