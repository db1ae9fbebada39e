"""The user agent against messages made by hand, in virtual time."""

from __future__ import annotations

import random

import pytest
from agent_bench import ALICE, BOB, SERVER, Proxy, bob_alone, call_bob, config, invite, registering
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.address import Address
from p2psip.base.effects import Ask
from p2psip.base.errors import LocalMisuse
from p2psip.sip.entities.agents.types import (
    AgentConfig,
    CallEnded,
    CallEstablished,
    IncomingCall,
    Registered,
)
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.message.build import make_response
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.hops import StreamHop, UdpHop
from p2psip.sip.transports.layer import Listener


@pytest.mark.must("3261 8.2/2", "3261 8.2.1/2", "3261 8.2.3/1", "3261 12.2.2/1")
@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("RTP/AVP 0", "RTP/AVP 9"), "488 INVITE"),
        (("v=0", "v=1"), "400 INVITE"),
        (("application/sdp", "text/plain"), "415 INVITE"),
        (("application/sdp", "application/sdp\nContent-Encoding: gzip"), "415 INVITE"),
        (("application/sdp", "application/sdp\nContent-Disposition: icon"), "415 INVITE"),
        (("Max-Forwards", "Require: 100rel\nMax-Forwards"), "420 INVITE"),
        (("<sip:carol@192.0.2.9>", "<tel:1>"), "400 INVITE"),
        (("sip:bob@192.0.2.2", "tel:+1"), "416 INVITE"),
        (("To: <sip:bob@example.org>", "To: <sip:bob@example.org>;tag=q"), "481 INVITE"),
        (("INVITE", "MESSAGE"), "405 MESSAGE"),
        (("INVITE", "OPTIONS"), "200 OPTIONS"),
        (("INVITE", "BYE"), "405 BYE"),
        (("INVITE", "CANCEL"), "481 CANCEL"),
    ],
)
def test_8_2_requests_that_start_no_call(change: tuple[str, str], line: str) -> None:
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite(change))
    wire.run(0.2)
    assert wire.lines()[-1] == line
    assert (bob.calls, bob._asks.is_full) == ([], False)
    assert not any(isinstance(effect, IncomingCall) for effect in wire.told(BOB))


@pytest.mark.must("3261 8.2.3/1")
@pytest.mark.parametrize("optional", ["render;handling=optional", 'x ; Handling = "Optional"'])
def test_8_2_3_a_body_that_may_be_left_out_is_none(optional: str) -> None:
    """The INVITE is one without an offer then, and the 2xx has ours."""
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite(("application/sdp", f"text/html\nContent-Disposition: {optional}")))
    wire.run(0.2)
    assert b"m=audio" in wire.last("200 INVITE").body
    assert len(bob.calls) == 1


@pytest.mark.must("3261 8.2.3/2", "3261 8.2.3/3", "3261 20.12/1", "3261 21.4/3")
def test_8_2_3_what_can_be_read_is_named() -> None:
    wire, _ = bob_alone()
    wire.send(SERVER, BOB, invite(("application/sdp", "text/plain\nContent-Encoding: gzip")))
    wire.run(0.2)
    refusal = wire.last("415 INVITE").fields
    assert (refusal.first("accept"), refusal.first("accept-encoding")) == ("application/sdp", "identity")


@pytest.mark.must("3261 8.1.2/3", "3261 8.1.2/4")
def test_26_2_2_no_call_to_sips_without_tls() -> None:
    _, bob = bob_alone()
    with pytest.raises(LocalMisuse, match="dial sip: in place of sips:"):
        bob.call(parse_sip_uri("sips:alice@example.org"), 0.0)


@pytest.mark.must("3261 8.1.1.2/2", "3261 8.1.1.8/3", "3261 12.1.2/2")
@pytest.mark.parametrize("scheme", ["sip", "sips"])
def test_8_1_1_8_who_calls_sips_is_sips_himself(scheme: str) -> None:
    """ "If the Request-URI or top Route header field value contains a SIPS URI, the Contact header field MUST contain a
    SIPS URI as well."
    """
    local, server = Address("192.0.2.7", 5060), Address("192.0.2.10", 5061)
    contact = SipUri("192.0.2.7", "bob", 5060, (("transport", "tls"),))
    config = AgentConfig(
        SipUri("192.0.2.10", "bob"), contact, StreamHop("TLS", server), (Listener("UDP", local), Listener("TLS", local))
    )
    bob = UserAgent(config, random.Random(1))
    bob.call(parse_sip_uri(f"{scheme}:alice@192.0.2.10"), 0.0)
    [ask] = [effect for effect in bob.drain() if isinstance(effect, Ask)]
    bob.handle_answer(ask.token, Address("192.0.2.7", 4000), 0.0)
    [opened] = [effect for effect in bob.drain() if isinstance(effect, OpenFlow)]
    assert (opened.transport, opened.remote) == ("TLS", server)
    bob.handle(FlowUp(opened.flow, "TLS", local, server), 0.1)
    [sent] = [effect.data for effect in bob.drain() if isinstance(effect, SendFlow)]
    [own] = parse(sent).contacts
    assert str(own.uri) == {"sip": "sip:bob@192.0.2.7:5060;transport=tls", "sips": "sips:bob@192.0.2.7:5060"}[scheme]


@pytest.mark.must("3261 8.2.2.3/1", "3261 8.2.2.3/2", "3261 20.32/1", "3261 20.32/2", "3261 21.4/4")
def test_8_2_2_3_what_is_not_supported_is_named() -> None:
    wire, _ = bob_alone()
    wire.send(SERVER, BOB, invite(("Max-Forwards", "Require: 100rel, timer\nMax-Forwards")))
    wire.run(0.2)
    assert wire.last("420 INVITE").fields.first("unsupported") == "100rel, timer"


def test_8_2_2_2_another_request_uri_is_another_request() -> None:
    """A call that is forked to two names of one phone, or comes to it once more under another one, rings."""
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite())
    wire.send(SERVER, BOB, invite(("sip:bob@", "sip:bobby@"), ("z9hG4bK1", "z9hG4bK2")))
    wire.run(0.2)
    assert len(bob.calls) == 2
    assert "482 INVITE" not in wire.lines()


@pytest.mark.must("3261 8.2.2.2/1")
def test_8_2_2_2_the_same_invite_by_another_path_is_merged() -> None:
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite())
    wire.send(SERVER, BOB, invite(("z9hG4bK1", "z9hG4bK2")))
    wire.run(0.2)
    assert "482 INVITE" in wire.lines()
    assert len(bob.calls) == 1


@pytest.mark.must("3261 20.15/1")
def test_13_3_1_an_invite_without_an_offer_gets_one() -> None:
    wire, _ = bob_alone()
    offerless = invite().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    wire.send(SERVER, BOB, offerless)
    wire.run(0.2)
    ok = wire.last("200 INVITE")
    assert b"m=audio 4002 RTP/AVP 0 8 101" in ok.body
    assert wire.told(BOB, CallEstablished) == []
    to = ok.fields.first("to") or ""
    ack = invite(("INVITE", "ACK"), ("z9hG4bK1", "z9hG4bK2"), ("To: <sip:bob@example.org>", f"To: {to}"))
    wire.send(SERVER, BOB, ack)
    wire.run(0.2)
    assert len(wire.told(BOB, CallEstablished)) == 1


def test_13_3_1_an_ack_without_the_answer_ends_the_call() -> None:
    wire, _ = bob_alone()
    head = invite().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    wire.send(SERVER, BOB, head)
    wire.run(0.2)
    to = (wire.last("200 INVITE").fields.first("to") or "").encode()
    ack = head.replace(b"INVITE", b"ACK").replace(b"z9hG4bK1", b"z9hG4bK2")
    wire.send(SERVER, BOB, ack.replace(b"To: <sip:bob@example.org>", b"To: " + to))
    wire.run(0.2)
    assert wire.lines()[-1] == "BYE"
    assert "malformed session description" in str(wire.endings(BOB))


def test_15_1_2_a_bye_before_the_answer() -> None:
    wire, bob = bob_alone(auto_answer_s=None)
    wire.send(SERVER, BOB, invite())
    wire.run(0.2)
    to = wire.last("180 INVITE").fields.first("to") or ""
    bye = invite(
        ("INVITE", "BYE"), ("1 BYE", "2 BYE"), ("z9hG4bK1", "z9hG4bK2"), ("To: <sip:bob@example.org>", f"To: {to}")
    )
    wire.send(SERVER, BOB, bye)
    wire.run(0.2)
    assert sorted(wire.lines()[-2:]) == ["200 BYE", "487 INVITE"]
    assert bob.calls == []


@pytest.mark.parametrize(("method", "cseq", "line"), [("INFO", 2, "200 INFO"), ("PRACK", 2, "405 PRACK")])
def test_12_2_2_other_requests_in_a_call(method: str, cseq: int, line: str) -> None:
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite())
    wire.run(0.2)
    to = wire.last("200 INVITE").fields.first("to") or ""
    in_call = [("z9hG4bK1", "z9hG4bK2"), ("To: <sip:bob@example.org>", f"To: {to}"), ("INVITE", method)]
    wire.send(SERVER, BOB, invite(*in_call, (f"1 {method}", f"{cseq} {method}")))
    wire.run(0.1)
    assert wire.lines()[-1] == line
    wire.send(SERVER, BOB, invite(*in_call[1:], (f"1 {method}", f"0 {method}"), ("z9hG4bK1", "z9hG4bK3")))
    wire.run(0.1)
    assert wire.lines()[-1] == f"500 {method}"
    assert len(bob.calls) == 1


def test_12_2_1_1_requests_in_a_call_follow_its_record_route() -> None:
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite(("Max-Forwards", "Record-Route: <sip:192.0.2.7:5070;lr>\nMax-Forwards")))
    wire.run(0.2)
    for number in bob.calls:
        bob.hang_up(number, wire.now)
    bye = [effect for effect in bob.drain() if isinstance(effect, SendUdp)]
    assert bye == []  # it waits for the ACK
    wire, bob = bob_alone(is_tethered=True)
    assert bob._wiring.hop_to(parse_sip_uri("sip:192.0.2.7:5070;lr")) == UdpHop(SERVER)


@pytest.mark.must("3261 8.1.2/2")
@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:192.0.2.7:5070;lr", UdpHop(Address("192.0.2.7", 5070))),
        ("sip:x@[2001:db8::1]", UdpHop(Address("2001:db8::1", 5060))),
        ("sip:192.0.2.7;transport=tcp", StreamHop("TCP", Address("192.0.2.7", 5060))),
        ("sips:192.0.2.7", StreamHop("TLS", Address("192.0.2.7", 5061))),
        ("sips:proxy.example.org", StreamHop("TLS", SERVER)),
        ("sip:proxy.example.org", UdpHop(SERVER)),
    ],
)
def test_where_requests_in_a_call_go(uri: str, hop: object) -> None:
    assert bob_alone()[1]._wiring.hop_to(parse_sip_uri(uri)) == hop


@given(
    st.lists(st.one_of(st.binary(max_size=80), st.sampled_from([invite(), invite(branch="2")])), max_size=6), st.data()
)
def test_any_bytes_are_survived(datagrams: list[bytes], data: st.DataObject) -> None:
    """Garbage, and messages with one line cut out or doubled."""
    wire, bob = bob_alone(calls_max=2)
    for datagram in datagrams:
        lines = datagram.split(b"\r\n")
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at : at + 1] = lines[at : at + 1] * data.draw(st.integers(0, 2))
        wire.send(SERVER, BOB, b"\r\n".join(lines))
        wire.run(0.05)
    assert len(bob.calls) <= 2
    wire.run(200.0)
    assert bob.calls == []


@pytest.mark.long
@given(st.data())
def test_any_answer_is_survived(data: st.DataObject) -> None:
    """Answers to REGISTER, INVITE and BYE with one line cut out, doubled or garbled."""
    wire, alice = registering(lambda request: None)

    def place(request: Request) -> None:
        status = data.draw(st.sampled_from([100, 180, 200, 200, 302, 401, 407, 423, 491, 503]))
        extra = [("Contact", "<sip:bob@192.0.2.9>"), ("Record-Route", "<sip:192.0.2.9;lr>"), ("Min-Expires", "900")]
        extra.append(("WWW-Authenticate", 'Digest realm="a", nonce="b", stale=true'))
        lines = make_response(request, status, to_tag="b", extra=extra, body=Proxy().body).encode().split(b"\r\n")
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from([0, 1, 2, 3]))
        lines[at : at + 1] = [lines[at][:-3]] if change == 3 else [lines[at]] * change
        wire.send(SERVER, ALICE, b"\r\n".join(lines))

    wire.places[SERVER] = lambda request: place(request) if request.method not in ("ACK", "CANCEL") else None
    alice.register(0.0)
    number = call_bob(alice)
    wire.run(1.0)
    alice.hang_up(number, wire.now)
    wire.run(0.5)
    assert alice.calls == []


# Connections


def test_over_tcp_one_connection_carries_all_and_its_loss_registers_anew() -> None:
    hop = StreamHop("TCP", SERVER)
    alice = UserAgent(config("alice", ALICE, SERVER, server=hop, listeners=(Listener("TCP", ALICE),)), random.Random(1))
    alice.register(0.0)
    (opening,) = [effect for effect in alice.drain() if isinstance(effect, OpenFlow)]
    alice.handle(FlowUp(opening.flow, "TCP", ALICE, SERVER), 0.1)
    (sent,) = [effect for effect in alice.drain() if isinstance(effect, SendFlow)]
    request = parse(sent.data)
    assert isinstance(request, Request)
    assert request.via.transport == "TCP"
    alice.handle(
        FlowData(opening.flow, make_response(request, 200, extra=[("Expires", 100)], to_tag="t").encode()), 0.2
    )
    assert alice.drain() == [Registered(100)]
    alice.handle(FlowDown(opening.flow, "reset"), 5.0)
    deadline = alice.next_deadline()
    assert deadline
    assert 5.0 < deadline.at <= 6.0
    alice.handle_timeout(deadline.at)
    assert [type(effect) for effect in alice.drain()] == [OpenFlow]


@pytest.mark.must("3261 8.1.3.1/2")
def test_a_connection_that_does_not_come_about_fails_the_call_at_once() -> None:
    alice = UserAgent(
        config("alice", ALICE, SERVER, server=StreamHop("TCP", SERVER), listeners=(Listener("TCP", ALICE),)),
        random.Random(1),
    )
    call_bob(alice)
    (ask,) = alice.drain()
    assert isinstance(ask, Ask)
    alice.handle_answer(ask.token, ("192.0.2.1", 4000), 0.0)
    (opening,) = alice.drain()
    assert isinstance(opening, OpenFlow)
    alice.handle(FlowDown(opening.flow, "connection refused"), 0.1)
    (ended,) = [effect for effect in alice.drain() if isinstance(effect, CallEnded)]
    assert "connection refused" in str(ended.reason)
