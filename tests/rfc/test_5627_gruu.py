"""RFC 5627: no phone is given a GRUU, as its Contact becomes one for everybody else; what such a URI leads to, and what
a registrar does not take (docs/decisions/phones-and-contacts.md).
"""

from __future__ import annotations

import pytest
from sip_world import Server, World
from world_phone import OVERLAY, Call, Phone

from p2psip.base.address import Address
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Response
from p2psip.sip.message.uri import SipUri, parse_sip_uri

INSTANCE = '+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"'


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def one(world: World) -> Server:
    return world.server("one", "10.1.0.1")


@pytest.fixture
def other(world: World, one: Server) -> Server:
    server = world.server("two", "10.2.0.1")
    world.link(one, server)
    return server


@pytest.fixture
def alice(world: World, other: Server) -> Phone:
    """She is at another peer than those whom she calls."""
    phone = world.phone("alice", other, Address("10.2.0.11", 5060))
    assert phone.register().status == 200
    return phone


def phone_of_bob(world: World, one: Server, last: int, **options: object) -> Phone:
    return world.phone("bob", one, Address(f"10.1.0.{last}", 5060), **options)  # type: ignore[arg-type]


def register(phone: Phone, contact: str, expires_s: int = 3600, *, supported: str = "gruu") -> Response:
    """With a Contact as it stands."""
    extra: list[tuple[str, object]] = [("Contact", contact), ("Expires", expires_s), ("Supported", supported)]
    return phone.ask(phone._new("REGISTER", SipUri(phone.server.address.host), NameAddr(phone.aor), extra))


def gruu_of(world: World, phone: Phone, alice: Phone) -> SipUri:
    """What alice is shown as the Contact of a phone that calls her."""
    call = phone.invite(f"sip:alice@{OVERLAY}")
    world.run(3.0)
    seen = alice.calls[-1].request.contacts[0].sip_uri
    phone.hang_up(call)
    world.run(1.0)
    return seen


def rings(world: World, alice: Phone, uri: SipUri, *phones: Phone) -> tuple[Call, list[int]]:
    """A call to a URI, and how often each of these phones rings by it."""
    before = [len(phone.calls) for phone in phones]
    call = alice.invite(str(uri))
    world.run(8.0)
    return call, [len(phone.calls) - count for phone, count in zip(phones, before, strict=True)]


# 5.1: what a registrar takes


@pytest.mark.must("5627 5.1/1", "5627 5.1/2", "5627 5.1/3")
@pytest.mark.parametrize(
    ("uri", "status"),
    [
        (f"sip:bob@{OVERLAY}", 403),
        (f"sip:BOB@{OVERLAY};transport=tcp", 403),
        ("sip:%62ob@10.1.0.1", 403),
        ("sip:bob@10.1.0.1:5060", 403),
        (f"sip:bob@{OVERLAY};gr=kjh29x97us97d", 403),
        ("sip:bob@10.1.0.1;gr", 403),
        ("tel:+49301", 403),
        ("http://10.1.0.31/bob", 403),
        ("sip:bob@10.1.0.31", 200),
        ("sip:bob@10.1.0.1:5070", 200),
        (f"sip:bob@example.org;gr={OVERLAY}", 200),
        ("sip:phone@10.1.0.1", 200),
    ],
)
def test_5_1_a_contact_that_leads_back_or_nowhere(world: World, one: Server, uri: str, status: int) -> None:
    """ "If the contact URI is equivalent [...] to the AOR, the registrar MUST reject the request with a 403, since this
    would cause a routing loop"; of a GRUU for it, and of what is no SIP URI, the same: of an instance that is to stay.
    """
    phone = phone_of_bob(world, one, 31)
    assert register(phone, f"<{uri}>;{INSTANCE}").status == status
    assert len(one.core.bindings("bob", world.now)) == (status == 200)
    if uri.startswith("sip:"):
        assert register(phone, f"<{uri}>;{INSTANCE};expires=0").status == 200, "what goes leads nowhere"
        assert register(phone, f"<{uri}>").status == 200, "these are the rules for who says an instance"


@pytest.mark.must("5627 5.1/5", "5627 5.1/10")
def test_5_1_what_a_phone_says_of_gruus_is_ignored(world: World, one: Server, alice: Phone) -> None:
    """ "If the contact contained a "pub-gruu" Contact header field parameter, the header field parameter MUST be
    ignored by the registrar"; and so is "temp-gruu": nobody gets a name of his own by it.
    """
    bob = phone_of_bob(world, one, 31)
    said = f'pub-gruu="sip:boss@{OVERLAY};gr=1";temp-gruu="sip:tgruu.7hs@{OVERLAY};gr"'
    ok = register(bob, f"<{bob.contact.uri}>;{INSTANCE};{said}")
    assert ok.status == 200
    (contact,) = ok.contacts
    assert [name for name, _ in contact.params] == ["expires", "+sip.instance"]
    for uri, status in ((f"sip:boss@{OVERLAY};gr=1", 403), (f"sip:tgruu.7hs@{OVERLAY};gr", 404)):
        call, rang = rings(world, alice, parse_sip_uri(uri), bob)
        assert (call.statuses[-1], rang) == (status, [0]), "of no peer, and of no registration"


# 5.4 and 6.1: where the GRUU of a phone leads


@pytest.mark.must("5627 4.3/1", "5627 5.4/1", "5627 5.4/2", "5627 5.4/3")
def test_5_4_each_phone_has_its_own(world: World, one: Server, alice: Phone) -> None:
    """ "A registrar MUST be able to determine the instance ID and AOR when presented with a GRUU"; "if two GRUUs are
    associated with different AORs or different instance IDs or both, the GRUUs MUST be different based on URI equality
    comparison". 4.3: "the URI MUST contain the "gr" URI parameter".
    """
    desk, hall = phone_of_bob(world, one, 31), phone_of_bob(world, one, 32)
    hall.contact = NameAddr(hall.contact.sip_uri.replace(user="hall"))
    carol = world.phone("carol", one, Address("10.1.0.33", 5060))
    carol.contact = NameAddr(carol.contact.sip_uri.replace(user="bob"))
    phones = desk, hall, carol
    assert [phone.register().status for phone in phones] == [200] * 3
    seen = [gruu_of(world, phone, alice) for phone in phones]
    assert all(uri.param("gr") for uri in seen)
    assert [one.matches(two) for one in seen for two in seen] == [
        True,
        False,
        False,
        False,
        True,
        False,
        False,
        False,
        True,
    ]
    for at, uri in enumerate(seen):
        call, rang = rings(world, alice, uri, *phones)
        assert call.is_up
        assert rang == [int(at == number) for number in range(3)]
        assert phones[at].calls[-1].request.uri_text == str(phones[at].contact.uri), "6.1: rewritten with the Contact"
        alice.hang_up(call)
        world.run(1.0)


@pytest.mark.must("5627 6.1/1")
@pytest.mark.parametrize("has_moved", [False, True])
def test_6_1_of_a_phone_that_is_gone_480(world: World, one: Server, alice: Phone, has_moved: bool) -> None:
    """ "If there are no registered contacts bound to the GRUU, the server MUST return a 480 (Temporarily Unavailable)
    response": another phone of the user does not ring; 3.1: the URI "routes to a specific UA instance".
    """
    desk = phone_of_bob(world, one, 31, transport="TCP", contact_host="192.168.1.9")
    hall = phone_of_bob(world, one, 32)
    assert (desk.register().status, hall.register().status) == (200, 200)
    gruu = gruu_of(world, desk, alice)
    for number in list(one.flows):
        if number not in one.links.values():
            world.cut(one.flows[number])
    assert len(one.core.bindings("bob", world.now)) == 1
    again = phone_of_bob(world, one, 34, transport="TCP", contact_host="192.168.1.9")
    again.contact = NameAddr(again.contact.sip_uri.replace(user="again"))
    if has_moved:
        assert again.register().status == 200
    call, rang = rings(world, alice, gruu, hall, again)
    assert rang == [0, int(has_moved)], "with another connection and name, and the address that it had"
    assert call.statuses[-1] == (200 if has_moved else 480)


@pytest.mark.must("5627 6.1/2", "5627 6.1/3")
@pytest.mark.parametrize("status", [404, 486, 500, 603, 480])
def test_6_1_the_newest_contact_of_an_instance_speaks_for_it(
    world: World, one: Server, alice: Phone, status: int
) -> None:
    """ "The proxy MUST select the most recently refreshed contact. [...] if the request fails with any other response",
    than 408 or 430, "the proxy MUST NOT retry on any other contacts for this instance."
    """
    older, newer = phone_of_bob(world, one, 31), phone_of_bob(world, one, 32, refuses_with=status)
    for phone, q in ((older, 1.0), (newer, 0.1)):
        assert register(phone, f"<{phone.contact.uri}>;{INSTANCE};q={q}").status == 200
        world.run(1.0)
    assert len(one.core.bindings("bob", world.now)) == 2
    call, rang = rings(world, alice, SipUri(OVERLAY, "bob"), older, newer)
    assert (call.statuses[-1], rang) == (status, [0, 1])
    assert register(older, f"<{older.contact.uri}>;{INSTANCE};q=0.5").status == 200
    call, rang = rings(world, alice, SipUri(OVERLAY, "bob"), older, newer)
    assert (call.is_up, rang) == (True, [1, 0]), "the other one is the most recently refreshed now"


@pytest.mark.must("5627 6.1/3")
@pytest.mark.parametrize("status", [408, 430])
def test_6_1_the_next_one_where_the_newest_is_not_there(world: World, one: Server, alice: Phone, status: int) -> None:
    """ "if a request to this target fails with a 408 (Request Timeout) or 430 (Flow Failed) response, the proxy SHOULD
    retry with the next most recently refreshed contact."
    """
    older, newer = phone_of_bob(world, one, 31), phone_of_bob(world, one, 32, refuses_with=status)
    for phone in (older, newer):
        assert register(phone, f"<{phone.contact.uri}>;{INSTANCE}").status == 200
        world.run(1.0)
    call, rang = rings(world, alice, SipUri(OVERLAY, "bob"), older, newer)
    assert (call.is_up, rang) == (True, [1, 1])
