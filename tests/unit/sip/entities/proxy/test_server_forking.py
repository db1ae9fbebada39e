"""Several targets, several hops of a target, and ways that have to be asked for."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import CancelAsk
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.questions import Located, LocateUser, NotLocated, ResolveUri, Target
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.effects import OpenFlow, SendUdp
from p2psip.sip.transports.hops import FlowHop, StreamHop, UdpHop

ALICE_AT = Address("10.1.0.11", 5060)


@pytest.mark.must("3261 16.6/41", "3261 16.6/42", "3261 16.7/4", "3261 16.7/5", "3261 16.8/1", "3261 16.8/2")
def test_rings_too_long(world, alice, bob):
    """16.8, timer C: after three minutes without news the branch is cancelled."""
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(200.0)
    assert call.statuses == [100, 180, 408]
    assert bob.calls[0].is_over
    assert world.forgets_all()


@pytest.mark.must("3261 16.1/2", "3261 16.7/8", "3261 16.7/33", "5393 5.3.3/5")
def test_fork_rings_the_next_after_a_second(world, one, other, alice, bob, bob3):
    bob3.answers_after_s, bob.answers_after_s = None, 0.5
    call = alice.invite("bob")
    world.run(0.9)
    assert (len(bob3.calls), len(bob.calls)) == (1, 0)
    world.run(3.0)
    assert call.statuses == [100, 180, 180, 200]
    assert bob.calls[0].is_up
    # RFC 5393 5.3.3.1: both together may be as broad as what came in.
    assert [phone.received[0].integer("max-breadth") for phone in (bob, bob3)] == [30, 30]
    # The other one is told that somebody else has answered.
    assert [request.method for request in bob3.received] == ["INVITE", "CANCEL"]
    assert str(bob3.received[-1].reasons[0]) == 'SIP;cause=200;text="Call completed elsewhere"'
    assert bob3.calls[0].is_over
    assert world.forgets_all()


def test_fork_goes_on_at_once_when_one_is_away(world, one, alice, bob, bob3):
    bob3.register(0)
    call = alice.invite("bob")
    world.run(0.5)
    assert call.statuses == [100, 180]
    assert len(bob.calls) == 1
    world.run(2.0)
    [report] = one.reports_of("INVITE")
    assert (report.status, report.target) == (200, "peer two")


def test_fork_hides_a_dead_peer(world, alice, bob, bob3):
    """The newest entry names a peer that takes the call and says nothing more: the caller waits one second."""
    bob3.server.unanswered = (LocateUser,)
    call = alice.invite("bob")
    world.run(2.5)
    assert call.statuses == [100, 180, 200]
    assert bob.calls[0].is_up


@pytest.mark.must("3261 16.7/11", "3261 16.7/15", "3261 16.7/17", "3261 16.7/19")
def test_best_failure_goes_back(world, alice, bob, bob3):
    """16.7 step 6: what a person has said beats what only says that nobody was there."""
    bob3.refuses_with, bob.refuses_with = 486, 480
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 486]


@pytest.mark.must("3261 16.7/9", "3261 16.7/18")
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


@pytest.mark.must("5393 5.3.3/5", "5393 5.3.3/6")
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


@pytest.mark.must("3261 16.6/31")
def test_hops_of_a_target_are_tried_in_order(world, one, alice, bob):
    """RFC 3263 4.3: the next one when the first cannot be reached."""
    uri = SipUri("overlay.example", "bob")
    hops = (FlowHop(99), FlowHop(one.links["two"]))
    one.locate = lambda question: Located((Target(uri, hops, "two ways"),))
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up


@pytest.mark.must("3261 16.6/21", "3261 16.6/29")
def test_target_with_a_route_is_resolved_when_its_turn_comes(world, one, other, alice, bob):
    route = other.config.peer_side.replace(params=(*other.config.peer_side.params, ("lr", None)))
    one.locate = lambda question: Located((Target(SipUri("overlay.example", "bob"), None, "bob", (NameAddr(route),)),))
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    alice.hang_up(call)
    world.run(1.0)
    assert alice.finals[-1].status == 200


def test_redirect_goes_back_to_the_caller(world, alice, bob):
    bob.refuses_with = 302
    call = alice.invite("bob")
    world.run(2.0)
    assert call.statuses == [100, 302]


def to_bob_by(one, *hops):
    target = Target(SipUri("overlay.example", "bob"), hops, "bob")
    one.locate = lambda question: Located((target,))


@pytest.mark.must("3261 16.6/32")
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


@pytest.mark.must("3261 16.7/14", "3261 16.9/1")
def test_all_hops_fail(world, one, alice, bob):
    to_bob_by(one, StreamHop("TCP", Address("10.9.9.9", 5060)), FlowHop(99))
    call = alice.invite("bob")
    world.run(1.0)
    assert call.statuses == [100, 480]
    assert str(call.responses[-1].reasons[0]) == 'SIP;cause=480;text="no way to connection 99"'
    [report] = one.reports_of("INVITE")
    assert [cause.what for cause in report.causes] == ["connection refused", "no way to connection 99"]


@pytest.mark.parametrize(
    ("uri", "effect"),
    [
        ("sip:10.1.0.11:7000", SendUdp),
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
    if effect is SendUdp:
        assert (one.address, Address("10.1.0.11", 7000)) in {packet[:2] for packet in world.datagrams}
    else:
        assert [(opened.transport, opened.remote) for opened in one.opened] == [(effect.transport, effect.remote)]


def to_bob_by_route(one, other):
    route = other.config.peer_side.replace(params=(*other.config.peer_side.params, ("lr", None)))
    one.locate = lambda question: Located((Target(SipUri("overlay.example", "bob"), None, "bob", (NameAddr(route),)),))


@pytest.mark.must("3261 16.5/2")
def test_way_that_is_not_found(world, one, other, alice, bob):
    route = SipUri("overlay.example", "00" * 16, None, (("lr", None),))
    one.locate = lambda question: Located((Target(SipUri("overlay.example", "bob"), None, "bob", (NameAddr(route),)),))
    call = alice.invite("bob")
    world.run(1.0)
    assert call.statuses == [100, 403]
    [report] = one.reports_of("INVITE")
    assert [str(cause) for cause in report.causes] == ["bob: overlay.example is no phone of this peer"]


def test_way_that_is_never_answered(world, one, other, alice, bob):
    to_bob_by_route(one, other)
    one.unanswered = (ResolveUri,)
    call = alice.invite("bob")
    world.run(30.0)
    assert call.statuses == [100, 480]
    assert call.responses[-1].reasons[0].text.startswith("no answer from ")
    assert [report.took_s for report in one.reports_of("INVITE")] == [pytest.approx(8.0)]


def test_cancel_while_the_way_is_being_looked_for(world, one, other, alice, bob):
    to_bob_by_route(one, other)
    one.unanswered = (ResolveUri,)
    call = alice.invite("bob")
    world.run(1.0)
    alice.cancel(call)
    world.run(1.0)
    assert call.statuses == [100, 487]
    assert isinstance(one.asked[-1], CancelAsk)
    assert world.forgets_all()


@pytest.mark.must("3261 16.11/4", "3261 16.11/5")
def test_acknowledgement_waits_for_its_way(world, one, other, alice, bob):
    """After a restart the token is void, so the peer's Route is asked for, and the ACK still arrives."""
    call = alice.invite("bob")
    world.run(3.0)
    ack = alice.in_dialog(call, "ACK", call.request.cseq.number)
    ours = [route for route in call.routes if route.sip_uri.host == "10.1.0.1"]
    routes = [route for route in call.routes if route not in ours]
    ack = ack.replace(fields=ack.fields.with_values("Route", routes))
    before = bob.acks
    alice.layer.send(ack, alice.hop, world.now)
    alice.step()
    world.run(1.0)
    assert isinstance(one.asked[-1], ResolveUri)
    assert bob.acks == before + 1


def test_too_many_ways_to_ask_for(world, one, alice, bob):
    small = world.server("small", "10.4.0.1", limits=ServerLimits(questions=1))
    world.homes["alice"].append("small")
    phone = world.phone("alice", small, Address("10.4.0.11", 5060))
    small.unanswered = (ResolveUri,)
    small.locate = lambda question: Located((Target(SipUri("far.example", "bob"), None, "far"),) * 2, 0.1)
    call = phone.invite("bob")
    world.run(30.0)
    assert call.statuses == [100, 480]
    [report] = small.reports_of("INVITE")
    assert len(report.causes) == 1


def test_phone_that_has_only_called_can_be_reached(world, one, alice):
    """It has proved itself without registering, as simple callers do."""
    carol = world.phone("carol", one, Address("10.1.0.13", 5060))
    world.homes["carol"] = ["one"]
    one.locate = lambda question: NotLocated(404, "Not Found")
    assert carol.ask(carol.message("x")).status == 404
    one.locate = lambda question: Located((Target(SipUri("10.1.0.13", "carol", 5060), None, "by address"),))
    assert alice.ask(alice.message("carol")).status == 200
    assert carol.received[-1].body == b"hello"


def phones_of_bob(world, one, *qs):
    """Phones of one user at one peer, registered one after the other with these q."""
    phones = []
    for number, q in enumerate(qs):
        phone = world.phone("bob", one, Address(f"10.1.0.{60 + number}", 5060), answers_after_s=None)
        phone.contact = NameAddr(phone.contact.uri, "", (("q", q),))
        assert phone.register().status == 200
        phones.append(phone)
    return phones


def test_16_6_phones_of_one_q_ring_together(world, one, alice):
    first, second, third = phones_of_bob(world, one, "0.7", "0.7", "0.7")
    call = alice.invite("bob")
    world.run(0.5)
    assert [len(phone.calls) for phone in (first, second, third)] == [1, 1, 1]
    # RFC 5393 5.3.3: "SIP proxies MUST NOT allow the Outgoing Max-Breadth to exceed the Incoming Max-Breadth".
    assert sum(phone.received[0].integer("max-breadth") for phone in (first, second, third)) == 60
    alice.cancel(call)
    world.run(1.0)
    assert all(phone.calls[0].is_over for phone in (first, second, third))
    assert world.forgets_all()


def test_16_6_a_lower_q_has_its_turn_afterwards(world, one, alice):
    """RFC 3261 20.10: "higher values are preferred"; the others ring on meanwhile."""
    later, first = phones_of_bob(world, one, "0.2", "0.9")
    call = alice.invite("bob")
    world.run(one.config.limits.serial_s - 0.5)
    assert (len(first.calls), len(later.calls)) == (1, 0)
    world.run(1.0)
    assert len(later.calls) == 1
    assert not first.calls[0].is_over
    alice.cancel(call)
    assert world.forgets_all()


def test_16_6_a_lower_q_has_its_turn_at_once_where_the_higher_has_failed(world, one, alice):
    later, first = phones_of_bob(world, one, "0.2", "0.9")
    first.refuses_with, later.answers_after_s = 480, 0.5
    call = alice.invite("bob")
    world.run(2.0)
    assert call.is_up
    assert later.calls[0].is_up


@pytest.mark.parametrize(("asked", "sent"), [(None, 60), ("60", 60), ("7", 7), ("1000", 60)])
def test_5393_5_3_3_one_branch_has_all_the_breadth(world, alice, bob, asked, sent):
    """A request without it gets 60, and no more than 60 is believed; a hop takes nothing off."""
    alice.invite("bob", [] if asked is None else [("Max-Breadth", asked)])
    world.run(3.0)
    assert bob.received[0].fields.lines("max-breadth") == [str(sent)]


def test_5393_5_3_3_every_request_has_one(world, alice, bob):
    """ "All proxied requests MUST contain a single Max-Breadth header field value": the ACK and the BYE, too."""
    call = alice.invite("bob")
    world.run(3.0)
    alice.hang_up(call)
    world.run(1.0)
    assert [request.fields.lines("max-breadth") for request in bob.received] == [["60"]] * len(bob.received)


def test_5393_5_3_3_1_breadth_is_used_again(world, one, alice):
    """ "whenever a final response arrives, the Max-Breadth that was used on that branch becomes available"."""
    phones = phones_of_bob(world, one, "0.9", "0.8", "0.7")
    phones[0].refuses_with = phones[1].refuses_with = 480
    call = alice.invite("bob", [("Max-Breadth", "2")])
    world.run(3.0)
    assert [phone.received[0].integer("max-breadth") for phone in phones] == [1, 1, 2]
    alice.cancel(call)
    assert world.forgets_all()
