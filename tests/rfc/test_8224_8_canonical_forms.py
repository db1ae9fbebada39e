"""RFC 8224 sections 4.1 and 8: what in a request a token is about, in the one spelling for it."""

from __future__ import annotations

import pytest

from p2psip.sip.entities.callers.identity_field import date_of, media_keys, party_of
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import parse_uri


def request(*more: tuple[str, str], body: bytes = b"") -> Request:
    return Request("INVITE", "sip:bob@example.com", Fields.of(*more), body)


@pytest.mark.must(
    "8224 8.1/1", "8224 8.3/1", "8224 8.3/2", "8224 8.5/1", "8224 8.5/2", "8224 8.5/3", "8224 8.5/4", "8225 5.2.1.1/2"
)
@pytest.mark.parametrize(
    ("uri", "party"),
    [
        ("sip:Alice@EXAMPLE.com:5070;transport=tcp?subject=x", "uri sip:alice@example.com"),
        ("sips:alice:secret@example.com", "uri sips:alice@example.com"),
        ("sip:%61li%43e@example.com", "uri sip:alice@example.com"),
        ("sip:a%2fb%2D%7e@example.com", "uri sip:a%2Fb-~@example.com"),
        ("sip:a/b;c=%C3%84@example.com", "uri sip:a/b;c=%C3%84@example.com"),
        ("sip:a%20b@example.com", "uri sip:a%20b@example.com"),
        ("sip:42@example.com", "uri sip:42@example.com"),
        ("sip:alice@example.com;gr=1;at=2", "uri sip:alice@example.com"),
        ("sip:+1-700-555-1008@example.com;user=phone", "tn 17005551008"),
        ("tel:+1(700)555.1008", "tn 17005551008"),
        ("tel:*43;phone-context=x", "tn *43"),
        ("sip:+1234567890123456@example.com", "uri sip:+1234567890123456@example.com"),
    ],
)
def test_8_one_spelling_for_each(uri: str, party: str) -> None:
    found = party_of(parse_uri(uri))
    assert f"{found.kind} {found.name}" == party


@pytest.mark.parametrize("uri", ["sip:example.com", "urn:service:sos"])
def test_8_or_nobody(uri: str) -> None:
    with pytest.raises(BadMessage):
        party_of(parse_uri(uri))


@pytest.mark.must("8225 5.2.2/2", "8225 5.2.2/3", "8225 5.2.2/4")
def test_8225_5_2_2_media_keys_in_order_each_once() -> None:
    lines = [b"a=fingerprint:sha-256 4A:AD", b"a=fingerprint:sha-1 ff:01", b"a=fingerprint:sha-256 4A:AD", b"a=x"]
    sdp = request(("Content-Type", "application/sdp"), body=b"\r\n".join(lines) + b"\r\n")
    assert media_keys(sdp) == (("sha-1", "ff01"), ("sha-256", "4AAD"))
    assert media_keys(request(body=sdp.body)) == ()


PART = b"--x\r\nContent-Type: application/sdp;\r\n a=b\r\n\r\na=fingerprint:sha-256 4A:AD\r\n"
OTHER = b"--x\r\n\r\na=fingerprint:sha-1 00:00\r\n--x\r\nContent-Type: text/plain\r\n\r\na=fingerprint:sha-1 11:11\r\n"


@pytest.mark.must("8224 4.1/16")
@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        ("multipart/mixed;boundary=x", PART + b"--x--\r\n", [("sha-256", "4AAD")]),
        ('Multipart/Alternative ; boundary = "x"', b"preamble\r\n" + OTHER + PART + b"--x--", [("sha-256", "4AAD")]),
        ("multipart/mixed;boundary=x", OTHER + b"--x--\r\n" + PART, []),
        (
            "multipart/mixed;boundary=y",
            b"--y\r\nContent-Type: multipart/related;boundary=x\r\n\r\n" + PART + b"--x--\r\n--y--\r\n",
            [("sha-256", "4AAD")],
        ),
        ("multipart/mixed", PART, []),
        ("multipart/mixed;boundary", PART, []),
        ("multipart/mixed;;;=", PART, []),
        ("multipart/mixed;boundary=x", OTHER * 1000 + PART, []),
        ("text/plain;boundary=x", PART, []),
    ],
)
def test_4_1_media_keys_in_a_body_of_several_parts(kind: str, body: bytes, found: list[tuple[str, str]]) -> None:
    """ "if the request contains a Session Description Protocol (SDP) message body and if that SDP contains one or more
    "a=fingerprint" attributes, then the JSON key "mky" MUST appear": whatever stands beside it; and of nothing else.
    """
    assert list(media_keys(request(("Content-Type", kind), body=body))) == found


def test_4_1_parts_inside_each_other_end() -> None:
    body = PART
    for _ in range(50):
        body = b"--x\r\nContent-Type: multipart/mixed;boundary=x\r\n\r\n" + body
    assert media_keys(request(("Content-Type", "multipart/mixed;boundary=x"), body=body)) in (
        (),
        (("sha-256", "4AAD"),),
    )


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("Fri, 25 Sep 2015 19:12:25 GMT", 1443208345), ("Fri, 25 Sep 2015 19:12:25 +0200", None), ("", None),
        ("GMT", None), ("Fri, 99 Foo 2015 99:99:99 GMT", None), ("x" * 100 + "GMT", None),
        ("Fri, 25 Sep 999999999999 19:12:25 GMT", None),
    ],
)  # fmt: skip
def test_date(value: str, date: int | None) -> None:
    assert date_of(request(("Date", value))) == date
