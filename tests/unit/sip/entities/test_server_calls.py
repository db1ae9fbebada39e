"""Calls through two servers joined back to back: phone - server - server - phone."""

from __future__ import annotations

import random

import pytest

from p2psip.base.effects import CancelAsk
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.questions import Located, LocateUser, NotLocated, ResolveUri, Target
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.address import Address
from p2psip.sip.transports.effects import OpenFlow, SendDatagram
from p2psip.sip.transports.hops import FlowHop, LocalHop, StreamHop, UdpHop

ALICE_AT = Address("10.1.0.11", 5060)


def reports_of(server, method="INVITE"):
    return [report for report in server.reports if report.method == method]


def all_is_forgotten(world):
    world.run(250.0)
    return all(
        server.core.counts["transactions"] == 0 and server.core.counts["requests under way"] == 0
        for server in world.servers.values()
    )


# A call


def test_call_and_hang_up_by_the_caller(world, one, alice, bob):
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 180, 200]
    assert bob.calls[0].is_up
    assert bob.acks == 1
    alice.hang_up(call)
    world.run(1.0)
    assert alice.finals[-1].status == 200
    assert bob.calls[0].is_over
    [report] = reports_of(one)
    assert (report.who, report.status, report.target, report.causes) == ("alice", 200, "peer two", ())
    assert report.rang_s is not None
    assert report.rang_s < 0.3
    assert 1.0 < report.took_s < 1.5
    assert all_is_forgotten(world)


def test_hang_up_by_the_callee_takes_the_recorded_route(world, one, other, alice, bob):
    alice.invite("bob")
    world.run(3.0)
    routes = [str(route.uri) for route in bob.calls[0].routes]
    # RFC 5658: both servers have recorded both of their sides.
    assert len(routes) == 4
    assert routes[0].endswith("@10.2.0.1:5060;lr")
    assert routes[1:3] == [f"sip:{other.node_id}@overlay.example;lr", f"sip:{one.node_id}@overlay.example;lr"]
    assert routes[3].endswith("@10.1.0.1:5060;lr")
    bob.hang_up(bob.calls[0])
    world.run(1.0)
    assert bob.finals[-1].status == 200
    assert [request.method for request in alice.received] == ["BYE"]
    # What went between the phones bypassed no server, and both asked nobody but the overlay.
    assert {remote for _, remote, data in world.datagrams if data.startswith(b"BYE")} == {other.address, ALICE_AT}


def test_from_peer_request_says_who_is_calling(world, one, other, alice, bob):
    alice.invite("bob")
    world.run(1.0)
    [invite] = [request for request in bob.received if request.method == "INVITE"]
    assert invite.fields.first("p-asserted-identity") == '"Alice" <sip:alice@overlay.example>'
    assert "proxy-authorization" not in invite.fields
    assert invite.uri_text == str(bob.contact.uri)
    assert invite.max_forwards == 68
    asked = [question for question in other.asked if isinstance(question, LocateUser)]
    assert [(question.user, question.from_peer, question.from_user) for question in asked] == [
        ("bob", one.node_id, None)
    ]
    # The callee's phone can call back: the caller's peer's address would mean nothing there.
    assert str(invite.from_.uri) == "sip:alice@overlay.example"
    assert str(alice.calls[0].responses[-1].from_.uri) == "sip:alice@10.1.0.1"
    [asked_first] = [question for question in one.asked if isinstance(question, LocateUser)]
    assert (asked_first.from_user, asked_first.from_peer, asked_first.method) == ("alice", None, "INVITE")


def test_phones_of_one_peer(world, one, alice):
    carol = world.phone("carol", one, Address("10.1.0.13", 5060))
    carol.register()
    call = alice.invite("carol")
    world.run(3.0)
    assert call.is_up
    carol.hang_up(carol.calls[0])
    world.run(1.0)
    assert carol.finals[-1].status == 200
    assert [request.method for request in alice.received] == ["BYE"]


@pytest.mark.parametrize(("transport_a", "transport_b"), [("TCP", "UDP"), ("UDP", "TCP"), ("TCP", "TCP")])
def test_call_with_phones_on_tcp(world, transport_a, transport_b):
    one, other = world.server("one", "10.1.0.1"), world.server("two", "10.2.0.1")
    world.link(one, other)
    alice = world.phone("alice", one, ALICE_AT, transport_a)
    bob = world.phone("bob", other, Address("10.2.0.12", 5070), transport_b)
    assert alice.register().status == 200
    assert bob.register().status == 200
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    bob.hang_up(bob.calls[0])
    world.run(1.0)
    assert bob.finals[-1].status == 200
    assert [request.method for request in alice.received] == ["BYE"]


def test_phone_behind_nat_is_reached_where_it_registered_from(world, other, alice):
    """Its Contact is of no use: neither for the INVITE nor, with the token in Record-Route, for the BYE."""
    world.homes["nat"] = ["two"]
    phone = world.phone("nat", other, Address("10.2.0.99", 32_100), contact_host="192.168.178.20")
    assert phone.register().status == 200
    call = alice.invite("nat")
    world.run(3.0)
    assert call.is_up
    alice.hang_up(call)
    world.run(1.0)
    assert alice.finals[-1].status == 200
    assert not any(remote.host == "192.168.178.20" for _, remote, _ in world.datagrams)


def test_request_in_dialog_needs_no_password_and_keeps_its_uri(world, alice, bob):
    call = alice.invite("bob")
    world.run(3.0)
    assert alice.ask(alice.in_dialog(call, "INFO")).status == 200
    assert bob.received[-1].uri_text == str(bob.contact.uri)
    assert bob.received[-1].routes == ()


# No call


def test_busy(world, one, alice, bob):
    bob.refuses_with = 486
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 486]
    [report] = reports_of(one)
    assert report.status == 486
    assert [(cause.who, cause.what) for cause in report.causes] == [("peer two", "486 Busy Here")]
    assert all_is_forgotten(world)


def test_cancel_reaches_the_ringing_phone(world, alice, bob):
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(2.0)
    assert call.statuses == [100, 180]
    alice.cancel(call)
    world.run(1.0)
    assert call.statuses == [100, 180, 487]
    assert [request.method for request in bob.received] == ["INVITE", "CANCEL"]
    assert bob.calls[0].is_over
    assert all_is_forgotten(world)


def test_cancel_while_the_user_is_being_located(world, one, alice, bob):
    one.unanswered = (LocateUser,)
    call = alice.invite("bob")
    world.run(0.5)
    alice.cancel(call)
    world.run(0.5)
    assert call.statuses == [100, 487]
    assert bob.calls == []
    assert isinstance(one.asked[-1], CancelAsk)
    assert all_is_forgotten(world)


def test_nobody_of_that_name(world, alice):
    call = alice.invite("zoe")
    world.run(1.0)
    assert call.statuses == [100, 404]
    assert [str(reason) for reason in call.responses[-1].reasons] == ['SIP;cause=404;text="nobody is called zoe"']


def test_phone_is_away(world, alice, bob):
    assert bob.register(0).status == 200
    call = alice.invite("bob")
    world.run(1.0)
    assert call.statuses == [100, 480]
    assert str(call.responses[-1].reasons[0]) == 'SIP;cause=480;text="phone is away"'


def test_overlay_does_not_answer(world, one, alice, bob):
    one.locate = lambda question: NotLocated(480, "Temporarily Unavailable", "no answer from 00ff, 01ab")
    call = alice.invite("bob")
    world.run(1.0)
    assert str(call.responses[-1].reasons[0]) == 'SIP;cause=480;text="no answer from 00ff, 01ab"'
    [report] = reports_of(one)
    assert [str(cause) for cause in report.causes] == ["this peer: no answer from 00ff, 01ab"]


def test_question_that_stays_open_ends_the_call(world, one, alice, bob):
    one.unanswered = (LocateUser,)
    call = alice.invite("bob")
    world.run(30.0)
    assert call.statuses == [100, 480]
    assert "has not answered in 20 s" in str(call.responses[-1].reasons[0])
    assert all_is_forgotten(world)


def test_phone_that_does_not_answer_its_address(world, alice, bob):
    """The phone has died without a word: 408 after timer B, in the overlay's dead time."""
    bob.is_alive = False
    call = alice.invite("bob")
    world.run(40.0)
    assert call.statuses == [100, 408]
    assert "no answer to INVITE over udp 10.2.0.12:5070 in 32 s" in str(call.responses[-1].reasons[0])
    assert all_is_forgotten(world)


def test_rings_too_long(world, alice, bob):
    """16.8, timer C: after three minutes without news the branch is cancelled."""
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(200.0)
    assert call.statuses == [100, 180, 408]
    assert bob.calls[0].is_over
    assert all_is_forgotten(world)


def test_lost_link_ends_a_ringing_call(world, one, alice, bob):
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(2.0)
    world.cut(one.flows[one.links["two"]])
    world.run(0.5)
    assert call.statuses == [100, 180, 480]
    assert str(call.responses[-1].reasons[0]) == 'SIP;cause=480;text="link lost"'


# Forking


def test_fork_rings_the_next_after_a_second(world, one, other, alice, bob, bob3):
    bob3.answers_after_s, bob.answers_after_s = None, 0.5
    call = alice.invite("bob")
    world.run(0.9)
    assert (len(bob3.calls), len(bob.calls)) == (1, 0)
    world.run(3.0)
    assert call.statuses == [100, 180, 180, 200]
    assert bob.calls[0].is_up
    # The other one is told that somebody else has answered.
    assert [request.method for request in bob3.received] == ["INVITE", "CANCEL"]
    assert str(bob3.received[-1].reasons[0]) == 'SIP;cause=200;text="Call completed elsewhere"'
    assert bob3.calls[0].is_over
    assert all_is_forgotten(world)


def test_fork_goes_on_at_once_when_one_is_away(world, one, alice, bob, bob3):
    bob3.register(0)
    call = alice.invite("bob")
    world.run(0.5)
    assert call.statuses == [100, 180]
    assert len(bob.calls) == 1
    world.run(2.0)
    [report] = reports_of(one)
    assert (report.status, report.target) == (200, "peer two")


def test_fork_hides_a_dead_peer(world, alice, bob, bob3):
    """The newest entry names a peer that takes the call and says nothing more: the caller waits one second."""
    bob3.server.unanswered = (LocateUser,)
    call = alice.invite("bob")
    world.run(2.5)
    assert call.statuses == [100, 180, 200]
    assert bob.calls[0].is_up


def test_best_failure_goes_back(world, alice, bob, bob3):
    """16.7 step 6: what a person has said beats what only says that nobody was there."""
    bob3.refuses_with, bob.refuses_with = 486, 480
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 486]


def test_6xx_ends_all(world, alice, bob, bob3):
    bob3.answers_after_s = None
    bob.refuses_with = 603
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 180, 603]
    assert bob3.calls[0].is_over


def test_503_is_not_passed_on(world, alice, bob, bob3):
    """16.7 step 6: 500 instead, or the phone would look for another server."""
    bob3.refuses_with = bob.refuses_with = 503
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 500]


def test_no_more_breadth_than_was_given(world, one, alice, bob, bob3):
    """RFC 5393 5.3.3: Max-Breadth 1 makes the search sequential; 0 is 440."""
    bob3.answers_after_s = None
    uri = SipUri(one.address.host, "bob")
    extra = [("Contact", alice.contact), ("Max-Breadth", 1)]
    request = alice._new("INVITE", uri, NameAddr(uri), extra, b"offer")
    alice.send(request)
    world.run(5.0)
    assert (len(bob3.calls), len(bob.calls)) == (1, 0)
    [invite] = bob3.received
    assert invite.integer("max-breadth") == 1
    request = alice._new("INVITE", uri, NameAddr(uri), [("Contact", alice.contact), ("Max-Breadth", 0)], b"offer")
    assert alice.ask(request).status == 440


def test_hops_of_a_target_are_tried_in_order(world, one, alice, bob):
    """RFC 3263 4.3: the next one when the first cannot be reached."""
    uri = SipUri("overlay.example", "bob")
    hops = (FlowHop(99), FlowHop(one.links["two"]))
    one.locate = lambda question: Located((Target(uri, hops, "two ways"),))
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up


def test_target_with_a_route_is_resolved_when_its_turn_comes(world, one, other, alice, bob):
    route = SipUri("overlay.example", other.node_id)
    one.locate = lambda question: Located((Target(SipUri("overlay.example", "bob"), None, "bob", route),))
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    alice.hang_up(call)
    world.run(1.0)
    assert alice.finals[-1].status == 200


# Loss


@pytest.mark.parametrize("seed", range(4))
def test_call_over_lossy_lan(world, alice, bob, seed):
    rng = random.Random(seed)
    world.lose = lambda data: rng.random() < 0.2
    call = alice.invite("bob")
    world.run(30.0)
    assert call.is_up
    assert bob.acks >= 1
    bob.hang_up(bob.calls[0])
    world.run(30.0)
    assert alice.received[-1].method == "BYE"
    assert bob.finals[-1].status == 200
    world.lose = lambda data: False
    assert all_is_forgotten(world)


def test_retransmissions_are_absorbed_at_the_edge(world, one, alice, bob):
    bob.answers_after_s = None
    alice.invite("bob")
    world.run(1.0)
    sent = [data for local, _, data in world.datagrams if data.startswith(b"INVITE") and local == ALICE_AT]
    for _ in range(5):
        one.core.handle_datagram(one.address, ALICE_AT, sent[-1], world.now)
    world.run(1.0)
    assert len(bob.calls) == 1


# Other methods


def test_message_needs_the_password_once_and_arrives(alice, bob):
    assert alice.ask(alice.message("bob")).status == 200
    assert bob.received[-1].body == b"hello"


def test_unanswered_message_gets_no_408(world, other, alice, bob):
    """RFC 4320 4.2: the answer would come too late, so there is none."""
    bob.is_alive = False
    alice.send(alice.message("bob"))
    world.run(50.0)
    assert alice.finals[2:] == []
    assert [report.status for report in reports_of(other, "MESSAGE")] == [408]
    assert all_is_forgotten(world)


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


# Who may


def test_from_must_be_the_line(alice, bob):
    request = alice.message("bob")
    mallory = NameAddr(SipUri("elsewhere.example", "alice")).with_tag("1")
    assert alice.ask(request.replace(fields=request.fields.with_only("From", mallory))).status == 403


def test_one_line_cannot_speak_for_another(world, alice, bob):
    world.homes["carol"] = ["one"]
    world.passwords["carol"] = "x"
    request = alice.message("bob")
    carol = NameAddr(SipUri("overlay.example", "carol")).with_tag("1")
    response = alice.ask(request.replace(fields=request.fields.with_only("From", carol)))
    assert (response.status, response.phrase) == (403, "From names carol, the password is for another user")


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


# An agent inside the process


def test_agent_inside_the_process_answers(world, one, alice):
    one.locate = lambda question: Located((Target(SipUri("overlay.example", "*43"), (LocalHop("echo"),), "echo"),))
    call = alice.invite("*43")
    world.run(0.5)
    [delivered] = one.delivered
    assert delivered.name == "echo"
    invite = parse(delivered.data)
    assert isinstance(invite, Request)
    contact = ("Contact", NameAddr(SipUri("10.1.0.1", "*43", 5060)))
    one.core.handle_local("echo", make_response(invite, 200, to_tag="e", extra=[contact]).encode(), world.now)
    world.run(0.5)
    assert call.is_up
    ack = parse(one.delivered[-1].data)
    assert isinstance(ack, Request)
    assert ack.method == "ACK"
    bye = make_request(
        "BYE",
        invite.contacts[0].uri,
        from_=invite.to.with_tag("e"),
        to=invite.from_,
        call_id=invite.call_id,
        cseq=1,
        routes=invite.record_routes,
        extra=[("Via", "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKe1")],
    )
    one.core.handle_local("echo", bye.encode(), world.now)
    world.run(0.5)
    assert [request.method for request in alice.received] == ["BYE"]
    answer = parse(one.delivered[-1].data)
    assert isinstance(answer, Response)
    assert answer.status == 200


def test_restart_in_a_call_loses_no_way(world, one, other, alice, bob):
    """Tokens die with the process; the registration and the Contact then say where the phone is."""
    call = alice.invite("bob")
    world.run(3.0)
    snapshot = other.core.snapshot(world.now)
    world.cut(other.flows[other.links["one"]])
    again = world.server("two", "10.2.0.1")
    again.core.restore(snapshot, world.now)
    world.link(one, again)
    alice.hang_up(call)
    world.run(1.0)
    assert alice.finals[-1].status == 200
    assert bob.calls[0].is_over


def test_phone_with_a_new_connection_is_found_by_its_contact(world, one, other, alice):
    """The connection of the dialog's beginning is gone, and the phone has registered over another."""
    carol = world.phone("carol", other, Address("10.2.0.14", 5060), "TCP", contact_host="192.168.1.7")
    assert carol.register().status == 200
    call = alice.invite("carol")
    world.run(3.0)
    assert call.is_up
    [flow] = [flow for flow in other.flows.values() if flow.other.owner is carol]
    world.cut(flow)
    assert carol.register().status == 200
    alice.hang_up(call)
    world.run(1.0)
    assert alice.finals[-1].status == 200


def test_call_back_by_what_the_phone_shows(world, alice, bob):
    call = alice.invite("bob")
    world.run(3.0)
    alice.hang_up(call)
    world.run(1.0)
    back = bob.invite(str(bob.calls[0].request.from_.uri))
    world.run(3.0)
    assert back.is_up


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


def test_challenges_of_all_branches_go_back(world, alice, bob, bob3):
    """16.7 step 7: the caller has to answer them together."""
    for phone, realm in ((bob, "b"), (bob3, "b3")):

        def refuse(event, phone=phone, realm=realm):
            extra = [("Proxy-Authenticate", f'Digest realm="{realm}", nonce="n"')]
            phone.layer.respond(
                event.transaction, make_response(event.request, 407, to_tag="t", extra=extra), world.now
            )

        phone._ring = refuse
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 407]
    assert len(call.responses[-1].fields.lines("proxy-authenticate")) == 2


def test_redirect_goes_back_to_the_caller(world, alice, bob):
    bob.refuses_with = 302
    call = alice.invite("bob")
    world.run(2.0)
    assert call.statuses == [100, 302]


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


def test_identity_that_a_phone_claims_is_taken_off(world, alice, bob):
    request = alice.message("bob")
    claimed = request.fields.with_last("P-Asserted-Identity", "<sip:boss@overlay.example>").with_last("Privacy", "id")
    assert alice.ask(request.replace(fields=claimed)).status == 200
    assert "p-asserted-identity" not in bob.received[-1].fields


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


# The next hop of a target (RFC 3263 section 4.3)


def to_bob_by(one, *hops):
    target = Target(SipUri("overlay.example", "bob"), hops, "bob")
    one.locate = lambda question: Located((target,))


def test_next_hop_when_a_connection_is_refused(world, one, alice, bob):
    to_bob_by(one, StreamHop("TCP", Address("10.9.9.9", 5060)), FlowHop(one.links["two"]))
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up


def test_next_hop_when_one_answers_503(world, one, alice, bob):
    overloaded = world.phone("bob", one, Address("10.1.0.77", 5060), refuses_with=503)
    to_bob_by(one, UdpHop(overloaded.address), FlowHop(one.links["two"]))
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    assert len(overloaded.received) == 1


def test_no_next_hop_once_it_rings(world, one, alice, bob):
    bob.answers_after_s = None
    to_bob_by(one, FlowHop(one.links["two"]), UdpHop(Address("10.1.0.77", 5060)))
    call = alice.invite("bob")
    world.run(1.0)
    world.cut(one.flows[one.links["two"]])
    world.run(0.5)
    assert call.statuses == [100, 180, 480]


def test_all_hops_fail(world, one, alice, bob):
    to_bob_by(one, StreamHop("TCP", Address("10.9.9.9", 5060)), FlowHop(99))
    call = alice.invite("bob")
    world.run(1.0)
    assert call.statuses == [100, 480]
    assert str(call.responses[-1].reasons[0]) == 'SIP;cause=480;text="no way to connection 99"'
    [report] = reports_of(one)
    assert [cause.what for cause in report.causes] == ["connection refused", "no way to connection 99"]


@pytest.mark.parametrize(
    ("uri", "effect"),
    [
        ("sip:10.1.0.11:7000", SendDatagram),
        ("sip:10.1.0.11:7000;transport=tcp", OpenFlow("", "TCP", Address("10.1.0.11", 7000))),
        ("sip:10.1.0.11;transport=tls", OpenFlow("", "TLS", Address("10.1.0.11", 5061))),
        ("sips:10.1.0.11:7001", OpenFlow("", "TLS", Address("10.1.0.11", 7001))),
    ],
)
def test_numeric_address_of_a_phone_is_its_own_way(world, one, alice, uri, effect):
    """Found without asking, since the phone has proved itself; any other address has to be asked for."""
    one.locate = lambda question: Located((Target(parse_sip_uri(uri), None, "by address"),))
    alice.invite("x")
    one.step()
    world.run(0.05)
    assert not any(isinstance(question, ResolveUri) for question in one.asked)
    if effect is SendDatagram:
        assert (one.address, Address("10.1.0.11", 7000)) in {packet[:2] for packet in world.datagrams}
    else:
        assert [(opened.transport, opened.remote) for opened in one.opened] == [(effect.transport, effect.remote)]


# Callers that vanish


def test_caller_that_never_acknowledges(world, one, alice, bob):
    """Timer H ends it; nothing is left behind."""
    bob.refuses_with = 486
    alice.invite("bob")
    world.run(0.3)
    alice.is_alive = False
    assert all_is_forgotten(world)


def test_caller_whose_connection_is_gone_when_the_answer_comes(world, one, other, bob):
    caller = world.phone("carol", one, Address("10.1.0.13", 5060), "TCP", contact_host="192.168.9.9")
    caller.register()
    bob.answers_after_s = 2.0
    caller.invite("bob")
    world.run(1.0)
    [flow] = [flow for flow in one.flows.values() if flow.other.owner is caller]
    caller.is_alive = False
    world.cut(flow)
    world.run(5.0)
    assert bob.calls[0].is_up
    assert all_is_forgotten(world)
