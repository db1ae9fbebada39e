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
