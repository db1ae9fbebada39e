"""A NAT gives a phone another port, in a call or between calls: where its latest word came from, it is."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.transports.hops import UdpHop

NAT = "10.2.0.99"


def behind_nat(world, other, host, port):
    """A phone of bob's, which calls itself by its private address whatever its NAT makes of it."""
    phone = world.phone("bob", other, Address(host, port))
    phone.contact = phone.contact.__class__(phone.contact.uri.replace(host="192.168.1.12", port=5060))
    return phone


@pytest.fixture
def before(world, other):
    phone = behind_nat(world, other, NAT, 40_001)
    assert phone.register().status == 200
    return phone


def rebind(world, other, before):
    """The same phone, from now on seen at another port."""
    before.is_alive = False
    after = behind_nat(world, other, NAT, 40_002)
    after.calls = before.calls
    return after


@pytest.mark.parametrize("method", ["BYE", "INFO", "INVITE"])
def test_a_registration_from_another_port_moves_the_calls_too(world, other, alice, before, method):
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses[-1] == 200
    after = rebind(world, other, before)
    assert after.register().status == 200
    alice.send(alice.in_dialog(call, method))
    world.run(1.0)
    assert [got.method for got in after.received] == [method]


def test_a_call_from_another_port_moves_the_registration(world, one, other, alice, before):
    after = rebind(world, other, before)
    call = after.invite("alice")
    world.run(3.0)
    assert call.statuses[-1] == 200
    alice.hang_up(alice.calls[-1])
    world.run(1.0)
    assert after.received[-1].method == "BYE"
    assert other.core.bindings("bob", world.now)[0].hops[0].remote == after.address
    assert alice.invite("bob")
    world.run(3.0)
    assert after.calls[-1].is_up


def test_a_request_within_the_call_moves_that_call_alone(world, other, alice, before):
    """Nobody has proved anything by it, and who talks with a phone knows as much of the call as it does."""
    call = alice.invite("bob")
    world.run(3.0)
    after = rebind(world, other, before)
    refresh = after.in_dialog(before.calls[-1], "UPDATE")
    after.send(refresh.replace(fields=refresh.fields.with_last("Contact", after.contact)))
    world.run(1.0)
    assert alice.received[-1].method == "UPDATE"
    call.target = alice.received[-1].contacts[0].sip_uri
    alice.hang_up(call)
    world.run(1.0)
    assert after.received[-1].method == "BYE"
    assert other.core.bindings("bob", world.now)[0].hops == (UdpHop(before.address, other.address),)


def test_what_has_another_contact_moves_nothing(world, other, before):
    """Two phones behind one NAT."""
    second = behind_nat(world, other, NAT, 40_003)
    second.contact = second.contact.__class__(second.contact.uri.replace(host="192.168.1.13"))
    second.invite("bob")
    world.run(3.0)
    assert other.core.bindings("bob", world.now)[0].hops == (UdpHop(before.address, other.address),)


def test_another_phone_with_the_same_private_address_elsewhere_takes_no_call(world, other, alice, before):
    call = alice.invite("bob")
    world.run(3.0)
    elsewhere = behind_nat(world, other, "10.2.0.77", 40_001)
    assert elsewhere.register().status == 200
    alice.hang_up(call)
    world.run(1.0)
    assert before.received[-1].method == "BYE"
    assert not elsewhere.received


def test_nor_does_its_call_move_the_registration(world, other, before):
    elsewhere = behind_nat(world, other, "10.2.0.77", 40_001)
    elsewhere.invite("bob")
    world.run(3.0)
    assert other.core.bindings("bob", world.now)[0].hops == (UdpHop(before.address, other.address),)
