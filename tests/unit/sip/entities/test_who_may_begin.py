"""Past a line's own wishes leads no way: not by a phone's address, not by its token, not by a tag that is made up."""

from __future__ import annotations

import base64
import hashlib

import pytest
from sip_world import OVERLAY, THE_DATE, fake_signed

from p2psip.base.address import Address
from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.callers.identity_field import IdentityField
from p2psip.sip.entities.callers.passport import Claims, Party, Passport
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.numbers.groups import Group
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.entities.questions import Located, SignClaims
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import FlowData

REQUEST = """{method} {uri} SIP/2.0
Via: SIP/2.0/TLS mallory.invalid;branch=z9hG4bK{branch}
Max-Forwards: 70
From: "Alice" <sip:alice@{realm}>;tag=m
To: <{to}>{tag}
Call-ID: {branch}
CSeq: 1 {method}
Contact: <sip:mallory@{realm};gr=00>
{more}Content-Length: 0

"""

OFFER = b"v=0\r\no=- 1 1 IN IP4 10.4.0.9\r\ns=-\r\nc=IN IP4 10.4.0.9\r\nt=0 0\r\nm=audio 7000 RTP/AVP 0\r\n"

ANSWERS_ITSELF = ("Alert-Info", "<http://x>;info=alert-autoanswer")


@pytest.fixture
def mallory(world, other):
    """A member with a program of his own, who has a connection with bob's peer."""
    peer = world.server("mal", "10.6.0.1")
    world.link(other, peer)
    said = []

    def say(method, uri, *, tag="", more="", to=f"sip:bob@{OVERLAY}"):
        branch = f"mal{len(said)}"
        text = REQUEST.format(
            method=method, uri=uri, realm=OVERLAY, branch=branch, to=to, tag=f";tag={tag}" if tag else "", more=more
        )
        said.append(text)
        before = len(other.answered)
        other.core.handle(FlowData(other.links["mal"], text.replace("\n", "\r\n").encode()), world.now)
        world.run(1.0)
        statuses = [answer.status for answer in other.answered[before:] if answer.call_id == branch]
        return statuses[-1] if statuses else None

    return say


def heard(phone):
    return [request.method for request in phone.received]


def talk(world, alice, bob):
    """Alice knows where bob's phone is, and bob where hers is."""
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    return call


def test_a_members_request_reaches_no_phone_by_its_address(mallory, bob):
    before = heard(bob)
    for method in ("INVITE", "MESSAGE", "OPTIONS"):
        assert mallory(method, "sip:bob@10.2.0.12:5070") == 403
        assert mallory(method, "sip:bob@10.2.0.12:5070;lr", more=f"Route: <sip:bob@{OVERLAY}>\n") == 403
        assert mallory(method, f"sip:bob@{OVERLAY}", more="Route: <sip:10.2.0.12:5070;lr>\n") == 403
    assert heard(bob) == before


def test_another_peer_is_not_called_in_our_name(mallory, world, other, bob):
    third = world.server("tri", "10.3.0.1")
    world.link(other, third)
    route = f"Route: <sip:peer-tri@{OVERLAY};gr={third.node_id};lr>\n"
    assert mallory("INVITE", f"sip:carol@{OVERLAY}", more=route) == 403
    assert mallory("INVITE", f"sip:carol@{OVERLAY}", more=route, tag="made-up") == 403
    assert mallory("INVITE", f"sip:carol@{OVERLAY};gr={third.node_id}") == 403
    assert not third.reports


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_16_4_a_route_in_place_of_the_request_uri_leads_no_proof_elsewhere(mallory, other, bob, method):
    """alice has called a number, whose peer has her word for that: not for bob, with its Request-URI or behind it."""
    other.core.set_wall_clock(WallClock(THE_DATE))
    number, alice = f"sip:+4930111@{OVERLAY}", Party("uri", f"sip:alice@{OVERLAY}")
    kind = "msg" if method == "MESSAGE" else ""
    digest = f"sha256-{base64.b64encode(hashlib.sha256(b'').digest()).decode()}" if kind else ""
    claims = Claims(alice, frozenset({Party("tn", "4930111")}), int(THE_DATE), msgi=digest)
    given = fake_signed(SignClaims("alice", claims, kind, "mal"), "alice")
    token = Passport(given.alg, given.info, kind, claims, given.signing_input, given.signature)
    field = IdentityField(given.info, given.alg, kind, given.signature, token)
    more = f"Identity: {field}\nRoute: <sip:bob@{OVERLAY}>\n"
    mallory(method, "sip:+4930111@10.2.0.1:5060;lr", to=number, more=more)
    for request in bob.received[-1:] if kind else [call.request for call in bob.calls]:
        assert request.from_.display_name == "Not verified"
    assert "alice, proved by certificate" not in [report.caller for report in other.reports_of(method)]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "BYE", "INFO", "SUBSCRIBE"])
def test_12_2_2_a_tag_that_is_made_up(mallory, bob, method):
    before = heard(bob)
    assert mallory(method, f"sip:bob@{OVERLAY}", tag="made-up") == 481
    assert heard(bob) == before


def test_a_message_proves_its_sender_also_where_it_names_a_dialog(mallory, world, other, alice, bob):
    call = talk(world, alice, bob)
    assert mallory("MESSAGE", f"sip:bob@{OVERLAY}", tag="made-up") == 481
    assert mallory("MESSAGE", str(call.target.replace(host=OVERLAY)), tag=call.remote.tag) == 200
    assert bob.received[-1].from_.display_name == "Not verified"
    assert other.reports_of("MESSAGE")[-1].caller.startswith("not proved")


def test_a_message_of_a_phone_within_a_dialog_is_proved_as_others_are(world, one, other, alice, bob):
    call = talk(world, alice, bob)
    message = alice.in_dialog(call, "MESSAGE")
    assert alice.ask(message).status == 200
    assert bob.received[-1].method == "MESSAGE"
    assert bob.received[-1].from_.display_name != "Not verified"
    assert other.reports_of("MESSAGE")[-1].caller == "alice, proved by certificate"


def test_a_token_in_route_leads_to_a_phone_within_a_dialog_alone(mallory, world, alice, bob):
    call = talk(world, alice, bob)
    token = next(route for route in call.routes if route.sip_uri.user and route.sip_uri.host == "10.2.0.1")
    before = heard(bob)
    for uri in (f"sip:mallory@{OVERLAY}", f"sip:bob@{OVERLAY}"):
        assert mallory("INVITE", uri, more=f"Route: {token}\n") == 403
        assert mallory("MESSAGE", uri, tag="x", more=f"Route: {token}\n") == 403
    assert heard(bob) == before


def test_the_uri_of_a_phone_is_as_its_peer_has_made_it(world, other, alice, bob):
    """Who has been called could put his own name into it, and lead there what proves that call."""
    uri = talk(world, alice, bob).target.replace(host=OVERLAY)
    named = {user: other.core._ways.is_at_phone(uri.replace(user=user)) for user in ("bob", "anonymous", "mallory")}
    assert named == {"bob": True, "anonymous": True, "mallory": False}


def test_a_token_of_ours_leads_nothing_that_begins_to_another_peer(mallory, world, other, alice, bob):
    token = next(route for route in talk(world, alice, bob).routes if route.sip_uri.user)
    route = f"Route: {token}\nRoute: <sip:10.2.0.12:5070;lr>\n"
    for uri in (f"sip:bob@{OVERLAY}", "sip:bob@10.2.0.12:5070"):
        assert mallory("INVITE", uri, more=route) == 403


def test_a_member_picks_up_no_call_unless_the_owner_has_named_him(mallory, world, other, alice, bob):
    bob.answers_after_s = None
    alice.invite("bob")
    world.run(0.5)
    assert mallory("INVITE", f"sip:bob@{OVERLAY}", more="P2PSIP-Pick-Up: bob\n") == 403


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_who_is_denied_does_not_come_by_the_phones_own_uri(world, one, other, alice, bob, method):
    call = talk(world, alice, bob)
    alice.hang_up(call)
    world.run(1.0)
    other.handlings.set("bob", CallHandling(deny=frozenset({"alice"})))
    before = heard(bob)
    if method == "INVITE":
        again = alice.invite(str(call.target))
        world.run(2.0)
        assert again.statuses[-1] == 603
    else:
        message = alice.message("bob")
        assert alice.ask(message.replace(uri=call.target)).status == 603
    assert heard(bob) == before


def test_nobody_speaks_unasked_by_the_phones_own_uri(world, one, other, alice, bob):
    call = talk(world, alice, bob)
    alice.hang_up(call)
    world.run(1.0)
    again = alice.invite(str(call.target), [ANSWERS_ITSELF])
    world.run(2.0)
    assert again.statuses[-1] == 403
    other.handlings.set("bob", CallHandling(intercom=frozenset({"alice"})))
    again = alice.invite(str(call.target), [ANSWERS_ITSELF])
    world.run(2.0)
    assert again.is_up
    assert bob.received[-1].fields.first("alert-info") or bob.calls[-1].request.fields.first("alert-info")


REFER = f"Refer-To: <sip:mallory@{OVERLAY}>\n"
TRANSFER = f"{REFER}Target-Dialog: c;local-tag=a;remote-tag=b\nRequire: tdialog\n"


@pytest.mark.parametrize(
    ("method", "more", "status"),
    [
        ("REFER", REFER, 403), ("REFER", f"{REFER}Target-Dialog: c;local-tag=a;remote-tag=b\n", 403),
        ("NOTIFY", "Event: check-sync;reboot=true\n", 403), ("NOTIFY", "", 403),
        ("NOTIFY", "Event: message-summary\n", 200), ("REFER", TRANSFER, 200),
    ],
)  # fmt: skip
def test_no_phone_calls_or_starts_anew_because_somebody_says_so(mallory, world, other, bob, method, more, status):
    """Upon a REFER it would be heard where its sender likes, and its line would pay for that."""
    assert mallory(method, f"sip:bob@{OVERLAY}", more=more) == status
    assert (method in heard(bob)) is (status == 200)
    other.handlings.set("bob", CallHandling(deny=("anonymous",)))
    assert mallory(method, f"sip:bob@{OVERLAY}", more=more) == (603 if status == 200 else status)


def test_but_who_may_speak_there_unasked_and_the_line_itself(world, one, other, alice, bob):
    referred = [("Refer-To", f"<sip:carol@{one.address.host}>")]
    call = talk(world, alice, bob)
    for uri in (SipUri(one.address.host, "bob"), call.target):
        assert alice.ask(alice._new("REFER", uri, NameAddr(SipUri(one.address.host, "bob")), referred)).status == 403
    other.handlings.set("bob", CallHandling(intercom=("alice",)))
    for uri in (SipUri(one.address.host, "bob"), call.target):
        assert alice.ask(alice._new("REFER", uri, NameAddr(SipUri(one.address.host, "bob")), referred)).status == 200
    assert heard(bob).count("REFER") == 2


@pytest.mark.parametrize(
    "refer_to",
    [
        "<sip:*72mallory@{host}>", "sip:*72mallory@{host}", "<sip:%2A72mallory@{host}>", "<tel:*72123>",
        "<sip:*78@{realm}>", "sip:*72mallory@{host}?Subject=x", "<sips:*79@{realm};user=phone>",
    ],
)  # fmt: skip
def test_nobody_has_a_phone_dial_a_code_that_changes_what_its_line_wants(world, one, other, alice, bob, refer_to):
    """Within a call most phones call whom they are told to: bob's calls would be forwarded to whom alice likes."""
    call = talk(world, alice, bob)

    def refer(to):
        request = alice.in_dialog(call, "REFER")
        return alice.ask(request.replace(fields=request.fields.with_last("Refer-To", to))).status

    assert refer(refer_to.format(host="10.2.0.1", realm=OVERLAY)) == 403
    assert "REFER" not in heard(bob)
    for harmless in ("carol", "*43", "*97"):
        assert refer(f"<sip:{harmless}@10.2.0.1>") == 200


def test_a_group_rings_and_no_phone_of_it_answers_by_itself(world):
    server = world.server("grp", "10.4.0.1", numbering=Numbering(groups={"all": Group(("carol", "dave"))}))
    phones = [
        world.phone(name, server, Address(f"10.4.0.{at}", 5060)) for at, name in enumerate(("carol", "dave", "eve"), 11)
    ]
    carol, dave, eve = phones
    for phone in phones:
        assert phone.register().status == 200
    server.locate = lambda asked: located(server, asked, world)
    server.handlings.set("dave", CallHandling(intercom=frozenset({"eve"})))
    eve.invite("all", [ANSWERS_ITSELF])
    world.run(0.5)
    assert "alert-info" not in carol.calls[-1].request.fields
    assert "alert-info" in dave.calls[-1].request.fields


def located(server, asked, world):
    users = [rung.user for rung in asked.group] or [asked.user]
    targets = [target for user in users for target in server.core.targets(user, world.now)]
    return Located(tuple(targets), 0.0)


@pytest.mark.parametrize(("name", "is_refused"), [("gina", True), ("frank", False), ("dave", False)])
def test_a_groups_call_is_picked_up_by_who_could_pick_it_up_at_a_member(world, name, is_refused):
    """Or is one; whatever the members want of their own calls."""
    numbering = Numbering(groups={"all": Group(("carol", "dave"))})
    server = world.server("grp", "10.4.0.1", numbering=numbering, has_own_agents=True)
    names = ("carol", "dave", "eve", "frank", "gina")
    phones = {name: world.phone(name, server, Address(f"10.4.0.{at}", 5060)) for at, name in enumerate(names, 11)}
    for phone in phones.values():
        assert phone.register().status == 200
        phone.answers_after_s = None
    server.locate = lambda asked: located(server, asked, world)
    for member in ("carol", "dave"):
        server.handlings.set(member, CallHandling(pick_up=frozenset({"frank"})))
    phones["eve"].invite("all")
    world.run(0.5)
    taken = phones[name].invite("all", [("P2PSIP-Pick-Up", "yes"), ("Content-Type", "application/sdp")], OFFER)
    world.run(1.0)
    assert (taken.statuses[-1] == 403) is is_refused, taken.statuses
