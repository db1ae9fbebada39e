"""Runs that fail are made short (p2psip.sim.scenario.shrink)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from p2psip.sim.scenario import shrink as module
from p2psip.sim.scenario.run_outcome import RunFailure, RunOutcome
from p2psip.sim.scenario.scenario_terms import Happening, Scenario
from p2psip.sim.scenario.shrink import shrink

Fails = Callable[[Scenario, Sequence[Happening]], str]


def script(count: int) -> tuple[Happening, ...]:
    """So many happenings, of which each is known by its time."""
    return tuple(Happening(what="crash", who=("p1",), at_s=float(number)) for number in range(count))


def times(happenings: Sequence[Happening]) -> set[float]:
    """By which they are known."""
    return {happening.at_s for happening in happenings if happening.at_s is not None}


def shrunk(
    monkeypatch: pytest.MonkeyPatch, fails: Fails, *, count: int = 40, runs_max: int = 500
) -> tuple[Scenario, RunOutcome, int]:
    """What is left where runs fail as `fails` says, and how many there were."""
    runs = []

    def play(scenario: Scenario, seed: int, *, script: Sequence[Happening]) -> RunOutcome:
        runs.append(len(script))
        kind = fails(scenario, script)
        return RunOutcome(seed, tuple(script), RunFailure(kind, 1.0, "it is so") if kind else None)

    monkeypatch.setattr(module, "play", play)
    scenario = Scenario(peers=30, users=20)
    whole = RunOutcome(7, script(count), RunFailure("not found", 9.0, "u1 is not found"))
    shorter, outcome = shrink(scenario, whole, runs_max=runs_max)
    return shorter, outcome, len(runs)


def test_what_is_needed_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two happenings far from each other, five peers and three users."""

    def fails(scenario: Scenario, happenings: Sequence[Happening]) -> str:
        is_so = {3.0, 31.0} <= times(happenings) and scenario.peers >= 5 and scenario.users >= 3
        return "not found" if is_so else ""

    scenario, outcome, runs = shrunk(monkeypatch, fails)
    assert times(outcome.script) == {3.0, 31.0}
    assert (scenario.peers, scenario.users) == (5, 3)
    assert runs < 150


def test_another_failure_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Scenario, happenings: Sequence[Happening]) -> str:
        return "not found" if {3.0, 4.0} <= times(happenings) else "not whole"

    _, outcome, _ = shrunk(monkeypatch, fails)
    assert times(outcome.script) == {3.0, 4.0}
    assert outcome.failure is not None
    assert outcome.failure.kind == "not found"


def test_what_fails_by_itself_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, outcome, _ = shrunk(monkeypatch, lambda *_: "not found")
    assert (outcome.script, scenario.peers, scenario.users) == ((), 1, 0)


def test_it_ends_after_so_many_runs_with_the_best_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Scenario, happenings: Sequence[Happening]) -> str:
        return "not found" if {3.0, 31.0} <= times(happenings) else ""

    _, outcome, runs = shrunk(monkeypatch, fails, runs_max=5)
    assert runs == 5
    assert {3.0, 31.0} <= times(outcome.script)
    assert len(outcome.script) <= 40
