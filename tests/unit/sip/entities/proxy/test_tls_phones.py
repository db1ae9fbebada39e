"""Phones over TLS: what they and those they talk with are shown of us (RFC 3261 section 26.2, RFC 5658)."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.hops import FlowHop, StreamHop


def over_tls(world, server, user="carol", last=31, **options):
    phone = world.phone(user, server, Address(f"10.1.0.{last}", 5060), "TLS", **options)
    assert phone.register().status == 200
    return phone


@pytest.mark.must("5627 10.1/1")
def test_it_registers_and_is_reached_over_its_connection(world, one):
    over_tls(world, one)
    (binding,) = one.core.bindings("carol", world.now)
    assert str(binding.contact) == "sip:carol@10.1.0.31:5061;transport=tls"
    flow, listening = binding.hops
    assert isinstance(flow, FlowHop)
    assert listening == StreamHop("TLS", Address("10.1.0.31", 5061))


@pytest.mark.must(
    "3261 16.6/15", "3261 16.6/16", "3261 16.7/24", "3261 16.7/25", "5658 3.2/2", "5658 6.2/1", "5658 6.2/2"
)
def test_5658_each_side_of_a_call_has_a_route_that_it_can_use(world, one, alice):
    """RFC 5658 5: over UDP towards one, over TLS towards the other, and requests in the dialog find through."""
    carol = over_tls(world, one)
    call = alice.invite("carol")
    world.run(3.0)
    assert call.is_up
    (invite,) = [request for request in carol.received if request.method == "INVITE"]
    assert (invite.via.transport, invite.via.port) == ("TLS", 5061)
    towards_carol, towards_alice = (route.sip_uri for route in invite.record_routes)
    assert (towards_carol.transport, towards_carol.port) == ("TLS", 5061)
    assert (towards_alice.transport, towards_alice.port) == (None, 5060)
    carol.hang_up(carol.calls[0])
    world.run(1.0)
    assert call.is_over
    back = carol.invite("alice")
    world.run(3.0)
    assert back.is_up
    alice.hang_up(alice.calls[-1])
    world.run(1.0)
    assert back.is_over


def test_it_calls_a_phone_of_another_peer(world, one, other, bob):
    carol = over_tls(world, one)
    call = carol.invite("bob")
    world.run(3.0)
    assert call.is_up
    (invite,) = [request for request in bob.received if request.method == "INVITE"]
    assert invite.via.transport == "UDP"
    carol.hang_up(call)
    world.run(1.0)
    assert bob.calls[0].is_over


@pytest.mark.must("3261 16.6/13", "3261 16.6/30", "5658 6.2/1")
def test_26_2_2_sips_goes_from_tls_to_tls(world, one):
    """16.6 step 4: "the URI placed into the Record-Route header field MUST be a SIPS URI", and says no transport."""
    carol, dave = over_tls(world, one), world.phone("dave", one, Address("10.1.0.32", 5060), "TLS")
    assert registered_by_sips(dave).status == 200
    call = carol.invite(f"sips:dave@{one.address.host}")
    world.run(3.0)
    assert call.is_up
    (invite,) = [request for request in dave.received if request.method == "INVITE"]
    assert [(route.sip_uri.scheme, route.sip_uri.transport) for route in invite.record_routes] == [("sips", None)] * 2
    assert [route.sip_uri.port for route in invite.record_routes] == [5061, 5061]
    carol.hang_up(call)
    world.run(1.0)
    assert dave.calls[0].is_over


def registered_by_sips(phone, request_uri="sips", path=()):
    """Register a Contact that is sips:, as who wants to be called by sips: has to."""
    phone.contact = NameAddr(SipUri(phone.address.host, phone.user, phone.contact.sip_uri.port, scheme="sips"))
    uri = SipUri(phone.server.address.host, scheme=request_uri)
    return phone.ask(phone._new("REGISTER", uri, NameAddr(phone.aor), [("Contact", phone.contact), *path]))


@pytest.mark.must("5627 10.1/1")
@pytest.mark.parametrize("transport", ["TLS", "UDP"])
def test_5630_5_2_a_sips_contact_is_registered_by_sips(world, one, transport):
    """ "A registrar MUST accept a binding to a SIPS Contact header field only if all the appropriate URIs are" sips."""
    dave = world.phone("dave", one, Address("10.1.0.32", 5060), transport)
    assert registered_by_sips(dave, "sip").status == 400
    path = [("Supported", "path"), ("Path", "<sip:edge.example;lr>")]
    assert registered_by_sips(dave, path=path).status == (400 if transport == "TLS" else 416)
    assert one.core.bindings("dave", world.now) == ()
    assert registered_by_sips(dave).status == (200 if transport == "TLS" else 416)


def test_5630_5_3_who_dials_sip_reaches_a_sips_contact_by_sip(world, one, alice):
    """ "the proxy MUST replace that SIPS scheme with a SIP scheme"; over TLS, and the caller on UDP finds through."""
    dave = world.phone("dave", one, Address("10.1.0.32", 5060), "TLS")
    assert registered_by_sips(dave).status == 200
    call = alice.invite("dave")
    world.run(3.0)
    assert call.is_up
    (invite,) = [request for request in dave.received if request.method == "INVITE"]
    assert (invite.uri_text, invite.via.transport) == ("sip:dave@10.1.0.32:5061", "TLS")
    assert [route.sip_uri.scheme for route in invite.record_routes] == ["sip", "sip"]
    assert dave.acks == 1
    alice.hang_up(call)
    world.run(1.0)
    assert dave.calls[0].is_over
    (flow,) = [flow for flow in one.flows.values() if flow.number % 2 and flow.other.owner is dave]
    world.cut(flow)
    dave.is_alive = False
    gone = alice.invite("dave")
    world.run(20.0)
    assert gone.statuses == [100, 480], "in clear it does not go"
    assert not [remote for _, remote, _ in world.datagrams if remote.host == "10.1.0.32"]


@pytest.mark.must("3261 16.6/22")
def test_26_2_2_sips_does_not_reach_a_phone_without_tls(world, one, alice):
    carol = over_tls(world, one)
    call = carol.invite(f"sips:alice@{one.address.host}")
    world.run(3.0)
    assert call.statuses == [100, 480]
    assert "sips: asks for TLS, and there is none over udp" in call.responses[-1].reasons[0].text
    assert not [request for request in alice.received if request.method == "INVITE"]


def test_a_phone_whose_connection_is_gone_is_sought_where_it_listens(world, one, alice):
    """Over TLS and nothing else."""
    carol = over_tls(world, one)
    (flow,) = [flow for flow in one.flows.values() if flow.number % 2 and flow.other.owner is carol]
    world.cut(flow)
    alice.invite("carol")
    world.run(3.0)
    assert [(opening.transport, opening.remote) for opening in one.opened] == [("TLS", carol.secure)]
    assert [request.method for request in carol.received][-1:] == ["INVITE"]


def test_the_port_of_tls_means_us_as_well(world, one, alice):
    carol = over_tls(world, one)
    carol.aor = parse_sip_uri("sip:carol@10.1.0.1:5061")
    assert carol.register().status == 200
    call = alice.invite("sip:carol@10.1.0.1:5061")
    world.run(3.0)
    assert call.is_up
