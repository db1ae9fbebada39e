"""Swarm testing of small rings: each seed has a mix of its own of joins, deaths, leaves, islands, and what users do.

`make soak` plays a hundred thousand seeds of it; `p2psip sim --seed` plays one that failed again, and makes it
short.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from p2psip.sim.scenario.play import play
from p2psip.sim.scenario.scenario_terms import Scenario

SCENARIOS = Path(__file__).parents[2] / "docs" / "scenarios"
SEEDS, TOGETHER = 300, 20

pytestmark = pytest.mark.long


def scenario_of(name: str) -> Scenario:
    """One of those that the documents have, checked."""
    scenario = msgspec.toml.decode((SCENARIOS / f"{name}.toml").read_bytes(), type=Scenario)
    scenario.check()
    return scenario


@pytest.mark.parametrize("first", range(1, 1 + SEEDS, TOGETHER))
def test_whatever_the_seed_all_is_well_in_the_end(first: int) -> None:
    scenario = scenario_of("small-rings")
    failed = []
    for seed in range(first, first + TOGETHER):
        outcome = play(scenario, seed)
        if outcome.failure is not None:
            failed.append(f"seed {seed}:\n{outcome.transcript()}")
        elif not outcome.checks:
            failed.append(f"seed {seed}: nobody has looked at the ring")
    assert failed == []


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_scenario_of_the_documents_makes_sense(path: Path) -> None:
    assert scenario_of(path.stem).happens


@pytest.mark.parametrize(("name", "answered"), [("village", 0.8), ("behind-nats", 0.5)])
def test_the_scenarios_of_the_documents_end_well(name: str, answered: float) -> None:
    """Also while machines sleep and routers start anew, most calls are answered."""
    outcome = play(scenario_of(name), 1)
    assert outcome.failure is None, outcome.transcript()
    assert outcome.calls_answered > answered * outcome.calls > 2
