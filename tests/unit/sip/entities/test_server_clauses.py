"""Sections 10, 16, 20 and 22 of RFC 3261 clause by clause, and RFC 5393, where no story of a call has shown it yet."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.message import digest
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import Datagram

STRANGER = Address("10.1.0.66", 5060)
ALICE_AT = Address("10.1.0.11", 5060)


def from_stranger(one, method, uri, *, call_id="x", extra=(), tag=""):
    """What somebody without an account sends, by hand."""
    request = make_request(
        method,
        uri,
        from_=NameAddr(SipUri("10.1.0.1", "nobody")).with_tag("1"),
        to=NameAddr(parse_sip_uri(uri)).with_tag(tag) if tag else NameAddr(parse_sip_uri(uri)),
        call_id=call_id,
        cseq=1,
        extra=[("Via", f"SIP/2.0/UDP 10.1.0.66;branch=z9hG4bK{call_id}"), *extra],
    )
    one.core.handle(Datagram(one.address, STRANGER, request.encode()), one.world.now)
    one.world.run(1.0)
    return [answer for answer in one.answered if answer.call_id == call_id]


def on_the_wire(world, method, to=None):
    """The requests of a method that went out, to that address if one is given."""
    parsed = [(remote, parse(data)) for _, remote, data in world.datagrams if to in (None, remote)]
    return [one for _, one in parsed if isinstance(one, Request) and one.method == method]


# 10.3


@pytest.mark.must("3261 10.2/1", "3261 10.3/1", "3261 10.3/2", "3261 10.3/3", "3261 20/4", "3261 20/6")
def test_10_3_record_route_means_nothing_to_a_registrar(one, alice, bob, world):
    """ "Registrars MUST ignore the Record-Route header field", and "MUST NOT include" one in any response."""
    response = alice.register(**{"Record-Route": "<sip:198.51.100.7;lr>"})
    assert response.status == 200
    assert "record-route" not in response.fields
    call = bob.invite("alice")
    world.run(3.0)
    assert call.statuses[-1] == 200
    assert "198.51.100.7" not in str(alice.received[-1].fields)


# 16.3 to 16.6


@pytest.mark.must("3261 16.3/3")
def test_16_3_a_request_by_two_paths_is_no_error(one, alice, bob, world):
    """ "a proxy is not required to detect merged requests and MUST NOT treat merged requests as an error condition"."""
    request = alice.message("bob")
    twice = request.replace(fields=request.fields.with_only("Call-ID", "same").with_only("From", "<sip:a@b>;tag=1"))
    assert [alice.ask(twice).status for _ in range(2)] == [200, 200]
    assert [got.call_id for got in bob.received if got.method == "MESSAGE"] == ["same", "same"]


@pytest.mark.must("3261 16.4/4", "3261 16.4/5")
@pytest.mark.parametrize("uri", ["sip:bob@10.1.0.1;maddr=10.1.0.1", "sip:bob@overlay.example:5060;maddr=10.1.0.1"])
def test_16_4_a_maddr_that_is_ours_is_taken_off(alice, bob, uri):
    """ "MUST strip the maddr and any non-default port or transport parameter and continue processing"."""
    target = parse_sip_uri(uri + ";transport=udp")
    assert alice.ask(alice._new("MESSAGE", target, NameAddr(target), [])).status == 200
    assert bob.received[-1].sip_uri == bob.contact.uri


@pytest.mark.must("3261 16.5/1")
def test_16_5_another_maddr_is_where_it_goes(one, alice, bob, world):
    """ "the Request-URI MUST be placed into the target set as the only target URI": whoever is called so in front."""
    stranger = parse_sip_uri("sip:bob@10.1.0.1;maddr=203.0.113.9")
    response = alice.ask(alice._new("MESSAGE", stranger, NameAddr(stranger), []))
    assert response.status == 403, "nobody vouches for that host"
    assert bob.received == []
    assert not any(remote.host == "203.0.113.9" for _, remote, _ in world.datagrams)
    beside = world.phone("carol", one, Address("10.1.0.13", 5060))
    assert beside.register().status == 200
    known = parse_sip_uri("sip:bob@elsewhere.example;maddr=10.1.0.13")
    assert alice.ask(alice._new("MESSAGE", known, NameAddr(known), [])).status == 200
    assert beside.received[-1].uri_text == str(known)


@pytest.mark.must(
    "3261 16.6/1", "3261 16.6/2", "3261 16.6/3", "3261 16.6/4", "3261 16.7/27", "3261 16.7/28", "3261 20.28/1"
)
def test_16_6_what_a_proxy_need_not_know_goes_on_as_it_came(alice, bob, world):
    """Fields, their values' order, and bodies, in both directions."""
    fields = [
        ("X-Odd", "a , b;c"),
        ("x-odd", ""),
        ("X-Odd", '"z'),
        ("Allow", "INVITE"),
        ("Allow", "ACK, FOO"),
    ]
    body = bytes(range(256))
    replies = bob._reply
    bob._reply = lambda call, status: _say(bob, call, status, fields, body) if status == 200 else replies(call, status)
    call = alice.invite("bob", fields, body)
    world.run(3.0)
    got, answer = bob.calls[0].request, call.responses[-1]
    assert answer.status == 200
    for message in (got, answer):
        assert message.body == body
        for key in ("x-odd", "allow"):
            assert message.fields.lines(key) == [value for name, value in fields if name.lower() == key]


def _say(phone, call, status, extra, body):
    contact = [("Contact", phone.contact)]
    response = make_response(call.request, status, to_tag=phone._tag(), extra=[*contact, *extra], body=body)
    phone.layer.respond(call.transaction, response, phone.world.now)


@pytest.mark.must(
    "3261 16.6/33", "3261 16.6/34", "3261 16.6/35", "3261 18.1.1/2", "3261 20.42/1", "5393 4.2.1/1", "5393 4.2.1/2"
)
def test_16_6_each_attempt_has_a_branch_of_its_own(alice, bob, bob3, world):
    """Put before the Vias that were there; 8.1.1.7: with the cookie."""
    bob3.answers_after_s = bob.answers_after_s = None
    alice.invite("bob")
    world.run(3.0)
    first, second = (phone.calls[0].request for phone in (bob, bob3))
    branches = [via.branch for request in (first, second) for via in request.vias[:-1]]
    assert len(set(branches)) == len(branches)
    assert all(branch.startswith("z9hG4bK") for branch in branches)
    assert first.vias[-1].branch == second.vias[-1].branch, "the caller's own"
    assert first.vias[0].host == "10.2.0.1"


# 16.7


@pytest.mark.must("3261 8.2.6.2/7", "3261 16.7/20", "3261 16.7/21", "3261 16.7/22")
def test_8_2_6_2_one_tag_in_all_responses_of_a_callee(alice, bob, world):
    """And 16.7 step 9: a proxy adds none to those of others, and changes none."""
    call = alice.invite("bob")
    world.run(3.0)
    ringing, answered = (one for one in call.responses if one.status in (180, 200))
    assert ringing.to.tag == answered.to.tag == bob._tag()
    again = alice.in_dialog(call, "INFO")
    assert alice.ask(again).to.tag == bob._tag()


@pytest.mark.must("3261 16.7/6")
def test_16_7_a_response_without_another_via_goes_nowhere(alice, bob, world):
    """ "If no Via header field values remain in the response, the response was meant for this element"."""

    def with_one_via(event):
        response = make_response(event.request, 200, to_tag="t")
        bare = response.fields.with_values("Via", [event.request.via])
        bob.layer.respond(event.transaction, response.replace(fields=bare), world.now)

    bob._on_request = with_one_via
    alice.send(alice.message("bob"))
    world.run(1.0)
    assert alice.finals[1:] == []


@pytest.mark.must("3261 16.7/10", "3261 16.7/13", "3261 16.7/32")
def test_16_7_every_2xx_goes_back(alice, bob, bob3, world):
    """After the first one, too: two have picked up at once, and the caller hears of both."""
    bob3.answers_after_s, bob.answers_after_s = 1.505, 0.5
    call = alice.invite("bob")
    world.run(3.0)
    answers = [one for one in call.responses if one.status == 200]
    assert len({one.contacts[0].uri for one in answers}) == 2
    assert len(answers) == 2
    assert world.forgets_all()


@pytest.mark.must("3261 16.7/12")
def test_16_7_no_100_of_others_goes_back(alice, bob, world):
    bob._reply = lambda call, status: _say(bob, call, 100 if status == 180 else status, [], b"")
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 200], "the first is that of its own peer"


@pytest.mark.must("3261 16.7/29")
def test_16_7_received_and_rport_stay_where_we_have_put_them(alice, bob, world):
    call = alice.invite("bob")
    world.run(3.0)
    assert [(one.via.received, one.via.rport) for one in call.responses] == [("10.1.0.11", 5060)] * 3


# 16.11


@pytest.mark.must("3261 16.11/6", "3261 16.11/9", "3261 16.11/10", "3261 16.11/11", "3261 16.11/12", "3261 16.11/13")
def test_16_11_an_ack_that_comes_again_goes_on_with_the_same_branch(alice, bob, world):
    """ "the branch parameter MUST be computed as a combinatoric function of message parameters"; so all the rest."""
    call = alice.invite("bob")
    world.run(3.0)
    ack = alice.in_dialog(call, "ACK", call.request.cseq.number)
    via = "SIP/2.0/UDP 10.1.0.11:5060;branch=z9hG4bKack"
    data = ack.replace(fields=ack.fields.with_first("Via", via)).encode()
    world.datagrams.clear()
    server = alice.server
    for _ in range(2):
        server.core.handle(Datagram(server.address, ALICE_AT, data), world.now)
        world.run(1.0)
    first, second = on_the_wire(world, "ACK", bob.address)
    assert first == second
    assert first.via.branch.startswith("z9hG4bK")


# RFC 5393


@pytest.mark.must("5393 5.3.3/1", "5393 5.3.3/2", "5393 5.3.3/3", "5393 5.3.3/4", "5393 5.3.3/7")
def test_5393_5_3_3_what_goes_on_has_a_max_breadth(alice, bob, world):
    """ "it MUST add one, with a value that is RECOMMENDED to be 60"; what is above that is overwritten."""
    call = alice.invite("bob")
    world.run(3.0)
    assert bob.received[-1].fields.lines("max-breadth") == ["60"]
    assert alice.ask(alice.in_dialog(call, "INFO")).status == 200
    assert bob.received[-1].fields.lines("max-breadth") == ["60"]
    for asked, given in ((70, "60"), (7, "7")):
        request = alice.message("bob")
        assert alice.ask(request.replace(fields=request.fields.with_last("Max-Breadth", asked))).status == 200
        assert bob.received[-1].fields.lines("max-breadth") == [given]


# 22


@pytest.mark.must("3261 22/1", "3261 22.4/2", "8760 2.6/1")
def test_22_basic_is_neither_asked_for_nor_taken(one, alice, bob):
    for method, name, status in (("REGISTER", "Authorization", 401), ("MESSAGE", "Proxy-Authorization", 407)):
        [answer] = from_stranger(
            one, method, "sip:bob@10.1.0.1", call_id=method, extra=[(name, "Basic YWxpY2U6c2VjcmV0IG9mIGFsaWNl")]
        )
        key = "www-authenticate" if status == 401 else "proxy-authenticate"
        assert answer.status == status
        assert {each.scheme for each in digest.read_all(answer.fields.lines(key))} == {"Digest"}
    assert [got.method for got in bob.received] == []


@pytest.mark.must("3261 16.10/4", "3261 22.1/6")
def test_22_1_a_cancel_is_never_challenged(one, alice, bob, world):
    """ "servers MUST NOT attempt to challenge CANCEL requests since these requests cannot be resubmitted"."""
    [answer] = from_stranger(one, "CANCEL", "sip:bob@10.1.0.1")
    assert answer.status == 481


@pytest.mark.must("3261 22.1/2", "3261 22.1/3", "3261 22.3/1", "3261 22.4/5", "7616 3.3/3", "8760 3/3")
def test_22_4_every_challenge_has_a_qop_and_the_overlay_as_its_realm(world):
    """ "servers MUST always send a "qop" parameter"; the realm is the overlay's name, whatever the phone calls us."""
    one = world.server("both", "10.9.0.1", algorithms=("SHA-256", "MD5"))
    asked = ("REGISTER", "sip:10.9.0.1", "www-authenticate"), ("MESSAGE", "sip:b@10.9.0.1", "proxy-authenticate")
    for method, uri, key in asked:
        [answer] = from_stranger(one, method, uri, call_id=method)
        challenges = digest.read_all(answer.fields.lines(key))
        assert [each.params["qop"] for each in challenges] == ['"auth"'] * 2
        assert {each.get("realm") for each in challenges} == {"overlay.example"}


# 8.2.7


@pytest.mark.must("3261 8.2.7/1", "3261 8.2.7/2", "3261 8.2.7/3", "3261 8.2.7/4")
def test_8_2_7_what_is_answered_without_state_is_answered_once(world):
    """No provisional, no retransmission; ACK and CANCEL are ignored."""
    full = world.server("full", "10.1.0.2", limits=ServerLimits(transactions=0))
    [answer] = from_stranger(full, "INVITE", "sip:bob@10.1.0.2")
    world.run(60.0)
    assert [one.status for one in full.answered] == [503]
    for method in ("ACK", "CANCEL"):
        from_stranger(full, method, "sip:bob@10.1.0.2", tag=answer.to.tag)
    assert [one.status for one in full.answered] == [503]


# Who may make a phone ring


@pytest.mark.parametrize("way", ["name", "address", "contact", "route", "strict route", "dialog", "gruu"])
def test_nobody_without_a_password_makes_a_phone_ring(one, other, alice, bob, world, way):
    """From outside, by whatever he knows of it."""
    call = bob.invite("alice")
    world.run(3.0)
    alice.received.clear()
    contact = call.target
    uris = {"contact": alice.contact.uri, "gruu": contact, "address": SipUri("10.1.0.1", "alice")}
    uri = uris.get(way, SipUri("overlay.example", "alice"))
    ours = SipUri("10.1.0.1", None, None, (("lr", None),))
    seen = alice.calls[0].routes[0].sip_uri
    extra, tag = [("Contact", "<sip:nobody@10.1.0.66>")], ""
    if way == "route":
        extra += [("Route", NameAddr(ours)), ("Route", NameAddr(alice.contact.uri.replace(params=(("lr", None),))))]
    elif way == "strict route":
        extra, uri = [*extra, ("Route", NameAddr(alice.contact.uri))], seen
    elif way == "dialog":
        extra, tag, uri = [*extra, ("Route", NameAddr(seen))], "made-up", alice.contact.uri
    answers = from_stranger(one, "INVITE", str(uri), extra=extra, tag=tag)
    world.run(3.0)
    assert [answer.status for answer in answers][-1:] == [407]
    assert [got for got in alice.received if got.method == "INVITE"] == []
