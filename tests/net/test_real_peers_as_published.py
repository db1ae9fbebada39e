"""Real peers live through what breaks Chord as it was published (docs/published-chord.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest

from p2psip.sim.scenario.play import play
from p2psip.sim.scenario.scenario_terms import Happening, Scenario
from p2psip.sim.sites.making import identity_of

ON_THE_RING = ("p1", "p0", "p2", "p3")
"""A, B, C and D of that page."""


def seeds_in_that_order() -> Iterator[int]:
    """Those that chance has put where the peers of the page are."""
    for seed in range(1, 100):
        order = sorted(ON_THE_RING, key=lambda name: identity_of(seed, name).node_id)
        first = order.index(ON_THE_RING[0])
        if (*order[first:], *order[:first]) == ON_THE_RING:
            yield seed


@pytest.mark.parametrize("apart_s", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("what", ["crash", "power"])
def test_the_ring_is_sound_at_every_step(what: Literal["crash", "power"], apart_s: float) -> None:
    a, b, c, d = ((name,) for name in ON_THE_RING)
    scenario = Scenario(
        peers=3,
        users=3,
        seconds=5.0 + 5.0 * apart_s,
        happens=(
            Happening(what=what, who=b, at_s=5.0, for_s=apart_s),
            Happening(what="join", who=d, at_s=5.0 + 2.0 * apart_s),
            Happening(what=what, who=c, at_s=5.0 + 3.0 * apart_s, for_s=apart_s),
            Happening(what=what, who=a, at_s=5.0 + 5.0 * apart_s),
        ),
    )
    seeds = list(seeds_in_that_order())[:3]
    assert len(seeds) == 3
    for seed in seeds:
        outcome = play(scenario, seed)
        assert outcome.failure is None, outcome.transcript()
        assert [words for _, words in outcome.log][-1].startswith("p1: ")
        assert outcome.peers == 3
        assert outcome.checks > 0
