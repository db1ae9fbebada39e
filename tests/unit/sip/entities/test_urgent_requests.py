"""Calls of an emergency find room where others do not (RFC 4412 section 4.7.1: they need not be refused for load)."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Asks
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.numbers.numbering import Emergency, Numbering
from p2psip.sip.entities.questions import LocateUser
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.message import Request
from p2psip.sip.message.urgency import is_urgent

NUMBERING = Numbering(emergency=Emergency(frozenset({"112"}), ("bob",)))


def site(world, **changes):
    one = world.server("one", "10.1.0.1", numbering=NUMBERING, **changes)
    phones = [
        world.phone(user, one, Address(f"10.1.0.{11 + i}", 5060)) for i, user in enumerate(("alice", "bob", "zoe"))
    ]
    for phone in phones:
        assert phone.register().status == 200
    return one, *phones


@pytest.mark.parametrize(
    ("uri", "fields", "urgent"),
    [
        ("sip:112@club.example", {}, True),
        ("sip:1-1-2;phone-context=club.example@club.example;user=phone", {}, True),
        ("tel:1-1-2", {}, True),
        ("urn:service:sos.police", {}, True),
        ("sip:bob@club.example", {"Resource-Priority": "esnet.3"}, True),
        ("sip:bob@club.example", {"Resource-Priority": "dsn.flash, esnet.0"}, True),
        ("sip:bob@club.example", {"Resource-Priority": "dsn.flash"}, False),
        ("sip:bob@club.example", {}, False),
        ("urn:service:counseling", {}, False),
        ("sip:@@", {}, False),
    ],
)
def test_what_is_urgent(uri, fields, urgent):
    assert is_urgent(Request("INVITE", uri, Fields.of(*fields.items())), frozenset({"112"})) is urgent


def test_a_peer_that_carries_all_it_can_carries_an_emergency(world):
    """Ordinary requests get 503."""
    one, alice, bob, zoe = site(world)
    world.run(60.0)
    assert one.core.counts["transactions"] == 0
    one.core._layer._max = 0
    refused = zoe.invite("alice")
    world.run(3.0)
    assert refused.statuses == [503]
    urgent = alice.invite("112")
    world.run(3.0)
    assert urgent.is_up
    assert bob.calls[0].is_up


def test_a_peer_that_asks_all_it_can_asks_for_an_emergency(world):
    one, alice, bob, zoe = site(world, limits=ServerLimits(questions=1))
    one.unanswered = (LocateUser,)
    zoe.invite("somebody")
    world.run(1.0)
    one.unanswered = ()
    refused = alice.invite("zoe")
    world.run(1.0)
    assert refused.statuses == [100, 503]
    urgent = alice.invite("112")
    world.run(3.0)
    assert urgent.is_up
    assert bob.calls[0].is_up


def test_room_is_reserved_and_bounded():
    asks: Asks[int] = Asks(1, reserved=1)
    asks.ask("first", 1, 9.0)
    assert asks.is_full
    assert not asks.is_full_for(is_urgent=True)
    asks.ask("urgent", 2, 9.0)
    assert asks.is_full_for(is_urgent=True)
