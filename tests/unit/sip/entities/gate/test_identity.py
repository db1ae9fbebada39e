"""Who is calling and who has answered, as the other side is told (RFC 3323, RFC 3325)."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.callers.caller import Caller
from p2psip.sip.entities.gate import identity
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_uri
from p2psip.sip.transports.hops import FlowHop, LocalHop, Source, UdpHop

REALM = "overlay.example"
PHONE = Source(UdpHop(Address("10.1.0.11", 5060)), "UDP", Address("10.1.0.11", 5060))
PEER = Source(FlowHop(1), "TLS", Address("10.2.0.1", 5061), "beef")
AGENT = Source(LocalHop("echo"), "UDP", Address("127.0.0.1", 0))
ALICE = f'"Alice" <sip:alice@{REALM}>'
CLAIMED = [
    ("P-Asserted-Identity", "<sip:boss@overlay.example>"),
    ("P-ASSERTED-identity", '"B, oss" <sip:boss@overlay.example>, <tel:+1>'),
    ("P-Preferred-Identity", "<sip:boss@overlay.example>"),
    ("Remote-Party-ID", "<sip:boss@overlay.example>;party=calling;privacy=off"),
    ("remote-party-id", "<sip:boss@overlay.example>"),
    ("Diversion", "<sip:boss@overlay.example>;reason=unconditional"),
    ("DIVERSION ", "<sip:boss2@overlay.example>"),
    ("CC-Diversion", "<sip:boss@overlay.example>"),
    ("History-Info", "<sip:boss@overlay.example>;index=1, <sip:b@overlay.example>;index=1.1"),
    ("P-Called-Party-ID", "<sip:boss@overlay.example>"),
    ("P-Served-User", "<sip:boss@overlay.example>"),
]


def request(from_: str = "", *fields: tuple[str, str]) -> Request:
    bare = make_request(
        "MESSAGE",
        "sip:bob@overlay.example",
        from_=NameAddr.parse(from_ or '"Alice" <sip:alice@10.1.0.1>;tag=1'),
        to=NameAddr.parse("<sip:bob@10.1.0.1>"),
        call_id="c",
        cseq=1,
        extra=[("Via", "SIP/2.0/UDP 10.1.0.11;branch=z9hG4bK1")],
    )
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    raw = bare.encode().replace(b"\r\n\r\n", b"\r\n" + lines.encode() + b"\r\n")
    parsed = parse(raw)
    assert isinstance(parsed, Request)
    return parsed


def told(from_: str = "", *fields: tuple[str, str], user: str | None = "alice", source: Source = PHONE) -> Request:
    return identity.requested(request(from_, *fields), source, user, REALM)


def asserted(message: Request) -> list[str]:
    return message.fields.lines("p-asserted-identity")


# Claims


@pytest.mark.must("3261 16.6/2")
@pytest.mark.parametrize("claim", CLAIMED)
@pytest.mark.parametrize("user", ["alice", None])
def test_nothing_that_a_phone_claims_of_itself_goes_on(claim, user):
    sent = told("", claim, user=user)
    assert b"oss" not in sent.encode()
    assert asserted(sent) == ([ALICE] if user else [])


def test_nor_all_of_it_together():
    sent = told("", *CLAIMED)
    assert [key for key, _, _ in sent.fields if key in identity.CLAIMS] == ["p-asserted-identity"]
    assert asserted(sent) == [ALICE]


@pytest.mark.must("3261 16.7/28")
@pytest.mark.parametrize("claim", CLAIMED)
def test_nor_what_it_claims_in_a_response(claim):
    response = make_response(request(), 200, to_tag="t", extra=[claim])
    sent = identity.answered(response, PHONE, "bob", REALM)
    assert b"oss" not in sent.encode()
    assert sent.fields.lines("p-asserted-identity") == ["<sip:bob@overlay.example>"]


def test_what_the_phone_says_of_other_things_stays():
    fields = ("Subject", "dinner"), ("User-Agent", "phone 1"), ("X-Mine", "<sip:boss@overlay.example>")
    sent = told("", *fields)
    assert [sent.fields.first(name.lower()) for name, _ in fields] == [value for _, value in fields]


def test_agents_inside_the_process_are_left_alone():
    asked = request("", *CLAIMED)
    assert identity.requested(asked, AGENT, None, REALM) is asked
    response = make_response(asked, 200, to_tag="t")
    assert identity.answered(response, AGENT, "", REALM) is response


# From


@pytest.mark.parametrize(
    ("from_", "shown"),
    [
        ('"Alice" <sip:alice@10.1.0.1:5070;x=1>;tag=1', '"Alice" <sip:alice@overlay.example>;tag=1'),
        ("<sip:alice@elsewhere.example>;tag=1", "<sip:alice@overlay.example>;tag=1"),
        ("<sip:boss@overlay.example>;tag=1", "<sip:alice@overlay.example>;tag=1"),
        ("<tel:+4930123>;tag=1", "<sip:alice@overlay.example>;tag=1"),
        ("<sip:10.1.0.1>;tag=1;x=y", "<sip:alice@overlay.example>;tag=1;x=y"),
        (
            '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1',
            '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1',
        ),
        ("<sip:thisis@Anonymous.INVALID>;tag=1", "<sip:thisis@anonymous.invalid>;tag=1"),
        # Some phones hide behind a host that they like better.
        ("Anonymous <sip:anonymous@localhost>;tag=1", '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'),
        ("<sip:Anonymous@10.1.0.1:5060>;tag=1", "<sip:anonymous@anonymous.invalid>;tag=1"),
    ],
)
def test_from_names_the_line_or_nobody(from_, shown):
    sent = told(from_)
    assert sent.fields.lines("from") == [shown]
    assert sent.from_.tag == "1"


@pytest.mark.parametrize("from_", ["<sip:anonymous@anonymous.invalid>;tag=1", "Al <sip:x@y.invalid>;tag=1"])
def test_3325_an_anonymous_from_alone_leaves_the_identity_but_no_display_name(from_):
    assert asserted(told(from_)) == ["<sip:alice@overlay.example>"]


def test_a_line_may_be_called_so():
    sent = told("<sip:Anonymous@10.1.0.1>;tag=1", user="anonymous")
    assert sent.fields.lines("from") == ["<sip:anonymous@overlay.example>;tag=1"]


def test_names_are_escaped_in_a_uri():
    assert asserted(told("<sip:x@y>;tag=1", user="a b")) == ["<sip:a%20b@overlay.example>"]


def test_within_a_dialog_from_stays_as_it_is():
    text = "<sip:bob@10.2.0.1>;tag=1"
    assert told(text, user=None).fields.lines("from") == [text]


# Privacy


@pytest.mark.parametrize(
    "lines",
    [
        ["id"], ["ID"], ["Id ; critical"], ["critical;iD"], ["critical", "id"], ["user;id"], ["USER"], ["header"],
        ["none;id"], ["history,id"], [" id "], ["", "id"], ["session;;id;"],
    ],
)  # fmt: skip
def test_3323_who_wishes_not_to_be_known_is_told_to_nobody(lines):
    sent = told("", *(("pRiVaCy", line) for line in lines))
    assert asserted(sent) == []


@pytest.mark.parametrize("lines", [["none"], ["NONE"], ["history"], ["session"], ["critical"], [], ["idx"], ["x-id"]])
def test_3323_who_does_not_is(lines):
    assert asserted(told("", *(("Privacy", line) for line in lines))) == [ALICE]


def test_3323_5_3_user_privacy_takes_the_name_off():
    about = [(name, "boss") for name in ("Subject", "Organization", "User-Agent", "Reply-To", "Call-Info")]
    sent = told("", ("Privacy", "User"), ("In-Reply-To", "c1"), *about)
    assert sent.fields.lines("from") == ['"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1']
    assert not {"subject", "organization", "user-agent", "reply-to", "call-info", "in-reply-to"} & {
        key for key, _, _ in sent.fields
    }
    assert b"alice" not in sent.encode().lower()


@pytest.mark.parametrize(
    ("lines", "rest"),
    [(["user"], []), (["user;critical"], []), (["ID;User"], ["ID"]), (["user", "id;critical"], ["id;critical"])],
)
def test_3323_5_what_is_done_is_taken_off(lines, rest):
    """Or "any other privacy service involved" would do it again."""
    assert told("", *(("Privacy", line) for line in lines)).fields.lines("privacy") == rest


@pytest.mark.parametrize(
    "line",
    [
        "<sip:alice@10.1.0.1>;party=calling;screen=yes;privacy=full",
        '"Alice" <sip:alice@10.1.0.1>;Privacy="FULL"',
        "<sip:alice@10.1.0.1>;privacy=uri-network;party=Calling",
        "<sip:boss@x>;party=called;privacy=off, <sip:alice@10.1.0.1>;privacy=full",
        "sip:alice@10.1.0.1;privacy=name",
    ],
)
@pytest.mark.parametrize("user", ["alice", None])
def test_a_remote_party_id_may_ask_for_privacy(line, user):
    """draft-ietf-sip-privacy, which older phones speak instead of RFC 3323."""
    sent = told("", ("Remote-Party-ID", line), user=user)
    assert sent.fields.lines("from") == ['"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1']
    assert b"alice" not in sent.encode().lower()


@pytest.mark.parametrize(
    "line",
    [
        "<sip:alice@10.1.0.1>;party=calling;privacy=off",
        "<sip:alice@10.1.0.1>;privacy=None",
        "<sip:bob@10.1.0.1>;party=called;privacy=full",
        "<sip:a@b>",
        "<a@b>;privacy=full",
        "<",
    ],
)
def test_or_not(line):
    assert asserted(told("", ("Remote-Party-ID", line))) == [ALICE]


@pytest.mark.parametrize(
    ("line", "told"), [("<sip:b@x>;party=called;privacy=full", 0), ("<sip:b@x>;party=calling;privacy=full", 1)]
)
def test_who_answers_may_ask_so_too(line, told):
    response = make_response(request(), 200, to_tag="t", extra=[("Remote-Party-ID", line)])
    sent = identity.answered(response, PHONE, "bob", REALM)
    assert len(sent.fields.lines("p-asserted-identity")) == told
    assert "remote-party-id" not in sent.fields


@pytest.mark.parametrize("wish", ["user", "id", "header"])
def test_privacy_holds_within_a_dialog(wish):
    assert told("", ("Privacy", wish), user=None).fields.lines("from") == [
        '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'
    ]


@pytest.mark.parametrize(
    "from_",
    ["<tel:+4930123>;tag=1", "<sip:boss@elsewhere>;tag=1", '"Alice" <sip:alice@10.1.0.1>;tag=1', "Alice <tel:1>;tag=1"],
)
def test_3325_id_keeps_the_name_out_of_from_too(from_):
    """From is what phones show, and what we assert: neither the line nor the display name stands in it."""
    sent = told(from_, ("Privacy", "id"))
    assert sent.fields.lines("from") == ['"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1']
    assert b"alice" not in sent.encode().lower()


@pytest.mark.parametrize(
    ("value", "unmet"),
    [
        ("id;critical", []), ("user;critical", []), ("history;critical", []), ("header", []), ("session;id", []),
        ("header;critical", ["header"]), ("Critical;SESSION;header", ["header", "session"]), ("x;critical", ["x"]),
    ],
)  # fmt: skip
def test_3323_5_critical_privacy_that_we_cannot_provide(value, unmet):
    assert identity.unmet_wishes(request("", ("Privacy", value))) == unmet


def test_who_answers_in_private_is_not_told():
    response = make_response(request(), 180, to_tag="t", extra=[("Privacy", "ID")])
    assert "p-asserted-identity" not in identity.answered(response, PHONE, "bob", REALM).fields


@pytest.mark.parametrize(("status", "user", "told"), [(180, "bob", 1), (200, "bob", 1), (486, "bob", 0), (200, "", 0)])
def test_who_answers_is_told_where_it_is_known(status, user, told):
    response = make_response(request(), status, to_tag="t")
    assert len(identity.answered(response, PHONE, user, REALM).fields.lines("p-asserted-identity")) == told


# Peers


@pytest.mark.parametrize(
    ("lines", "proved", "believed"),
    [
        ([ALICE], "alice", [ALICE]),
        (
            ["<sip:alice@elsewhere.example>, <tel:+1>", "<sip:carol@overlay.example>"],
            "carol",
            ["<sip:carol@overlay.example>"],
        ),
        ([ALICE, "<sip:carol@overlay.example>"], "carol", ["<sip:carol@overlay.example>"]),
        ([ALICE], "", []),
        ([ALICE], "Alice", []),
        (["<sip:overlay.example>"], "", []),
        (["<", "<sip:x"], "alice", []),
    ],
)
def test_3325_peers_are_believed_for_the_name_of_the_overlay_that_is_proved(lines, proved, believed):
    """In a request by a signature, in a response because the line's record has led there."""
    claims = [("P-Asserted-Identity", line) for line in lines]
    asked = request("", *claims, ("History-Info", "<sip:x@y>"), ("Remote-Party-ID", "<sip:x@y>"))
    sent = identity.requested(asked, PEER, None, REALM, caller=Caller(proved))
    assert asserted(sent) == believed
    assert not {"history-info", "remote-party-id"} & {key for key, _, _ in sent.fields}
    response = make_response(request(), 200, to_tag="t", extra=claims)
    assert identity.answered(response, PEER, proved, REALM).fields.lines("p-asserted-identity") == believed


FROM = [
    # as it came, who is proved, whether its host means the overlay here, what is shown
    ('"Al" <sip:alice@overlay.example>', "alice", True, '"Al" <sip:alice@overlay.example>'),
    ('"Al" <sip:alice@overlay.example>', "carol", True, '"Not verified" <sip:not-verified@anonymous.invalid>'),
    ('"Al" <sip:alice@overlay.example>', "", True, '"Not verified" <sip:not-verified@anonymous.invalid>'),
    ("<sip:alice@10.1.0.1>", "alice", True, '"Not verified" <sip:not-verified@anonymous.invalid>'),
    ('"Al" <sip:alice@x.example>', "alice", False, '"Not verified: alice@x.example" <sip:alice@x.example>'),
    ('"Al" <tel:+49301>', "", False, '"Not verified: tel:+49301" <tel:+49301>'),
    ('"Al" <sip:x.example>', "", False, '"Not verified: sip:x.example" <sip:x.example>'),
    ('"Al" <sip:a@anonymous.invalid>', "alice", False, '"Anonymous" <sip:anonymous@anonymous.invalid>'),
]


@pytest.mark.parametrize(("from_", "proved", "is_ours", "shown"), FROM)
def test_what_a_peer_has_not_proved_is_shown_as_that(from_, proved, is_ours, shown):
    """Phones show the display name, or else the user part, and look that up in their books."""
    given = NameAddr.parse(f"{from_};tag=1")
    assert str(identity.shown_from(given, proved, REALM, is_ours=is_ours)) == f"{shown};tag=1"


def test_3325_7_no_identity_goes_to_a_phone_where_privacy_is_wanted():
    """Another implementation may pass it on between peers; "the proxy MUST remove" it before it leaves the domain."""
    sent = told("", ("P-Asserted-Identity", ALICE), ("Privacy", "critical;ID"), user=None, source=PEER)
    assert asserted(sent) == []


# Through two peers


def sent_on(alice, bob, *fields, from_=None):
    """A message from alice as bob gets it."""
    asked = alice.message("bob")
    values = asked.fields if from_ is None else asked.fields.with_only("From", NameAddr(parse_uri(from_)).with_tag("1"))
    for name, value in fields:
        values = values.with_last(name, value)
    response = alice.ask(asked.replace(fields=values))
    assert response.status == 200
    return bob.received[-1], response


def test_the_far_phone_sees_the_line(alice, bob):
    got, response = sent_on(alice, bob, *CLAIMED[:1], *CLAIMED[3:], from_="tel:+4930123")
    assert asserted(got) == ["<sip:alice@10.2.0.1>"]
    assert got.from_.uri == SipUri("10.2.0.1", "alice")
    assert response.from_.uri == parse_uri("tel:+4930123")
    assert response.fields.lines("p-asserted-identity") == ["<sip:bob@10.1.0.1>"]


def test_one_line_cannot_speak_for_another(world, alice, bob):
    world.homes["carol"] = ["one"]
    got, _ = sent_on(alice, bob, from_="sip:carol@overlay.example")
    assert got.from_.uri == SipUri("10.2.0.1", "alice")
    assert asserted(got) == ["<sip:alice@10.2.0.1>"]


def test_the_far_phone_does_not_see_who_is_private(alice, bob):
    got, response = sent_on(alice, bob, ("Privacy", "critical;User;ID"))
    assert got.from_.uri == identity.ANONYMOUS.uri
    assert asserted(got) == []
    assert response.from_.uri == SipUri("10.1.0.1", "alice")


@pytest.mark.parametrize(
    "asks",
    [("Privacy", "user"), ("Privacy", "id"), ("Remote-Party-ID", "<sip:x@y>;privacy=full"), ("Subject", "x")],
)
def test_nor_by_the_contact_that_its_peer_has_made(world, alice, bob, asks):
    """The phone's own has its name in it; what leads back to it is in a token."""
    alice.aor = identity.ANONYMOUS.uri if asks[0] == "Subject" else alice.aor
    new = alice._new
    alice._new = lambda method, uri, to, extra, body=b"": new(method, uri, to, [*extra, asks], body)
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses[-1] == 200
    assert bob.calls[-1].request.contacts[0].sip_uri.user == "anonymous"
    bob.hang_up(bob.calls[-1])
    world.run(1.0)
    assert alice.received[-1].method == "BYE"
    assert alice.received[-1].sip_uri == alice.contact.uri


def test_nor_by_that_of_who_answers(world, alice, bob):
    reply = bob.layer.respond

    def in_private(transaction, response, now):
        reply(transaction, response.replace(fields=response.fields.with_last("Privacy", "id")), now)

    bob.layer.respond = in_private
    call = alice.invite("bob")
    world.run(3.0)
    assert call.target.user == "anonymous"
    alice.hang_up(call)
    world.run(1.0)
    assert bob.received[-1].sip_uri == bob.contact.uri


@pytest.mark.parametrize(
    "asks", [("Privacy", "id"), ("Privacy", "user;id"), ("Remote-Party-ID", "<sip:x@y>;privacy=full")]
)
def test_nor_by_what_is_sent_in_the_call_later(world, alice, bob, asks):
    """Many phones say it once; the re-INVITE, the INFO and the BYE that follow have their From, and nothing more."""
    call = alice.invite("bob", [asks])
    world.run(3.0)
    assert call.is_up
    for method in ("INFO", "BYE"):
        request = alice.in_dialog(call, method)
        assert alice.ask(request.replace(fields=request.fields.with_last("Contact", alice.contact))).status == 200
    assert [got.method for got in bob.received] == ["INVITE", "INFO", "BYE"]
    for got in bob.received:
        assert got.from_.uri == identity.ANONYMOUS.uri
        assert b"alice" not in got.encode().lower().replace(got.call_id.encode(), b"")
    open_call = alice.invite("bob")
    world.run(3.0)
    assert alice.ask(alice.in_dialog(open_call, "INFO")).status == 200
    assert bob.received[-1].from_.uri == SipUri("10.2.0.1", "alice"), "it is of that dialog alone"


def test_3323_5_critical_privacy_fails_with_500(alice, bob):
    asked = alice.message("bob")
    response = alice.ask(asked.replace(fields=asked.fields.with_last("Privacy", "session;critical")))
    assert (response.status, response.phrase) == (500, "Privacy Not Provided (session)")
    assert not [got for got in bob.received if got.method == "MESSAGE"]


def test_a_phone_at_the_same_peer_is_told_alike(world, one, alice):
    carol = world.phone("carol", one, Address("10.1.0.13", 5060))
    carol.register()
    asked = alice.message("carol")
    response = alice.ask(asked.replace(fields=asked.fields.with_last("Remote-Party-ID", "<sip:boss@x>")))
    assert asserted(carol.received[-1]) == ['"Alice" <sip:alice@10.1.0.1>']
    assert "remote-party-id" not in carol.received[-1].fields
    assert response.fields.lines("p-asserted-identity") == ["<sip:carol@10.1.0.1>"]


def test_wishes_of_none():
    assert identity.wishes(Request("MESSAGE", "sip:x", Fields())) == frozenset()
