"""RFC 3263 sections 4, 4.3 and 5: one server for all of a transaction, and how a response gets back."""

from __future__ import annotations

from collections import Counter

import pytest
from sip_world import Server, World
from world_phone import OVERLAY, Phone

from p2psip.base.address import Address
from p2psip.sip.entities.domains.dns_answers import FindRecords, Records, Srv
from p2psip.sip.entities.domains.doors import OtherDomains
from p2psip.sip.message.headers import Via
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import FlowDown, FlowUp
from p2psip.sip.transports.hops import AcceptedTransport, FlowHop, Source, StreamHop
from p2psip.sip.transports.layer import Listener, TransportLayer

ELSEWHERE = "example.org"
FIRST, SECOND = Address("91.92.93.1", 5060), Address("91.92.93.2", 5060)


@pytest.fixture
def world() -> World:
    """Two servers of a domain, of which DNS says with each answer another order, as it may."""
    world = World()
    world.dns[f"_sip._udp.{ELSEWHERE}", "SRV"] = Records(
        (Srv(1, 1, 5060, "first.example.org"), Srv(2, 1, 5060, "second.example.org"))
    )
    world.dns["first.example.org", "A"] = Records((FIRST.host,))
    world.dns["second.example.org", "A"] = Records((SECOND.host,))
    return world


@pytest.fixture
def home(world: World) -> Server:
    return world.server("home", "45.66.77.1", other_domains=OtherDomains(calls_out=True))


@pytest.fixture
def alice(world: World, home: Server) -> Phone:
    phone = world.phone("alice", home, Address("10.1.0.11", 5060))
    assert phone.register().status == 200
    return phone


def server(world: World, home: Server, address: Address, **does: object) -> Phone:
    """One of the domain's servers, as far as anybody outside sees it."""
    name = f"bob{address.host[-1]}"
    phone = world.phone(name, home, address, **does)
    world.homes.pop(name)
    return phone


def sent(world: World, to: Address) -> list[Request]:
    """What has gone to a server."""
    return [one for _, remote, data in world.datagrams if remote == to and isinstance(one := parse(data), Request)]


def questions(home: Server) -> Counter[str]:
    return Counter(str(one) for one in home.asked if isinstance(one, FindRecords))


@pytest.mark.must("3263 4/1", "3263 4/2", "3263 4.4/1")
def test_4_dns_is_asked_once_for_all_of_a_transaction(world: World, home: Server, alice: Phone) -> None:
    """ "The procedures here MUST be done exactly once per transaction [...], all retransmissions of the SIP request and
    the ACK for non-2xx SIP responses to INVITE MUST be sent to the same host": whatever DNS says by then.
    """
    bob = server(world, home, FIRST, answers_after_s=None)
    server(world, home, SECOND)
    lost = iter([True, True])
    world.lose = lambda data: (
        data.startswith(b"INVITE") and b"Via: SIP/2.0/UDP 45.66.77.1" in data and next(lost, False)
    )
    call = alice.invite(f"sip:bob@{ELSEWHERE}")
    world.run(0.3)
    assert len(sent(world, FIRST)) == 1, "it is lost, and so is the next"
    world.dns[f"_sip._udp.{ELSEWHERE}", "SRV"] = Records((Srv(1, 1, 5060, "second.example.org"),))
    world.run(5.0)
    (taken,) = bob.calls
    bob._reply(taken, 486)
    world.run(1.0)
    assert call.statuses[-1] == 486
    said = sent(world, FIRST)
    assert [one.method for one in said] == ["INVITE"] * 3 + ["ACK"]
    assert len({one.via.branch for one in said}) == 1
    assert sent(world, SECOND) == []
    assert max(questions(home).values()) == 1


@pytest.mark.must("3263 4/3", "3263 4.4/1")
def test_4_a_cancel_goes_to_the_server_that_has_the_request(world: World, home: Server, alice: Phone) -> None:
    """ "a CANCEL for a particular SIP request MUST be sent to the same SIP server that the SIP request was delivered
    to": to the second, where the first has failed; 4.3: there the request has "a different value of the Via branch ID".
    """
    server(world, home, FIRST, refuses_with=503)
    bob = server(world, home, SECOND, answers_after_s=None)
    call = alice.invite(f"sip:bob@{ELSEWHERE}")
    world.run(3.0)
    assert call.statuses[-1] == 180
    alice.cancel(call)
    world.run(1.0)
    assert [one.method for one in sent(world, FIRST)] == ["INVITE", "ACK"]
    assert [one.method for one in sent(world, SECOND)] == ["INVITE", "CANCEL", "ACK"]
    (first, _), (second, *others) = sent(world, FIRST), sent(world, SECOND)
    assert first.via.branch != second.via.branch
    assert {one.via.branch for one in others} == {second.via.branch}
    assert (first.call_id, first.cseq, first.body) == (second.call_id, second.cseq, second.body)
    assert (call.statuses[-1], bob.calls[-1].is_over) == (487, True)


@pytest.mark.must("3263 5/1")
@pytest.mark.parametrize(("transport", "port"), [("TLS", 5061), ("TCP", 5060)])
@pytest.mark.parametrize("sent_by_port", [None, 5071])
def test_5_a_response_whose_connection_is_gone_goes_by_tls_if_the_request_came_by_it(
    transport: AcceptedTransport, port: int, sent_by_port: int | None
) -> None:
    """ "The transport protocol in the Via header can indicate "TLS", which refers to TLS over TCP. When this value is
    present, the server MUST use TLS over TCP to send the response": with "the port from sent-by, if present, else the
    default for that transport protocol".
    """
    here, far = Address("192.0.2.1", 5061), Address("198.51.100.7", 40_000)
    layer = TransportLayer((Listener("UDP", here), Listener("TCP", here), Listener("TLS", here)))
    layer.handle(FlowUp(1, transport, here, far), 0.0)
    source = Source(FlowHop(1), transport, far)
    via = Via(transport, far.host, sent_by_port, (("branch", "z9hG4bK1"),))
    assert layer.response_hop(source, via) == FlowHop(1), "as long as there is that connection"
    layer.handle(FlowDown(1, "closed"), 1.0)
    assert layer.response_hop(source, via) == StreamHop(transport, Address(far.host, sent_by_port or port))


def test_4_the_name_of_the_overlay_is_no_other_domain(world: World, home: Server, alice: Phone) -> None:
    """And DNS is not asked for it."""
    alice.invite(str(SipUri(OVERLAY, "nobody")))
    world.run(2.0)
    assert questions(home) == {}
