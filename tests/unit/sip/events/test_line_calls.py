"""The calls of a line (RFC 4235 section 3.7)."""

from __future__ import annotations

from dataclasses import replace

from p2psip.sip.events.line_calls import CallState, LineCall, LineCalls
from p2psip.sip.message.headers import NameAddr

REMOTE = NameAddr.parse("<sip:alice@club.example>")
RINGS = LineCall("1", "call", False, CallState.EARLY, REMOTE, "l", "r")


def states(calls: LineCalls) -> list[CallState]:
    return [call.state for call in calls.of("bob")]


def test_3_7_1_a_call_goes_on_and_not_back() -> None:
    calls = LineCalls(5)
    assert calls.of("bob") == ()
    assert calls.note("bob", replace(RINGS, state=CallState.PROCEEDING))
    assert calls.note("bob", RINGS)
    assert not calls.note("bob", RINGS), "no news"
    assert calls.note("bob", replace(RINGS, state=CallState.CONFIRMED))
    assert not calls.note("bob", RINGS)
    assert states(calls) == [CallState.CONFIRMED]
    assert calls.note("bob", replace(RINGS, state=CallState.TERMINATED))
    assert not calls.note("bob", replace(RINGS, state=CallState.TERMINATED))
    # The last one is told as what it is.
    assert states(calls) == [CallState.TERMINATED]
    assert calls.note("bob", replace(RINGS, id="2"))
    assert states(calls) == [CallState.EARLY]


def test_a_bye_ends_all_of_its_call() -> None:
    calls = LineCalls(5)
    calls.note("bob", replace(RINGS, state=CallState.CONFIRMED))
    calls.note("alice", replace(RINGS, id="3", is_caller=True, state=CallState.CONFIRMED))
    calls.note("bob", replace(RINGS, id="2", call_id="another"))
    tags = frozenset({RINGS.local_tag, RINGS.remote_tag})
    assert calls.end("call", frozenset({RINGS.local_tag, "guessed"})) == [], "many know a Call-ID"
    assert calls.end("call", tags) == ["alice", "bob"]
    assert calls.end("call", tags) == []
    assert [call.id for call in calls.of("bob")] == ["2"]


def test_what_callers_have_not_got_through() -> None:
    calls = LineCalls(5)
    calls.note("alice", replace(RINGS, id="3", is_caller=True))
    calls.note("bob", RINGS)
    calls.note("carol", replace(RINGS, id="4", is_caller=True, state=CallState.CONFIRMED))
    assert calls.end("call") == ["alice"]


def test_a_line_without_phones_has_no_calls() -> None:
    calls = LineCalls(5)
    calls.note("bob", RINGS)
    assert calls.clear("bob")
    assert not calls.clear("bob")
    assert calls.end("call") == []
    calls.forget("bob")
    assert calls.of("bob") == ()


def test_the_eldest_gives_way() -> None:
    calls = LineCalls(2)
    for number in range(4):
        assert calls.note("bob", replace(RINGS, id=str(number), call_id=f"call{number}"))
    assert [call.id for call in calls.of("bob")] == ["2", "3"]
    assert calls.end("call0") == []
