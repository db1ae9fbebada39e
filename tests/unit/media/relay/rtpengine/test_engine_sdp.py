"""What an engine is told of a phone, and what it says."""

from dataclasses import replace

import pytest

from p2psip.media.negotiation import Direction
from p2psip.media.relay.description import MediaLine, read
from p2psip.media.relay.rtpengine.engine_sdp import FORMATS_MAX, NOWHERE, named, told
from p2psip.media.sdp import MalformedSdp, MediaDescription, SessionDescription

PHONE = "192.0.2.1"
HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
AUDIO = "m=audio 4000 RTP/AVP 0 96\r\na=rtpmap:96 opus/48000/2\r\n"


def line(media: str = AUDIO) -> MediaLine:
    (described,) = read((HEAD + media).encode())
    return described


def media(described: MediaLine, host: str = PHONE) -> MediaDescription:
    session = SessionDescription.decode(told([described], host).encode())
    assert session.address == host
    (one,) = session.media
    return one


def test_it_is_told_the_numbers_and_the_ports_and_nothing_of_codecs_and_keys() -> None:
    secret = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\na=fingerprint:sha-256 00\r\na=ice-ufrag:x\r\n"
    described = media(line(AUDIO.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF") + secret + "a=rtcp:4321\r\na=sendonly\r\n"))
    assert (described.kind, described.port, described.protocol, described.formats) == (
        "audio",
        4000,
        "RTP/AVP",
        ("0", "96"),
    )
    assert list(map(str, described.attributes)) == ["sendonly", "rtcp:4321", "rtpmap:96 as-it-comes-96/48000"]


def test_a_phone_is_where_its_signalling_comes_from_whatever_it_names() -> None:
    assert "198.51.100.7" not in told([line("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 198.51.100.7\r\n")], PHONE)
    assert media(line(), "2001:db8::1").port == 4000


@pytest.mark.parametrize(
    ("text", "port", "direction"),
    [
        ("m=audio 0 RTP/AVP 0\r\n", NOWHERE, "inactive"),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n", NOWHERE, "sendonly"),
        ("m=audio 4000 RTP/AVP 0\r\na=inactive\r\n", 4000, "inactive"),
        ("m=audio 4000 RTP/AVP 0\r\na=recvonly\r\n", 4000, "recvonly"),
    ],
)
def test_to_a_phone_that_wants_nothing_nothing_is_sent(text: str, port: int, direction: str) -> None:
    described = media(line(text))
    assert (described.port, str(described.attributes[0])) == (port, direction)


def test_fax_is_told_as_fax() -> None:
    described = media(line("m=image 4000 udptl t38\r\na=T38FaxVersion:0\r\n"))
    assert (described.kind, described.port, described.protocol, described.formats) == ("image", 4000, "udptl", ("t38",))
    assert list(map(str, described.attributes)) == [Direction.SENDRECV.value]


def test_a_phone_with_many_codecs_does_not_fill_a_datagram() -> None:
    many = tuple(map(str, range(128)))
    described = replace(line(), formats=many, rates=dict.fromkeys(range(128), 8000))
    assert media(described).formats == many[:FORMATS_MAX]
    assert len(told([described] * 4, PHONE)) < 6000


@pytest.mark.parametrize(
    ("text", "kind", "formats"),
    [
        ("m=video 4000 RTP/AVP 96\r\n", "video", ("96",)),
        (f"m=a{'x' * 20_000} 4000 RTP/AVP {'9' * 20_000} * 8\r\n", "audio", ("8",)),
        ("m=text 4000 RTP/AVP *\r\n", "audio", ("0",)),
    ],
)
def test_odd_words_of_a_phone_are_not_passed_on(text: str, kind: str, formats: tuple[str, ...]) -> None:
    described = media(line(text))
    assert (described.kind, described.formats) == (kind, formats)


def test_the_engine_names_a_port_for_each_stream() -> None:
    assert named(HEAD + AUDIO + "m=image 4002 udptl t38\r\nc=IN IP6 2001:db8::7\r\n") == (
        (PHONE, 4000),
        ("2001:db8::7", 4002),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=0",
        "\udcff",
        HEAD + "m=audio 0 RTP/AVP 0\r\n",
        HEAD.replace("c=", "b=") + AUDIO,
        HEAD.replace("c=IN IP4 192.0.2.1", "c=IN IP4 host.example") + AUDIO,
        HEAD.replace("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0") + AUDIO,
        HEAD + AUDIO.replace(" 4000", ""),
    ],
)
def test_what_names_none_is_refused(text: str) -> None:
    with pytest.raises(MalformedSdp):
        named(text)
