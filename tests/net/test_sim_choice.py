"""What a choice among the providers of a service is worth (concepts draft section 6.1): 200 peers, against chance."""

from __future__ import annotations

import random

import pytest
from choice_bench import ChoiceWorld, Outcome
from effort import times

PEERS, PROVIDERS = 200, 20
RUN_S = 900.0


def outcomes(seed: int, capacities: list[int]) -> tuple[Outcome, Outcome]:
    """Of providers that are chosen, and of those that chance chooses."""
    chosen = ChoiceWorld(seed, PEERS, capacities, at_random=False).run(RUN_S)
    return chosen, ChoiceWorld(seed, PEERS, capacities, at_random=True).run(RUN_S)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(times(1)))
def test_who_chooses_waits_at_most_half_as_long_and_nobody_has_more_than_half_as_much_to_do(seed: int) -> None:
    """Small computers beside large ones, as there are."""
    rng = random.Random(seed)
    chosen, by_chance = outcomes(seed, [rng.choice((2, 4, 8, 16, 32)) for _ in range(PROVIDERS)])
    assert chosen.p99_wait_s <= by_chance.p99_wait_s / 2, (chosen, by_chance)
    assert chosen.worst_load <= by_chance.worst_load / 2, (chosen, by_chance)
