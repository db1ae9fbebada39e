"""Requests of all kinds, and who may send them where."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.questions import Located, LocateUser, Target
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import Datagram, FlowData
from p2psip.sip.transports.hops import FlowHop, UdpHop

ALICE_AT = Address("10.1.0.11", 5060)


@pytest.mark.must("3261 16.3/11", "3261 22.1/1", "3261 22.3/1", "7616 3.8/1")
def test_message_needs_the_password_once_and_arrives(alice, bob):
    assert alice.ask(alice.message("bob")).status == 200
    assert bob.received[-1].body == b"hello"


@pytest.mark.must("4320 4.2/1", "4320 4.2/2")
def test_unanswered_message_gets_no_408(world, other, alice, bob):
    """RFC 4320 4.2: the answer would come too late, so there is none."""
    bob.is_alive = False
    alice.send(alice.message("bob"))
    world.run(50.0)
    assert not [data for _, _, data in world.datagrams if data.startswith(b"SIP/2.0 408")]
    assert [report.status for report in other.reports_of("MESSAGE")] == [408]
    assert world.forgets_all()


@pytest.mark.must("3261 16.9/1")
def test_message_without_a_way_fails_at_once(one, alice, bob):
    one.locate = lambda question: Located((Target(SipUri("overlay.example", "bob"), (FlowHop(99),), "gone"),))
    assert alice.ask(alice.message("bob")).status == 480


@pytest.mark.must("3261 8.2.2/1", "3261 16.2/2", "3261 16.3/6")
def test_unknown_method_is_carried(one, alice, bob):
    uri = SipUri(one.address.host, "bob")
    request = alice._new("NEWMETHOD", uri, NameAddr(uri), [("X-Odd", "kept , as; it is")])
    assert alice.ask(request).status == 200
    assert bob.received[-1].method == "NEWMETHOD"
    assert bob.received[-1].fields.first("x-odd") == "kept , as; it is"


@pytest.mark.must("3261 16.1/1")
def test_options_to_the_peer_itself(one, alice):
    uri = SipUri(one.address.host)
    response = alice.ask(alice._new("OPTIONS", uri, NameAddr(uri), []))
    assert response.status == 200
    assert response.fields.first("allow") == "REGISTER, OPTIONS"


@pytest.mark.must("3261 8.2.1/1", "3261 8.2.1/2", "3261 8.2.1/3", "3261 8.2.1/4", "3261 21.4/1")
@pytest.mark.parametrize(
    ("method", "status"), [("SUBSCRIBE", 489), ("PUBLISH", 405), ("NOTIFY", 405), ("INFO", 405), ("Options", 501)]
)
@pytest.mark.parametrize("user", [None, "alice", "Alice"])
def test_8_2_1_what_nobody_serves_is_answered_at_once(one, alice, method, status, user):
    """To the peer itself and to oneself; it is not forked to the phone that sends it. A method is case-sensitive."""
    uri = SipUri(one.address.host, user)
    response = alice.ask(alice._new(method, uri, NameAddr(uri), [("Event", "conference")]))
    assert (response.status, response.fields.first("allow")) == (status, "REGISTER, OPTIONS")
    assert alice.received == []


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "OPTIONS", "REFER"])
def test_who_calls_himself_means_his_other_phones(world, one, method, transport):
    phones = [world.phone("alice", one, Address(f"10.1.0.{number}", 5060), transport) for number in (11, 12)]
    uri, calling = SipUri(one.address.host, "alice"), phones[0]
    contact = [("Contact", calling.contact)] if method == "INVITE" else []
    for others in (0, 1):
        assert phones[others].register().status == 200
        request = calling._new(method, uri, NameAddr(uri), contact)
        response = calling.ask(request, 3.0)
        if others:
            assert response.status == 200
        else:
            assert response.status == 480
            assert response.reasons[0].text == "no other phone of alice is registered"
    assert calling.received == []
    assert method in [request.method for request in phones[1].received]


def test_two_phones_behind_one_socket_can_call_each_other(world, one, alice):
    """A socket is no identity: what a phone calls itself comes first."""
    beside = NameAddr(SipUri("10.1.0.11", "alice", 7070))
    both = [("Contact", alice.contact), ("Contact", beside)]
    assert alice.ask(alice._new("REGISTER", alice.aor, NameAddr(alice.aor), both)).status == 200
    call = alice.invite("alice")
    world.run(3.0)
    assert 200 in call.statuses
    rung = [request.uri.port for request in alice.received if request.method == "INVITE"]
    assert rung == [7070]


@pytest.mark.must("3261 16.6/6")
def test_16_6_a_request_uri_made_from_a_contact_has_neither_method_nor_headers(world, one, other, alice, bob):
    bob.register(0)
    bob.contact = NameAddr(
        parse_sip_uri("sip:bob:pw@10.2.0.12:5070;method=BYE;ob;user=phone?Subject=x&Route=%3Csip:x%3E")
    )
    assert bob.register().status == 200
    call = alice.invite("bob")
    world.run(3.0)
    assert 200 in call.statuses
    invite = bob.received[-1]
    assert invite.uri_text == "sip:bob:pw@10.2.0.12:5070;ob;user=phone"
    assert "subject" not in invite.fields
    # Nor has what the caller makes of the Contact in the 200.
    alice.ask(alice.in_dialog(call, "BYE"))
    assert bob.received[-1].uri_text == "sip:bob:pw@10.2.0.12:5070;ob;user=phone"


# sips: (26.2.2)


def dial_sips(phone, user):
    uri = parse_sip_uri(f"sips:{user}@{phone.server.address.host}")
    return phone.ask(phone._new("MESSAGE", uri, NameAddr(uri), []), 2.0)


@pytest.mark.must("3261 16.6/14")
def test_26_2_2_sips_over_udp_is_refused_where_it_comes_in(alice, bob):
    response = dial_sips(alice, "bob")
    assert response.status == 416
    assert response.reasons[0].text == "sips: asks for TLS, and this request came over UDP: dial sip: instead"
    assert bob.received == []


def test_26_2_2_sips_from_a_peer_ends_where_there_is_no_tls(world, one, other, bob):
    """Between peers it went over TLS; the phone has UDP alone."""
    uri = SipUri("overlay.example", "bob", scheme="sips")
    alice = NameAddr(SipUri("overlay.example", "alice")).with_tag("1")
    via = ("Via", "SIP/2.0/TLS one.invalid;branch=z9hG4bKsips")
    invite = make_request("INVITE", uri, from_=alice, to=NameAddr(uri), call_id="c", cseq=1, extra=[via])
    other.core.handle(FlowData(other.links["one"], invite.encode()), world.now)
    world.run(2.0)
    final = other.answered[-1]
    assert (final.status, final.reasons[0].text) == (
        480,
        "sips: asks for TLS, and there is none over udp 10.2.0.12:5070",
    )
    assert bob.received == []


@pytest.mark.must("3261 16.6/30")
def test_26_2_2_a_contact_that_is_sips_is_not_reached_in_clear(other, alice, bob):
    """Whoever says that it is there: of a Contact that came over UDP it is not believed."""
    contact, hop = parse_sip_uri("sips:bob@10.2.0.12:5070"), UdpHop(bob.address)
    other.locate = lambda question: Located((Target(contact, (hop,), "bob's phone"),))
    response = alice.ask(alice.message("bob"), 2.0)
    assert response.status == 480
    assert response.reasons[0].text.startswith("sips: asks for TLS")
    assert bob.received == []


def test_26_2_2_an_ack_does_not_leave_in_clear_either(world, one, alice):
    contact = parse_sip_uri("sips:alice@10.1.0.11:5060")
    ack = make_request("ACK", contact, from_=alice.contact, to=alice.contact, call_id="c", cseq=1)
    ack = ack.replace(fields=ack.fields.with_first("Via", "SIP/2.0/UDP 10.1.0.11;branch=z9hG4bKa"))
    before = len(world.datagrams)
    one.core.handle(Datagram(one.address, alice.address, ack.encode()), world.now)
    world.run(1.0)
    assert len(world.datagrams) == before


def test_26_2_2_nor_does_one_for_a_contact_that_is_sips(world, alice, bob):
    """Who is on UDP and says sips: in his Contact asks for what he has not: nothing in the dialog comes to him."""
    plain, alice.contact = alice.contact, NameAddr(alice.contact.sip_uri.replace(scheme="sips"))
    alice.invite("bob")
    world.run(3.0)
    alice.contact = plain
    call = bob.calls[0]
    refused = bob.ask(bob.in_dialog(call, "INFO"))
    assert (refused.status, refused.reasons[0].text[:18]) == (480, "sips: asks for TLS")
    before = alice.acks
    bob.layer.send(bob.in_dialog(call, "ACK", 1), bob.hop, world.now)
    world.run(1.0)
    assert alice.acks == before
    assert not [got for got in alice.received if got.method == "INFO"]


# Bodies that nobody here can read (8.2.3)

BODIES = [
    ({"Content-Type": "application/sdp"}, None),
    ({"Content-Type": "Application/SDP; charset=utf-8", "Content-Encoding": "IDENTITY"}, None),
    ({"Content-Type": "text/plain", "Content-Disposition": "render; handling=optional"}, None),
    ({"Content-Type": "text/plain", "Content-Disposition": 'session;Handling="OPTIONAL"'}, None),
    ({"Content-Type": "text/plain"}, {"accept": "application/sdp"}),
    ({}, {"accept": "application/sdp"}),
    ({"Content-Type": "multipart/mixed;boundary=x"}, {"accept": "application/sdp"}),
    ({"Content-Type": "application/sdp", "e": "gzip"}, {"accept-encoding": "identity"}),
    ({"Content-Type": "x/y", "e": "gzip"}, {"accept": "application/sdp", "accept-encoding": "identity"}),
    ({"Content-Type": "application/sdp", "Content-Disposition": "icon"}, {"accept": "application/sdp"}),
]


@pytest.mark.must("3261 8.2.3/1", "3261 8.2.3/2")
@pytest.mark.parametrize(("fields", "refusal"), BODIES)
@pytest.mark.parametrize("method", ["OPTIONS", "REGISTER"])
def test_8_2_3_a_body_that_the_server_cannot_read(one, alice, method, fields, refusal):
    uri = SipUri(one.address.host)
    response = alice.ask(alice._new(method, uri, NameAddr(alice.aor), list(fields.items()), b"x"))
    if refusal is None:
        assert response.status == 200
    else:
        assert response.status == 415
        assert {key: response.fields.first(key) for key in ("accept", "accept-encoding") if key in response.fields} == (
            refusal
        )


def test_8_2_3_a_malformed_disposition_is_a_bad_request(one, alice):
    uri = SipUri(one.address.host)
    fields = [("Content-Disposition", "<>"), ("Content-Type", "application/sdp")]
    assert alice.ask(alice._new("OPTIONS", uri, NameAddr(alice.aor), fields, b"x")).status == 400


@pytest.mark.must("3261 16.3/2", "3261 16.3/9", "3261 20.32/1")
def test_require_of_the_peer_itself_and_proxy_require(one, alice):
    uri = SipUri(one.address.host)
    response = alice.ask(alice._new("OPTIONS", uri, NameAddr(uri), [("Require", "magic")]))
    assert (response.status, response.fields.first("unsupported")) == (420, "magic")
    uri = SipUri(one.address.host, "bob")
    response = alice.ask(alice._new("MESSAGE", uri, NameAddr(uri), [("Proxy-Require", "sec-agree, magic")]))
    assert (response.status, response.fields.lines("unsupported")) == (420, ["sec-agree", "magic"])


@pytest.mark.must("3261 16.3/2", "3261 16.3/7", "3261 16.3/8")
def test_max_forwards_zero(alice, bob):
    request = alice.message("bob")
    request = request.replace(fields=request.fields.with_only("Max-Forwards", 0))
    assert alice.ask(request).status == 483


@pytest.mark.must("3261 16.3/2")
def test_foreign_scheme(alice, bob):
    request = alice.message("bob").replace(uri="http://example.com/")
    assert alice.ask(request).status == 416


@pytest.mark.must("3261 16.3/1", "3261 16.3/4", "3261 16.3/5")
def test_malformed_route_is_answered_400(alice, bob):
    request = alice.message("bob")
    request = request.replace(fields=request.fields.with_last("Route", "<sip:x"))
    response = alice.ask(request)
    assert response.status == 400
    assert response.phrase.startswith("Bad Request (")


@pytest.mark.must("3261 16.3/2", "5393 4.1/1", "5393 4.2.2/1", "5393 4.2.2/2", "5393 4.2.2/3", "5393 4.2.2/4")
def test_loop_is_detected(world, one, other, alice, bob):
    """RFC 5393: a request that comes back the same is refused by whom it comes back to."""
    for server, far in ((one, "two"), (other, "one")):
        flow = server.links[far]
        server.locate = lambda question, flow=flow: Located(
            (Target(SipUri("overlay.example", "bob"), (FlowHop(flow),)),)
        )
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 482]
    count = sum(isinstance(question, LocateUser) for question in [*one.asked, *other.asked])
    assert count == 3, "once round, and back at the one that has seen it from this side"


@pytest.mark.must("3261 16.3/11")
def test_strangers_cannot_send_through_us(world, alice):
    """No packet goes to a host that nobody vouches for."""
    uri = SipUri("203.0.113.5", "victim")
    response = alice.ask(alice._new("MESSAGE", uri, NameAddr(uri), []))
    assert response.status == 403
    assert not any(remote.host == "203.0.113.5" for _, remote, _ in world.datagrams)


def test_stranger_in_a_made_up_dialog_is_challenged(world, one):
    stranger = Address("10.1.0.66", 5060)
    uri = SipUri("10.2.0.12", "bob", 5070)
    request = make_request(
        "BYE",
        uri,
        from_=NameAddr(SipUri("overlay.example", "alice")).with_tag("1"),
        to=NameAddr(uri).with_tag("2"),
        call_id="x",
        cseq=1,
        routes=[NameAddr(SipUri("10.1.0.1", "0123456789abcdef.u0_10.9.9.9_5060", None, (("lr", None),)))],
        extra=[("Via", "SIP/2.0/UDP 10.1.0.66;branch=z9hG4bKq")],
    )
    world.datagrams.clear()
    one.core.handle(Datagram(one.address, stranger, request.encode()), world.now)
    world.run(1.0)
    [(_, remote, data)] = world.datagrams
    assert remote == stranger
    assert data.startswith(b"SIP/2.0 407")


@pytest.mark.must("3261 16.11/1", "3261 22.1/4", "3261 22.1/5")
def test_stray_ack_goes_nowhere(world, one):
    uri = SipUri("203.0.113.5", "victim")
    ack = make_request(
        "ACK",
        uri,
        from_=NameAddr(uri).with_tag("1"),
        to=NameAddr(uri).with_tag("2"),
        call_id="x",
        cseq=1,
        extra=[("Via", "SIP/2.0/UDP 10.1.0.66;branch=z9hG4bKq")],
    )
    world.datagrams.clear()
    for remote in (Address("10.1.0.66", 5060), ALICE_AT):
        one.core.handle(Datagram(one.address, remote, ack.encode()), world.now)
    world.run(1.0)
    assert world.datagrams == []


def test_token_serves_only_the_phone_that_it_names(world, one, other, alice, bob):
    """Everybody in the dialog sees it; from elsewhere it proves nothing."""
    call = alice.invite("bob")
    world.run(3.0)
    stolen = alice.in_dialog(call, "BYE")
    fields = stolen.fields.with_first("Via", "SIP/2.0/UDP 10.1.0.66;branch=z9hG4bKq")
    world.datagrams.clear()
    one.core.handle(
        Datagram(one.address, Address("10.1.0.66", 5060), stolen.replace(fields=fields).encode()), world.now
    )
    world.run(1.0)
    assert [data[:11] for _, _, data in world.datagrams] == [b"SIP/2.0 407"]
    assert bob.calls[0].is_over is False


@pytest.mark.must("4320 4.1/1")
def test_provisional_to_other_methods_stays_here(world, alice, bob):
    """RFC 4320 4.1: only 100 may answer a non-INVITE provisionally."""

    def slowly(event):
        bob.layer.respond(event.transaction, make_response(event.request, 183, to_tag="t"), world.now)

    real, bob._on_request = bob._on_request, slowly
    alice.send(alice.message("bob"))
    world.run(1.0)
    bob._on_request = real
    responses = [data for _, remote, data in world.datagrams if remote == ALICE_AT and b"MESSAGE" in data]
    assert {data[:11] for data in responses} == {b"SIP/2.0 407"}


def test_too_many_questions(world, one, alice, bob):
    """The server asks no more than it can keep; the phone hears that it should come again."""
    small = world.server("small", "10.4.0.1", limits=ServerLimits(questions=1))
    world.homes["alice"].append("small")
    phone = world.phone("alice", small, Address("10.4.0.11", 5060))
    small.unanswered = (LocateUser,)
    first = phone.invite("bob")
    world.run(1.0)
    second = phone.invite("bob")
    world.run(1.0)
    assert (first.statuses, second.statuses) == ([100], [100, 503])
    assert second.responses[-1].fields.first("retry-after") == "5"


@pytest.mark.must("3261 16.6/8")
def test_request_without_max_forwards_gets_one(world, one, alice, bob):
    request = alice.message("bob")
    assert alice.ask(request.replace(fields=request.fields.without("max-forwards"))).status == 200
    assert bob.received[-1].max_forwards == 69


@pytest.mark.must("3261 20.7/1", "3261 22.3/5", "7616 3.6/2", "7616 3.6/3")
def test_credentials_for_others_go_on(world, alice, bob):
    """22.3: a proxy takes off what was for its own realm, and leaves the rest."""
    far = [f'Digest username="a", realm="{realm}", nonce="n", uri="sip:x", response="r"' for realm in ("far", "away")]
    authenticate = alice._authenticate

    def with_more(request, response, call):
        def send_with_more(again, call=None):
            own = again.fields.lines("proxy-authorization")
            send(again.replace(fields=again.fields.with_values("Proxy-Authorization", [*own, *far])), call)

        send, alice.send = alice.send, send_with_more
        authenticate(request, response, call)
        alice.send = send

    alice._authenticate = with_more
    assert alice.ask(alice.message("bob")).status == 200
    assert bob.received[-1].fields.lines("proxy-authorization") == far, "and 20.28: each in a line of its own"


def test_16_3_max_forwards_is_for_who_forwards(one, alice, bob):
    """Who serves a request himself does not look at it; OPTIONS ends where it may go no further."""

    def with_max_forwards(request, value):
        return request.replace(fields=request.fields.with_only("Max-Forwards", value))

    own = SipUri(one.address.host)
    for value in (0, "rubbish"):
        register = alice._new("REGISTER", own, NameAddr(alice.aor), [("Contact", alice.contact)])
        assert alice.ask(with_max_forwards(register, value)).status == 200
    options = alice._new("OPTIONS", own, NameAddr(own), [])
    assert alice.ask(with_max_forwards(options, 0)).status == 200
    ending_here = alice._new("OPTIONS", SipUri(one.address.host, "bob"), NameAddr(own), [])
    response = alice.ask(with_max_forwards(ending_here, 0))
    assert (response.status, response.fields.first("server")) == (200, "p2psip")
    assert alice.ask(with_max_forwards(alice.message("bob"), 0)).status == 483
    assert alice.ask(with_max_forwards(alice.message("bob"), "rubbish")).status == 400
    assert bob.received == []
