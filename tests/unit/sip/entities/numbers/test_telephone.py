"""Telephone numbers and services in Request-URIs, and the keypad."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.numbers.telephone import on_keypad, user_meant
from p2psip.sip.message.uri import SipUri, parse_uri

CONFIG = ServerConfig(
    "club.example",
    frozenset({"club.example", "10.1.0.1"}),
    (),
    SipUri("club.example", "peer-hill", None, (("gr", "ab" * 16),)),
)


@pytest.mark.parametrize(
    ("uri", "user"),
    [
        ("tel:+49-30-(12)34.5", "+493012345"),
        ("tel:42;phone-context=club.example", "42"),
        ("tel:42", "42"),
        ("tel:*72-42", "*7242"),
        ("sip:+49-30-1234@10.1.0.1;user=phone", "+49301234"),
        ("sip:42;phone-context=10.1.0.1@club.example;user=phone", "42"),
        ("urn:service:sos", "urn:service:sos"),
        ("URN:service:SOS.fire", "urn:service:sos.fire"),
    ],
)
def test_what_is_a_user_of_the_overlay(uri: str, user: str) -> None:
    meant = user_meant(parse_uri(uri), CONFIG)
    assert isinstance(meant, SipUri)
    assert meant.user_name == user


@pytest.mark.parametrize(
    "uri",
    [
        "tel:42;phone-context=elsewhere.example",
        "tel:42;phone-context=+49",
        "tel:4x2",
        "sip:a-b@club.example",
        "sip:+49-30@elsewhere.example;user=phone",
        "sip:al.ice@club.example;user=phone",
        "urn:service:counseling",
        "mailto:bob@club.example",
    ],
)
def test_what_stays_what_it_is(uri: str) -> None:
    parsed = parse_uri(uri)
    assert user_meant(parsed, CONFIG) is parsed


@pytest.mark.parametrize(("name", "number"), [("dl1abc", "351222"), ("OE3XYZ", "633999"), ("n0-call", "602255")])
def test_the_number_that_spells_a_callsign(name: str, number: str) -> None:
    assert on_keypad(name) == number


def site(world, **changes):
    one = world.server("one", "10.1.0.1", **changes)
    phones = [world.phone(user, one, Address(f"10.1.0.{11 + i}", 5060)) for i, user in enumerate(("alice", "42"))]
    for phone in phones:
        assert phone.register().status == 200
    return one, *phones


@pytest.mark.parametrize("uri", ["tel:4-2", "tel:42;phone-context=overlay.example", "sip:4.2@10.1.0.1;user=phone"])
def test_a_phone_dials_a_number_in_any_of_its_forms(world, uri):
    """The password is proved for the URI as the phone has it."""
    _, alice, bob = site(world)
    call = alice.invite("42")
    request = call.request.replace(uri=uri)
    alice.calls.clear()
    again = alice.invite("nobody")
    again.request = request
    alice.send(request.replace(fields=request.fields.with_only("Call-ID", "by number")), again)
    world.run(4.0)
    assert again.is_up
    assert len(bob.calls) == 2


def test_a_number_of_elsewhere_is_refused(world):
    _, alice, _ = site(world)
    call = alice.invite("42")
    request = call.request.replace(uri="tel:42;phone-context=elsewhere.example")
    alice.send(request.replace(fields=request.fields.with_only("Call-ID", "elsewhere")))
    world.run(2.0)
    assert alice.finals[-1].status == 416
