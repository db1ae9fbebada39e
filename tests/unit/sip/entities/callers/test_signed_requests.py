"""What of a phone's request is signed on its way to another peer, what its own claims are worth, and what leaks."""

from __future__ import annotations

import pytest
from sip_world import OVERLAY, THE_DATE

from p2psip.base.address import Address
from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.callers.identity_field import IdentityField, date_of
from p2psip.sip.entities.callers.passport import Party
from p2psip.sip.entities.questions import SignClaims, VerifySignature
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse


def between(world, one, other):
    """What goes over the connection of two peers."""
    sent = []
    perform = world.perform

    def watch(party, effect):
        if party is one and getattr(effect, "flow", None) == one.links[other.name]:
            sent.append(parse(effect.data))
        perform(party, effect)

    world.perform = watch
    return lambda: [one for one in sent if isinstance(one, Request)]


def asked(server, kind):
    return [question for question in server.asked if isinstance(question, kind)]


@pytest.mark.must(
    "8224 4.1/1",
    "8224 4.1/6",
    "8224 4.1/13",
    "8224 4.1/14",
    "8224 4.1.1/1",
    "8224 6.1/7",
    "8224 6.1/10",
    "8224 6.1/12",
    "8225 5.1.1/2",
    "8225 7/1",
)
def test_a_request_in_compact_form(world, one, other, alice, bob):
    sent = between(world, one, other)
    assert alice.ask(alice.message("bob")).status == 200
    (message,) = sent()
    given = IdentityField.parse(message.fields.first("identity"))
    assert given.passport is None
    (question,) = asked(one, SignClaims)
    assert date_of(message) == question.claims.iat
    assert question.claims.orig == Party("uri", f"sip:alice@{OVERLAY}")
    assert question.claims.dest == {Party("uri", f"sip:bob@{OVERLAY}")}
    assert THE_DATE <= question.claims.iat < THE_DATE + 10
    added = len(f"Identity: {given}\r\n")
    assert added < 250, "for a signature by ECDSA; what goes by datagram has little room"


def test_what_begins_something_is_signed_and_nothing_else(world, one, other, alice, bob):
    sent = between(world, one, other)
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    alice.hang_up(call)
    world.run(1.0)
    assert [(one.method, "identity" in one.fields) for one in sent()] == [
        ("INVITE", True), ("ACK", False), ("BYE", False),
    ]  # fmt: skip


def test_between_phones_of_one_peer_nothing_is_signed(world, one, alice):
    world.phone("carol", one, Address("10.1.0.13", 5060)).register()
    assert alice.ask(alice.message("carol")).status == 200
    assert not asked(one, SignClaims)


@pytest.mark.parametrize("name", ["Identity", "y", "IDENTITY"])
def test_what_a_phone_proves_itself_goes_nowhere(world, one, other, alice, bob, name):
    """It has no key for it; and its clock may be of 1970."""
    sent = between(world, one, other)
    message = alice.message("bob")
    fields = message.fields.with_last(name, "..abc;info=<https://x>").with_last("Date", "Thu, 01 Jan 1970 00:00:00 GMT")
    assert alice.ask(message.replace(fields=fields)).status == 200
    (message,) = sent()
    assert len(message.fields.lines("identity")) == 1
    assert len(message.fields.lines("date")) == 1
    assert b"1970" not in message.encode()
    assert other.reports_of("MESSAGE")[-1].caller == "alice, proved by certificate"
    assert "identity" not in bob.received[-1].fields


def test_a_dialled_number_that_means_somebody_is_signed_with_both(world, one, other, alice, bob):
    """To is what was dialled, and stays that; the token is for whom it means."""
    message = alice.message("bob")
    message = message.replace(fields=message.fields.with_only("To", "<sip:42@10.1.0.1>"))
    sent = between(world, one, other)
    assert alice.ask(message).status == 200
    (got,) = sent()
    given = IdentityField.parse(got.fields.first("identity"))
    assert given.passport is not None
    assert {party.name for party in given.passport.claims.dest} == {f"sip:42@{OVERLAY}", f"sip:bob@{OVERLAY}"}
    assert other.reports_of("MESSAGE")[-1].caller == "alice, proved by certificate"


@pytest.mark.must("8224 11/1")
@pytest.mark.parametrize("wish", ["id", "user", "header", "id;critical"])
def test_3323_who_wishes_not_to_be_known_signs_nothing(world, one, other, alice, bob, wish):
    """The signature, and where its certificate is, would tell the operator of the other peer who it is."""
    sent = between(world, one, other)
    message = alice.message("bob")
    response = alice.ask(message.replace(fields=message.fields.with_last("Privacy", wish)))
    if response.status == 500:
        assert wish == "header"
    (got,) = sent()
    assert "identity" not in got.fields
    assert b"alice" not in got.encode().replace(got.call_id.encode(), b"")
    assert bob.received[-1].from_.display_name == "Anonymous"
    assert other.reports_of("MESSAGE")[-1].caller == "not proved: the request names no user of the overlay"


@pytest.mark.must("8224 4.1/4", "8224 4.1.1/1", "8224 6.1/10")
def test_an_anonymous_from_alone_is_proved_by_what_is_asserted(world, one, other, alice, bob):
    """RFC 3325: it wishes no more than that; RFC 8224 8 wants the full form then."""
    sent = between(world, one, other)
    message = alice.message("bob")
    fields = message.fields.with_only("From", "<sip:anonymous@anonymous.invalid>;tag=1")
    assert alice.ask(message.replace(fields=fields)).status == 200
    (got,) = sent()
    given = IdentityField.parse(got.fields.first("identity"))
    assert given.passport is not None
    assert bob.received[-1].fields.lines("p-asserted-identity") == ["<sip:alice@10.2.0.1>"]
    assert bob.received[-1].from_.display_name == "Anonymous"


def test_without_a_signature_it_goes_all_the_same(world, one, other, alice, bob):
    one.unanswered = (SignClaims,)
    assert alice.ask(alice.message("bob"), 6.0).status == 200
    assert bob.received[-1].from_.display_name == "Not verified"


def test_8224_6_1_without_the_date_nothing_is_signed(world, one, other, alice, bob):
    one.core.set_wall_clock(WallClock(0.0, is_trusted=False))
    assert alice.ask(alice.message("bob")).status == 200
    assert not asked(one, SignClaims)


@pytest.mark.parametrize("home", ["one", "two"])
def test_a_telephone_number_is_told_to_be_verified(world, one, other, bob, home):
    """3GPP TS 24.229: `verstat`, a parameter of the number; what a phone dials back is the number all the same."""
    server = world.servers[home]
    called = world.phone("carol", one, Address("10.1.0.13", 5060))
    caller = world.phone("+49301", server, Address(server.address.host.replace("0.1", "0.14"), 5060))
    assert (called.register().status, caller.register().status) == (200, 200)
    assert caller.ask(caller.message("carol")).status == 200
    got = called.received[-1]
    (told,) = got.fields.lines("p-asserted-identity")
    assert told == '"+49301" <sip:+49301;verstat=TN-Validation-Passed@10.1.0.1;user=phone>'
    assert str(got.from_.uri) == "sip:+49301@10.1.0.1"
    back = called.message("x").replace(uri=told.partition("<")[2][:-1])
    assert called.ask(back).status == 200
    assert caller.received[-1].method == "MESSAGE"


@pytest.mark.must(
    "8224 4.1/7", "8224 4.1/8", "8224 4.1/9", "8224 4.1/10", "8224 4.1/11", "8224 4.1/12", "8224 6.1/3", "8224 6.1/11",
    "8224 6.2/6", "8225 5.2.1.1/1", "8225 5.2.1.1/2", "8225 5.2.1.2/1",
)  # fmt: skip
@pytest.mark.parametrize(
    ("caller", "called", "orig", "dest"),
    [
        ("carol", "dave", "uri sip:carol@overlay.example", "uri sip:dave@overlay.example"),
        ("+49301", "dave", "tn 49301", "uri sip:dave@overlay.example"),
        ("carol", "+49302", "uri sip:carol@overlay.example", "tn 49302"),
        ("49301", "42", "uri sip:49301@overlay.example", "uri sip:42@overlay.example"),
    ],
)
def test_8224_4_1_who_calls_whom_is_a_number_or_a_uri(world, one, other, caller, called, orig, dest):
    """4.1: "If the originating identity is a telephone number, then the array MUST be populated with a JSON object
    containing a "tn" element [...]. Otherwise, [...] a "uri" element"; of the destination the same. The other peer has
    to find the same in the request. 6.1: a message has its own "ppt", a call has none.
    """
    phone = world.phone(caller, one, Address("10.1.0.21", 5060))
    far = world.phone(called, other, Address("10.2.0.22", 5060))
    assert (phone.register().status, far.register().status) == (200, 200)
    sent = between(world, one, other)
    assert phone.ask(phone.message(called)).status == 200
    phone.invite(called)
    world.run(2.0)
    for question, request in zip(asked(one, SignClaims), sent(), strict=False):
        claims = question.claims
        assert f"{claims.orig.kind} {claims.orig.name}" == orig
        assert [f"{party.kind} {party.name}" for party in claims.dest] == [dest]
        ppt = IdentityField.parse(request.fields.first("identity")).ppt
        assert ppt == question.ppt == ("msg" if request.method == "MESSAGE" else "")
    assert len(asked(one, SignClaims)) == 2
    for method in ("MESSAGE", "INVITE"):
        assert other.reports_of(method)[-1].caller == f"{caller}, proved by certificate"


@pytest.mark.must("8224 4.1/15", "8224 6.1/7", "8224 6.1/8", "8225 5.1.1/2")
@pytest.mark.parametrize("said", [(), ("Sat, 01 Jan 2000 00:00:00 GMT",), ("yesterday",), ("x", "y")])
def test_8224_6_1_the_date_is_that_of_the_peer(world, one, other, alice, bob, said):
    """ "MUST add a Date header field to SIP requests that do not have one [...] MUST ensure that any preexisting Date
    header field in the request is accurate"; 4.1: else it "MUST NOT generate a PASSporT".
    """
    sent = between(world, one, other)
    message = alice.message("bob")
    fields = message.fields
    for value in said:
        fields = fields.with_last("Date", value)
    assert alice.ask(message.replace(fields=fields)).status == 200
    (got,) = sent()
    assert len(got.fields.lines("date")) == 1
    (question,) = asked(one, SignClaims)
    assert date_of(got) == question.claims.iat
    assert THE_DATE <= question.claims.iat < THE_DATE + 10


@pytest.mark.must("8224 6.1/2", "8224 6.1/4", "8224 6.1/5", "8224 6.1/6", "8225 10.2/1")
def test_8224_6_1_who_has_not_proved_himself_is_not_signed_for(world, one, other, alice, bob):
    """ "MUST NOT add an Identity header field if the authentication service does not have the authority to make the
    claim", and "MUST authenticate the originator of the message": by the password of the line, whatever From says.
    """
    other_line = world.phone("carol", one, Address("10.1.0.13", 5060), password="wrong")
    assert other_line.ask(other_line.message("bob")).status in (403, 407)
    assert asked(one, SignClaims) == []
    message = alice.message("bob")
    fields = message.fields.with_only("From", f"<sip:carol@{OVERLAY}>;tag=1")
    assert alice.ask(message.replace(fields=fields)).status == 200
    assert [question.user for question in asked(one, SignClaims)] == ["alice"]


@pytest.mark.must("8224 4.1/16", "8225 5.2.2/2", "8225 5.2.2/3")
@pytest.mark.parametrize("several", [False, True])
def test_8224_4_1_the_media_keys_of_a_call_are_signed(world, one, other, alice, bob, several):
    sdp = b"v=0\r\na=fingerprint:sha-256 4A:AD\r\nm=audio\r\na=fingerprint:sha-256 02:1A\r\n"
    kind = "application/sdp"
    if several:
        kind = "multipart/mixed;boundary=b"
        sdp = b"--b\r\nContent-Type: application/sdp\r\n\r\n" + sdp + b"\r\n--b--\r\n"
    alice.invite("bob", [("Content-Type", kind)], sdp)
    world.run(3.0)
    (question,) = asked(one, SignClaims)
    assert question.claims.mky == (("sha-256", "021A"), ("sha-256", "4AAD"))
    assert other.reports_of("INVITE")[-1].caller == "alice, proved by certificate"


# What waits at the other peer


def test_a_caller_may_give_up_while_the_certificate_is_fetched(world, one, other, alice, bob):
    other.unanswered = (VerifySignature,)
    call = alice.invite("bob")
    world.run(0.5)
    assert asked(other, VerifySignature)
    alice.cancel(call)
    world.run(1.0)
    assert call.statuses[-1] == 487
    assert not [got for got in bob.received if got.method == "INVITE"]
    assert world.forgets_all()


def test_an_emergency_call_needs_no_proof(world, one):
    strict = world.server("tri", "10.3.0.1", callers="required")
    world.link(one, strict)
    caller = world.phone("zoe", one, Address("10.1.0.19", 5060))
    guard = world.phone("guard", strict, Address("10.3.0.12", 5060))
    assert (caller.register().status, guard.register().status) == (200, 200)
    one.unanswered = (SignClaims,)
    assert caller.ask(caller.message("guard"), 6.0).status == 428
    message = caller.message("guard")
    edge = one.core._proxy._edge
    honest = edge.copy_for

    def marked(*args):
        copy = honest(*args)
        return copy.replace(fields=copy.fields.with_last("Resource-Priority", "esnet.0"))

    edge.copy_for = marked
    assert caller.ask(message, 6.0).status == 200
    assert guard.received[-1].from_.display_name == "Not verified"
