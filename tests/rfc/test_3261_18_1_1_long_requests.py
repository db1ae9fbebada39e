"""RFC 3261 18.1.1: what is too long for a datagram goes over TCP, and over UDP where there is no TCP."""

from __future__ import annotations

import random

import pytest
from sip_world import Server, World
from world_phone import Phone

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.arrivals import FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import Listener, TransportLayer

LONG = b"x" * 1300
ALICE, BOB = Address("10.1.0.11", 5060), Address("10.1.0.12", 5060)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def one(world: World) -> Server:
    return world.server("one", "10.1.0.1")


@pytest.fixture
def alice(world: World, one: Server) -> Phone:
    phone = world.phone("alice", one, ALICE)
    assert phone.register().status == 200
    return phone


def called(world: World, one: Server, **options: object) -> Phone:
    """A phone on UDP."""
    phone = world.phone("bob", one, BOB, **options)
    assert phone.register().status == 200
    return phone


def datagrams(world: World, phone: Phone, method: str) -> list[Request]:
    """The requests that the server has sent to this phone in datagrams."""
    sent = (parse(data) for local, remote, data in world.datagrams if remote == phone.address and data.strip())
    return [message for message in sent if isinstance(message, Request) and message.method == method]


def opened(one: Server) -> list[tuple[str, Address]]:
    return [(each.transport, each.remote) for each in one.opened if isinstance(each, OpenFlow)]


def test_a_long_request_goes_over_tcp(world: World, one: Server, alice: Phone) -> None:
    """ "the request MUST be sent using an RFC 2914 congestion controlled transport protocol, such as TCP. If this
    causes a change in the transport protocol from the one indicated in the top Via, the value in the top Via MUST be
    changed."
    """
    bob = called(world, one)
    call = alice.invite("bob", body=LONG)
    world.run(3.0)
    assert call.is_up
    assert opened(one) == [("TCP", BOB)]
    assert datagrams(world, bob, "INVITE") == []
    assert bob.calls[0].request.via.transport == "TCP"
    assert bob.calls[0].request.via.branch.startswith("z9hG4bK")
    # What is short goes as ever, within the same dialog.
    alice.hang_up(call)
    world.run(1.0)
    assert bob.calls[0].is_over
    assert len(datagrams(world, bob, "BYE")) == 1


def test_one_connection_serves_the_next_as_well(world: World, one: Server, alice: Phone) -> None:
    bob = called(world, one)
    for _ in range(3):
        call = alice.invite("bob", body=LONG)
        world.run(3.0)
        assert call.is_up
    assert opened(one) == [("TCP", BOB)]
    assert len(bob.calls) == 3
    world.run(300.0)
    assert one.flows == {} or all(flow % 2 for flow in one.flows), "it does not stay for ever"


@pytest.mark.parametrize(("length", "over"), [(0, "UDP"), (1300, "TCP")])
def test_what_counts_is_the_whole_request(world: World, one: Server, alice: Phone, length: int, over: str) -> None:
    bob = called(world, one)
    message = alice.message("bob")
    alice.ask(message.replace(body=b"x" * length))
    assert [request.via.transport for request in bob.received] == [over]


def test_exactly_1300_bytes_stay_in_a_datagram() -> None:
    """ "larger than 1300 bytes": one byte more, and it goes over TCP."""
    local = Address("10.1.0.1", 5060)
    layer = TransactionLayer(TransportLayer((Listener("UDP", local), Listener("TCP", local))), random.Random(1))
    alice = NameAddr(SipUri("overlay.example", "alice"))

    def sent(length: int) -> list[Effect]:
        uri, body = SipUri(BOB.host, "bob"), b"x" * length
        layer.request(
            make_request("MESSAGE", uri, from_=alice.with_tag("1"), to=alice, call_id="c", cseq=1, body=body),
            UdpHop(BOB, local),
            None,
            0.0,
        )
        return layer.drain()

    (probe,) = sent(100)
    assert isinstance(probe, SendUdp)
    fits = 100 + 1300 - len(probe.data) - 1
    (datagram,) = sent(fits)
    assert isinstance(datagram, SendUdp)
    assert len(datagram.data) == 1300
    assert isinstance(sent(fits + 1)[0], OpenFlow)


@pytest.mark.parametrize(("method", "latest_s"), [("closed", 0.1), ("dropped", 1.1)])
def test_where_there_is_no_tcp_it_goes_over_udp(
    world: World, one: Server, alice: Phone, method: str, latest_s: float
) -> None:
    """ "if the attempt to establish the connection [...] results in a TCP reset, the element SHOULD retry the request,
    using UDP". Where nothing answers at all, as behind a phone's firewall, so after a second.
    """
    bob = called(world, one)
    getattr(world, method).add(BOB)
    began = world.now
    call = alice.invite("bob", body=LONG)
    while not datagrams(world, bob, "INVITE"):
        world.run(0.05)
    assert world.now - began < latest_s + 0.3
    world.run(3.0)
    assert call.is_up
    assert bob.calls[0].request.via.transport == "UDP"
    branches = {request.via.branch for request in datagrams(world, bob, "INVITE")}
    assert len(branches) == 1
    # It is known now, and so the next goes at once; after a while it is asked again.
    alice.invite("bob", body=LONG)
    world.run(3.0)
    assert opened(one) == [("TCP", BOB)]
    world.run(600.0)
    alice.invite("bob", body=LONG)
    world.run(3.0)
    assert opened(one) == [("TCP", BOB)] * 2


def test_over_udp_it_is_sent_again_until_it_is_answered(world: World, one: Server, alice: Phone) -> None:
    """What was reliable is not any more: timer A starts with it."""
    bob = called(world, one)
    world.closed.add(BOB)
    bob.is_alive = False
    alice.invite("bob", body=LONG)
    world.run(4.0)
    assert len(datagrams(world, bob, "INVITE")) == 4, "at 0, 0.5, 1.5 and 3.5 s"


def test_what_is_cancelled_before_it_is_known_that_there_is_no_tcp(world: World, one: Server, alice: Phone) -> None:
    bob = called(world, one, answers_after_s=None)
    world.dropped.add(BOB)
    call = alice.invite("bob", body=LONG)
    world.run(0.5)
    alice.cancel(call)
    world.run(5.0)
    assert call.statuses[-1] == 487
    assert not bob.calls or bob.calls[0].is_over
    assert world.forgets_all()


def test_behind_a_nat_it_stays_on_the_way_by_which_the_phone_came(world: World, one: Server, alice: Phone) -> None:
    """Its Contact is not where it comes from: at that address is the NAT, which knows of no TCP to the phone."""
    bob = called(world, one, contact_host="192.168.1.12")
    call = alice.invite("bob", body=LONG)
    world.run(3.0)
    assert call.is_up
    assert opened(one) == []
    assert bob.calls[0].request.via.transport == "UDP"


def test_a_long_ack_takes_the_connection_that_there_is(world: World, one: Server, alice: Phone) -> None:
    """An ACK cannot be sent anew over UDP, since nothing tells that it has not come: it opens no connection."""
    bob = called(world, one)
    call = alice.invite("bob", body=LONG)
    world.run(0.5)
    assert opened(one) == [("TCP", BOB)]
    world.run(3.0)
    assert bob.acks == 1
    ack = alice.in_dialog(call, "ACK", call.request.cseq.number).replace(body=LONG)
    alice.layer.send(ack, alice.hop, world.now)
    world.run(1.0)
    assert bob.acks == 2
    assert all(len(each.encode()) <= 1300 for each in datagrams(world, bob, "ACK"))


def test_a_long_ack_opens_none(world: World, one: Server, alice: Phone) -> None:
    bob = called(world, one)
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    ack = alice.in_dialog(call, "ACK", call.request.cseq.number).replace(body=LONG)
    alice.layer.send(ack, alice.hop, world.now)
    world.run(1.0)
    assert bob.acks == 2
    assert opened(one) == []
    assert [len(each.encode()) > 1300 for each in datagrams(world, bob, "ACK")] == [False, True]


def test_what_has_been_answered_is_not_sent_again() -> None:
    """Who took no connection of ours has made one since, and ends it after its answer."""
    here = Address("10.1.0.1", 5060)
    layer = TransactionLayer(TransportLayer((Listener("UDP", here), Listener("TCP", here))), random.Random(1))
    alice = NameAddr(SipUri("overlay.example", "alice"))

    def invite(number: int, now: float) -> None:
        uri, ids = SipUri(BOB.host, "bob"), {"call_id": f"c{number}", "cseq": 1}
        request = make_request("INVITE", uri, from_=alice.with_tag("1"), to=alice, body=LONG, **ids)
        layer.request(request, UdpHop(BOB), None, now)

    invite(1, 0.0)
    (tried,) = [effect for effect in layer.drain() if isinstance(effect, OpenFlow)]
    layer.handle(FlowDown(tried.flow, "refused"), 0.1)
    layer.drain()
    layer.handle(FlowUp(1, "TCP", here, BOB), 100.0)
    invite(2, 100.0)
    (sent,) = [effect for effect in layer.drain() if isinstance(effect, SendFlow)]
    request = parse(sent.data)
    assert isinstance(request, Request)
    layer.handle(FlowData(1, make_response(request, 180, to_tag="z").encode()), 101.0)
    layer.handle(FlowDown(1, "closed"), 102.0)
    assert [effect for effect in layer.drain() if isinstance(effect, SendUdp)] == []
