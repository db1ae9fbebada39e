"""Calls through two servers joined back to back: phone - server - server - phone."""

from __future__ import annotations

import gc
import random

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import CancelAsk
from p2psip.sip.entities.proxy.context import Branch, Context
from p2psip.sip.entities.questions import LocateUser, NotLocated
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Datagram, FromAgent

ALICE_AT = Address("10.1.0.11", 5060)


@pytest.mark.must(
    "3261 10.1/1", "3261 16.6/5", "3261 16.7/2", "3261 16.7/3", "3261 16.7/8", "3261 16.7/30", "3261 22.1/4"
)
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
    [report] = one.reports_of("INVITE")
    assert (report.who, report.status, report.target, report.causes) == ("alice", 200, "peer two", ())
    assert report.rang_s is not None
    assert report.rang_s < 0.3
    assert 1.0 < report.took_s < 1.5
    assert world.forgets_all()


@pytest.mark.long
def test_a_call_that_is_over_leaves_nothing_to_the_collector(world, alice, bob):
    """A peer's collector runs seldom (cli/run_peer.py): what leads to itself would wait for it."""
    gc.collect()
    gc.disable()
    try:
        answered, refused = alice.invite("bob"), alice.invite("nobody")
        world.run(3.0)
        alice.hang_up(answered)
        world.run(1.0)
        assert (alice.finals[-1].status, refused.statuses[-1]) == (200, 404)
        assert world.forgets_all()
        assert [each for each in gc.get_objects() if isinstance(each, Branch | Context)] == []
    finally:
        gc.enable()


@pytest.mark.must("3261 16.6/12")
def test_hang_up_by_the_callee_takes_the_recorded_route(world, one, other, alice, bob):
    alice.invite("bob")
    world.run(3.0)
    routes = [str(route.uri) for route in bob.calls[0].routes]
    # RFC 5658: both servers have recorded both of their sides.
    assert len(routes) == 4
    assert routes[0].endswith("@10.2.0.1:5060;lr")
    assert routes[1:3] == [
        f"sip:peer-two@overlay.example;gr={other.node_id};lr",
        f"sip:peer-one@overlay.example;gr={one.node_id};lr",
    ]
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
    assert invite.fields.first("p-asserted-identity") == '"Alice" <sip:alice@10.2.0.1>'
    assert "proxy-authorization" not in invite.fields
    assert invite.uri_text == str(bob.contact.uri)
    assert invite.max_forwards == 68
    asked = [question for question in other.asked if isinstance(question, LocateUser)]
    assert [(question.user, question.from_peer, question.from_user) for question in asked] == [
        ("bob", one.node_id, None)
    ]
    # The callee can call back: what the caller calls its server would mean nothing there, nor does the overlay.
    assert str(invite.from_.uri) == "sip:alice@10.2.0.1"
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


@pytest.mark.must("3261 16.1/3", "3261 18/1", "7118 5.4/1")
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


@pytest.mark.must("3261 16.11/3", "3261 16.11/8")
def test_request_in_dialog_needs_no_password_and_keeps_its_uri(world, alice, bob):
    call = alice.invite("bob")
    world.run(3.0)
    assert alice.ask(alice.in_dialog(call, "INFO")).status == 200
    assert bob.received[-1].uri_text == str(bob.contact.uri)
    assert bob.received[-1].routes == ()


def test_busy(world, one, alice, bob):
    bob.refuses_with = 486
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 486]
    [report] = one.reports_of("INVITE")
    assert report.status == 486
    assert [(cause.who, cause.what) for cause in report.causes] == [("peer two", "486 Busy Here")]
    assert world.forgets_all()


@pytest.mark.must("3261 16.10/1", "3261 16.10/2", "3261 16.10/3")
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
    assert world.forgets_all()


@pytest.mark.must("3261 16.2/1", "3261 16.10/2")
def test_cancel_while_the_user_is_being_located(world, one, alice, bob):
    one.unanswered = (LocateUser,)
    call = alice.invite("bob")
    world.run(0.5)
    alice.cancel(call)
    world.run(0.5)
    assert call.statuses == [100, 487]
    assert bob.calls == []
    assert isinstance(one.asked[-1], CancelAsk)
    assert world.forgets_all()


@pytest.mark.must("3261 16.5/7")
def test_nobody_of_that_name(world, alice):
    call = alice.invite("zoe")
    world.run(1.0)
    assert call.statuses == [100, 404]
    assert [str(reason) for reason in call.responses[-1].reasons] == ['SIP;cause=404;text="nobody is called zoe"']


@pytest.mark.must("3261 16.5/8")
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
    [report] = one.reports_of("INVITE")
    assert [str(cause) for cause in report.causes] == ["this peer: no answer from 00ff, 01ab"]


def test_question_that_stays_open_ends_the_call(world, one, alice, bob):
    one.unanswered = (LocateUser,)
    call = alice.invite("bob")
    world.run(30.0)
    assert call.statuses == [100, 480]
    assert "has not answered in 6 s" in str(call.responses[-1].reasons[0])
    assert world.forgets_all()


@pytest.mark.must("3261 16.7/16")
def test_phone_that_does_not_answer_its_address(world, alice, bob):
    """The phone has died without a word: 408 after timer B, in the overlay's dead time."""
    bob.is_alive = False
    call = alice.invite("bob")
    world.run(40.0)
    assert call.statuses == [100, 408]
    assert "no answer to INVITE over udp 10.2.0.12:5070 in 32 s" in str(call.responses[-1].reasons[0])
    assert world.forgets_all()


def test_lost_link_ends_a_ringing_call(world, one, alice, bob):
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(2.0)
    world.cut(one.flows[one.links["two"]])
    world.run(0.5)
    assert call.statuses == [100, 180, 480]
    assert str(call.responses[-1].reasons[0]) == 'SIP;cause=480;text="link lost"'


@pytest.mark.must("3261 16.1/3", "3261 16.6/40", "3261 16.7/32")
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
    assert world.forgets_all()


def test_retransmissions_are_absorbed_at_the_edge(world, one, alice, bob):
    bob.answers_after_s = None
    alice.invite("bob")
    world.run(1.0)
    sent = [data for local, _, data in world.datagrams if data.startswith(b"INVITE") and local == ALICE_AT]
    for _ in range(5):
        one.core.handle(Datagram(one.address, ALICE_AT, sent[-1]), world.now)
    world.run(1.0)
    assert len(bob.calls) == 1


def test_agent_inside_the_process_answers(world, recorder):
    echo = recorder("echo", "*43")
    one = world.server("one", "10.1.0.1", agents=(recorder("other", "*44"), echo))
    alice = world.phone("alice", one, ALICE_AT)
    assert alice.register().status == 200
    call = alice.invite("*43")
    world.run(0.5)
    [delivered] = echo.delivered
    invite = parse(delivered)
    assert isinstance(invite, Request)
    contact = ("Contact", NameAddr(SipUri("10.1.0.1", "*43", 5060)))
    one.core.handle(FromAgent("echo", make_response(invite, 200, to_tag="e", extra=[contact]).encode()), world.now)
    world.run(0.5)
    assert call.is_up
    ack = parse(echo.delivered[-1])
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
    one.core.handle(FromAgent("echo", bye.encode()), world.now)
    world.run(0.5)
    assert [request.method for request in alice.received] == ["BYE"]
    answer = parse(echo.delivered[-1])
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


@pytest.mark.must("3261 8.1.1.8/2")
def test_call_back_by_what_the_phone_shows(world, alice, bob):
    call = alice.invite("bob")
    world.run(3.0)
    alice.hang_up(call)
    world.run(1.0)
    back = bob.invite(str(bob.calls[0].request.from_.uri))
    world.run(3.0)
    assert back.is_up


def test_caller_that_never_acknowledges(world, one, alice, bob):
    """Timer H ends it; nothing is left behind."""
    bob.refuses_with = 486
    alice.invite("bob")
    world.run(0.3)
    alice.is_alive = False
    assert world.forgets_all()


@pytest.mark.must("3261 16.11/2")
def test_an_ack_for_nobody_does_not_go_round(world, one):
    """Of a phone on the server's own host, for an AoR in place of a Contact: it leads to the server itself."""
    phone = world.phone("carol", one, Address("10.1.0.1", 5070))
    phone.register()
    call = phone.invite("nobody")
    world.run(1.0)
    world.datagrams.clear()
    ack = make_request("ACK", call.request.uri, from_=call.request.from_, to=call.request.to, call_id="other", cseq=1)
    phone.layer.send(ack, phone.hop, world.now)
    phone.step()
    world.run(1.0)
    assert [remote for _, remote, _ in world.datagrams] == [one.address]


@pytest.mark.must("6026 6/2", "6026 7.1/7", "6026 8.8/1")
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
    assert world.forgets_all()
