"""The switchboard alone: messages in, messages and wishes out."""

from __future__ import annotations

import pytest
from switchboard_bench import REALM, SwitchboardBench

from p2psip.sip.entities.switching.switchboard import CALLS_MAX, PICK_UP_S


@pytest.fixture
def bench() -> SwitchboardBench:
    return SwitchboardBench()


def test_who_picks_up_and_whom_he_picks_up_are_answered_together(bench: SwitchboardBench) -> None:
    bench.invite(f"pick-up@{REALM};call=5", "carol")
    (wanted,) = bench.wanted
    assert wanted.call == 5
    assert bench.status("carol") == 180
    bench.invite(str(wanted.target.uri).removeprefix("sip:"), "alice")
    assert (bench.status("carol"), bench.status("alice")) == (200, 200)
    assert bench.answers["call-carol"].fields.first("p-asserted-identity") == f'"alice" <sip:alice@{REALM}>'
    bench.pass_time(2 * PICK_UP_S)
    assert (bench.status("carol"), bench.status("alice")) == (200, 200)


def test_what_does_not_come_is_not_waited_for(bench: SwitchboardBench) -> None:
    bench.invite(f"pick-up@{REALM};call=5", "carol")
    bench.pass_time(PICK_UP_S)
    assert bench.status("carol") == 480
    (wanted,) = bench.wanted
    bench.invite(str(wanted.target.uri).removeprefix("sip:"), "alice", PICK_UP_S)
    assert bench.status("alice") == 480, "too late"


def test_who_has_hung_up_picks_up_nobody(bench: SwitchboardBench) -> None:
    bench.invite(f"pick-up@{REALM};call=5", "carol")
    bench.cancel(f"pick-up@{REALM};call=5", "carol", 0.5)
    assert bench.status("carol") == 487
    (wanted,) = bench.wanted
    bench.invite(str(wanted.target.uri).removeprefix("sip:"), "alice", 0.6)
    assert bench.status("alice") == 480


def test_there_are_so_many_calls_and_no_more(bench: SwitchboardBench) -> None:
    for number in range(CALLS_MAX):
        bench.invite(f"park@{REALM};slot={number};by=bob", f"caller{number}")
        assert bench.status(f"caller{number}") == 200
    bench.invite(f"park@{REALM};slot=99;by=bob", "late")
    assert bench.status("late") == 486


def test_what_nobody_leads_here_is_refused(bench: SwitchboardBench) -> None:
    bench.invite(f"switchboard@{REALM}", "carol")
    assert bench.status("carol") == 404
    assert not bench.agent.is_meant("switchboard")
