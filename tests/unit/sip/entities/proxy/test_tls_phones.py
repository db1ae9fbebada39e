"""Phones over TLS: what they and those they talk with are shown of us (RFC 3261 section 26.2, RFC 5658)."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.hops import FlowHop, StreamHop


def over_tls(world, server, user="carol", last=31, **options):
    phone = world.phone(user, server, Address(f"10.1.0.{last}", 5060), "TLS", **options)
    assert phone.register().status == 200
    return phone


def test_it_registers_and_is_reached_over_its_connection(world, one):
    over_tls(world, one)
    (binding,) = one.core.bindings("carol", world.now)
    assert str(binding.contact) == "sip:carol@10.1.0.31:5061;transport=tls"
    flow, listening = binding.hops
    assert isinstance(flow, FlowHop)
    assert listening == StreamHop("TLS", Address("10.1.0.31", 5061))


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


def test_26_2_2_sips_goes_from_tls_to_tls(world, one):
    """16.6 step 4: "the URI placed into the Record-Route header field MUST be a SIPS URI", and says no transport."""
    carol, dave = over_tls(world, one), world.phone("dave", one, Address("10.1.0.32", 5060), "TLS")
    dave.contact = NameAddr(SipUri("10.1.0.32", "dave", scheme="sips"))
    assert dave.register().status == 200
    call = carol.invite(f"sips:dave@{one.address.host}")
    world.run(3.0)
    assert call.is_up
    (invite,) = [request for request in dave.received if request.method == "INVITE"]
    assert [(route.sip_uri.scheme, route.sip_uri.transport) for route in invite.record_routes] == [("sips", None)] * 2
    assert [route.sip_uri.port for route in invite.record_routes] == [5061, 5061]
    carol.hang_up(call)
    world.run(1.0)
    assert dave.calls[0].is_over


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
