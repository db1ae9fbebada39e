"""Header field values and the raw fields they are read from."""

from __future__ import annotations

import pytest

from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.headers import AuthParams, CSeq, Event, NameAddr, Reason, Via
from p2psip.sip.message.uri import SipUri


@pytest.mark.parametrize(
    "text",
    [
        "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx;rport",
        "SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKx;received=2001:db8::9",
        "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks",
    ],
)
def test_via_comes_back_as_it_was(text: str) -> None:
    assert str(Via.parse(text)) == text


def test_via_reads_what_a_server_noted() -> None:
    via = Via.parse("SIP/2.0/udp Host:5062;rport=40000;received=192.0.2.9;branch=1")
    assert (via.transport, via.host, via.sent_by) == ("UDP", "host", "host:5062")
    assert (via.rport, via.received, via.branch, via.has_magic_cookie) == (40000, "192.0.2.9", "1", False)
    assert Via.parse("SIP/2.0/UDP a;rport").rport == 0
    assert Via.parse("SIP/2.0/UDP a").rport is None


@pytest.mark.parametrize(
    "text", ["", "SIP/2.0/UDP", "SIP/2.0 UDP a", "HTTP/2.0/UDP a", "SIP/2.0/UDP a:99999", "SIP/2.0/UDP a b"]
)
def test_malformed_via(text: str) -> None:
    with pytest.raises(BadMessage):
        Via.parse(text)


@pytest.mark.parametrize("text", ["INVITE", "1INVITE", "-1 INVITE", "1 ", "4294967296 INVITE", "1 IN VITE"])
def test_malformed_cseq(text: str) -> None:
    with pytest.raises(BadMessage):
        CSeq.parse(text)


@pytest.mark.must("3261 20/7", "3261 20.10/1", "3261 20.20/1")
@pytest.mark.parametrize(
    ("text", "name", "uri", "params"),
    [
        ('"A. G. Bell" <sip:agb@bell.com>;tag=a48s', "A. G. Bell", "sip:agb@bell.com", (("tag", "a48s"),)),
        ("sip:+12125551212@phone2net.com;tag=887s", "", "sip:+12125551212@phone2net.com", (("tag", "887s"),)),
        ("Anonymous <sip:c8oqz84zk7z@privacy.org>;tag=h", "Anonymous", "sip:c8oqz84zk7z@privacy.org", (("tag", "h"),)),
        ("<sip:a@b;lr>", "", "sip:a@b;lr", ()),
        ("Jörg Müller <sip:j@m>", "Jörg Müller", "sip:j@m", ()),
        ('"x" <sip:a@b;p=1> ; q=0.5 ;expires=60', "x", "sip:a@b;p=1", (("q", "0.5"), ("expires", "60"))),
    ],
)
def test_addresses(text: str, name: str, uri: str, params: tuple[tuple[str, str], ...]) -> None:
    address = NameAddr.parse(text)
    assert (address.display_name, str(address.uri), address.params) == (name, uri, params)
    assert NameAddr.parse(str(address)) == address


def test_tag_is_set_in_place() -> None:
    address = NameAddr.parse("<sip:a@b>;tag=old;x")
    assert str(address.with_tag("new")) == "<sip:a@b>;tag=new;x"
    assert str(NameAddr.parse("<sip:a@b>;x").with_tag("new")) == "<sip:a@b>;x;tag=new"


@pytest.mark.parametrize("text", ["", '"a <sip:a@b>', "<sip:a@b", "sip:a@b>", "a, b <sip:a@b>", "<sip:a@b> x"])
def test_malformed_addresses(text: str) -> None:
    with pytest.raises(BadMessage):
        NameAddr.parse(text)


def test_address_that_must_be_sip() -> None:
    with pytest.raises(BadMessage):
        _ = NameAddr.parse("<mailto:a@b>").sip_uri


def test_authentication_parameters() -> None:
    text = 'Digest realm="atlanta.com", qop="auth,auth-int", nonce="84a4", stale=FALSE, algorithm=MD5'
    params = AuthParams.parse(text)
    assert params.is_digest
    assert (params.get("realm"), params.get("qop"), params.get("stale")) == ("atlanta.com", "auth,auth-int", "FALSE")
    assert params.get("opaque") == ""
    assert str(params) == text


def test_sloppy_authentication_parameters() -> None:
    """Blanks around commas and equal signs, a comma at the end."""
    params = AuthParams.parse('Digest  username = "a" ,realm="b",, nc=00000001 ,')
    assert (params.get("username"), params.get("realm"), params.get("nc")) == ("a", "b", "00000001")


def test_other_schemes_are_no_error() -> None:
    assert not AuthParams.parse("Basic QWxhZGRpbjpvcGVu==").is_digest


@pytest.mark.parametrize("text", ["", "Digest", 'Digest realm="x', "Digest x", "Digest a=b c=d"])
def test_malformed_authentication(text: str) -> None:
    with pytest.raises(BadMessage):
        AuthParams.parse(text)


def test_reason() -> None:
    reason = Reason.parse('SIP ;cause=200 ;text="Call completed elsewhere"')
    assert reason == Reason("SIP", 200, "Call completed elsewhere")
    assert str(Reason("Q.850", 16, 'a "quote"')) == 'Q.850;cause=16;text="a \\"quote\\""'
    assert Reason.parse("Preemption") == Reason("Preemption")
    with pytest.raises(BadMessage):
        Reason.parse(";cause=1")


@pytest.mark.parametrize(
    ("text", "package", "number", "written"),
    [
        ("dialog", "dialog", None, "dialog"),
        ("presence.winfo ;x=y; ID=7", "presence.winfo", "7", "presence.winfo;id=7"),
        ("dialog;id", "dialog", "", "dialog;id"),
    ],
)
def test_event(text: str, package: str, number: str | None, written: str) -> None:
    event = Event.parse(text)
    assert (event, str(event)) == (Event(package, number), written)
    assert Event.parse(written) == event
    # RFC 6665 8.2.1: one with an id "never matches" one without.
    assert (event == Event(package)) is (number is None)


@pytest.mark.parametrize("text", ["", ";id=1", "a b", "dialog, presence"])
def test_malformed_event(text: str) -> None:
    with pytest.raises(BadMessage):
        Event.parse(text)


# Fields

SAMPLE = Fields.of(("Via", "one, two"), ("v", "three"), ("X-Odd", "kept"), ("Contact", "<sip:a>"))


def test_fields_are_found_by_any_spelling() -> None:
    assert SAMPLE.lines("via") == ["one, two", "three"]
    assert SAMPLE.values("via") == ["one", "two", "three"]
    assert SAMPLE.first("x-odd") == "kept"
    assert "route" not in SAMPLE
    assert SAMPLE.lines("route") == []
    assert len(SAMPLE) == 4


def test_fields_are_changed_by_making_others() -> None:
    assert SAMPLE.with_first("Via", "zero").values("via") == ["zero", "one", "two", "three"]
    assert SAMPLE.without_first("via").values("via") == ["two", "three"]
    assert SAMPLE.without_first("via").without_first("via").values("via") == ["three"]
    assert SAMPLE.without_first("route") is SAMPLE
    assert SAMPLE.with_only("Via", "x").lines("via") == ["x"]
    assert [key for key, _, _ in SAMPLE.with_only("Via", "x")] == ["via", "x-odd", "contact"]
    assert SAMPLE.with_values("Route", ["<sip:r>"]).lines("route") == ["<sip:r>"]
    assert SAMPLE.with_values("Via", ["x", "y"]).lines("via") == ["x", "y"]
    assert SAMPLE.without("via", "contact").lines("via") == []
    assert SAMPLE.values("via") == ["one", "two", "three"]


def test_first_record_route_goes_to_the_top() -> None:
    fields = SAMPLE.with_first("Record-Route", "<sip:a;lr>").with_first("Record-Route", "<sip:b;lr>")
    assert fields.values("record-route") == ["<sip:b;lr>", "<sip:a;lr>"]


def test_tokens_are_lenient() -> None:
    assert Fields.of(("Require", "a, ,b"), ("Require", "")).tokens("require") == ["a", "b"]


def test_repeated_single_fields_are_refused() -> None:
    with pytest.raises(BadMessage):
        SAMPLE.only("via")
    assert SAMPLE.only("subject") is None


def test_values_are_bounded() -> None:
    with pytest.raises(BadMessage):
        Fields.of(*(("Via", "x") for _ in range(129))).values("via")
    with pytest.raises(BadMessage):
        Fields.of(("Via", ", ".join("x" * 129))).values("via")


def test_equal_fields_are_equal() -> None:
    assert Fields.of(("a", "b")) == Fields.of(("a", "b"))
    assert hash(Fields.of(("a", "b"))) == hash(Fields.of(("a", "b")))
    assert Fields.of(("a", "b")) != Fields.of(("a", "c"))
    assert "Fields" in repr(SAMPLE)
    assert SipUri("a") == SipUri("a")
