"""Reading and making messages."""

from __future__ import annotations

import pytest

from p2psip.sip.message import limits
from p2psip.sip.message.build import make_ack, make_cancel, make_request, make_response, make_trying, phrase_of
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.headers import NameAddr, Via
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri

LINES = [
    "INVITE sip:bob@biloxi.com SIP/2.0",
    "Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds",
    "Max-Forwards: 70",
    "To: Bob <sip:bob@biloxi.com>",
    "From: Alice <sip:alice@atlanta.com>;tag=1928301774",
    "Call-ID: a84b4c76e66710@pc33.atlanta.com",
    "CSeq: 314159 INVITE",
    "Contact: <sip:alice@pc33.atlanta.com>",
    "X-Unknown:   kept;as,,it is",
]


def message_of(*changes: tuple[str, str | None], body: bytes = b"", end: str = "\r\n") -> bytes:
    """LINES with some replaced (by their beginning), dropped (None) or added."""
    lines = list(LINES)
    for start, line in changes:
        at = next((i for i, old in enumerate(lines) if old.startswith(start)), len(lines))
        lines[at : at + 1] = [] if line is None else [line]
    return end.join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def invite(*changes: tuple[str, str | None], body: bytes = b"") -> Request:
    request = parse(message_of(*changes, body=body))
    assert isinstance(request, Request)
    return request


def refusal(data: bytes) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        parse(data)
    return caught.value


def test_what_is_forwarded_is_what_came() -> None:
    data = message_of(("Content-Length", "Content-Length: 2"), body=b"ab")
    assert parse(data).encode() == data.replace(b"X-Unknown:   kept", b"X-Unknown: kept")


def test_body_without_content_length_is_the_rest_of_the_datagram() -> None:
    request = invite(body=b"v=0\r\n")
    assert request.body == b"v=0\r\n"
    assert b"Content-Length: 5\r\n\r\nv=0" in request.encode()


@pytest.mark.must("3261 18.3/1")
def test_bytes_after_the_body_are_cut_off() -> None:
    assert invite(("Content-Length", "l: 1"), body=b"abc").body == b"a"


def test_bytes_that_are_no_utf_8_survive() -> None:
    data = message_of(("X-", "X-Latin: caf\udce9"))
    assert b"caf\xe9" in parse(data).encode()


def test_lines_may_end_in_lf_alone() -> None:
    request = parse(message_of(end="\n"))
    assert request.encode() == parse(message_of()).encode()


def test_folded_lines_are_joined() -> None:
    request = invite(("Contact", "Contact: <sip:alice@pc33.atlanta.com>\r\n ;q=0.5 ,\r\n\t<sip:b@c>"))
    assert [str(contact) for contact in request.contacts] == ["<sip:alice@pc33.atlanta.com>;q=0.5", "<sip:b@c>"]


def test_bare_lf_makes_no_hidden_line() -> None:
    """What the next hop would take for a field of its own is one here already."""
    request = invite(("X-", "X-A: b\nRoute: <sip:evil;lr>"))
    assert len(request.routes) == 1


@pytest.mark.must("3261 8.1.1.5/1", "3261 20/2", "3261 20.16/1")
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (message_of(("X-", "X-A: b\rc")), 400),
        (message_of(("X-", "no colon here")), 400),
        (message_of(("X-", "X A: b")), 400),
        (message_of(("X-", ": b")), 400),
        (message_of(("INVITE", "INVITE sip:bob@biloxi.com SIP/3.0")), 505),
        (message_of(("INVITE", "INVITE sip:bob@biloxi.com")), 400),
        (message_of(("INVITE", "INV(ITE sip:bob@biloxi.com SIP/2.0")), 400),
        (message_of(("CSeq", None)), 400),
        (message_of(("From", None)), 400),
        (message_of(("Call-ID", "Call-ID:")), 400),
        (message_of(("Content-Length", "Content-Length: 1\r\nContent-Length: 2"), body=b"ab"), 400),
        (message_of(("Content-Length", "Content-Length: 9"), body=b"ab"), 400),
        (message_of(("Content-Length", "Content-Length: -1"), body=b"ab"), 400),
        (message_of(("Via", "Via: SIP/2.0/UDP a;rport=x")), 400),
        (message_of(("X-", "\r\n".join(["X-A: b"] * limits.FIELDS))), 513),
        (message_of(("X-", "X-A: " + "b" * limits.HEAD_BYTES)), 513),
        (message_of(body=b"b" * limits.MESSAGE_BYTES), 513),
        (message_of()[:-2], 400),
        (b"", 400),
        (b"\r\n\r\n", 400),
        (b"\n\n", 400),
        (b"\0" * 100, 400),
    ],
)
def test_refused(data: bytes, status: int) -> None:
    assert refusal(data).status == status


@pytest.mark.must("3261 18/2", "3261 18.1.1/1", "3261 18.1.1/3")
def test_18_1_1_a_message_as_long_as_a_datagram_is_read() -> None:
    """ "implementations MUST be able to handle messages up to the maximum datagram packet size"."""
    space = limits.MESSAGE_BYTES - len(message_of(("Content-Length", None)))
    request = parse(message_of(("Content-Length", None), body=b"b" * space))
    assert len(request.body) == space


@pytest.mark.must("3261 18.3/2")
def test_18_3_a_response_that_breaks_off_is_discarded() -> None:
    """ "this is considered an error. If the message is a response, it MUST be discarded." A request is answered."""
    changes = ("INVITE", "SIP/2.0 200 OK"), ("Content-Length", "Content-Length: 9")
    assert refusal(message_of(*changes, body=b"ab")).request is None
    assert refusal(message_of(*changes[1:], body=b"ab")).request is not None


@pytest.mark.must("3261 16.6/39", "3261 18.3/3", "3261 20/1", "3261 20.14/1", "3261 20.14/2")
@pytest.mark.parametrize("body", [b"", b"ab"])
@pytest.mark.parametrize("said", [[], ["7"], ["1", "1"]])
def test_20_14_every_message_says_how_long_its_body_is(body: bytes, said: list[str]) -> None:
    """And says it once, whatever stood there before; over UDP as well as over a stream, which must have it."""
    for message in (
        Request("INFO", "sip:b", Fields.of(("Via", "x"), *(("l", number) for number in said)), body),
        Response(200, "OK", Fields.of(("Via", "x"), *(("l", number) for number in said)), body),
    ):
        lines = message.encode().partition(b"\r\n\r\n")[0].split(b"\r\n")
        lengths = [line.partition(b":")[2].strip() for line in lines if line.lower().startswith((b"l:", b"content-l"))]
        assert lengths == [b"%d" % len(body)]


def test_same_content_length_twice_is_no_conflict() -> None:
    assert invite(("Content-Length", "Content-Length: 2\r\nl: 2"), body=b"ab").body == b"ab"


def test_refusal_brings_what_can_be_answered() -> None:
    error = refusal(message_of(("CSeq", "CSeq: 1 BYE")))
    assert error.request is not None
    response = make_response(error.request, 400, to_tag="x")
    assert str(response.to) == '"Bob" <sip:bob@biloxi.com>;tag=x'


@pytest.mark.parametrize("change", [("Via", None), ("Call-ID", None), ("INVITE", "ACK sip:a SIP/2.0")])
def test_refusal_without_a_way_back(change: tuple[str, str | None]) -> None:
    assert refusal(message_of(("CSeq", "CSeq: x"), change)).request is None


def test_crlf_before_a_message_is_ignored() -> None:
    assert parse(b"\r\n\r\n" + message_of()) == parse(message_of())


def test_request_uri_is_kept_as_text() -> None:
    request = invite(("INVITE", "INVITE sip:%62ob@BILOXI.com SIP/2.0"))
    assert request.sip_uri == SipUri("biloxi.com", "%62ob")
    assert request.replace(fields=request.fields).start_line() == "INVITE sip:%62ob@BILOXI.com SIP/2.0"


def test_status_lines() -> None:
    lines = message_of(("INVITE", "SIP/2.0 699 Any phrase: at all"), ("Contact", None))
    response = parse(lines)
    assert isinstance(response, Response)
    assert (response.status, response.phrase) == (699, "Any phrase: at all")
    for bad in ("SIP/2.0 700 x", "SIP/2.0 99 x", "SIP/2.0 2000 x", "SIP/3.0 200 OK", "SIP/2.0"):
        assert refusal(message_of(("INVITE", bad))).request is None


def test_star_contact_is_no_address() -> None:
    request = invite(("Contact", "Contact: *"))
    assert request.has_star_contact
    assert request.contacts == ()


@pytest.mark.parametrize(("value", "expires"), [("3600", 3600), ("x", None), ("99999999999", None), ("0", 0)])
def test_malformed_expires_counts_as_absent(value: str, expires: int | None) -> None:
    """10.2.1.1: "If this value is malformed, the server MUST treat it as equivalent to 3600.\""""
    assert invite(("Expires", f"Expires: {value}")).expires == expires


def test_content_type() -> None:
    assert invite(("c:", "c: Application/SDP ; x=y")).content_type == "application/sdp"


def test_replacing_the_via_keeps_what_was_read() -> None:
    request = invite()
    copy = request.with_top_via(Via("UDP", "new"))
    assert (copy.via.host, [via.host for via in copy.vias]) == ("new", ["new"])
    assert copy.from_ is request.from_
    assert request.via.host == "pc33.atlanta.com"
    assert parse(copy.encode()).via.host == "new"


def test_messages_compare_by_what_they_say() -> None:
    assert invite() == invite()
    assert hash(invite()) == hash(invite())
    assert invite() != invite(("X-", "X: y"))
    assert repr(invite()) == "<INVITE sip:bob@biloxi.com SIP/2.0>"
    with pytest.raises(NotImplementedError):
        Message(Fields()).start_line()


# Making


@pytest.mark.must("3261 8.1.1/1")
def test_8_1_1_request() -> None:
    alice = NameAddr(SipUri("atlanta.com", "alice")).with_tag("1")
    request = make_request(
        "MESSAGE",
        SipUri("biloxi.com", "bob"),
        from_=alice,
        to=NameAddr(SipUri("biloxi.com", "bob")),
        call_id="c",
        cseq=7,
        routes=[NameAddr(SipUri("proxy", None, None, (("lr", None),)))],
        extra=[("Content-Type", "text/plain")],
        body=b"hi",
    )
    request = request.replace(fields=request.fields.with_first("Via", "SIP/2.0/UDP a;branch=z9hG4bK1"))
    again = parse(request.encode())
    assert isinstance(again, Request)
    assert (again.cseq.number, again.max_forwards, again.content_type, again.body) == (7, 70, "text/plain", b"hi")
    assert again.routes[0].sip_uri.is_loose


@pytest.mark.must("3261 8.2.6.1/1", "3261 8.2.6.1/2", "3261 12.1.1/1")
def test_8_2_6_responses_copy_what_they_must() -> None:
    request = invite(("Timestamp", "Timestamp: 54"), ("Record-Route", "Record-Route: <sip:p;lr>"))
    trying = make_trying(request)
    assert (trying.fields.first("timestamp"), trying.to.tag, trying.record_routes) == ("54", "", ())
    # 8.2.6.1: "If there is a delay in generating the response, the UAS SHOULD add a delay value".
    assert make_trying(request, 3.5).fields.first("timestamp") == "54 3.5"
    assert "timestamp" not in make_trying(invite(), 3.5).fields
    ringing = make_response(request, 180, to_tag="x")
    assert (ringing.phrase, ringing.to.tag, len(ringing.record_routes)) == ("Ringing", "x", 1)
    assert make_response(request, 404, to_tag="x").record_routes == ()
    assert make_response(ringing_in_dialog(request), 200, to_tag="y").to.tag == "x"
    refused = make_response(request, 500, "Own words", to_tag="t", extra=[("Retry-After", 3)])
    assert (refused.phrase, refused.fields.first("retry-after")) == ("Own words", "3")
    assert phrase_of(499) == "Unknown"


@pytest.mark.must("3261 8.2.6.2/6")
@pytest.mark.parametrize("to", ["Bob <sip:bob@biloxi.com>", "sip:bob@biloxi.com", '"Bob <sip:bob@biloxi.com>', "<<>>"])
def test_8_2_6_2_a_tag_in_every_response_but_100_also_where_to_cannot_be_read(to: str) -> None:
    request = invite().replace(fields=invite().fields.with_only("To", to))
    for status in (183, 200, 302, 400, 503, 603):
        assert make_response(request, status, to_tag="x").fields.lines("to") == [f"{to};tag=x"]
    with pytest.raises(AssertionError, match="a tag in To"):
        make_response(request, 200, to_tag="")


def ringing_in_dialog(request: Request) -> Request:
    return request.replace(fields=request.fields.with_only("To", "Bob <sip:bob@biloxi.com>;tag=x"))


@pytest.mark.must(
    "3261 8.2.2.3/3",
    "3261 9.1/1",
    "3261 9.1/2",
    "3261 9.1/3",
    "3261 9.1/4",
    "3261 9.1/5",
    "3261 16.6/38",
    "3261 17.1.1.3/2",
    "3261 17.1.1.3/3",
    "3261 17.1.1.3/4",
    "3261 17.1.1.3/5",
    "3261 17.1.1.3/6",
    "5393 4.2.1/6",
)
def test_17_1_1_3_ack_and_9_1_cancel() -> None:
    request = invite(("Route", "Route: <sip:p;lr>\r\nRoute: <sip:q;lr>"))
    ack = make_ack(request, make_response(request, 404, to_tag="x"))
    assert (ack.method, ack.to.tag, ack.cseq.number, ack.cseq.method) == ("ACK", "x", 314159, "ACK")
    assert ack.vias == (request.via,)
    assert len(ack.routes) == 2
    cancel = make_cancel(request)
    assert (cancel.method, cancel.to.tag, cancel.uri_text) == ("CANCEL", "", request.uri_text)
    assert parse(cancel.encode()) == cancel


@pytest.mark.parametrize("version", ["sip/2.0", "Sip/2.0"])
def test_7_1_the_version_is_read_in_any_case_and_sent_in_capitals(version: str) -> None:
    request = parse(invite().encode().replace(b"SIP/2.0\r\n", f"{version}\r\n".encode(), 1))
    assert request.encode() == invite().encode()
    with pytest.raises(BadMessage) as caught:
        parse(invite().encode().replace(b"SIP/2.0\r\n", b"sip/3.0\r\n", 1))
    assert caught.value.status == 505


def test_7_1_a_method_is_case_sensitive_and_7_3_1_a_name_is_not() -> None:
    text = invite().encode().replace(b"Call-ID", b"CALL-id").replace(b"To:", b"tO:")
    assert parse(text).call_id == invite().call_id
    assert parse(text.replace(b"INVITE", b"Invite")).method == "Invite"  # type: ignore[union-attr]
    with pytest.raises(BadMessage, match="CSeq is for INVITE"):
        parse(text.replace(b"INVITE sip", b"Invite sip"))


def test_a_copy_with_nothing_else_is_the_message_itself() -> None:
    """So what has been read of it is not read again; anything else makes another."""
    request, response = invite(), make_response(invite(), 200, to_tag="t")
    assert request.replace(fields=request.fields) is request
    assert request.replace(fields=request.fields, body=b"else").body == b"else"
    assert response.replace(fields=response.fields) is response
    assert response.replace(fields=response.fields, status=486).status == 486
