"""RFC 4475: the torture messages, by their names: how they are read, and what an element does with each.

The elements that do it are in tests/support/torture.py.
"""

from __future__ import annotations

import pytest
from torture import (
    MESSAGES,
    Element,
    answer,
    endpoint,
    forwarded,
    passed_back,
    read_everything,
    registered,
    request_of,
    response_of,
    statuses,
)

from p2psip.sip.entities.questions import (
    LocateUser,
    ResolveUri,
)
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr, Via
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import OtherUri, SipUri
from p2psip.sip.transports.arrivals import FromAgent
from p2psip.sip.transports.framing import StreamFraming


def test_all_are_here() -> None:
    assert len(MESSAGES) == 49


VALID = [
    "wsinv",
    "intmeth",
    "esc01",
    "escnull",
    "esc02",
    "lwsdisp",
    "longreq",
    "dblreq",
    "semiuri",
    "transports",
    "mpart01",
    "unreason",
    "noreason",
    "unkscm",
    "novelsc",
    "unksm2",
    "bext01",
    "invut",
    "regaut01",
    "bcast",
    "zeromf",
    "cparam01",
    "cparam02",
    "regescrt",
    "sdp01",
    "inv2543",
    "baddate",
    "escruri",
]


@pytest.mark.parametrize("name", VALID)
def test_well_formed(name: str) -> None:
    """A parser must accept these, and what it forwards says the same."""
    message = parse(MESSAGES[name])
    read_everything(message)
    again = parse(message.encode())
    assert again == message
    assert again.encode() == message.encode()


# 3.1.1 valid messages


@pytest.mark.must("3261 8.2.2/1", "3261 16.3/6")
def test_wsinv() -> None:
    """3.1.1.1: a short tortuous INVITE."""
    request = request_of("wsinv")
    assert request.sip_uri == SipUri("chair-dnrc.example.com", "vivekg", None, (("unknownparam", None),))
    assert (request.max_forwards, request.cseq.number, request.cseq.method) == (68, 9, "INVITE")
    assert request.to.tag == "1918181833n"
    assert (request.from_.display_name, request.from_.tag) == ('J Rosenberg \\"', "98asjd8")
    assert [via.sent_by for via in request.vias] == ["192.0.2.2", "spindle.example.com", "192.168.255.111"]
    assert [via.branch for via in request.vias] == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    [contact] = request.contacts
    assert (contact.display_name, contact.param("q")) == ('Quoted string ""', "0.33")
    assert request.fields.first("unknownheaderwithunusualvalue") == ";;,,;;,;"
    assert request.fields.first("newfangledheader") == "newfangled value continued newfangled value"
    assert request.fields.first("subject") == ""
    assert request.routes[0].sip_uri.is_loose
    assert len(request.body) == 150
    copy, element = forwarded("wsinv")
    assert copy.fields.lines("unknownheaderwithunusualvalue") == [";;,,;;,;"]
    assert isinstance(element.asked[0], ResolveUri), "it goes along its Route"


def test_intmeth() -> None:
    """3.1.1.2: a wide range of valid characters."""
    request = request_of("intmeth")
    assert request.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert request.to.display_name == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert request.from_.display_name == "token1~` token2'+_ token3*%!.-"
    assert request.from_.tag == "_token~1'+`*%!-."
    assert request.from_.param("fromparam''~+*_!.-%") == '"работающий"'
    assert request.sip_uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert request.fields.first("extensionheader-!.%*+_`'~") == "\ufeff大停電"
    _, element = forwarded("intmeth")
    [asked] = element.asked
    assert isinstance(asked, LocateUser)
    assert asked.method == request.method
    [refused] = endpoint("intmeth")
    assert (refused.status, "INVITE" in refused.fields.tokens("allow")) == (501, True)


def test_esc01() -> None:
    """3.1.1.3: % HEX HEX is resolved once, where it is an escape."""
    request = request_of("esc01")
    assert request.sip_uri.user_name == "sips:user@example.com"
    assert request.to.sip_uri.user_name == "user"
    assert request.from_.sip_uri.user_name == "I have spaces"
    assert request.contacts[0].sip_uri.user_name == "caller"
    assert request.contacts[0].sip_uri.param("n%61me") == "v%61lue%25%34%31"
    _, element = forwarded("esc01")
    [asked] = element.asked
    assert isinstance(asked, LocateUser)
    assert (asked.uri.host, asked.user) == ("example.net", "sips:user@example.com")


def test_escnull() -> None:
    """3.1.1.4: two different contacts."""
    first, second = request_of("escnull").contacts
    assert (first.sip_uri.user_name, second.sip_uri.user_name) == ("\0", "\0\0")
    assert not first.sip_uri.matches(second.sip_uri)
    response = registered("escnull")
    assert response.status == 200
    assert {str(contact.uri) for contact in response.contacts} == {
        "sip:%00@host5.example.com",
        "sip:%00%00@host5.example.com",
    }


def test_esc02() -> None:
    """3.1.1.5: % is no escape in a method, a display name or a header name."""
    request = request_of("esc02")
    assert request.method == "RE%47IST%45R"
    assert request.to.display_name == "%Z%45"
    assert len(request.contacts) == 2
    copy, _ = forwarded("esc02")
    assert copy.fields.lines("c%6fntact") == ["<sip:alias2@host2.example.com>"]
    assert [response.status for response in endpoint("esc02")] == [501]


def test_lwsdisp() -> None:
    """3.1.1.6: no blank between display name and <."""
    assert request_of("lwsdisp").from_.display_name == "caller"
    assert forwarded("lwsdisp")[0].fields.first("from") == "caller<sip:caller@example.com>;tag=323"
    assert [response.status for response in endpoint("lwsdisp")] == [200]


def test_longreq() -> None:
    """3.1.1.7: long values, many Vias."""
    request = request_of("longreq")
    assert len(request.vias) == 34
    assert request.via.host == "sip33.example.com"
    assert request.vias[-1].branch == "very" + "long" * 50 + "branchvalue"
    assert request.from_.tag == "12" + "982" * 50 + "424"
    assert len(forwarded("longreq")[0].vias) == 35


@pytest.mark.must("3261 18.3/1")
def test_dblreq() -> None:
    """3.1.1.8: octets after the body of a datagram are noise."""
    request = request_of("dblreq")
    assert request.body == b""
    assert b"INVITE" not in request.encode()
    response = registered("dblreq")
    assert (response.status, [str(contact.uri) for contact in response.contacts]) == (
        200,
        ["sip:j.user@host.example.com"],
    )
    elsewhere = MESSAGES["dblreq"].replace(b"REGISTER sip:example.com", b"REGISTER sip:far.example", 1)
    element = Element()
    element.receive(FromAgent("agent", elsewhere))
    [sent] = element.forwarded
    assert b"INVITE" not in sent


def test_semiuri() -> None:
    """3.1.1.9: semicolons in the user part."""
    assert request_of("semiuri").sip_uri.user_name == "user;par=u@example.net"
    _, element = forwarded("semiuri")
    [asked] = element.asked
    assert isinstance(asked, LocateUser)
    assert asked.user == "user;par=u@example.net"


def test_transports() -> None:
    """3.1.1.10: unknown transports in Via."""
    assert [via.transport for via in request_of("transports").vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]
    copy, _ = forwarded("transports")
    assert [via.transport for via in copy.vias[1:]] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]
    assert statuses("transports") == [407], "and who sent it is answered"


def test_mpart01() -> None:
    """3.1.1.11: binary bodies are counted in bytes."""
    request = request_of("mpart01")
    assert len(request.body) == 553
    assert request.body.endswith(b"--7a9cbec02ceef655--\r\n")
    loose = MESSAGES["mpart01"].replace(b"<sip:127.0.0.1:5080>", b"<sip:127.0.0.1:5080;lr>")
    assert forwarded("mpart01", loose)[0].body == request.body
    element = Element()
    element.receive(FromAgent("agent", MESSAGES["mpart01"]))
    strict = parse(element.forwarded[0])
    assert isinstance(strict, Request)
    assert (strict.uri_text, strict.fields.lines("route")) == ("sip:127.0.0.1:5080", ["<sip:kumiko@example.org>"])


def test_mpart01_in_a_stream() -> None:
    assert StreamFraming().feed(MESSAGES["mpart01"]) == [MESSAGES["mpart01"]]


def test_unreason() -> None:
    """3.1.1.12: any UTF-8 in the reason phrase."""
    assert response_of("unreason").phrase == "= 2**3 * 5**2 но сто девяносто девять - простое"
    [sent], _ = passed_back("unreason")
    assert sent.partition(b"\r\n")[0] == MESSAGES["unreason"].partition(b"\r\n")[0]


def test_noreason() -> None:
    """3.1.1.13: an empty reason phrase."""
    assert (response_of("noreason").status, response_of("noreason").phrase) == (100, "")
    sent, element = passed_back("noreason")
    assert (sent, element.server.counts["dropped"]) == ([], 0), "a 100 is taken, and goes no further"


# 3.1.2 invalid messages


@pytest.mark.must("3261 16.3/4")
@pytest.mark.parametrize(
    "name",
    [
        "clerr",
        "ncl",
        "scalar02",
        "quotbal",
        "ltgtruri",
        "lwsruri",
        "lwsstart",
        "trws",
        "baddn",
        "mismatch01",
        "mismatch02",
        "multi01",
        "mcl01",
    ],
)
def test_malformed_requests_are_refused_with_400(name: str) -> None:
    with pytest.raises(BadMessage) as caught:
        parse(MESSAGES[name])
    assert caught.value.status == 400
    assert caught.value.request is not None
    assert statuses(name) == [400]


def test_badinv01() -> None:
    """3.1.2.1: the Via itself is malformed, so there is no way back for an answer."""
    with pytest.raises(BadMessage) as caught:
        parse(MESSAGES["badinv01"])
    assert caught.value.request is None
    assert statuses("badinv01") == []


def test_clerr_in_a_stream() -> None:
    """3.1.2.2: on a stream one can only wait for the rest."""
    framer = StreamFraming()
    assert framer.feed(MESSAGES["clerr"]) == []
    assert not framer.is_between_messages


@pytest.mark.parametrize("name", ["ncl", "mcl01"])
def test_framing_errors_are_final(name: str) -> None:
    """3.1.2.3, 3.3.9."""
    framer = StreamFraming()
    assert framer.feed(MESSAGES[name]) == []
    assert framer.error is not None
    assert framer.error.request is not None, "it can be answered with 400"


@pytest.mark.parametrize("name", ["scalarlg", "bigcode"])
def test_malformed_responses_are_dropped(name: str) -> None:
    """3.1.2.5, 3.1.2.19."""
    with pytest.raises(BadMessage) as caught:
        parse(MESSAGES[name])
    assert caught.value.request is None
    assert statuses(name) == []
    assert endpoint(name) == []
    assert passed_back("bigcode")[0] == []


@pytest.mark.must("3261 16.3/1")
def test_escruri() -> None:
    """3.1.2.11: headers in a Request-URI go nowhere."""
    assert statuses("escruri") == [400]


def test_baddate() -> None:
    """3.1.2.12: nobody reads the Date, so it does no harm, and goes on as it came."""
    assert forwarded("baddate")[0].fields.lines("date") == request_of("baddate").fields.lines("date")
    assert statuses("baddate") == statuses("sdp01") == [407]


@pytest.mark.must("3261 20/7", "3261 20.10/1")
def test_regbadct() -> None:
    """3.1.2.13: a URI with headers must be in <>."""
    with pytest.raises(BadMessage):
        _ = request_of("regbadct").contacts
    assert registered("regbadct").status == 400


def test_badaspec() -> None:
    """3.1.2.14: blanks inside <> are ignored."""
    assert str(request_of("badaspec").to.uri) == "sip:t.watson@example.org"
    assert forwarded("badaspec")[0].to.uri == request_of("badaspec").to.uri
    assert statuses("badaspec") == [407]


def test_badvers() -> None:
    """3.1.2.16: 505."""
    assert statuses("badvers") == [505]


# 3.2, 3.3


def test_badbranch() -> None:
    """3.2.1: a bare cookie identifies nothing: matched as in RFC 2543."""
    assert not request_of("badbranch").via.has_magic_cookie
    assert statuses("badbranch") == [407]
    forwarded("badbranch")
    element = Element()
    other = MESSAGES["badbranch"].replace(b"sadonfo23i420jv0as0derf3j3n", b"another")
    for data in (MESSAGES["badbranch"], MESSAGES["badbranch"], other):
        element.receive(FromAgent("agent", data))
    assert len(element.forwarded) == 2, "the same again is a retransmission, and another call is not"


def test_insuf() -> None:
    """3.3.1: without From, To and Call-ID there is nothing that a response could be made of."""
    assert statuses("insuf") == []


@pytest.mark.parametrize("name", ["unkscm", "novelsc"])
def test_unknown_scheme(name: str) -> None:
    """3.3.2, 3.3.3: 416."""
    assert isinstance(request_of(name).uri, OtherUri)
    assert statuses(name) == [416]


def test_unksm2() -> None:
    """3.3.4: From and To may be any URI; who it is, is asked first (3261 10.3 step 3), whether that is an AoR then."""
    assert statuses("unksm2") == [401]
    assert registered("unksm2").status == 400
    elsewhere = Element()
    data = MESSAGES["unksm2"].replace(b"REGISTER sip:example.com", b"REGISTER sip:far.example")
    elsewhere.receive(FromAgent("agent", data))
    assert len(elsewhere.forwarded) == 1, "a proxy treats it as any other"


@pytest.mark.must("3261 16.3/9", "3261 16.3/10")
def test_bext01() -> None:
    """3.3.5: 420 lists what a proxy would have to understand."""
    response = answer("bext01")
    assert response.status == 420
    assert response.fields.lines("unsupported") == ["noProxiesSupportThis", "norDoAnyProxiesSupportThis"]
    [refused] = endpoint("bext01")
    assert refused.status == 420
    assert refused.fields.tokens("unsupported") == ["nothingSupportsThis", "nothingSupportsThisEither"]


def test_invut() -> None:
    """3.3.6: a proxy carries any body; an endpoint says 415."""
    assert forwarded("invut")[0].content_type == "application/unknownformat"
    [refused] = endpoint("invut")
    assert (refused.status, refused.fields.first("accept")) == (415, "application/sdp")


@pytest.mark.must("3261 22.3/6")
def test_regaut01() -> None:
    """3.3.7: an unknown scheme is ignored, and a Digest challenge sent."""
    response = answer("regaut01")
    assert response.status == 401
    assert (response.fields.first("www-authenticate") or "").startswith("Digest ")
    assert registered("regaut01").status == 200, "beside good credentials it does no harm"
    elsewhere = Element()
    elsewhere.receive(FromAgent("agent", MESSAGES["regaut01"].replace(b"sip:example.com SIP", b"sip:far.example SIP")))
    [sent] = elsewhere.forwarded
    assert parse(sent).fields.lines("authorization") == ["NoOneKnowsThisScheme opaque-data=here"]
    assert [response.status for response in endpoint("regaut01")] == [405]


@pytest.mark.must("3261 16.7/1", "6026 6/4", "6026 7.3/2", "6026 8.2/1")
def test_bcast() -> None:
    """3.3.10: a response to nothing that we have sent goes nowhere."""
    assert statuses("bcast") == []
    assert endpoint("bcast") == []


def test_zeromf() -> None:
    """3.3.11: a proxy does not forward it; an OPTIONS it may serve itself (RFC 3261 section 16.3 step 3)."""
    assert statuses("zeromf") == [200]
    assert [response.status for response in endpoint("zeromf")] == [200]
    element = Element()
    element.receive(FromAgent("agent", MESSAGES["zeromf"].replace(b"OPTIONS", b"MESSAGE")))
    assert ([int(data.split(b" ")[1]) for data in element.agent.delivered], element.forwarded) == ([483], [])


def test_cparam01_and_02() -> None:
    """3.3.12, 3.3.13: outside <> it is the header's parameter, inside the URI's."""
    [outside], [inside] = request_of("cparam01").contacts, request_of("cparam02").contacts
    assert (outside.sip_uri.param("unknownparam"), outside.param("unknownparam")) == (None, "")
    assert (inside.sip_uri.param("unknownparam"), inside.param("unknownparam")) == ("", None)
    for name, is_inside in (("cparam01", False), ("cparam02", True)):
        response = registered(name)
        [kept] = response.contacts
        assert (response.status, kept.sip_uri.param("unknownparam")) == (200, "" if is_inside else None)


def test_regescrt() -> None:
    """3.3.14: the headers of a Contact's URI are kept."""
    [contact] = request_of("regescrt").contacts
    assert str(contact) == "<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"
    response = registered("regescrt")
    assert (response.status, response.contacts[0].uri) == (200, contact.uri)


def test_sdp01() -> None:
    """3.3.15: who takes no session description in the answer gets 406; a proxy has nothing to do with it."""
    assert forwarded("sdp01")[0].fields.lines("accept") == ["text/nobodyKnowsThis"]
    [refused] = endpoint("sdp01")
    assert refused.status == 406
    assert (refused.fields.first("warning") or "").startswith("399 ")


def test_inv2543() -> None:
    """3.4.1: no branch, no From tag, no Content-Length, no Max-Forwards."""
    request = request_of("inv2543")
    assert (request.via.branch, request.from_.tag, request.max_forwards) == ("", "", None)
    assert request.body.startswith(b"v=0")
    # Without <> the parameter is the header's.
    assert request.to == NameAddr(SipUri("ss1.example.net", "+16505552222"), "", (("user", "phone"),))
    assert str(request.via) == str(Via("UDP", "iftgw.example.com"))
    copy, _ = forwarded("inv2543")
    assert copy.fields.first("content-length") == str(len(request.body))
    assert copy.via.has_magic_cookie
