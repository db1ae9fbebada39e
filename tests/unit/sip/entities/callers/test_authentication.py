"""What of a forwarded call is signed, and by whom (RFC 8946)."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.callers.authentication import Authentication, Departing
from p2psip.sip.entities.callers.caller import UNKNOWN, Caller
from p2psip.sip.entities.callers.identity_field import party_of
from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.questions import SignClaims
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import FlowHop, Source

REALM = "overlay.example"
BOB, CAROL = SipUri(REALM, "bob"), SipUri(REALM, "carol")
CAME = Request("INVITE", BOB, Fields.of(("From", f"<sip:alice@{REALM}>;tag=a"), ("To", f"<{BOB}>"), ("Identity", "x")))
PEER = Source(FlowHop(1), "TLS", Address("10.2.0.1", 5061), "beef")


def asked(caller: Caller | None, uri: SipUri, *by: str, before: int = 0) -> SignClaims | None:
    """Of a call that these have forwarded, the first first; so many before it came here."""
    service = Authentication(REALM)
    service.use_date(WallClock(1_790_000_000.0))
    sent = CAME
    for user in by:
        sent = sent.replace(fields=sent.fields.with_first("Diversion", f"<sip:{user}@{REALM}>"))
    return service.question(Departing(sent, CAME, caller, before, uri, "p1"), 0.0)


def test_bob_signs_that_it_goes_to_carol() -> None:
    question = asked(Caller("alice", "", 0, frozenset({party_of(BOB)})), CAROL)
    assert question is not None
    assert (question.user, question.ppt) == ("bob", "div")
    assert question.claims.div == party_of(BOB)
    assert question.claims.orig == party_of(SipUri(REALM, "alice"))


def test_nobody_signs_what_the_caller_has_signed_already() -> None:
    """Her record, or her dial plan, has led her to carol."""
    assert asked(Caller("alice", "", 0, frozenset({party_of(BOB), party_of(CAROL)})), CAROL) is None


def test_nor_what_is_not_proved() -> None:
    """And its Identity goes no further."""
    assert asked(UNKNOWN, CAROL) is None
    assert "identity" not in identity.requested(CAME, PEER, None, REALM, caller=UNKNOWN).fields
    assert "identity" in identity.requested(CAME, PEER, None, REALM, caller=Caller("alice")).fields
    by_bob = Caller(forwarders=("bob",))
    assert "identity" in identity.requested(CAME, PEER, None, REALM, caller=by_bob).fields, (
        "the next one pays or not by it"
    )


def test_a_message_is_forwarded_by_nobody() -> None:
    service, caller = Authentication(REALM), Caller("alice", "", 0, frozenset({party_of(BOB)}))
    service.use_date(WallClock(1_790_000_000.0))
    message = Request("MESSAGE", BOB, CAME.fields.with_first("Diversion", f"<{BOB}>"))
    for known in (caller, UNKNOWN):
        assert service.question(Departing(message, message, known, 0, CAROL, "p1"), 0.0) is None


def test_who_sends_it_on_does_not_sign_for_the_caller_whose_line_is_here_as_well() -> None:
    """She has said elsewhere whom she means, and may have two peers."""
    service = Authentication(REALM)
    service.use_date(WallClock(1_790_000_000.0))
    asserted = CAME.replace(fields=CAME.fields.with_last("P-Asserted-Identity", f"<sip:alice@{REALM}>"))
    caller = Caller("alice", "", 0, frozenset({party_of(BOB)}))
    question = service.question(Departing(asserted, asserted, caller, 0, CAROL, "p1"), 0.0)
    assert signed(question) == [("bob", str(BOB), str(CAROL))]
    assert service.question(Departing(asserted, asserted, caller, 0, BOB, "p1"), 0.0) is None


def signed(question: SignClaims | None) -> list[tuple[str, str, str]]:
    """Who signs, for whom it was, and for whom it is."""
    assert question is not None
    each = (question, *question.forwards)
    return [(one.user, one.claims.div.name if one.claims.div else "", min(one.claims.dest).name) for one in each]


def test_each_who_has_forwarded_it_here_signs_to_whom() -> None:
    """Of a call that is not proved as well: who forwards it may have to pay for it."""
    bob, carol, dave = (f"sip:{name}@{REALM}" for name in ("bob", "carol", "dave"))
    chain = [("bob", bob, carol), ("carol", carol, dave)]
    uri = SipUri(REALM, "dave")
    assert signed(asked(UNKNOWN, uri, "bob", "carol")) == chain
    assert signed(asked(None, uri, "bob", "carol")) == chain, "of a phone here that is not to be named"
    assert signed(asked(Caller("alice", "", 0, frozenset({party_of(BOB)})), uri, "bob", "carol")) == chain
    assert signed(asked(UNKNOWN, uri, "bob", "carol", before=1)) == chain[1:]


def test_a_caller_means_the_member_of_a_group_as_well_who_has_forwarded_it() -> None:
    """Or whom the dial plan has made of what was dialled: else his word would be of a call that was not for him."""
    service, dave = Authentication(REALM), SipUri(REALM, "dave")
    service.use_date(WallClock(1_790_000_000.0))
    fields = CAME.fields.with_only("To", f"<sip:sales@{REALM}>").with_only(
        "P-Asserted-Identity", f"<sip:alice@{REALM}>"
    )
    for by in (BOB, CAROL):
        fields = fields.with_first("Diversion", f"<{by}>")
    question = service.question(Departing(CAME.replace(fields=fields), CAME, None, 0, dave, "p1"), 0.0)
    assert question is not None
    assert question.claims.dest == {party_of(SipUri(REALM, "sales")), party_of(BOB), party_of(dave)}
    assert [one.user for one in question.forwards] == ["bob", "carol"]


def test_whose_forwarding_is_not_proved_has_not_forwarded_it() -> None:
    came = CAME.replace(fields=CAME.fields.with_first("Diversion", f"<sip:bob@{REALM}>"))
    for caller, forwarded in ((UNKNOWN, ()), (Caller("alice"), ()), (Caller(forwarders=("bob",)), ("bob",))):
        assert identity.diverted(identity.requested(came, PEER, None, REALM, caller=caller)) == forwarded


def test_the_latest_who_has_forwarded_it_comes_first_whatever_the_fields_say() -> None:
    """He pays for it: nobody leaves himself out, nor puts another before himself."""
    bob, carol = (f"<sip:{name}@{REALM}>;reason=user-busy" for name in ("bob", "carol"))
    for lines in ((), (bob,), (bob, carol), (carol, bob), (f"{bob}, {carol}",)):
        came = CAME
        for line in lines:
            came = came.replace(fields=came.fields.with_last("Diversion", line))
        known = identity.requested(came, PEER, None, REALM, caller=Caller(forwarders=("carol", "bob")))
        assert identity.diverted(known) == ("carol", "bob")
        assert ("reason=user-busy" in known.fields.lines("diversion")[1]) is bool(lines)


def test_a_bob_of_elsewhere_has_forwarded_nothing() -> None:
    came = CAME.replace(fields=CAME.fields.with_first("Diversion", "<sip:bob@elsewhere.example>"))
    known = identity.requested(came, PEER, None, REALM, caller=Caller(forwarders=("bob",)))
    assert known.fields.lines("diversion") == [f"<sip:bob@{REALM}>"]
