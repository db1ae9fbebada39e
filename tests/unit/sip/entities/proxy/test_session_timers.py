"""Session timers, asked for by the proxy (RFC 4028 section 8)."""

from __future__ import annotations

import pytest

from p2psip.sip.entities.proxy import session_timers
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri

ABLE = ("Supported", "100rel, timer")
ALICE, BOB = SipUri("overlay.example", "alice"), SipUri("overlay.example", "bob")


def request(*extra, method="INVITE"):
    to, from_ = NameAddr(BOB), NameAddr(ALICE).with_tag("a")
    return make_request(method, BOB, from_=from_, to=to, call_id="1", cseq=1, extra=extra)


def asked(*extra, method="INVITE") -> tuple[str | None, str | None]:
    """Session-Expires and Min-SE as they go on."""
    fields = session_timers.requested(request(*extra, method=method)).fields
    return fields.first("session-expires"), fields.first("min-se")


def test_8_1_one_is_inserted_without_a_refresher():
    """ "A proxy MAY insert a Session-Expires header field", "MUST NOT include a refresher parameter"."""
    assert asked() == ("1800", None)
    assert asked(ABLE, method="UPDATE") == ("1800", None)
    assert asked(method="MESSAGE") == (None, None)


def test_8_1_not_with_a_duration_lower_than_min_se():
    assert asked(("Min-SE", "3600")) == ("3600", "3600")


@pytest.mark.parametrize("value", ["600", "90;refresher=uac", "1800;refresher=uas", "86400"])
def test_8_1_what_is_there_is_not_increased(value):
    """ "the proxy MUST NOT increase the value of the Session-Expires header field"."""
    assert asked(("Session-Expires", value)) == (value, None)


def test_8_1_but_to_the_least():
    """ "the proxy MUST increase the value of the Session-Expires header field to make it equal to Min-SE"."""
    assert asked(ABLE, ("Session-Expires", "100;refresher=uac"), ("Min-SE", "120")) == ("120;refresher=uac", "120")


def test_8_1_too_short_of_a_phone_that_knows_no_422():
    """ "Rather, the proxy SHOULD insert a Min-SE header field containing its minimum interval"."""
    assert asked(("Session-Expires", "30")) == ("90", "90")
    assert asked(("Session-Expires", "30"), ("Min-SE", "20")) == ("90", "90")


def test_8_1_min_se_of_a_phone_that_knows_timers_is_left_alone():
    """ "A proxy MUST NOT insert a Min-SE header field [...] if that request contains a Supported header field with the
    value 'timer'".
    """
    assert asked(ABLE, ("Session-Expires", "100")) == ("100", None)


@pytest.mark.parametrize("value", ["", "soon", "-5", "1" * 12])
def test_what_nobody_understands_goes_on_as_it_is(value):
    assert asked(("Session-Expires", value)) == (value, None)
    assert (
        session_timers.answered(request(ABLE, ("Session-Expires", value)), response()).fields.first("require") is None
    )


def response(*extra, status=200):
    return make_response(request(), status, to_tag="b", extra=extra)


def answered(*extra, to=(ABLE,), status=200) -> tuple[str | None, str | None]:
    """Session-Expires and Require as they go back."""
    fields = session_timers.answered(session_timers.requested(request(*to)), response(*extra, status=status)).fields
    return fields.first("session-expires"), fields.first("require")


def test_8_2_the_caller_refreshes_where_the_callee_does_not_know_how():
    """ "This proxy MUST insert a Session-Expires header field", "MUST set the value of the 'refresher' parameter to
    'uac'", "MUST add the 'timer' option tag to any Require header field".
    """
    assert answered() == ("1800;refresher=uac", "timer")
    assert answered(("Require", "100rel")) == ("1800;refresher=uac", "100rel, timer")


def test_8_2_nobody_does_where_neither_knows():
    """ "the proxy forwards the response upstream normally"."""
    assert answered(to=()) == (None, None)


def test_8_2_what_the_callee_says_stands():
    """ "The proxy MUST NOT modify the value of the Session-Expires header field received in the response"."""
    assert answered(("Session-Expires", "600;refresher=uas")) == ("600;refresher=uas", None)


def test_8_2_only_of_what_was_accepted():
    assert answered(status=180) == (None, None)
    assert answered(status=486) == (None, None)


def test_through_two_servers(world, alice, bob):
    """Alice's phone knows timers, bob's does not: hers will refresh, and end the call where nobody answers it."""
    call = alice.invite("bob", extra=[("Supported", "timer")])
    world.run(3.0)
    assert bob.calls[0].request.fields.lines("session-expires") == ["1800"]
    assert call.responses[-1].fields.lines("session-expires") == ["1800;refresher=uac"]
    assert call.responses[-1].fields.lines("require") == ["timer"]


def test_8_1_422_with_min_se(world, alice, bob):
    """ "When sending the 422 response, the proxy MUST include a Min-SE header field with the value of its minimum
    interval", of which the phone makes another request.
    """
    call = alice.invite("bob", extra=[("Supported", "timer"), ("Session-Expires", "60")])
    world.run(3.0)
    assert call.statuses[-1] == 422
    assert call.responses[-1].fields.lines("min-se") == ["90"]
    assert bob.calls == []


def test_a_422_of_the_other_phone_comes_back(world, alice, bob):
    bob.refuses_with = 422
    call = alice.invite("bob", extra=[("Supported", "timer")])
    world.run(3.0)
    assert call.statuses[-1] == 422
