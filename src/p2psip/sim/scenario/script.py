"""What happens in one run, moment by moment: drawn from a scenario and a seed before anything happens.

So that a run which fails can be made shorter: what is left of a script is what it was, at its own time and to the same
peers, whatever is left out of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from p2psip.sim.scenario.scenario_terms import OF_USERS, Happening, Scenario

SWARM_SPREAD = 2.0
"""In a swarm something is as much as two to this power more or less often than the scenario says."""


def draw(scenario: Scenario, seed: int) -> tuple[Happening, ...]:
    """All that happens, each at its time, in order. Raises nothing: the scenario has been checked."""
    cast = _Cast(scenario)
    drawn = [
        (at_s, number, happening)
        for number, happening in enumerate(_mixed(scenario, seed))
        for at_s in _times(happening, scenario.seconds, random.Random(f"{seed}/{number}/times"))
    ]
    drawn.sort(key=lambda each: each[:2])
    rng = random.Random(f"{seed}/who")
    return tuple(cast.given(happening, at_s, rng) for at_s, _, happening in drawn)


def _mixed(scenario: Scenario, seed: int) -> Iterable[Happening]:
    """What happens in this run: in a swarm some of it not at all, some oftener, some more rarely.

    Groce and others, "Swarm testing", ISSTA 2012: what is left out of a mix finds what the whole mix hides.
    """
    if not scenario.is_swarm:
        return scenario.happens
    rng = random.Random(f"{seed}/swarm")
    return [
        happening if happening.every_s is None else replace(happening, every_s=happening.every_s * _factor(rng))
        for happening in scenario.happens
        if happening.every_s is None or rng.random() < 0.5
    ]


def _factor(rng: random.Random) -> float:
    factor: float = 2 ** rng.uniform(-SWARM_SPREAD, SWARM_SPREAD)
    return factor


def _times(happening: Happening, seconds: float, rng: random.Random) -> Iterator[float]:
    if happening.at_s is not None:
        yield happening.at_s
        return
    assert happening.every_s is not None, "a scenario that has been checked says when"
    at_s = rng.expovariate(1 / happening.every_s)
    while at_s < seconds:
        yield round(at_s, 3)
        at_s += rng.expovariate(1 / happening.every_s)


class _Cast:
    """Who is there to choose among, as joins go on."""

    def __init__(self, scenario: Scenario) -> None:
        self._peers = scenario.peers
        self._users = scenario.users

    def given(self, happening: Happening, at_s: float, rng: random.Random) -> Happening:
        """The same with everything that chance decides decided."""
        if happening.what == "join":
            who = happening.who or tuple(f"p{self._peers + number}" for number in range(happening.count))
            self._peers = max(self._peers, *(int(name[1:]) + 1 for name in who))
        else:
            who = happening.who or self._chosen(happening, rng)
        to = happening.to
        if happening.what in ("call", "lookup", "move") and not to:
            to = self._target(happening, who, rng)
        return replace(happening, at_s=at_s, every_s=None, who=who, to=to, count=1)

    def _chosen(self, happening: Happening, rng: random.Random) -> tuple[str, ...]:
        letter, size = ("u", self._users) if happening.what in OF_USERS else ("p", self._peers)
        # Whoever is new asks the first peer for the others: chance does not take it away for ever.
        first = 1 if happening.what in ("crash", "power", "leave") and happening.for_s is None else 0
        chosen = rng.sample(range(first, size), min(happening.count, size - first))
        return tuple(f"{letter}{number}" for number in sorted(chosen))

    def _target(self, happening: Happening, who: Sequence[str], rng: random.Random) -> str:
        """Somebody else to be called; a peer to look somebody up at, or to move to."""
        if happening.what != "call":
            return f"p{rng.randrange(self._peers)}"
        others = [number for number in range(self._users) if f"u{number}" not in who]
        return f"u{rng.choice(others)}" if others else who[0]
