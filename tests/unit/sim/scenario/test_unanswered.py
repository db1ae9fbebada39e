"""Calls that nobody answered: how they are told, and counted (p2psip.sim.scenario.unanswered)."""

from __future__ import annotations

from msgspec.structs import replace

from p2psip.sim.scenario.play import play
from p2psip.sim.scenario.scenario_terms import Happening, Scenario
from p2psip.sim.scenario.unanswered import UnansweredCall, by_kind, why_unanswered
from p2psip.sip.entities.agents.types import EndedBy, Ending
from p2psip.sip.message.headers import Reason

PEERS = {"9dd80b63": 4}


def test_the_reason_of_the_response_in_the_names_of_the_scenario() -> None:
    said = Reason("SIP", 480, "peer 9dd80b63 is not in the overlay, nor is deadbeef")
    ending = Ending(EndedBy.THEM, "Temporarily Unavailable", 480, (said, Reason("SIP", 408, "")))
    status, why = why_unanswered(ending, PEERS)
    assert (status, why) == (480, f"peer p4 is not in the overlay, nor is deadbeef; {Reason('SIP', 408, '')}")


def test_a_response_without_a_reason_and_no_response() -> None:
    assert why_unanswered(Ending(EndedBy.THEM, "Busy Here", 486), PEERS) == (486, "Busy Here")
    assert why_unanswered(Ending(EndedBy.US, "hung up"), PEERS) == (None, "hung up")
    assert why_unanswered(None, PEERS) == (None, "no final response yet")


def test_counted_whoever_they_name_the_most_frequent_first() -> None:
    busy = UnansweredCall(1.0, "u1", "u2", 486, "Busy Here")
    gone = [
        UnansweredCall(float(at), "u1", f"u{at}", 480, f"u{at} is at peer p{at}0, which is gone") for at in range(5)
    ]
    first, second, third = by_kind([busy, *gone, replace(busy, status=600)])
    assert (first.status, first.why, first.count) == (480, "uN is at peer pN, which is gone", 5)
    assert first.first == tuple(gone[:3])
    assert (second.status, second.count, second.first) == (486, 1, (busy,))
    assert third.status == 600


def test_a_call_to_another_island() -> None:
    """u1 is at p1, which nobody reaches: the caller is told which peer that is."""
    happens = (
        Happening(what="call", who=("u2",), to="u0", at_s=1.0),
        Happening(what="part", who=("p1",), at_s=5.0),
        Happening(what="call", who=("u0",), to="u1", at_s=15.0, for_s=40.0),
        Happening(what="call", who=("u2",), to="u1", at_s=59.0),
    )
    outcome = play(Scenario(peers=3, users=3, seconds=60.0, heal_s=60.0, happens=happens), 1)
    assert outcome.failure is None, outcome.transcript()
    assert (outcome.calls, outcome.calls_answered) == (3, 1)
    told, rest = outcome.unanswered
    assert told == UnansweredCall(15.0, "u0", "u1", 480, "peer p1 is not in the overlay")
    assert (rest.at_s, rest.caller, rest.callee) == (59.0, "u2", "u1")
    assert outcome.figures()["unanswered"] == by_kind(outcome.unanswered)
