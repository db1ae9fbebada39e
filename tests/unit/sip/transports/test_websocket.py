"""WebSocket as a framing: the handshake, messages in frames, and what no client can do."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_client import WebEnd
from wsproto.events import AcceptConnection, CloseConnection, Ping, Pong

from p2psip.base.address import Address
from p2psip.sip.message import limits
from p2psip.sip.transports.framing import framing_of
from p2psip.sip.transports.own_addresses import OwnAddresses
from p2psip.sip.transports.web_origins import WebOrigins
from p2psip.sip.transports.websocket import HANDSHAKE_BYTES, WebSocketFraming

ORIGINS = WebOrigins(
    frozenset({"overlay.example", "garden.local"}),
    OwnAddresses(["192.0.2.1", "2001:db8::1"]),
    frozenset({"https://phone.example"}),
)
MESSAGE = "OPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\n"


def opened() -> tuple[WebSocketFraming, WebEnd]:
    """A connection after its handshake."""
    framing, end = WebSocketFraming(ORIGINS), WebEnd()
    assert framing.feed(end.handshake("192.0.2.1:5066")) == []
    (answer,) = framing.take_replies()
    assert end.hear(answer) == []
    assert end.events == [AcceptConnection(subprotocol="sip", extra_headers=end.events[0].extra_headers)]
    return framing, end


def refused(data: bytes) -> tuple[int, str]:
    """How a handshake is answered, with what status and words."""
    framing = WebSocketFraming(ORIGINS)
    assert framing.feed(data) == []
    (answer,) = framing.take_replies()
    assert framing.error is not None
    assert framing.refusal
    assert not framing.is_between_messages
    assert (framing.wrap(b"x"), framing.ping(), framing.goodbye("")) == (b"", b"", b"")
    assert framing.feed(b"anything") == []
    assert framing.take_replies() == []
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return int(head.split()[1]), framing.refusal


def request(*lines: str, first: str = "GET / HTTP/1.1") -> bytes:
    return "\r\n".join((first, *lines, "", "")).encode()


USUAL = (
    "Host: 192.0.2.1:5066",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Protocol: sip",
)


# The handshake


@pytest.mark.must("7118 4.1/2")
def test_the_handshake_of_the_rfc() -> None:
    """RFC 7118 4.1's example, with a Host and an Origin of ours."""
    framing = WebSocketFraming(ORIGINS)
    assert framing.feed(request(*USUAL, "Origin: https://phone.example")) == []
    (answer,) = framing.take_replies()
    status, *lines = answer.decode().split("\r\n")
    assert status.startswith("HTTP/1.1 101 ")
    fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines if line}
    assert fields["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert fields["sec-websocket-protocol"] == "sip"
    assert "sec-websocket-extensions" not in fields


def test_no_compression_is_agreed_on() -> None:
    framing = WebSocketFraming(ORIGINS)
    framing.feed(request(*USUAL, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
    (answer,) = framing.take_replies()
    assert b" 101 " in answer
    assert b"deflate" not in answer


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_a_handshake_in_pieces(pieces: int) -> None:
    framing, end = WebSocketFraming(ORIGINS), WebEnd()
    data = end.handshake("overlay.example")
    for start in range(0, len(data), pieces):
        assert not framing.is_between_messages
        framing.feed(data[start : start + pieces])
    (answer,) = framing.take_replies()
    end.hear(answer)
    assert framing.feed(end.say(MESSAGE)) == [MESSAGE.encode()]


@pytest.mark.must("7118 4.1/1")
@pytest.mark.parametrize("offered", ["chat", "SIP", "", "sipx, msrp"])
def test_7118_4_1_who_does_not_ask_for_sip_is_refused(offered: str) -> None:
    lines = (*USUAL[:-1], f"Sec-WebSocket-Protocol: {offered}") if offered else USUAL[:-1]
    assert refused(request(*lines)) == (400, 'it does not ask for the subprotocol "sip"')


@pytest.mark.must("7118 4.1/2")
def test_7118_4_1_sip_among_others() -> None:
    framing = WebSocketFraming(ORIGINS)
    framing.feed(request(*USUAL[:-1], "Sec-WebSocket-Protocol: msrp, sip"))
    (answer,) = framing.take_replies()
    assert b"sec-websocket-protocol: sip\r\n" in answer.lower()


@pytest.mark.parametrize(
    ("data", "status", "why"),
    [
        (request(*USUAL, first="POST / HTTP/1.1"), 400, "must be GET"),
        (request(*USUAL, first="GET / HTTP/1.0"), 400, "no handshake"),
        (request(*USUAL[1:]), 400, "no handshake"),
        (request(*USUAL, "Host: 192.0.2.1"), 400, "no handshake"),
        (request(USUAL[0], *USUAL[2:]), 400, "Upgrade"),
        (request(*USUAL[:3], *USUAL[4:]), 400, "Sec-WebSocket-Key"),
        (request(*USUAL[:4], "Sec-WebSocket-Version: 8", USUAL[5]), 426, "Sec-WebSocket-Version"),
        (request("Host: 192.0.2.1:5066", "Accept: text/html"), 400, "Connection: Upgrade"),
        (MESSAGE.encode(), 400, "no handshake"),
        (b"\r\n\r\n", 400, "no handshake"),
        (request(*USUAL, "X: \xe4"), 400, "no handshake"),
        (request("Host: xn--\x00", *USUAL[1:]), 400, "no handshake"),
        (request("Host: xn--a..b", *USUAL[1:]), 400, "Host is no name"),
        (request(*USUAL) + b"\x81", 400, "no handshake"),
        (b"\x16\x03\x01\x02\x00\x01", 400, "is it TLS?"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * HANDSHAKE_BYTES, 431, "too long"),
    ],
)
def test_what_is_no_handshake_is_answered_and_ended(data: bytes, status: int, why: str) -> None:
    answered, reason = refused(data)
    assert answered == status
    assert why in reason


@pytest.mark.parametrize(
    "host", ["overlay.example", "GARDEN.local:5067", "192.0.2.1", "[2001:db8::1]:5066", "[2001:DB8:0::1]"]
)
def test_by_each_name_of_its_own_a_peer_is_reached(host: str) -> None:
    framing = WebSocketFraming(ORIGINS)
    framing.feed(request(f"Host: {host}", *USUAL[1:]))
    assert b" 101 " in framing.take_replies()[0]


@pytest.mark.parametrize("host", ["rebound.example:5066", "192.0.2.2", "[2001:db8::2]", "", "overlay.example.evil"])
def test_who_takes_us_for_another_is_refused(host: str) -> None:
    """A page whose name its owner has pointed to us (DNS rebinding) is of our network, as the browser sees it."""
    status, why = refused(request(f"Host: {host}", *USUAL[1:]))
    assert (status, "which is no name of it" in why) == (403, True)


@pytest.mark.parametrize(
    "origin",
    [
        "https://phone.example",
        "https://PHONE.example",
        "http://192.0.2.1",
        "https://192.0.2.1:8443",
        "https://garden.local",
        "http://[2001:db8::1]:8080",
    ],
)
def test_6455_10_2_pages_that_may_connect(origin: str) -> None:
    framing = WebSocketFraming(ORIGINS)
    framing.feed(request(*USUAL, f"Origin: {origin}"))
    assert b" 101 " in framing.take_replies()[0]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://phone.example",
        "https://phone.example:8443",
        "https://phone.example.evil.example",
        "https://overlay.example.evil.example",
        "null",
        "",
        "ftp://192.0.2.1",
        "192.0.2.1",
        "*",
    ],
)
def test_6455_10_2_pages_that_may_not(origin: str) -> None:
    status, why = refused(request(*USUAL, f"Origin: {origin}"))
    assert (status, why) == (403, f"pages from {origin} may not connect")


def test_every_page_where_the_operator_says_so() -> None:
    framing = WebSocketFraming(WebOrigins(ORIGINS.names, ORIGINS.addresses, frozenset({"*"})))
    framing.feed(request(*USUAL, "Origin: null"))
    assert b" 101 " in framing.take_replies()[0]


# Messages


@pytest.mark.must("7118 4.2/1")
@pytest.mark.parametrize("message", [MESSAGE, MESSAGE.encode(), "OPTIONS sip:\u00e4 SIP/2.0\r\n\r\n"])
def test_7118_4_2_text_and_binary_are_taken(message: str | bytes) -> None:
    framing, end = opened()
    data = message.encode() if isinstance(message, str) else message
    assert framing.feed(end.say(message)) == [data]
    assert framing.feed(end.say(message) + end.say(message)) == [data, data]
    assert framing.is_between_messages


@pytest.mark.must("7118 4.2/2")
def test_7118_4_2_what_is_not_utf_8_goes_out_binary() -> None:
    framing, end = opened()
    assert framing.wrap(b"SIP/2.0 200 OK\r\n\r\n")[0] == 0x81
    binary = framing.wrap(b"SIP/2.0 200 OK\r\n\r\n\xff")
    assert binary[0] == 0x82
    assert end.hear(binary) == [b"SIP/2.0 200 OK\r\n\r\n\xff"]


def test_a_message_in_several_frames_cut_anywhere() -> None:
    framing, end = opened()
    data = end.say("OPTIONS sip:\u00e4", is_last=False) + end.say(" SIP/2.0\r\n", is_last=False) + end.say("\r\n")
    messages: list[bytes] = []
    for byte in data:
        messages += framing.feed(bytes([byte]))
        assert framing.error is None
    assert messages == ["OPTIONS sip:\u00e4 SIP/2.0\r\n\r\n".encode()]


def test_a_message_has_begun_until_its_last_frame() -> None:
    framing, end = opened()
    framing.feed(end.say("OPTIONS", is_last=False))
    assert not framing.is_between_messages
    framing.feed(end.say(""))
    assert framing.is_between_messages


def test_a_message_too_long_ends_the_connection() -> None:
    framing, end = opened()
    part = b"x" * 4096
    for _ in range(limits.MESSAGE_BYTES // len(part)):
        assert framing.feed(end.say(part, is_last=False)) == []
    assert framing.error is None
    assert framing.feed(end.say(part, is_last=False)) == []
    assert framing.error is not None
    assert framing.error.what == "message too long"
    (bye,) = framing.take_replies()
    end.hear(bye)
    assert end.events[-1] == CloseConnection(1009, "message too long")


def test_of_a_frame_of_absurd_length_only_what_came_is_held() -> None:
    framing, _ = opened()
    header = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0"
    assert framing.feed(header + b"x" * 100) == []
    assert framing.error is None
    assert framing.feed(b"x" * limits.MESSAGE_BYTES) == []
    assert framing.error is not None


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x01x",
        b"\xc1\x81\0\0\0\0x",
        b"\x83\x80\0\0\0\0",
        b"\x80\x80\0\0\0\0",
        b"\x09\x80\0\0\0\0",
        b"\x89\xfe\x01\x00\0\0\0\0",
        b"\x81\x82\0\0\0\0\xff\xff",
        b"\x88\x81\0\0\0\0x",
        b"\x88\x82\0\0\0\0\x03\xe7",
    ],
    ids=["unmasked", "rsv", "opcode", "continuation", "fragmented ping", "long ping", "no UTF-8", "code", "code 999"],
)
def test_what_is_no_frame_ends_the_connection(frame: bytes) -> None:
    """What came before is given out."""
    framing, end = opened()
    assert framing.feed(end.say(MESSAGE) + frame + end.say(MESSAGE)) == [MESSAGE.encode()]
    assert framing.error is not None
    assert not framing.refusal
    assert end.hear(framing.take_replies()[-1]) == []
    assert isinstance(end.events[-1], CloseConnection)
    assert framing.feed(end.say(MESSAGE) if end.connection.state.name == "OPEN" else b"x") == []


@given(st.binary(max_size=400), st.integers(0, 2**32))
def test_any_bytes_end_in_messages_or_in_an_error(data: bytes, seed: int) -> None:
    """In the handshake and after it, however they come in pieces."""
    rng = random.Random(seed)
    for framing in (WebSocketFraming(ORIGINS), opened()[0]):
        start = 0
        while start < len(data):
            step = rng.randrange(1, 64)
            framing.feed(data[start : start + step])
            framing.take_replies()
            start += step
        assert framing.wrap(b"x") == b"" or framing.error is None
        assert isinstance(framing.goodbye("x" * 200), bytes)


# Keep-alives and the end


def test_7118_6_pings_are_answered_and_are_no_messages() -> None:
    framing, end = opened()
    assert framing.feed(end.connection.send(Ping(b"there?"))) == []
    assert end.hear(b"".join(framing.take_replies())) == []
    assert end.events[-1] == Pong(b"there?")
    assert framing.feed(end.pong()) == []
    assert framing.take_replies() == []
    end.hear(framing.ping())
    assert end.events[-1] == Ping()


def test_7118_6_a_double_crlf_is_answered_by_a_single_one() -> None:
    framing, end = opened()
    assert framing.feed(end.say("\r\n\r\n")) == []
    assert end.hear(b"".join(framing.take_replies())) == [b"\r\n"]
    for nothing in ("\r\n", "", b""):
        assert framing.feed(end.say(nothing)) == []
    assert framing.take_replies() == []


def test_a_page_that_ends() -> None:
    framing, end = opened()
    assert framing.feed(end.say(MESSAGE) + end.close() + b"\x89\x80\0\0\0\0") == [MESSAGE.encode()]
    assert framing.ended == "closed by the other side"
    assert framing.error is None
    (bye,) = framing.take_replies()
    end.hear(bye)
    assert end.events[-1] == CloseConnection(1000, "")
    assert framing.wrap(b"x") == b""
    assert framing.feed(b"x") == []


def test_we_say_why_we_end() -> None:
    framing, end = opened()
    end.hear(framing.goodbye("\u00e4" * 100))
    (close,) = [event for event in end.events if isinstance(event, CloseConnection)]
    assert (close.code, close.reason) == (1001, "\u00e4" * 61)
    assert framing.goodbye("again") == b""


def test_each_transport_has_its_framing() -> None:
    for transport in ("WS", "WSS"):
        assert isinstance(framing_of(transport, Address("192.0.2.9", 4), ORIGINS), WebSocketFraming)
