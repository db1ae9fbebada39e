"""What of a forwarded call is signed, and by whom (RFC 8946)."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.callers.authentication import Authentication
from p2psip.sip.entities.callers.caller import UNKNOWN, Caller
from p2psip.sip.entities.callers.identity_field import party_of
from p2psip.sip.entities.gate import identity
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import FlowHop, Source

REALM = "overlay.example"
BOB, CAROL = SipUri(REALM, "bob"), SipUri(REALM, "carol")
CAME = Request("INVITE", BOB, Fields.of(("From", f"<sip:alice@{REALM}>;tag=a"), ("To", f"<{BOB}>"), ("Identity", "x")))
PEER = Source(FlowHop(1), "TLS", Address("10.2.0.1", 5061), "beef")


def asked(caller: Caller, uri: SipUri) -> object:
    service = Authentication(REALM)
    service.use_date(WallClock(1_790_000_000.0))
    return service.question(CAME, CAME, caller, uri, "p1", 0.0)


def test_bob_signs_that_it_goes_to_carol() -> None:
    question = asked(Caller("alice", "", 0, frozenset({party_of(BOB)})), CAROL)
    assert question is not None
    assert (question.user, question.ppt) == ("bob", "div")  # type: ignore[attr-defined]
    assert question.claims.div == party_of(BOB)  # type: ignore[attr-defined]
    assert question.claims.orig == party_of(SipUri(REALM, "alice"))  # type: ignore[attr-defined]


def test_nobody_signs_what_the_caller_has_signed_already() -> None:
    """Her record, or her dial plan, has led her to carol."""
    assert asked(Caller("alice", "", 0, frozenset({party_of(BOB), party_of(CAROL)})), CAROL) is None


def test_nor_what_is_not_proved() -> None:
    """And its Identity goes no further."""
    assert asked(UNKNOWN, CAROL) is None
    assert "identity" not in identity.requested(CAME, PEER, None, REALM, caller=UNKNOWN).fields
    assert "identity" in identity.requested(CAME, PEER, None, REALM, caller=Caller("alice")).fields
