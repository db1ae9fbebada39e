"""A run that fails is made as short as can be: what a person can read, and a test can keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from p2psip.sim.scenario.play import play
from p2psip.sim.scenario.run_outcome import RunOutcome
from p2psip.sim.scenario.scenario_terms import Happening, Scenario


def shrink(
    scenario: Scenario, failed: RunOutcome, *, runs_max: int, told: Callable[[int, int], None] | None = None
) -> tuple[Scenario, RunOutcome]:
    """The shortest run that still fails in the same way, and its scenario; after `runs_max` runs the best so far.
    `told` hears how many runs there were, and how many happenings are left.

    Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", TSE 2002: leave out halves, then
    quarters, and so on. Then as many users and peers as can be.
    """
    assert failed.failure is not None, "a run that failed"
    shrinking = _Shrinking(scenario, failed, runs_max, told)
    shrinking.fewer_happenings()
    shrinking.fewer("users", 0)
    shrinking.fewer("peers", 1)
    shrinking.fewer_happenings()
    return shrinking.scenario, shrinking.best


class _Shrinking:
    def __init__(
        self, scenario: Scenario, failed: RunOutcome, runs_max: int, told: Callable[[int, int], None] | None
    ) -> None:
        assert failed.failure is not None, "a run that failed"
        self.scenario = scenario
        self.best = failed
        self._kind = failed.failure.kind
        self._left = runs_max
        self._runs = 0
        self._told = told

    def fewer_happenings(self) -> None:
        """Leave out as much of the script as can be."""
        parts = 2
        while len(self.best.script) >= 1 and self._left > 0:
            script = self.best.script
            size = max(1, -(-len(script) // parts))
            cuts = range(0, len(script), size)
            if any(self._fails(self.scenario, script[:begin] + script[begin + size :]) for begin in cuts):
                parts = max(2, parts - 1)
            elif size == 1:
                return
            else:
                parts = min(len(script), 2 * parts)

    def fewer(self, name: str, least: int) -> None:
        """Halve a number of the scenario, then take one away, as long as it fails."""
        while (number := getattr(self.scenario, name)) > least and self._left > 0:
            if not any(
                self._fails(replace(self.scenario, **{name: smaller}), self.best.script)
                for smaller in sorted({max(least, number // 2), number - 1})
            ):
                return

    def _fails(self, scenario: Scenario, script: Sequence[Happening]) -> bool:
        """In the same way: then this is the best so far."""
        if self._left <= 0:
            return False
        self._left -= 1
        self._runs += 1
        outcome = play(scenario, self.best.seed, script=script)
        if self._told is not None:
            self._told(self._runs, len(self.best.script))
        if outcome.failure is None or outcome.failure.kind != self._kind:
            return False
        self.scenario, self.best = scenario, outcome
        return True
