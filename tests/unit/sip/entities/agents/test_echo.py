"""The echo service, joined to a server by messages in memory."""

import random

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.media.rtp import RtpPacket
from p2psip.media.session import SendRtp
from p2psip.sip.entities.agents.echo import CALL_S_MAX, EchoService
from p2psip.sip.entities.agents.types import MediaReleased, ToServer
from p2psip.sip.message.message import Message, Request
from p2psip.sip.message.parser import parse

LOCAL, PHONE = Address("192.0.2.5", 4000), Address("192.0.2.9", 7000)

INVITE = b"""INVITE sip:*43@192.0.2.5 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1
Record-Route: <sip:ltoken@192.0.2.5;lr>
From: <sip:carol@example.org>;tag=c
To: <sip:*43@example.org>
Call-ID: x
CSeq: 1 INVITE
Contact: <sip:carol@192.0.2.9>
Content-Type: application/sdp

v=0
o=- 1 1 IN IP4 192.0.2.9
c=IN IP4 192.0.2.9
m=audio 7000 RTP/AVP 0
""".replace(b"\n", b"\r\n")


def service() -> EchoService:
    return EchoService("example.org", random.Random(1))


def said(effects: list[Effect]) -> list[Message]:
    return [parse(effect.data) for effect in effects if isinstance(effect, ToServer)]


def lines(effects: list[Effect]) -> list[str]:
    return [message.start_line() for message in said(effects)]


def ringing(echo: EchoService) -> int:
    """The token of the question for a media address."""
    echo.handle_message(INVITE, 0.0)
    (ask,) = echo.drain()
    assert isinstance(ask, Ask)
    return ask.token


def answered(echo: EchoService) -> Message:
    echo.handle_answer(ringing(echo), LOCAL, 0.0)
    echo.handle_timeout(0.0)
    effects = echo.drain()
    assert lines(effects) == ["SIP/2.0 180 Ringing", "SIP/2.0 200 OK"]
    return said(effects)[1]


def in_dialog(method: str, number: int, ok: Message) -> bytes:
    head = INVITE.partition(b"\r\n\r\n")[0].replace(b"INVITE", method.encode())
    head = head.replace(b"1 " + method.encode(), b"%d %s" % (number, method.encode()))
    head = head.replace(b"z9hG4bK1", b"z9hG4bK" + method.encode())
    return head.replace(b"To: <sip:*43@example.org>", f"To: {ok.fields.first('to')}".encode()) + b"\r\n\r\n"


def test_a_call_hears_itself_until_it_hangs_up() -> None:
    echo = service()
    ok = answered(echo)
    assert b"m=audio 4000 RTP/AVP 0\r\n" in ok.body
    echo.handle_message(in_dialog("ACK", 1, ok), 0.1)
    packet = RtpPacket(0, 1, 160, 9, b"\x55" * 160)
    echo.handle_media(LOCAL, PHONE, packet.encode(), 0.2)
    (back,) = echo.drain()
    assert isinstance(back, SendRtp)
    assert (back.local, back.remote, RtpPacket.decode(back.data).payload) == (LOCAL, PHONE, packet.payload)
    echo.handle_message(in_dialog("BYE", 2, ok), 0.3)
    effects = echo.drain()
    assert lines(effects) == ["SIP/2.0 200 OK"]
    assert MediaReleased(LOCAL) in effects
    echo.handle_media(LOCAL, PHONE, RtpPacket(0, 2, 320, 9, b"\x55" * 160).encode(), 0.4)
    assert echo.drain() == []


def test_a_phone_that_dies_is_hung_up_by_way_of_the_server() -> None:
    echo = service()
    echo.handle_message(in_dialog("ACK", 1, answered(echo)), 0.1)
    echo.handle_timeout(CALL_S_MAX + 1)
    effects = echo.drain()
    (bye,) = said(effects)
    assert isinstance(bye, Request)
    assert (bye.start_line(), str(bye.routes[0])) == ("BYE sip:carol@192.0.2.9 SIP/2.0", "<sip:ltoken@192.0.2.5;lr>")
    assert MediaReleased(LOCAL) in effects


def test_an_address_that_comes_too_late_is_given_back() -> None:
    echo = service()
    token = ringing(echo)
    cancel = INVITE.partition(b"\r\n\r\n")[0].replace(b"INVITE", b"CANCEL") + b"\r\n\r\n"
    echo.handle_message(cancel, 0.1)
    assert sorted(lines(echo.drain())) == ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]
    echo.handle_answer(token, LOCAL, 0.2)
    assert echo.drain() == [MediaReleased(LOCAL)]


def test_no_address_no_call() -> None:
    echo = service()
    echo.handle_answer(ringing(echo), None, 0.0)
    assert lines(echo.drain()) == ["SIP/2.0 480 Temporarily Unavailable"]


def test_8_2_3_what_the_echo_cannot_read_is_refused() -> None:
    echo = service()
    echo.handle_message(INVITE.replace(b"application/sdp", b"multipart/mixed;boundary=x"), 0.0)
    (refused,) = said(echo.drain())
    assert (refused.start_line(), refused.fields.first("accept")) == (
        "SIP/2.0 415 Unsupported Media Type",
        "application/sdp",
    )
