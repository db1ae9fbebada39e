"""Who one talks with may be told anew within a call (RFC 4916), and is proved as who calls is (RFC 8224).

The text of RFC 4916 was not at hand: that a UA says it by From of an UPDATE or a re-INVITE is from memory.
"""

from __future__ import annotations

import pytest
from sip_world import OVERLAY, Server, World
from world_phone import Call, Phone

from p2psip.base.address import Address
from p2psip.sip.entities.questions import SignClaims
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri


@pytest.fixture
def call(world: World, alice: Phone, bob: Phone) -> Call:
    """alice has called bob."""
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    return call


def says(phone: Phone, call: Call, method: str, name: NameAddr) -> Request:
    """A request within the call whose From names somebody."""
    request = phone.in_dialog(call, method)
    fields = request.fields.with_only("From", NameAddr(name.uri, name.display_name, request.from_.params))
    fields = fields.with_last("Contact", phone.contact).with_last("Supported", "from-change")
    return request.replace(fields=fields)


def heard(phone: Phone, method: str) -> Request:
    return [request for request in phone.received if request.method == method][-1]


def named(phone: Phone, user: str, display_name: str = "") -> NameAddr:
    return NameAddr(SipUri(phone.server.address.host, user), display_name)


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
def test_who_has_called_as_somebody_else_says_who_it_is(
    world: World, one: Server, alice: Phone, bob: Phone, call: Call, method: str
) -> None:
    """What alice's phone was told before was what she had dialled."""
    dialled = take_for(one, bob.server, call, "sales")
    assert bob.ask(says(bob, bob.calls[-1], method, named(bob, "bob", "Bob"))).status == 200
    told = heard(alice, method)
    assert str(told.from_.uri) == f"sip:bob@{one.address.host}"
    assert told.from_.display_name == "Bob"
    assert NameAddr.parse(told.fields.first("p-asserted-identity") or "").uri == told.from_.uri
    assert "identity" not in told.fields
    assert dialled != told.from_.uri
    # From then on that is who it is: it need not be proved again.
    signed = len([one for one in bob.server.asked if isinstance(one, SignClaims)])
    assert bob.ask(says(bob, bob.calls[-1], method, named(bob, "bob"))).status == 200
    assert len([one for one in bob.server.asked if isinstance(one, SignClaims)]) == signed


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
def test_nobody_takes_the_name_of_another(world: World, alice: Phone, bob: Phone, call: Call, method: str) -> None:
    """Its own peer does not let it: the call goes on with whom it was."""
    assert bob.ask(says(bob, bob.calls[-1], method, named(bob, "carol", "Carol"))).status == 200
    told = heard(alice, method)
    assert str(told.from_.uri) == f"sip:bob@{alice.server.address.host}"
    assert told.from_.display_name != "Carol"
    assert "p-asserted-identity" not in told.fields


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
def test_nor_does_another_peer_give_it_one(
    world: World, one: Server, other: Server, alice: Phone, bob: Phone, call: Call, method: str
) -> None:
    """A peer with altered software says that bob is carol, and signs with what it has."""
    deceive(other, "carol")
    assert bob.ask(says(bob, bob.calls[-1], method, named(bob, "bob"))).status == 200
    told = heard(alice, method)
    assert str(told.from_.uri) == f"sip:bob@{alice.server.address.host}"
    assert "p-asserted-identity" not in told.fields


def test_what_is_proved_must_be_where_the_policy_wants_it(world: World) -> None:
    """RFC 8224 6.2: "then a 428 "Use Identity Header" response MUST be sent"."""
    here = world.server("one", "10.1.0.1", callers="required")
    there = world.server("two", "10.2.0.1")
    world.link(here, there)
    alice = world.phone("alice", here, Address("10.1.0.11", 5060))
    bob = world.phone("bob", there, Address("10.2.0.12", 5070))
    assert (alice.register().status, bob.register().status) == (200, 200)
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    deceive(there, "carol")
    answered = bob.ask(says(bob, bob.calls[-1], "UPDATE", named(bob, "bob")))
    assert answered.status == 428
    assert not call.is_over


def test_who_calls_back_after_a_restart_is_who_it_was_said_to_be(
    world: World, one: Server, alice: Phone, bob: Phone, call: Call
) -> None:
    take_for(one, bob.server, call, "sales")
    assert bob.ask(says(bob, bob.calls[-1], "UPDATE", named(bob, "bob"))).status == 200
    world.run(20.0)
    known = [end.name.uri for kept in one.core._guard._calls.values() for end in kept.ends]
    assert SipUri(OVERLAY, "bob") in known


def take_for(one: Server, other: Server, call: Call, user: str) -> SipUri:
    """Both peers have it that alice has called somebody else, say a group, whose call bob has taken."""
    dialled = SipUri(OVERLAY, user)
    for server in (one, other):
        for known in server.core._guard._calls.values():
            end = known.end_of(call.responses[-1].to)
            end.name = NameAddr(dialled, "", end.name.params)
    return dialled


def deceive(server: Server, user: str) -> None:
    """From now on this peer sends what its phones say within calls in the name of `user`."""
    layer = server.core._layer
    send = layer.request

    def altered(request, hop, context, now, **options):  # type: ignore[no-untyped-def]
        if request.to.tag and request.method in ("UPDATE", "INVITE"):
            name = NameAddr(SipUri(OVERLAY, user), "Carol", request.from_.params)
            asserted = NameAddr(SipUri(OVERLAY, user))
            fields = request.fields.with_only("From", name).with_only("P-Asserted-Identity", asserted)
            request = request.replace(fields=fields)
        return send(request, hop, context, now, **options)

    layer.request = altered  # type: ignore[method-assign]
