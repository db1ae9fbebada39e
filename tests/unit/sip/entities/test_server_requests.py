"""Requests of all kinds, and who may send them where."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.questions import Located, LocateUser, Target
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import FlowHop

ALICE_AT = Address("10.1.0.11", 5060)


def test_message_needs_the_password_once_and_arrives(alice, bob):
    assert alice.ask(alice.message("bob")).status == 200
    assert bob.received[-1].body == b"hello"


def test_unanswered_message_gets_no_408(world, other, alice, bob):
    """RFC 4320 4.2: the answer would come too late, so there is none."""
    bob.is_alive = False
    alice.send(alice.message("bob"))
    world.run(50.0)
    assert alice.finals[2:] == []
    assert [report.status for report in other.reports_of("MESSAGE")] == [408]
    assert world.forgets_all()


def test_message_without_a_way_fails_at_once(one, alice, bob):
    one.locate = lambda question: Located((Target(SipUri("overlay.example", "bob"), (FlowHop(99),), "gone"),))
    assert alice.ask(alice.message("bob")).status == 480


def test_unknown_method_is_carried(one, alice, bob):
    uri = SipUri(one.address.host, "bob")
    request = alice._new("NEWMETHOD", uri, NameAddr(uri), [("X-Odd", "kept , as; it is")])
    assert alice.ask(request).status == 200
    assert bob.received[-1].method == "NEWMETHOD"
    assert bob.received[-1].fields.first("x-odd") == "kept , as; it is"


def test_options_to_the_peer_itself(one, alice):
    uri = SipUri(one.address.host)
    response = alice.ask(alice._new("OPTIONS", uri, NameAddr(uri), []))
    assert response.status == 200
    assert response.fields.first("allow") == "REGISTER, OPTIONS"


def test_other_methods_to_the_peer_itself(one, alice):
    uri = SipUri(one.address.host)
    assert alice.ask(alice._new("SUBSCRIBE", uri, NameAddr(uri), [])).status == 405


def test_require_of_the_peer_itself_and_proxy_require(one, alice):
    uri = SipUri(one.address.host)
    response = alice.ask(alice._new("OPTIONS", uri, NameAddr(uri), [("Require", "magic")]))
    assert (response.status, response.fields.first("unsupported")) == (420, "magic")
    uri = SipUri(one.address.host, "bob")
    response = alice.ask(alice._new("MESSAGE", uri, NameAddr(uri), [("Proxy-Require", "sec-agree, magic")]))
    assert (response.status, response.fields.lines("unsupported")) == (420, ["sec-agree", "magic"])


def test_max_forwards_zero(alice, bob):
    request = alice.message("bob")
    request = request.replace(fields=request.fields.with_only("Max-Forwards", 0))
    assert alice.ask(request).status == 483


def test_foreign_scheme(alice, bob):
    request = alice.message("bob").replace(uri="http://example.com/")
    assert alice.ask(request).status == 416


def test_malformed_route_is_answered_400(alice, bob):
    request = alice.message("bob")
    request = request.replace(fields=request.fields.with_last("Route", "<sip:x"))
    response = alice.ask(request)
    assert response.status == 400
    assert response.phrase.startswith("Bad Request (")


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
    one.core.handle_datagram(one.address, stranger, request.encode(), world.now)
    world.run(1.0)
    [(_, remote, data)] = world.datagrams
    assert remote == stranger
    assert data.startswith(b"SIP/2.0 407")


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
        one.core.handle_datagram(one.address, remote, ack.encode(), world.now)
    world.run(1.0)
    assert world.datagrams == []


def test_token_serves_only_the_phone_that_it_names(world, one, other, alice, bob):
    """Everybody in the dialog sees it; from elsewhere it proves nothing."""
    call = alice.invite("bob")
    world.run(3.0)
    stolen = alice.in_dialog(call, "BYE")
    fields = stolen.fields.with_first("Via", "SIP/2.0/UDP 10.1.0.66;branch=z9hG4bKq")
    world.datagrams.clear()
    one.core.handle_datagram(one.address, Address("10.1.0.66", 5060), stolen.replace(fields=fields).encode(), world.now)
    world.run(1.0)
    assert [data[:11] for _, _, data in world.datagrams] == [b"SIP/2.0 407"]
    assert bob.calls[0].is_over is False


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


def test_request_without_max_forwards_gets_one(world, one, alice, bob):
    request = alice.message("bob")
    assert alice.ask(request.replace(fields=request.fields.without("max-forwards"))).status == 200
    assert bob.received[-1].max_forwards == 69


def test_credentials_for_others_go_on(world, alice, bob):
    """22.3: a proxy takes off what was for its own realm, and leaves the rest."""
    far = 'Digest username="a", realm="far", nonce="n", uri="sip:x", response="r"'
    authenticate = alice._authenticate

    def with_both(request, response, call):
        send, alice.send = (
            alice.send,
            lambda again, call=None: send(
                again.replace(fields=again.fields.with_last("Proxy-Authorization", far)), call
            ),
        )
        authenticate(request, response, call)
        alice.send = send

    alice._authenticate = with_both
    assert alice.ask(alice.message("bob")).status == 200
    assert bob.received[-1].fields.lines("proxy-authorization") == [far]


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
