"""Who may come in, who it is, and that guessing is slow for those who guess and for nobody else."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.questions import FindCredential
from p2psip.sip.message import digest
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.headers import AuthParams, NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_uri
from p2psip.sip.transports.arrivals import Datagram

ALICE_AT = Address("10.1.0.11", 5060)
HELD_S = 100.0
"""Longer than any password waits for its turn."""


@pytest.fixture
def phone(world, one):
    """Alice's phone, not yet registered."""
    return world.phone("alice", one, ALICE_AT)


def phone_at(world, one, address, password=None):
    """Another phone that says it is alice's."""
    return world.phone("alice", one, address, password=password)


def guess(phone, times, for_s=1.0):
    """Register with wrong passwords; what is answered."""
    right, phone.password = phone.password, "guess"
    answers = [phone.ask(phone._new("REGISTER", *_register(phone)), for_s) for _ in range(times)]
    phone.password = right
    return [(answer.status, answer.phrase) for answer in answers]


def _register(phone):
    return SipUri(phone.server.address.host), NameAddr(phone.aor), [("Contact", phone.contact)]


def send_all(phone, times):
    """As many REGISTERs at once."""
    for _ in range(times):
        phone.send(phone._new("REGISTER", *_register(phone)))


def in_time(phone, for_s=HELD_S):
    """Register, however long it takes; how long it took."""
    began = phone.world.now
    before = len(phone.finals)
    phone.send(phone._new("REGISTER", *_register(phone)))
    while len(phone.finals) == before and phone.world.now < began + for_s:
        phone.world.run(0.5)
    return phone.finals[-1].status, phone.world.now - began


# A wrong password


def test_wrong_password(phone, one):
    phone.password = "guess"
    response = phone.register()
    assert (response.status, response.phrase) == (403, "Wrong password for alice")
    assert one.core.bindings("alice", one.world.now) == ()


def test_after_twenty_wrong_ones_each_waits_its_turn(phone, world):
    assert guess(phone, 20, 0.1) == [(403, "Wrong password for alice")] * 20
    before = len(phone.finals)
    phone.password = "guess"
    send_all(phone, 40)
    world.run(0.5)
    # One has its turn every three seconds, so that eight have it in 24 s.
    refused = phone.finals[before:]
    assert [one.status for one in refused] == [503] * 32
    assert {one.phrase for one in refused} == {"Too many wrong passwords for alice, wait a minute"}
    assert {one.fields.first("retry-after") for one in refused} == {"60"}
    for turn in range(8):
        assert [one.status for one in phone.finals[before + 32 :]] == [403] * turn
        world.run(3.0)
    assert [one.status for one in phone.finals[before + 32 :]] == [403] * 8


def test_the_right_password_always_gets_in(phone, world):
    """Also from where somebody has just guessed; it waits for its turn."""
    guess(phone, 20, 0.1)
    status, waited_s = in_time(phone)
    assert status == 200
    assert 1.0 < waited_s < 24.5


def test_who_was_right_in_his_turn_leaves_it_to_the_next(phone, world, one):
    guess(phone, 20, 0.1)
    assert in_time(phone)[0] == 200
    status, waited_s = in_time(phone_at(world, one, Address(ALICE_AT.host, 40_000)))
    assert (status, waited_s) == (200, pytest.approx(0.5))


def test_a_phone_that_has_proved_itself_never_waits(phone, world, one):
    """Another behind the same address guesses all the time; neither registering nor calling takes longer."""
    assert phone.register().status == 200
    thief = phone_at(world, one, Address(ALICE_AT.host, 40_000), "guess")
    for _ in range(5):
        send_all(thief, 30)
        world.run(0.5)
        assert phone.register().status == 200
    assert phone.ask(phone.message("alice")).status == 480, "she is let in, and has no other phone"
    assert {one.status for one in thief.finals} == {403, 503}


def test_whoever_shares_the_address_has_nothing_to_do_with_it(phone, world, one):
    guess(phone, 20, 0.1)
    bob = world.phone("bob", one, Address(ALICE_AT.host, 40_001))
    assert bob.register().status == 200


def test_neither_has_the_user_elsewhere(phone, world, one):
    guess(phone, 20, 0.1)
    assert phone_at(world, one, Address("10.1.0.77", 5060)).register().status == 200


def test_wrong_ones_are_forgotten_after_a_while(phone, world):
    guess(phone, 20, 0.1)
    world.run(60.0)
    assert guess(phone, 20, 0.1) == [(403, "Wrong password for alice")] * 20


def test_what_is_right_costs_nothing(phone):
    for _ in range(60):
        assert phone.ask(phone._new("REGISTER", *_register(phone)), 0.1).status == 200


def test_guesses_in_another_hosts_name_count_for_nobody(phone, world, one):
    """A thief asks for a nonce where he is, and sends what he makes of it in the name of an honest phone's address."""
    thief = phone_at(world, one, Address("10.1.0.66", 5060), "guess")
    nonce = _challenge(thief).get("nonce")
    for number in range(60):
        forged = _forged(thief, nonce, number)
        one.core.handle(Datagram(one.address, ALICE_AT, forged), world.now)
        world.settle()
    assert not [note for note in one.notes if "Wrong" in str(note.facts)]
    status, waited_s = in_time(phone)
    assert (status, waited_s) == (200, pytest.approx(0.5))


def _challenge(phone) -> AuthParams:
    """What the server challenges this phone with."""
    seen: list[AuthParams] = []
    real = phone._authenticate
    phone._authenticate = lambda request, response, call: seen.extend(
        digest.read_all(response.fields.lines("www-authenticate"))
    )
    phone.send(phone._new("REGISTER", *_register(phone)))
    phone.world.run(0.5)
    phone._authenticate = real
    return seen[0]


def _forged(phone, nonce: str, number: int) -> bytes:
    request: Request = phone._new("REGISTER", *_register(phone))
    challenge = AuthParams("Digest", {"realm": '"overlay.example"', "nonce": f'"{nonce}"', "qop": '"auth"'})
    credentials = digest.answer_challenge(
        challenge, user="alice", a1_hash="0" * 32, method="REGISTER", uri=request.uri_text, cnonce="c"
    )
    via = f"SIP/2.0/UDP {ALICE_AT};branch=z9hG4bKforged{number}"
    return request.replace(
        fields=request.fields.with_first("Via", via).with_last("Authorization", credentials)
    ).encode()


def test_an_invite_that_waits_can_be_cancelled(phone, world, one, bob):
    guess(phone, 20, 0.1)
    send_all(phone, 2)
    call = phone.invite("bob")
    world.run(1.0)
    assert call.statuses == [100]
    phone.cancel(call)
    world.run(1.0)
    assert call.statuses == [100, 487]
    world.run(HELD_S)
    assert [request.method for request in bob.received] == []
    assert world.forgets_all()


def test_what_waits_is_bounded(world):
    one = world.server("small", "10.9.0.1", limits=ServerLimits(questions=2))
    phone = world.phone("alice", one, Address("10.9.0.11", 5060))
    guess(phone, 20, 0.1)
    before = len(phone.finals)
    for _ in range(4):
        send_all(phone, 1)
        world.run(0.1)
    assert [one.status for one in phone.finals[before:]] == [503, 503]


# What the credentials are for


@pytest.mark.must("7616 3.4.6/1", "8760 3/1")
@pytest.mark.parametrize(
    "uri",
    [
        "sip:10.1.0.1", "sip:overlay.example", "SIP:OVERLAY.Example", "sip:10.1.0.1:5060", "sips:overlay.example:5061",
        "sip:10.1.0.1;transport=udp", "sip:10.1.0.1:5099;lr",
    ],
)  # fmt: skip
def test_7616_3_4_6_the_same_place_by_another_name(phone, uri):
    phone.digest_uri = uri
    assert phone.register().status == 200


@pytest.mark.must("7616 3.4.6/1", "7616 3.4.6/3", "8760 3/1")
@pytest.mark.parametrize("uri", ["sip:bob@10.1.0.1", "sip:elsewhere", "sip:10.1.0.2", "tel:1", "<x", "*"])
def test_7616_3_4_6_another_place_is_a_bad_request_and_no_wrong_password(phone, uri):
    """ "if they are not, the server SHOULD return a 400 Bad Request error"."""
    phone.digest_uri = uri
    for _ in range(60):
        assert phone.register().status == 400
    phone.digest_uri = ""
    assert in_time(phone)[0] == 200


@pytest.mark.must("7616 3.4.6/3")
def test_7616_3_4_6_holds_for_calls(alice, bob):
    alice.digest_uri = "sip:bob@overlay.example"
    assert alice.ask(alice.message("bob")).status == 200
    alice.digest_uri = "sip:carol@overlay.example"
    assert alice.ask(alice.message("bob")).status == 400


# Who it is


@pytest.mark.parametrize("name", ["alice", "Alice", "alice@overlay.example", "ALICE@overlay.example"])
def test_the_digest_user_name_says_who_it_is(phone, one, name):
    phone.auth_user = name
    assert phone.register().status == 200
    assert one.core.users() == ["alice"]


@pytest.mark.must("3261 10.3/10", "3261 10.3/11")
@pytest.mark.parametrize(
    "to", ["sip:alice@overlay.example", "sip:Alice@10.1.0.1", "sip:%61lice@10.1.0.1:5060;user=phone"]
)
def test_to_names_the_same_user(phone, one, to):
    request = phone._new("REGISTER", SipUri("10.1.0.1"), NameAddr(parse_uri(to)), [("Contact", phone.contact)])
    assert phone.ask(request).status == 200
    assert one.core.users() == ["alice"]


@pytest.mark.must("3261 10.3/8")
def test_10_3_step_4_only_alice_may_change_her_bindings(phone, world):
    """ "If the authenticated user is not authorized to modify bindings, the registrar MUST return a 403"."""
    world.homes["bob"], world.passwords["bob"] = ["one"], "x"
    request = phone._new("REGISTER", SipUri("10.1.0.1"), NameAddr(SipUri("overlay.example", "bob")), [])
    response = phone.ask(request)
    assert (response.status, response.phrase) == (403, "To names bob, the password is of alice")


@pytest.mark.must("3261 10.2/5")
@pytest.mark.parametrize("to", ["tel:+1", "urn:x:y"])
def test_10_2_to_must_be_a_sip_uri(phone, to):
    """ "This address-of-record MUST be a SIP URI or SIPS URI"; RFC 4475 section 3.3.4 has a registrar answer 400."""
    response = phone.ask(phone._new("REGISTER", SipUri("10.1.0.1"), NameAddr(parse_uri(to)), []))
    assert (response.status, response.phrase) == (400, "Bad Request (To is not a SIP URI)")


@pytest.mark.must("3261 10.3/9")
@pytest.mark.parametrize("to", ["sip:alice@elsewhere", "sip:10.1.0.1"])
def test_10_3_step_5_to_must_be_of_our_domain(phone, to):
    """ "If the address-of-record is not valid for the domain in the Request-URI, the registrar MUST send a 404"."""
    response = phone.ask(phone._new("REGISTER", SipUri("10.1.0.1"), NameAddr(parse_uri(to)), []))
    assert (response.status, response.phrase) == (404, "To must name a user of overlay.example")


FOREIGN = ["sip:anonymous@anonymous.invalid", "tel:+4930123", "sip:alice@elsewhere.example", "sip:10.1.0.1", "urn:x:y"]


@pytest.mark.parametrize("uri", FOREIGN)
def test_whatever_from_says_it_is_challenged_and_served(alice, bob, one, uri):
    request = alice.message("bob")
    from_ = NameAddr(parse_uri(uri)).with_tag("1")
    bare = request.replace(fields=request.fields.with_only("From", from_))
    assert alice.ask(bare).status == 200
    assert one.reports_of("MESSAGE")[-1].who == "alice"
    assert bob.received[-1].body == b"hello"


@pytest.mark.parametrize("uri", FOREIGN)
def test_without_the_password_nobody_is_served_whatever_from_says(alice, bob, world, uri):
    alice.password = "guess"
    request = alice.message("bob")
    assert alice.ask(request.replace(fields=request.fields.with_only("From", f"<{uri}>;tag=1"))).status == 403
    assert not [one for one in bob.received if one.method == "MESSAGE"]


def test_9_2_a_cancel_while_the_password_is_being_looked_up(phone, world, one):
    """Some phones do not wait for a 100 to give up; whatever an INVITE waits for, it is over."""
    assert phone.register().status == 200
    bob = world.phone("bob", one, Address("10.1.0.12", 5060))
    assert bob.register().status == 200
    one.unanswered = (FindCredential,)
    call = phone.invite("bob")
    world.run(0.2)
    invite = parse(next(data for _, to, data in reversed(world.datagrams) if to == one.address and b"INVITE" in data))
    kept = [field for field in invite.fields if field[0] in ("via", "from", "to", "call-id")]
    fields = Fields(kept).with_last("CSeq", f"{invite.cseq.number} CANCEL")
    cancel = Request("CANCEL", invite.uri_text, fields)
    one.core.handle(Datagram(one.address, ALICE_AT, cancel.encode()), world.now)
    world.run(1.0)
    assert call.statuses == [487]
    one.unanswered = ()
    world.run(10.0)
    assert not bob.calls
    assert world.forgets_all()
