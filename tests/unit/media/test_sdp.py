"""Session descriptions (RFC 8866)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.sdp import Attribute, MalformedSdp, MediaDescription, Origin, SessionDescription

PHONE = b"""v=0
o=alice 2890844526 7 IN IP4 192.0.2.1
s=
i=a line that we do not use
c=IN IP4 192.0.2.1/127
b=AS:64
t=0 0
a=sendrecv
m=audio 49170/2 RTP/AVP 0 8 101
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
m=video 0 RTP/AVP 31
c=IN IP6 2001:db8::1
"""


def test_what_a_phone_writes() -> None:
    session = SessionDescription.decode(PHONE)
    assert session.origin == Origin(2890844526, 7, "192.0.2.1", "alice")
    assert (session.address, session.name, session.attributes) == ("192.0.2.1", "", (Attribute("sendrecv"),))
    audio, video = session.media
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == ("audio", 49170, "RTP/AVP", ("0", "8", "101"))
    assert audio.values("rtpmap") == ["101 telephone-event/8000"]
    assert (video.address, video.port) == ("2001:db8::1", 0)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r", b"\n\n"])
def test_any_line_end_will_do(line_end: bytes) -> None:
    assert SessionDescription.decode(PHONE.replace(b"\n", line_end)) == SessionDescription.decode(PHONE)


def test_only_v_and_o_are_needed() -> None:
    session = SessionDescription.decode(b"v=0\no=- 1 1 IN IP4 192.0.2.1")
    assert session == SessionDescription(Origin(1, 1, "192.0.2.1"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b"v=0", b"v=1"), "v=0"),
        ((b"v=0\n", b""), "v=0"),
        ((b"o=alice 2890844526 7 IN IP4 192.0.2.1\n", b""), "no o="),
        ((b"o=alice ", b"o="), "5 fields"),
        ((b" 2890844526 ", b" -1 "), "no number"),
        ((b" 2890844526 ", b" 99999999999999999999 "), "no number"),
        ((b"49170/2", b"65536"), "no number"),
        ((b"49170/2 RTP/AVP 0 8 101", b"49170"), "2 fields"),
        ((b"c=IN IP4 ", b"c="), "1 fields"),
        ((b"c=IN IP4 ", b"c=IN IP4 /"), "no address"),
        ((b"t=0 0", b"tea time"), "form x="),
        ((PHONE, b"\n"), "empty"),
        ((PHONE, b"m=audio 1 RTP/AVP 0"), "begins with m="),
        ((PHONE, PHONE + b"a=x\n" * 1000), "lines are too many"),
        ((PHONE, PHONE + b"m=audio 1 RTP/AVP 0\n" * 32), "too many media"),
        ((PHONE, PHONE + b"a=" + b"x" * 65536), "bytes are too many"),
    ],
)
def test_malformed_says_why(change: tuple[bytes, bytes], reason: str) -> None:
    with pytest.raises(MalformedSdp, match=reason):
        SessionDescription.decode(PHONE.replace(*change))


@given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(PHONE.splitlines()), max_size=12).map(b"\n".join)))
def test_any_bytes_are_a_description_or_malformed(data: bytes) -> None:
    try:
        SessionDescription.decode(data)
    except MalformedSdp:
        return
    assert data.lstrip().startswith(b"v=")


tokens = st.text("abcXYZ019-", min_size=1, max_size=8)
addresses = st.sampled_from(["192.0.2.1", "2001:db8::1", "0.0.0.0"])
attributes = st.lists(st.builds(Attribute, tokens, st.none() | st.text("abc 0:/=;", max_size=8).map(str.strip)))
media = st.builds(
    MediaDescription,
    kind=st.sampled_from(["audio", "video"]),
    port=st.integers(0, 65535),
    protocol=st.just("RTP/AVP"),
    formats=st.lists(tokens, min_size=1, max_size=4).map(tuple),
    address=st.none() | addresses,
    attributes=attributes.map(tuple),
)
sessions = st.builds(
    SessionDescription,
    origin=st.builds(Origin, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), addresses, tokens),
    media=st.lists(media, max_size=4).map(tuple),
    address=st.none() | addresses,
    attributes=attributes.map(tuple),
)


@given(sessions)
def test_decode_gives_back_what_was_encoded(session: SessionDescription) -> None:
    assert SessionDescription.decode(session.encode()) == session
