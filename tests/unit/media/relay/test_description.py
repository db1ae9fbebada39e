"""Descriptions on their way through a relay (RFC 8866, RFC 3264, RFC 3605, RFC 5761)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.negotiation import Direction
from p2psip.media.relay.description import At, Carriage, Change, Keep, Refuse, Tagged, read, write
from p2psip.media.sdp import MalformedSdp

HERE = "192.0.2.99"


def sdp(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


SESSION = ("v=0", "o=alice 1 2 IN IP4 10.0.0.7", "s=call", "c=IN IP4 10.0.0.7", "b=AS:80", "t=0 0")
AUDIO = ("m=audio 4000 RTP/AVP 0 101", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000")
VIDEO = ("m=video 4002 RTP/AVP 96", "b=AS:500", "a=rtpmap:96 H264/90000", "a=rtcp-fb:96 nack pli")
FAX = ("m=image 4004 udptl t38", "a=T38FaxVersion:0")
CHAT = ("m=message 2855 TCP/MSRP *", "a=path:msrp://10.0.0.7:2855/x;tcp")


def lines_of(body: bytes) -> list[str]:
    return body.decode().splitlines()


def test_only_where_packets_go_is_changed() -> None:
    body = sdp(*SESSION, *AUDIO, "a=ptime:20", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:k", "x=?", *VIDEO)
    assert lines_of(write(body, [At(HERE, 16384), At(HERE, 16386)])) == [
        *("v=0", f"o=alice 1 2 IN IP4 {HERE}", "s=call", f"c=IN IP4 {HERE}", "b=AS:80", "t=0 0"),
        *("m=audio 16384 RTP/AVP 0 101", f"c=IN IP4 {HERE}", *AUDIO[1:], "a=ptime:20"),
        *("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:k", "x=?"),
        *("m=video 16386 RTP/AVP 96", f"c=IN IP4 {HERE}", *VIDEO[1:]),
    ]


def test_from_ipv4_to_ipv6() -> None:
    written = lines_of(write(sdp(*SESSION, *AUDIO), [At("2001:db8::1", 16384)]))
    assert "c=IN IP6 2001:db8::1" in written
    assert "o=alice 1 2 IN IP6 2001:db8::1" in written
    assert not any("IP4" in line for line in written)


def test_rtcp_is_where_its_attribute_says_and_ours_is_on_the_next_port() -> None:
    named = read(sdp(*SESSION, *AUDIO, "a=rtcp:4999 IN IP4 10.0.0.8"))
    assert named[0].rtp == ("10.0.0.7", 4000)
    assert named[0].rtcp == ("10.0.0.8", 4999)
    assert read(sdp(*SESSION, *AUDIO))[0].rtcp == ("10.0.0.7", 4001)
    written = write(sdp(*SESSION, *AUDIO, "a=rtcp:4999", "a=rtcp-mux"), [At(HERE, 16384)])
    assert b"a=rtcp:" not in written
    assert b"a=rtcp-mux" in written


def test_ice_and_bundles_go() -> None:
    body = sdp(
        *(*SESSION, "a=group:BUNDLE 0 1", "a=ice-options:trickle", "a=group:LS 0 1"),
        *(*AUDIO, "a=ice-ufrag:x", "a=ice-pwd:y", "a=candidate:1 1 UDP 1 10.0.0.7 4000 typ host"),
        *("a=end-of-candidates", "a=mid:0", "a=fingerprint:sha-256 AB", "a=setup:actpass"),
    )
    written = write(body, [At(HERE, 16384)])
    assert b"a=ice" not in written
    assert b"candidate" not in written
    assert b"BUNDLE" not in written
    for kept in (b"a=group:LS 0 1", b"a=mid:0", b"a=fingerprint:sha-256 AB", b"a=setup:actpass"):
        assert kept in written


def test_a_hold_by_0_0_0_0_stays_one() -> None:
    body = sdp("v=0", "o=a 1 1 IN IP4 10.0.0.7", "s=-", "c=IN IP4 0.0.0.0", "t=0 0", *AUDIO)
    (audio,) = read(body)
    assert audio.is_held
    assert audio.rtp is None
    assert audio.direction is Direction.SENDONLY
    (again,) = read(write(body, [At(HERE, 16384)]))
    assert again.is_held


def test_of_two_lines_one_on_hold_and_one_not() -> None:
    body = sdp(*SESSION, AUDIO[0], "c=IN IP4 0.0.0.0", *VIDEO)
    audio, video = read(write(body, [At(HERE, 16384), At(HERE, 16386)]))
    assert audio.is_held
    assert video.rtp == (HERE, 16386)


def test_what_a_stream_is() -> None:
    kinds = [each.carriage for each in read(sdp(*SESSION, *AUDIO, *FAX, *CHAT, "m=audio 0 RTP/AVP 0"))]
    assert kinds == [Carriage.RTP, Carriage.PLAIN, Carriage.UNKNOWN, Carriage.RTP]
    assert read(sdp(*SESSION, "m=audio 9 UDP/TLS/RTP/SAVPF 0"))[0].carriage is Carriage.RTP
    assert read(sdp(*SESSION, "m=audio 9 TCP/RTP/AVP 0"))[0].carriage is Carriage.UNKNOWN


def test_what_is_refused_has_port_0_and_keeps_its_place() -> None:
    written = write(sdp(*SESSION, *CHAT, *AUDIO), [Refuse(), At(HERE, 16384)])
    chat, audio = read(written)
    assert chat.is_refused
    assert audio.rtp == (HERE, 16384)


def test_several_ports_become_one() -> None:
    assert b"m=audio 16384 RTP/AVP 0\r\n" in write(sdp(*SESSION, "m=audio 4000/2 RTP/AVP 0"), [At(HERE, 16384)])


def test_a_number_is_told_to_a_peer_and_to_nobody_else() -> None:
    body = sdp(*SESSION, *AUDIO)
    tagged = write(body, [Tagged(65535)])
    assert read(tagged)[0].number == 65535
    assert read(tagged)[0].rtp == ("10.0.0.7", 4000)
    assert write(tagged, [Keep()]) == body
    assert b"p2psip-stream" not in write(tagged, [At(HERE, 16384)])
    for wrong in ("65536", "-1", "", "1a", "\u0663"):
        assert read(sdp(*SESSION, *AUDIO, f"a=p2psip-stream:{wrong}"))[0].number is None


def test_rates_are_those_of_rtpmap() -> None:
    body = sdp(*SESSION, *VIDEO, "a=rtpmap:97 opus/48000/2", "a=rtpmap:98 x/0", "a=rtpmap:99 y/abc", "a=rtpmap:100 z")
    assert read(body)[0].rates == {96: 90000, 97: 48000}


def test_bytes_that_are_no_utf8_stay_as_they_came() -> None:
    body = sdp(*SESSION, *AUDIO).replace(b"s=call", b"s=\xe4\xff")
    assert b"s=\xe4\xff\r\n" in write(body, [At(HERE, 16384)])


LINES = st.sampled_from(
    [
        *(*AUDIO[1:], *VIDEO[1:], "c=IN IP4 0.0.0.0", "c=IN IP6 ::1", "i=title", "k=clear:x", "a=rtcp:7", "a=sendonly"),
        *("a=candidate:1", "a=mid:1", "y=odd", "a=p2psip-stream:7", "c=IN IP4 host.example", "a=rtcp-mux"),
    ]
)
HEADS = st.sampled_from([AUDIO[0], VIDEO[0], FAX[0], CHAT[0], "m=audio 0 RTP/AVP 0"])
CHANGES = st.one_of(st.builds(At, st.just(HERE), st.integers(1, 65535)), st.just(Refuse()), st.just(Keep()))


@given(st.lists(st.tuples(HEADS, st.lists(LINES, max_size=5), CHANGES), min_size=1, max_size=4))
def test_each_line_says_what_it_shall_and_others_what_they_said(
    media: list[tuple[str, list[str], Change]],
) -> None:
    body = sdp(*SESSION, *(line for head, rest, _ in media for line in (head, *rest)))
    before, after = read(body), read(write(body, [change for _, _, change in media]))
    assert len(before) == len(after)
    for was, now, (_, _, change) in zip(before, after, media, strict=True):
        assert (was.kind, was.carriage, was.direction, was.rates) == (now.kind, now.carriage, now.direction, now.rates)
        match change:
            case At(host, port) if not was.is_held:
                assert (now.rtp, now.rtcp) == ((host, port), (host, port + 1) if port < 65535 else None)
            case At():
                assert now.is_held
            case Refuse():
                assert now.is_refused
            case _:
                assert (was.rtp, was.rtcp, was.is_held) == (now.rtp, now.rtcp, now.is_held)


@given(st.binary(max_size=300))
def test_what_is_no_description_is_said_to_be_none(body: bytes) -> None:
    try:
        described = read(body)
    except MalformedSdp:
        return
    write(body, [Keep()] * len(described))


def test_nothing_at_all_is_no_description() -> None:
    with pytest.raises(MalformedSdp):
        read(b"")
