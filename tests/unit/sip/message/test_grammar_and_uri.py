"""Lexical rules and URIs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.sip.message import grammar
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.uri import (
    OtherUri,
    SipUri,
    TelUri,
    default_port,
    escape_user,
    parse_sip_uri,
    parse_uri,
)


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        ("a", ["a"]),
        ("a, b ,c", ["a", "b", "c"]),
        ('"a, b" <sip:x>, <sip:y,z>', ['"a, b" <sip:x>', "<sip:y,z>"]),
        (r'"a\", b" <sip:x>,c', [r'"a\", b" <sip:x>', "c"]),
        ('"\\\\",b', ['"\\\\"', "b"]),
    ],
)
def test_lists_are_split_at_commas_outside_quotes_and_brackets(value: str, elements: list[str]) -> None:
    assert grammar.split_list(value) == elements


@pytest.mark.parametrize("value", ['"a, b', "<sip:a, b", "a,,b", "a,", ",a", '"a" "b, c', "a, ,b", " , a", "a, "])
def test_unbalanced_lists_are_refused(value: str) -> None:
    with pytest.raises(BadMessage):
        grammar.split_list(value)


def test_two_quoted_strings_are_two() -> None:
    """A pattern that runs from the first quote to the last would swallow both."""
    params = grammar.parse_params(';a="x;y";b="z"', "Test")
    assert params == (("a", '"x;y"'), ("b", '"z"'))


def test_params_keep_order_and_values() -> None:
    params = grammar.parse_params(" ; Tag = abc ;flag;x=[::1]:5", "Test")
    assert params == (("tag", "abc"), ("flag", None), ("x", "[::1]:5"))
    assert grammar.format_params(params) == ";tag=abc;flag;x=[::1]:5"
    assert grammar.param(params, "flag") == ""
    assert grammar.param(params, "none") is None
    assert grammar.with_param(params, "flag", "1") == (("tag", "abc"), ("flag", "1"), ("x", "[::1]:5"))


@pytest.mark.parametrize("text", [";;", ";=a", ";a b", ";a=b c", "x", ";a=<b>", ';a="b'])
def test_malformed_params(text: str) -> None:
    with pytest.raises(BadMessage, match="Test"):
        grammar.parse_params(text, "Test")


def test_params_are_bounded() -> None:
    with pytest.raises(BadMessage):
        grammar.parse_params(";a" * 65, "Test")


@given(st.text())
def test_quote_and_unquote(text: str) -> None:
    assert grammar.unquote(grammar.quote(text)) == text


@pytest.mark.parametrize("text", ["", "-1", "1a", "4294967296", "9" * 5000, "١"])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(BadMessage):
        grammar.parse_integer(text, "Test")


def test_leading_zeros_do_not_matter() -> None:
    assert grammar.parse_integer("0000000000000042", "Test") == 42


TCP = (("transport", "tcp"),)


@pytest.mark.must("3261 8.1.1.2/1", "3261 8.1.1.2/2")
@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:alice@Atlanta.com", SipUri("atlanta.com", "alice")),
        ("sip:alice:pw@atlanta.com;transport=tcp", SipUri("atlanta.com", "alice", None, TCP, "pw")),
        ("SIPS:a@atlanta.com?subject=x&y=z", SipUri("atlanta.com", "a", None, (), None, "subject=x&y=z", "sips")),
        ("sip:+1-212:1234@gateway.com;user=phone", SipUri("gateway.com", "+1-212", None, (("user", "phone"),), "1234")),
        ("sip:*43@10.0.0.1:5062", SipUri("10.0.0.1", "*43", 5062)),
        ("sip:[2001:db8::1]:5060;lr", SipUri("[2001:db8::1]", None, 5060, (("lr", None),))),
        ("sip:a@my_host", SipUri("my_host", "a")),
        ("tel:+358-555-1234567;postd=pp22", TelUri("+358-555-1234567", (("postd", "pp22"),))),
        ("urn:service:sos", OtherUri("urn", "service:sos")),
    ],
)
def test_uris(text: str, uri: object) -> None:
    parsed = parse_uri(text)
    assert parsed == uri
    assert parse_uri(str(parsed)) == parsed


def test_25_1_a_name_may_end_with_a_dot() -> None:
    """RFC 3261: "hostname = *( domainlabel "." ) toplabel [ "." ]". It is the same name (RFC 5922 section 7.2: "as DNS
    names"), and goes on as it came.
    """
    whole, usual = parse_sip_uri("sip:a@Example.COM.:5070;lr"), parse_sip_uri("sip:a@example.com:5070;lr")
    assert whole.host == usual.host == "example.com"
    assert whole.matches(usual)
    assert str(whole) == "sip:a@example.com.:5070;lr"
    assert str(whole.replace(host="example.org")) == "sip:a@example.org:5070;lr"
    assert str(whole.replace(user="b")) == "sip:b@example.com.:5070;lr"
    assert whole.address_of_record == usual.address_of_record


@pytest.mark.parametrize("host", ["192.0.2.1.", "a.1.", "example.com.."])
def test_25_1_what_is_no_name_does_not(host: str) -> None:
    """ "toplabel = ALPHA / ALPHA *( alphanum / "-" ) alphanum": what is written like that is no other host's."""
    assert parse_sip_uri(f"sip:a@{host}").host not in ("192.0.2.1", "a.1", "example.com")
    assert str(parse_sip_uri(f"sip:a@{host}")) == f"sip:a@{host}"


@pytest.mark.parametrize(
    "text",
    ["", "sip:", "sip:@host", "sip:a@", "sip:a b@c", "sip:a@b:99999", "sip:a@b:x", "sip:a@b;=1", "x", "<sip:a@b>"],
)
def test_malformed_uris(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_uri(text)


def test_only_sip_is_routed() -> None:
    with pytest.raises(BadMessage) as caught:
        parse_sip_uri("tel:123")
    assert caught.value.status == 416


def test_tel_digits() -> None:
    uri = parse_uri("tel:+1-(201)555.0123")
    assert isinstance(uri, TelUri)
    assert uri.digits == "+12015550123"


EQUAL = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
    # Its rules, where it gives no example.
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=off"),
    ("sip:a%2bb@h", "sip:a%2Bb@h"),
    ("sip:j\u00fcrgen@h", "sip:j%c3%bcrgen@h"),
    ("sip:alice:%70w@h", "sip:alice:pw@h"),
    ("sip:a@h;x=%41", "sip:a@h;X=a"),
    ("sip:a@h?s=%41", "sip:a@h?Subject=a"),
    ("sip:a@[2001:DB8::1]", "sip:a@[2001:db8:0:0::1]"),
    ("sip:a@h;lr", "sip:a@h;lr="),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    # Its rules, where it gives no example.
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;user=phone"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;user=ip"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;ttl=1"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;method=INVITE"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;maddr=192.0.2.4"),
    ("sip:bob@biloxi.com;transport=udp", "sip:bob@biloxi.com;transport=tcp"),
    ("sip:bob@biloxi.com", "sip:biloxi.com"),
    ("sip:bob@biloxi.com", "sip:bob:pw@biloxi.com"),
    ("sip:bob:PW@biloxi.com", "sip:bob:pw@biloxi.com"),
    ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
    ("sip:a%3Bb@h", "sip:a;b@h"),
    ("sip:a%252Bb@h", "sip:a%2Bb@h"),
    ("sip:a@h?x=1&x=1", "sip:a@h?x=1"),
]


@pytest.mark.parametrize(("one", "two"), EQUAL)
def test_19_1_4_equal(one: str, two: str) -> None:
    """The examples of RFC 3261 section 19.1.4."""
    assert parse_sip_uri(one).matches(parse_sip_uri(two))
    assert parse_sip_uri(two).matches(parse_sip_uri(one))


@pytest.mark.parametrize(("one", "two"), DIFFERENT)
def test_19_1_4_different(one: str, two: str) -> None:
    assert not parse_sip_uri(one).matches(parse_sip_uri(two))
    assert not parse_sip_uri(two).matches(parse_sip_uri(one))


@given(st.data())
def test_19_1_4_goes_both_ways(data: st.DataObject) -> None:
    texts = [text for pair in (*EQUAL, *DIFFERENT) for text in pair]
    one, two = (parse_sip_uri(data.draw(st.sampled_from(texts))) for _ in range(2))
    assert one.matches(one)
    assert one.matches(two) == two.matches(one)


def test_uri_matches_no_other_kind() -> None:
    assert not parse_sip_uri("sip:1@a").matches(parse_uri("tel:1"))


def test_default_ports() -> None:
    texts = ["sip:a", "sips:a", "sip:a;transport=tls", "sip:a:7", "sip:a;transport=ws", "sips:a;transport=ws"]
    assert [default_port(parse_sip_uri(text)) for text in texts] == [5060, 5061, 5061, 7, 80, 443]


@given(st.text(min_size=1))
def test_any_user_name_can_be_said(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    uri = parse_sip_uri(f"sip:{escape_user(name)}@host")
    assert uri.user_name == name
    assert parse_sip_uri(uri.address_of_record).user_name == name
