"""Calls between the overlay and other domains: two servers of two overlays, who know nothing of each other but DNS."""

from __future__ import annotations

import ipaddress

import pytest
from sip_world import Server, World
from world_phone import OVERLAY, Call, Phone

from p2psip.base.address import Address
from p2psip.sip.entities.domains.dns_answers import FindRecords, Records, Srv
from p2psip.sip.entities.domains.doors import OtherDomains
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.numbers.dial_plan import DialPlan, Rule
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.entities.questions import NotLocated, SignClaims
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import FlowData

HOME, FAR = "45.66.77.1", "91.92.93.1"
"""Both are addresses of the Internet."""

BOTH = OtherDomains(calls_out=True, calls_in=True)

ELSEWHERE = "example.org"

DESCRIPTION = b"v=0\r\no=- 1 1 IN IP4 10.3.0.1\r\ns=-\r\nc=IN IP4 10.3.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def domain(world: World, name: str, realm: str, host: str, doors: OtherDomains, **more: object) -> Server:
    """A server of a domain, and what its operator has published in DNS."""
    peer_side = SipUri(realm, f"peer-{name}", None, (("gr", (name.encode().hex() * 16)[:32]),))
    names = frozenset({realm, host})
    world.dns[f"_sip._udp.{realm}", "SRV"] = Records((Srv(1, 1, 5060, f"host.{realm}"),))
    world.dns[f"host.{realm}", "A"] = Records((host,))
    return world.server(name, host, realm=realm, domains=names, peer_side=peer_side, other_domains=doors, **more)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def home(world: World) -> Server:
    return domain(world, "home", OVERLAY, HOME, BOTH)


@pytest.fixture
def far(world: World) -> Server:
    return domain(world, "far", ELSEWHERE, FAR, BOTH)


@pytest.fixture
def alice(world: World, home: Server) -> Phone:
    """Of the overlay."""
    phone = world.phone("alice", home, Address("10.1.0.11", 5060))
    assert phone.register().status == 200
    return phone


@pytest.fixture
def bob(world: World, far: Server) -> Phone:
    """Of the other domain."""
    phone = world.phone("bob", far, Address("10.9.0.12", 5060))
    assert phone.register().status == 200
    return phone


@pytest.fixture
def eve(world: World, home: Server) -> Phone:
    """Has no account anywhere, and says that she is of a third domain."""
    phone = world.phone("eve", home, Address("77.78.79.80", 5060))
    world.homes.pop("eve")
    phone.aor = SipUri("example.net", "eve")
    return phone


def call(world: World, phone: Phone, to: str, for_s: float = 5.0) -> Call:
    made = phone.invite(to)
    world.run(for_s)
    return made


def invite(phone: Phone) -> Request:
    return next(request for request in phone.received if request.method == "INVITE")


# Out


def test_a_call_to_another_domain_and_back(world: World, alice: Phone, bob: Phone) -> None:
    """DNS says where bob is; each phone is shown a name that it can dial, and either can hang up."""
    made = call(world, alice, f"sip:bob@{ELSEWHERE}")
    assert made.is_up
    assert str(invite(bob).from_.uri) == f"sip:alice@{OVERLAY}"
    alice.hang_up(made)
    world.run(2.0)
    assert [request.method for request in bob.received] == ["INVITE", "BYE"]
    back = call(world, bob, f"sip:alice@{OVERLAY}")
    assert back.is_up
    assert str(invite(alice).from_.uri) == f"sip:bob@{ELSEWHERE}"
    taken = alice.calls[-1]
    alice.hang_up(taken)
    world.run(2.0)
    assert bob.received[-1].method == "BYE"
    assert world.forgets_all()


def test_a_domain_with_its_last_dot(world: World, alice: Phone, bob: Phone) -> None:
    """RFC 3261 section 25.1: it means the same, there and here; and in a dialog it goes on as it came."""
    bob.contact = NameAddr(SipUri("phone.example.org", "bob", dot="."))
    made = call(world, alice, f"sip:bob@{ELSEWHERE}.")
    assert made.is_up
    assert call(world, alice, f"sip:alice@{OVERLAY}.").statuses[-1] == 480, "she has one phone"
    assert call(world, bob, f"sip:alice@{OVERLAY}.").is_up
    alice.hang_up(made)
    world.run(2.0)
    assert bob.received[-1].method == "BYE"
    assert bob.received[-1].uri_text == "sip:bob@phone.example.org."


def test_whoever_was_called_hangs_up(world: World, alice: Phone, bob: Phone) -> None:
    """His BYE finds alice by the token in our Record-Route, and not by a memory."""
    made = call(world, alice, f"sip:bob@{ELSEWHERE}")
    bob.hang_up(bob.calls[-1])
    world.run(2.0)
    assert made.is_over
    assert alice.received[-1].method == "BYE"


def test_a_long_call_is_let_be_and_one_whose_phone_is_gone_ends(world: World, alice: Phone, bob: Phone) -> None:
    """Each side asks now and then whether there is still another end (docs/decisions/when-the-other-end-dies.md)."""
    made = call(world, alice, f"sip:bob@{ELSEWHERE}")
    world.run(600.0)
    assert not made.is_over
    assert {"OPTIONS"} == {request.method for request in bob.received[1:]}
    alice.is_alive = False
    world.run(600.0)
    assert bob.received[-1].method == "BYE"


def test_the_server_that_is_down_is_passed_over(world: World, alice: Phone, bob: Phone) -> None:
    """4.3: "a failure of the transport layer": the next by priority is tried."""
    world.dns[f"_sip._tcp.{ELSEWHERE}", "SRV"] = Records((Srv(1, 1, 5060, "down.example.org"),))
    world.dns["down.example.org", "A"] = Records(("91.92.93.99",))
    world.closed.add(Address("91.92.93.99", 5060))
    assert call(world, alice, f"sip:bob@{ELSEWHERE}", 20.0).is_up


def test_a_call_that_has_reached_no_server_keeps_the_next_one_from_none(
    world: World, far: Server, alice: Phone, bob: Phone
) -> None:
    """What has failed is not remembered against a server: 4.3 is about one request."""
    first = world.dns[f"_sip._udp.{ELSEWHERE}", "SRV"].srvs[0]
    world.dns[f"_sip._udp.{ELSEWHERE}", "SRV"] = Records((first, first._replace(priority=2, port=5090)))
    far.is_alive = False
    made = call(world, alice, f"sip:bob@{ELSEWHERE}", 80.0)
    assert made.statuses[-1] >= 400
    far.is_alive = True
    assert call(world, alice, f"sip:bob@{ELSEWHERE}").is_up


def test_503_is_a_failure_of_that_server(world: World, alice: Phone, bob: Phone) -> None:
    """4.3: "For SIP requests, failure occurs if the transaction layer reports a 503 error response"."""
    busy = world.phone("busy", world.servers["far"], Address("91.92.93.50", 5060), refuses_with=503)
    world.dns[f"_sip._udp.{ELSEWHERE}", "SRV"] = Records(
        (Srv(0, 1, 5060, "busy.example.org"), Srv(1, 1, 5060, "host.example.org"))
    )
    world.dns["busy.example.org", "A"] = Records(("91.92.93.50",))
    assert call(world, alice, f"sip:bob@{ELSEWHERE}").is_up
    assert len(busy.received) == 1


@pytest.mark.must("3263 4.1/6", "3263 4.1/7")
def test_tls_comes_first_and_is_for_that_domain(world: World, home: Server, alice: Phone, bob: Phone) -> None:
    """The one that is asked to prove what it is called is the domain, and not the host that DNS names."""
    world.dns[f"_sips._tcp.{ELSEWHERE}", "SRV"] = Records((Srv(1, 1, 5061, "host.example.org"),))
    assert call(world, alice, f"sip:bob@{ELSEWHERE}").is_up
    # In the dialog the domain has said by its address where it is: that is the same connection.
    alice.hang_up(alice.calls[-1])
    world.run(2.0)
    assert bob.received[-1].method == "BYE"
    (opened,) = home.opened
    assert (opened.transport, opened.remote, opened.name) == ("TLS", Address(FAR, 5061), ELSEWHERE)


def test_what_is_asserted_stays_among_us(world: World, alice: Phone, bob: Phone, far: Server) -> None:
    """RFC 3325: whoever we do not trust is told nothing that we assert; a name that is withheld stays so."""
    call(world, alice, f"sip:bob@{ELSEWHERE}")
    sent = [data for _, to, data in world.datagrams if to == far.address and data.startswith(b"INVITE")]
    assert sent
    assert not any(b"P-Asserted-Identity" in data for data in sent)
    world.datagrams.clear()
    alice.invite(f"sip:bob@{ELSEWHERE}", extra=[("Privacy", "id")])
    world.run(5.0)
    private = [data for _, to, data in world.datagrams if to == far.address and data.startswith(b"INVITE")]
    assert private
    assert not any(b"alice" in data for data in private)


def test_no_password_is_asked_from_afar(world: World, far: Server, alice: Phone) -> None:
    """A 407 of the other domain goes on as 403 (docs/decisions/no-challenges-from-afar.md)."""
    guarded = world.phone("guard", far, Address("91.92.93.50", 5060), refuses_with=407)
    made = call(world, alice, f"sip:bob@{guarded.address.host}")
    assert made.statuses[-1] == 403
    assert "password" in (made.responses[-1].fields.first("reason") or "")


@pytest.mark.parametrize("doors", [OtherDomains(), OtherDomains(calls_in=True)])
def test_the_door_out_is_closed_unless_it_is_opened(world: World, doors: OtherDomains, bob: Phone) -> None:
    closed = domain(world, "shut", "shut.example", "45.66.77.9", doors)
    carol = world.phone("carol", closed, Address("10.3.0.1", 5060))
    assert carol.register().status == 200
    made = call(world, carol, f"sip:bob@{ELSEWHERE}")
    assert not made.is_up
    assert not any(isinstance(one, FindRecords) for one in closed.asked)


def test_another_peer_has_its_own_way_out(world: World, home: Server, bob: Phone) -> None:
    """What another peer of the overlay sends for another domain goes nowhere from here."""
    second = world.server("second", "45.66.77.2")
    world.link(second, home)
    lines = [
        f"INVITE sip:bob@{ELSEWHERE} SIP/2.0",
        "Via: SIP/2.0/TLS second.invalid;branch=z9hG4bK1",
        f"From: <sip:carol@{OVERLAY}>;tag=1",
        f"To: <sip:bob@{ELSEWHERE}>",
        "Call-ID: 1",
        "CSeq: 1 INVITE",
        f"Contact: <sip:carol@{OVERLAY}>",
        "Max-Forwards: 70",
        "Content-Length: 0",
    ]
    home.core.handle(FlowData(home.links["second"], "\r\n".join([*lines, "", ""]).encode()), world.now)
    world.run(5.0)
    assert home.reports_of("INVITE")[-1].status == 403
    assert not any(isinstance(one, FindRecords) for one in home.asked)
    assert not bob.received


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.0.77", "169.254.1.1", "192.168.1.1", HOME, "224.0.1.75", "0.0.0.0"]
)
def test_dns_does_not_lead_into_our_own_network(world: World, home: Server, alice: Phone, host: str) -> None:
    world.dns[f"_sip._udp.{ELSEWHERE}", "SRV"] = Records((Srv(1, 1, 5060, "inside.example.org"),))
    world.dns["inside.example.org", "A"] = Records((host,))
    world.datagrams.clear()
    made = call(world, alice, f"sip:bob@{ELSEWHERE}")
    assert made.statuses[-1] == 404
    assert {remote for local, remote, _ in world.datagrams if local == home.address} == {alice.address}


def test_dns_that_does_not_answer_ends_the_call(world: World, home: Server, alice: Phone) -> None:
    home.unanswered = (FindRecords,)
    made = call(world, alice, f"sip:bob@{ELSEWHERE}", 12.0)
    assert made.statuses[-1] == 480
    assert "DNS" in (made.responses[-1].fields.first("reason") or "") or "no answer" in str(made.responses[-1])


def test_who_gives_up_meanwhile_is_not_called(world: World, home: Server, alice: Phone, bob: Phone) -> None:
    home.unanswered = (FindRecords,)
    made = alice.invite(f"sip:bob@{ELSEWHERE}")
    world.run(1.0)
    alice.cancel(made)
    world.run(20.0)
    assert made.statuses[-1] == 487
    assert not bob.received
    assert world.forgets_all()


def test_explain_says_whom_dns_is_asked_for(world: World, home: Server, alice: Phone) -> None:
    explained = home.core.explain(parse_sip_uri(f"sip:bob@{ELSEWHERE}"), "alice", world.now)
    assert explained.outside == parse_sip_uri(f"sip:bob@{ELSEWHERE}")
    assert explained.ends == f"goes to the domain {ELSEWHERE}"


def test_a_phone_at_the_address_of_a_domain_is_another_matter(world: World, home: Server, alice: Phone) -> None:
    """A PBX beside a phone, behind one NAT: what is for its domain does not take the way to the phone."""
    phone = world.phone("carol", home, Address(FAR, 5070))
    assert phone.register().status == 200
    domain(world, "far", ELSEWHERE, FAR, BOTH)
    world.dns[f"_sips._tcp.{ELSEWHERE}", "SRV"] = Records((Srv(1, 1, 5061, "host.example.org"),))
    bob = world.phone("bob", world.servers["far"], Address("10.9.0.12", 5060))
    assert bob.register().status == 200
    made = call(world, alice, f"sip:bob@{ELSEWHERE}")
    alice.hang_up(made)
    world.run(2.0)
    assert bob.received[-1].method == "BYE"
    assert [opened.name for opened in home.opened] == [ELSEWHERE]


def test_behind_a_port_forwarding_we_are_where_the_world_sees_us(world: World, bob: Phone) -> None:
    """In Record-Route, and in the description of a call whose media goes through here."""
    doors = OtherDomains(calls_out=True, host="45.66.77.5")
    home = domain(world, "home", OVERLAY, "45.66.77.1", doors, media="anchor")
    carol = world.phone("carol", home, Address("10.3.0.1", 5060))
    assert carol.register().status == 200
    carol.invite(f"sip:bob@{ELSEWHERE}", [("Content-Type", "application/sdp")], DESCRIPTION)
    world.run(5.0)
    (heard,) = [
        parse(data)
        for local, _, data in world.datagrams
        if local == home.address and data[:10] == b"INVITE sip" and ELSEWHERE.encode() in data[:60]
    ][:1]
    assert [route.sip_uri.host for route in heard.record_routes] == ["45.66.77.5", "45.66.77.1"]
    assert b"c=IN IP4 45.66.77.5" in heard.body


def test_a_domain_may_have_users_here_and_there(world: World, bob: Phone) -> None:
    """An AoR in the overlay, or at the domain's own servers: the overlay comes first, and strangers go no further."""
    both = frozenset({ELSEWHERE})
    doors = OtherDomains(calls_out=True, calls_in=True, names=both, shared=both)
    shared = world.server("shared", HOME, domains=frozenset({OVERLAY, ELSEWHERE, HOME}), other_domains=doors)
    # The overlay knows dan, and neither bob nor eve.
    shared.locate = lambda question: (
        NotLocated(404, "Not Found") if question.user != "dan" else shared._located(question)
    )
    carol = world.phone("carol", shared, Address("10.3.0.1", 5060))
    dan = world.phone("dan", shared, Address("10.3.0.2", 5060))
    assert carol.register().status == dan.register().status == 200
    assert call(world, carol, f"sip:dan@{ELSEWHERE}").is_up
    assert not any(isinstance(one, FindRecords) for one in shared.asked)
    assert call(world, carol, f"sip:bob@{ELSEWHERE}").is_up
    assert str(invite(bob).from_.uri) == f"sip:carol@{OVERLAY}"
    # By the overlay's own name he is nobody.
    assert call(world, carol, f"sip:bob@{OVERLAY}").statuses[-1] == 404
    eve = world.phone("eve", shared, Address("77.78.79.80", 5060))
    eve.aor = SipUri("example.net", "eve")
    assert call(world, eve, f"sip:bob@{ELSEWHERE}").statuses[-1] == 480
    assert len(bob.received) == 1


# In


def test_nobody_without_an_account_makes_a_phone_ring(world: World) -> None:
    """Unless the operator has opened that door."""
    closed = domain(world, "shut", OVERLAY, HOME, OtherDomains(calls_out=True))
    carol = world.phone("carol", closed, Address("10.3.0.1", 5060))
    assert carol.register().status == 200
    eve = world.phone("eve", closed, Address("77.78.79.80", 5060))
    world.homes.pop("eve")
    eve.aor = SipUri("example.net", "eve")
    assert call(world, eve, f"sip:carol@{OVERLAY}").statuses[-1] == 403
    assert not carol.received


def test_a_call_by_address_is_asked_for_a_password(world: World, alice: Phone, eve: Phone) -> None:
    """Who scans addresses knows no name: the door is for the domain's."""
    assert call(world, eve, f"sip:alice@{HOME}").statuses[-1] == 403
    assert not alice.received


def test_a_name_of_the_overlay_is_to_be_proved(world: World, alice: Phone, eve: Phone) -> None:
    """Whoever calls himself alice of the overlay is asked for her password, wherever he comes from."""
    for host in (OVERLAY, HOME):
        for uri in (SipUri(host, "alice"), SipUri(host, "alice", 5099), SipUri(host, "alice", None, (("maddr", FAR),))):
            eve.aor = uri
            assert call(world, eve, f"sip:alice@{OVERLAY}").statuses[-1] == 403
    assert not alice.received


def test_nothing_that_a_stranger_claims_is_asserted(world: World, alice: Phone, eve: Phone) -> None:
    claims = [
        ("P-Asserted-Identity", f"<sip:boss@{OVERLAY}>"),
        ("Remote-Party-ID", f"<sip:boss@{OVERLAY}>"),
        ("Diversion", f"<sip:boss@{OVERLAY}>"),
        ("Identity", "eyJhbGciOiJFUzI1NiJ9.eyJib3NzIjoxfQ.boss;info=<https://boss.example/x>;alg=ES256"),
    ]
    passed = "verstat=TN-Validation-Passed"
    eve.aor = SipUri("example.net", f"+4930123;{passed}", params=(("verstat", "TN-Validation-Passed"),))
    eve.invite(f"sip:alice@{OVERLAY}", extra=claims)
    world.run(3.0)
    heard = invite(alice)
    assert str(heard.from_.uri) == "sip:+4930123@example.net"
    assert heard.from_.display_name == "Not verified: +4930123@example.net"
    assert not any("verstat" in value.lower() for _, _, value in heard.fields)
    assert not any("boss" in value for _, _, value in heard.fields)


def test_credentials_for_elsewhere_change_nothing(world: World, alice: Phone, eve: Phone) -> None:
    """They have come along from the caller's own server; those for our realm are looked at."""
    for realm, rings in (("example.net", True), (OVERLAY, False)):
        credentials = f'Digest username="eve", realm="{realm}", nonce="n", uri="sip:x", response="r"'
        eve.invite(f"sip:alice@{OVERLAY}", extra=[("Proxy-Authorization", credentials)])
        world.run(3.0)
        assert eve.calls[-1].is_up is rings


@pytest.mark.parametrize("method", ["OPTIONS", "SUBSCRIBE", "REFER", "PUBLISH", "NOTIFY", "UPDATE"])
def test_only_calls_and_messages_come_in(world: World, alice: Phone, eve: Phone, method: str) -> None:
    request = eve._new(method, SipUri(OVERLAY, "alice"), invite_to(), [("Event", "dialog")])
    assert eve.ask(request).status in (403, 404)
    assert not alice.received


def test_no_open_relay(world: World, alice: Phone, bob: Phone, eve: Phone) -> None:
    """A stranger's request for another domain, or along a Route to elsewhere, goes nowhere."""
    assert call(world, eve, f"sip:bob@{ELSEWHERE}").statuses[-1] == 403
    for route in (f"<sip:{FAR};lr>", f"<sip:{ELSEWHERE};lr>", f"<sip:x@{OVERLAY};lr>"):
        eve.invite(f"sip:alice@{OVERLAY}", extra=[("Route", route)])
        world.run(3.0)
        assert eve.calls[-1].statuses[-1] == 403
    assert not bob.received
    assert not alice.received


def test_what_phones_dial_is_not_for_strangers(world: World) -> None:
    """The dial plan leads to what costs money, and star codes do something: neither takes a stranger's word."""
    numbering = Numbering(plan=DialPlan((Rule("0.", "first rule", to="carol"),)))
    home = domain(world, "home", OVERLAY, HOME, BOTH, numbering=numbering, has_own_agents=True)
    carol = world.phone("carol", home, Address("10.3.0.1", 5060))
    assert carol.register().status == 200
    eve = world.phone("eve", home, Address("77.78.79.80", 5060))
    world.homes.pop("eve")
    eve.aor = SipUri("example.net", "eve")
    for number in ("049301234", "*43", "112"):
        assert call(world, eve, f"sip:{number}@{OVERLAY}").statuses[-1] == 480
    assert not carol.received
    dan = world.phone("dan", home, Address("10.3.0.2", 5060))
    assert dan.register().status == 200
    assert call(world, dan, "049301234").is_up


def test_a_line_that_screens_its_calls_does_so_here(world: World, home: Server, alice: Phone, eve: Phone) -> None:
    home.handlings.set("alice", CallHandling(do_not_disturb=True))
    assert call(world, eve, f"sip:alice@{OVERLAY}").statuses[-1] in (480, 486, 603)
    assert not alice.received


def test_names_are_not_told_apart_and_tried_slowly(world: World, home: Server, alice: Phone, eve: Phone) -> None:
    """A line whose phone is off and a name that nobody has: the same to the letter. And ten tries at once, no more."""
    world.phone("carol", home, Address("10.3.0.1", 5060))
    answers = [call(world, eve, f"sip:{name}@{OVERLAY}", 1.0).responses[-1] for name in ("carol", "nobody")]
    first, second = ((one.status, one.phrase, one.fields.first("reason")) for one in answers)
    assert first == second
    statuses = [call(world, eve, f"sip:n{at}@{OVERLAY}", 0.1).statuses[-1] for at in range(20)]
    assert statuses.count(480) <= 9
    assert statuses[-1] == 503
    assert int(eve.calls[-1].responses[-1].fields.first("retry-after") or 0) > 0
    # A minute later there is room again.
    world.run(60.0)
    assert call(world, eve, f"sip:alice@{OVERLAY}").is_up


def test_all_strangers_together_have_an_allowance(world: World, home: Server, alice: Phone) -> None:
    """Datagrams prove no address: however many there seem to be, a phone rings so often and no more."""
    refused = 0
    for at in range(100):
        stranger = world.phone(f"s{at}", home, Address(f"77.78.{at}.80", 5060), answers_after_s=None)
        stranger.aor = SipUri("example.net", f"s{at}")
        request = stranger._new("MESSAGE", SipUri(OVERLAY, "alice"), invite_to(), [], b"spam")
        refused += stranger.ask(request, 0.1).status == 503
    assert 25 <= refused <= 40


@pytest.mark.parametrize("who_hangs_up", ["bob", "carol"])
def test_a_call_comes_in_at_one_peer_and_rings_at_another(
    world: World, home: Server, far: Server, bob: Phone, who_hangs_up: str
) -> None:
    """The peer that DNS names has no phone of carol: in the dialog each side finds the other through it, too."""
    second = world.server("second", "45.66.77.2")
    world.link(second, home)
    carol = world.phone("carol", second, Address("10.3.0.1", 5060))
    assert carol.register().status == 200
    made = call(world, bob, f"sip:carol@{OVERLAY}")
    assert made.is_up
    assert str(invite(carol).from_.uri) == f"sip:bob@{ELSEWHERE}"
    assert not any(isinstance(question, SignClaims) for question in home.asked), "nobody has proved anything"
    if who_hangs_up == "bob":
        bob.hang_up(made)
    else:
        carol.hang_up(carol.calls[-1])
    world.run(2.0)
    assert {"bob": carol, "carol": bob}[who_hangs_up].received[-1].method == "BYE"
    assert world.forgets_all()


def test_it_reaches_us_from_another_address_in_the_dialog(world: World, home: Server, alice: Phone, bob: Phone) -> None:
    """A domain has many servers: what has our token on top of its Route is of that side, wherever it comes from."""
    made = call(world, alice, f"sip:bob@{ELSEWHERE}")
    taken = bob.calls[-1]
    bye = bob.in_dialog(taken, "BYE")
    # As another proxy of that domain sends it: past the one that the call went through.
    stranger = world.phone("proxy", home, Address("91.92.93.200", 5060))
    world.homes.pop("proxy")
    own = [route for route in bye.routes if route.sip_uri.host == HOME]
    assert own
    assert stranger.ask(bye.replace(fields=bye.fields.with_values("Route", own))).status == 200
    assert made.is_over
    # Without the token it is asked for a password that nobody has.
    assert stranger.ask(bye.replace(fields=bye.fields.without("route"))).status in (403, 404, 481)


# Guests


def test_guests_call_and_are_called_by_address(world: World) -> None:
    """A door phone without an account, in a network that the operator has named: by bare addresses, both ways."""
    doors = OtherDomains(guests=(ipaddress.ip_network("192.168.7.0/24"),))
    home = domain(world, "home", OVERLAY, HOME, doors)
    carol = world.phone("carol", home, Address("192.168.8.1", 5060))
    assert carol.register().status == 200
    door = world.phone("door", home, Address("192.168.7.50", 5060))
    world.homes.pop("door")
    door.aor = SipUri("192.168.7.50", "door")
    assert call(world, door, f"sip:carol@{HOME}").is_up
    assert str(invite(carol).from_.uri) == "sip:door@192.168.7.50"
    made = call(world, carol, "sip:door@192.168.7.50")
    assert made.is_up
    carol.hang_up(made)
    world.run(2.0)
    assert door.received[-1].method == "BYE"
    # Beside that network nobody is.
    assert not call(world, carol, "sip:door@192.168.9.50").is_up


def test_in_a_dialog_a_guest_is_where_he_says(world: World) -> None:
    """What is for his Contact goes there by RFC 3263, and not to where his call came from."""
    doors = OtherDomains(guests=(ipaddress.ip_network("192.168.7.0/24"),))
    home = domain(world, "home", OVERLAY, HOME, doors)
    carol = world.phone("carol", home, Address("192.168.8.1", 5060))
    assert carol.register().status == 200
    door = world.phone("door", home, Address("192.168.7.50", 5060))
    other = world.phone("other", home, Address("192.168.7.51", 5060))
    for phone in (door, other):
        world.homes.pop(phone.user)
    door.aor, door.contact = SipUri("192.168.7.50", "door"), other.contact
    assert call(world, door, f"sip:carol@{HOME}").is_up
    carol.hang_up(carol.calls[-1])
    world.run(2.0)
    assert [request.method for request in other.received] == ["BYE"]
    assert not door.received


def test_a_message_comes_in_by_the_door_alone(world: World, home: Server, alice: Phone, eve: Phone) -> None:
    """Whoever has once been let in has a token of ours, as long as he likes; phones show messages without a dialog."""
    made = call(world, eve, f"sip:alice@{OVERLAY}")
    assert made.is_up
    before = len(alice.received)
    assert eve.ask(eve.in_dialog(made, "MESSAGE")).status == 403
    assert len(alice.received) == before


def test_a_token_of_a_dialog_is_no_way_to_elsewhere(world: World, home: Server, alice: Phone, eve: Phone) -> None:
    """Whoever has once been let in has a token of ours. With it he goes where the call is, and nowhere else."""
    made = call(world, eve, f"sip:alice@{OVERLAY}")
    assert made.is_up
    own = [route for route in made.routes if route.sip_uri.host == HOME][:1]
    assert own
    victim = NameAddr(parse_sip_uri(f"sip:{FAR};lr"))
    bye = eve.in_dialog(made, "BYE")
    for uri, routes in ((f"sip:x@{FAR}", [*own, victim]), (f"sip:x@{FAR}", own), (f"sip:x@{ELSEWHERE}", own)):
        world.datagrams.clear()
        astray = bye.replace(uri=parse_sip_uri(uri), fields=bye.fields.with_values("Route", routes))
        again = astray.replace(fields=astray.fields.with_only("CSeq", f"{next(eve.cseq)} BYE"))
        assert eve.ask(again).status in (403, 404)
        assert not any(remote.host == FAR for _, remote, _ in world.datagrams)
    # Nor does it begin anything: neither there, nor at a phone that wants no more calls.
    home.handlings.set("alice", CallHandling(do_not_disturb=True))
    heard = len(alice.received)
    for route in made.routes:
        eve.invite(f"sip:alice@{OVERLAY}", extra=[("Route", route)])
        world.run(3.0)
        assert eve.calls[-1].statuses[-1] == 403
    assert len(alice.received) == heard
    eve.invite(f"sip:x@{OVERLAY}", extra=[("Route", own[0]), ("Route", victim)])
    world.run(3.0)
    assert eve.calls[-1].statuses[-1] == 403


def invite_to() -> NameAddr:
    return NameAddr(SipUri(OVERLAY, "alice"))
