"""Users of further domains of the overlay: one form in here, the AoR outside (RFC 7904 section 3.4)."""

from __future__ import annotations

import ipaddress

import pytest
from sip_world import Server, World
from world_phone import Phone

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.sip.entities.callers.identity_field import party_of
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.doors import OtherDomains
from p2psip.sip.entities.domains.hosted import inward, inward_alone, outward
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Response
from p2psip.sip.message.uri import SipUri, parse_uri
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendFlow

FURTHER = "club-b.example"
HOSTED = frozenset({FURTHER, "c.example"})
CONFIG = ServerConfig("club.example", frozenset({"club.example"}), (), SipUri("club.example", "peer"), hosted=HOSTED)


@pytest.mark.parametrize(
    ("outside", "inside"),
    [
        ("sip:bob@club-b.example", "sip:bob%40club-b.example@club.example"),
        ("SIPS:bob@Club-B.Example.;x=y", "SIPS:bob%40club-b.example@club.example;x=y"),
        ('"Bob" <sip:bob@c.example:5062;gr=a>;tag=1', '"Bob" <sip:bob%40c.example@club.example:5062;gr=a>;tag=1'),
        ("<sip:a@c.example>, <sip:b@c.example>", "<sip:a%40c.example@club.example>, <sip:b%40c.example@club.example>"),
        ("<sip:bob@c.example?Replaces=1>", "<sip:bob%40c.example@club.example?Replaces=1>"),
        # Numbers and codes are nobody's name in a further domain.
        ("sip:42@club-b.example", "sip:42@club.example"),
        ("sip:+49-30(1)@club-b.example;user=phone", "sip:+49-30(1)@club.example;user=phone"),
        ("sip:*43@club-b.example", "sip:*43@club.example"),
        ("sip:%2343@club-b.example", "sip:%2343@club.example"),
        # None of ours.
        ("sip:bob@club-b.example.org", "sip:bob@club-b.example.org"),
        ("sip:bob@my-club-b.example", "sip:bob@my-club-b.example"),
        ("sip:bob:secret@club-b.example", "sip:bob:secret@club-b.example"),
        ("mailto:bob@club-b.example", "mailto:bob@club-b.example"),
        ("sip:club-b.example", "sip:club-b.example"),
        ("sip:bob@club.example", "sip:bob@club.example"),
    ],
)
def test_what_comes_in(outside: str, inside: str) -> None:
    assert inward(outside, CONFIG) == inside
    # What is of here already stays so.
    assert inward(inside, CONFIG) == inside


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("sip:bob%40club-b.example@club.example", "sip:bob@club-b.example"),
        ("<sip:bob%40c.example@192.168.1.1:5070;gr=a>;tag=1", "<sip:bob@c.example;gr=a>;tag=1"),
        ('entity="sips:bob%40c.example@[2001:db8::1]:5070"', 'entity="sips:bob@c.example"'),
        ("sip:bob%40elsewhere.example@club.example", "sip:bob%40elsewhere.example@club.example"),
        ("sip:42@club.example", "sip:42@club.example"),
    ],
)
def test_what_goes_out(inside: str, outside: str) -> None:
    assert outward(inside, CONFIG) == outside


def test_a_request_uri_may_be_a_domain_alone() -> None:
    assert inward_alone("sip:club-b.example", CONFIG) == "sip:club.example"
    assert inward_alone("sip:club-b.example;transport=tcp", CONFIG) == "sip:club.example;transport=tcp"
    assert inward_alone("sip:club-b.example.org", CONFIG) == "sip:club-b.example.org"


def test_an_overlay_of_one_domain_is_left_alone() -> None:
    alone = ServerConfig("club.example", frozenset({"club.example"}), (), SipUri("club.example", "peer"))
    assert inward("sip:bob@club-b.example", alone) == "sip:bob@club-b.example"
    assert outward("sip:bob%40c.example@x", alone) == "sip:bob%40c.example@x"


def test_8_5_what_is_signed_is_the_aor() -> None:
    """RFC 8224 section 8.5: only "sip:user@host" stays."""
    uri = parse_uri("sip:Bob%40club-b.example@club.example")
    assert party_of(uri) == party_of(parse_uri("sip:bob@club-b.example"))
    assert party_of(uri).name == "sip:bob@club-b.example"


# Through servers


@pytest.fixture
def one(world: World) -> Server:
    return world.server("one", "10.1.0.1", hosted=frozenset({FURTHER}))


@pytest.fixture
def other(world: World, one: Server) -> Server:
    server = world.server("two", "10.2.0.1", hosted=frozenset({FURTHER}))
    world.link(one, server)
    return server


def phone_of(world: World, server: Server, user: str, host: str) -> Phone:
    """A phone that is set to a user and a domain, and to its peer as outbound proxy."""
    phone = world.phone(f"{user}@{FURTHER}", server, Address(host, 5060))
    phone.aor, phone.auth_user = SipUri(FURTHER, user), user
    phone.contact = NameAddr(SipUri(host, user, 5060))
    return phone


def register(phone: Phone, expires_s: int = 3600) -> Response:
    extra = [("Contact", phone.contact), ("Expires", expires_s)]
    return phone.ask(phone._new("REGISTER", SipUri(FURTHER), NameAddr(phone.aor), extra))


def test_a_phone_of_a_further_domain_registers_and_is_another_user(world: World, one: Server, alice: Phone) -> None:
    namesake = phone_of(world, one, "alice", "10.1.0.21")
    assert register(namesake).status == 200
    assert set(one.core.users()) == {"alice", f"alice@{FURTHER}"}
    answered = namesake.finals[-1]
    assert str(answered.to.uri) == f"sip:alice@{FURTHER}"
    assert [contact.sip_uri.host for contact in answered.contacts] == ["10.1.0.21"]


def test_neither_has_the_others_password(world: World, one: Server, alice: Phone) -> None:
    world.passwords[f"alice@{FURTHER}"] = "another"
    namesake = phone_of(world, one, "alice", "10.1.0.21")
    namesake.password = alice.password
    assert register(namesake).status == 403
    assert one.core.users() == ["alice"]


def test_between_peers_the_aor_stands_and_a_phone_is_shown_what_it_can_dial(
    world: World, one: Server, other: Server, bob: Phone
) -> None:
    namesake = phone_of(world, one, "alice", "10.1.0.21")
    register(namesake)
    answers = said_between(world, one)
    call = bob.invite(f"sip:alice@{FURTHER}")
    world.run(5.0)
    assert call.is_up
    assert f"\r\nP-Asserted-Identity: <sip:alice@{FURTHER}>\r\n".encode() in answers[-1]
    came = namesake.received[-1] if namesake.received else namesake.calls[-1].request
    assert str(came.to.uri) == f"sip:alice@{FURTHER}"
    between = [data for data in heard_between(one) if data.startswith(b"INVITE ")]
    assert between[0].startswith(f"INVITE sip:alice@{FURTHER} SIP".encode())
    assert f"\r\nTo: <sip:alice@{FURTHER}>\r\n".encode() in between[0]
    # What bob's phone has written comes back to it.
    assert call.responses[-1].fields.first("to").startswith(f"<sip:alice@{FURTHER}>")  # type: ignore[union-attr]
    # The other way round: what bob's phone is shown, it can dial.
    namesake.invite("sip:bob@10.1.0.1")
    world.run(5.0)
    shown = bob.calls[-1].request.from_.uri
    assert str(shown) == f"sip:alice%40{FURTHER}@10.2.0.1"
    rang = len(namesake.calls)
    bob.invite(str(shown))
    world.run(5.0)
    assert len(namesake.calls) == rang + 1


def said_between(world: World, server: Server) -> list[bytes]:
    """What a server answers another peer from now on."""
    said: list[bytes] = []
    perform = world.perform

    def watch(party: Server | Phone, effect: Effect) -> None:
        if party is server and isinstance(effect, SendFlow) and effect.data.startswith(b"SIP/2.0 2"):
            said.append(effect.data)
        perform(party, effect)

    world.perform = watch  # type: ignore[method-assign]
    return said


def heard_between(server: Server) -> list[bytes]:
    """What a server was sent by another peer."""
    return [request.encode() for request in server.core.requests.values() if request.via.transport == "TLS"]


def test_a_caller_of_a_further_domain_is_proved_as_that(world: World, one: Server, other: Server, bob: Phone) -> None:
    namesake = phone_of(world, one, "alice", "10.1.0.21")
    register(namesake)
    namesake.invite("sip:bob@10.1.0.1")
    world.run(5.0)
    came = bob.calls[-1].request
    assert came.from_.display_name != "Not verified"
    asserted = NameAddr.parse(came.fields.first("p-asserted-identity") or "")
    assert str(asserted.uri) == f"sip:alice%40{FURTHER}@10.2.0.1"


def test_to_who_is_outside_it_is_the_aor(world: World) -> None:
    doors = OtherDomains(guests=(ipaddress.ip_network("10.9.0.0/16"),))
    server = world.server("one", "10.1.0.1", hosted=frozenset({FURTHER}), other_domains=doors)
    namesake = phone_of(world, server, "alice", "10.1.0.21")
    register(namesake)
    door = world.phone("door", server, Address("10.9.0.5", 5060))
    call = namesake.invite("sip:door@10.9.0.5")
    world.run(5.0)
    assert call.is_up
    assert str(door.calls[-1].request.from_.uri) == f"sip:alice@{FURTHER}"


def test_a_lamp_of_a_user_of_a_further_domain(world: World, one: Server, other: Server, bob: Phone) -> None:
    """What is told of a line names it as the phone that watches can dial it."""
    namesake = phone_of(world, one, "alice", "10.1.0.21")
    register(namesake)
    watched = SipUri(FURTHER, "alice")
    extra = [("Contact", bob.contact), ("Event", "dialog"), ("Expires", 600)]
    assert bob.ask(bob._new("SUBSCRIBE", watched, NameAddr(watched), extra)).status == 200
    world.run(2.0)
    told = [request for request in bob.received if request.method == "NOTIFY"]
    assert f'entity="sip:alice%40{FURTHER}@10.2.0.1"'.encode() in told[-1].body
    between = [data for data in heard_between(other) if data.startswith(b"NOTIFY ")]
    assert f'entity="sip:alice@{FURTHER}"'.encode() in between[-1]


def test_numbers_are_the_overlays_by_whichever_domain_they_are_dialled(world: World, one: Server) -> None:
    namesake = phone_of(world, one, "alice", "10.1.0.21")
    register(namesake)
    shop = world.phone("42", one, Address("10.1.0.42", 5060))
    assert shop.register().status == 200
    call = namesake.invite(f"sip:42@{FURTHER}")
    world.run(5.0)
    assert call.is_up


@pytest.mark.parametrize("to", [f"<sip:alice@{FURTHER}", f'"<sip:alice@{FURTHER}>', f"sip:alice@{FURTHER};=", '"', ""])
def test_what_is_malformed_is_answered_all_the_same(world: World, one: Server, to: str) -> None:
    damaged = (
        f"OPTIONS sip:alice@{FURTHER} SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.66;branch=z9hG4bKdamaged\r\n"
        f"From: <sip:alice@{FURTHER}>;tag=1\r\nTo: {to}\r\nCall-ID: d\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 7\r\n\r\n"
    )
    one.core.handle(Datagram(one.address, Address("10.1.0.66", 5060), damaged.encode()), world.now)
    world.run(1.0)
    assert all(answer.status in (400, 407) for answer in one.answered)


def test_who_has_no_line_in_a_domain_is_nobody_there(world: World, one: Server, alice: Phone) -> None:
    call = alice.invite(f"sip:carol@{FURTHER}")
    world.run(5.0)
    assert call.statuses[-1] == 404
    stranger = phone_of(world, one, "alice", "10.1.0.21")
    world.homes.pop(f"alice@{FURTHER}")
    assert register(stranger).status == 403
