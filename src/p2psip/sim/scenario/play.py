"""One run of a scenario: the overlay comes about, things happen, they are over, and all must be well again."""

from __future__ import annotations

import heapq
import itertools
import random
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from p2psip.sim.scenario.deeds import Deeds
from p2psip.sim.scenario.direct_stage import DirectStage
from p2psip.sim.scenario.internet_stage import InternetStage
from p2psip.sim.scenario.ring_watch import RingWatch
from p2psip.sim.scenario.run_outcome import RunFailure, RunOutcome, Told
from p2psip.sim.scenario.scenario_terms import Happening, Scenario
from p2psip.sim.scenario.script import draw
from p2psip.sim.scenario.stage import DialledCall, Lookup, Stage
from p2psip.sim.scenario.tolls import Tolls
from p2psip.sim.topologies import CASES, are_whole

STEP_S = 1.0
"""What peers have told is taken in, and those who watch are told, so often."""

BEGIN_MAX_S = 120.0
"""An overlay in which nothing happens is whole by then, after its last peer has started."""

LOOKUP_MAX_S = 60.0
CALL_MAX_S = 60.0
TRIES = 3
"""So often somebody is looked up or called at the end, before it counts as a failure."""

CALLED_AT_END = 10

PRECISE_UP_TO = 500
"""With more peers the ring is looked at only once a step, else after every event."""


def play(
    scenario: Scenario, seed: int, *, script: Sequence[Happening] | None = None, told: Told | None = None
) -> RunOutcome:
    """Play a scenario that has been checked; `script` is what happens, if it is not to be drawn. What a core does wrong
    is an outcome as well.
    """
    run = Run(scenario, seed, draw(scenario, seed) if script is None else script, told)
    try:
        run.begin()
        run.happen()
        run.heal()
        run.judge()
    except _Failed as failed:
        run.outcome.failure = failed.failure
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the run was for; nothing goes on after it
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
        run.outcome.failure = RunFailure("error", run.stage.now, f"{type(error).__name__} in {place}: {error}")
    run.end()
    return run.outcome


class _Failed(Exception):
    def __init__(self, failure: RunFailure) -> None:
        super().__init__(failure)
        self.failure = failure


@dataclass(order=True)
class _Due:
    at_s: float
    order: int
    do: Callable[[], str | None] = field(compare=False)


class Run:
    """What is under way."""

    def __init__(self, scenario: Scenario, seed: int, script: Sequence[Happening], told: Told | None) -> None:
        self.scenario = scenario
        self.stage: Stage = (DirectStage if scenario.world == "direct" else InternetStage)(scenario, seed)
        self.outcome = RunOutcome(seed, tuple(script))
        self._told = told
        self._case = CASES[scenario.topology]
        self._watch = (
            RingWatch(self.stage.are_linked, {self.stage.node_id(0)}) if scenario.topology == "CHORD-RELOAD" else None
        )
        self._is_precise = scenario.peers <= PRECISE_UP_TO
        self._deeds = Deeds(self.stage)
        self._rng = random.Random(f"{seed}/judge")
        self._order = itertools.count()
        self._due: list[_Due] = []
        self._began_s = 0.0
        self._tolls = Tolls(self.stage)
        self._wrong: list[str] = []

    def begin(self) -> None:
        """Peers start, a few at a time; when all are members and are one overlay, the users come."""
        scenario, stage = self.scenario, self.stage
        for number in range(scenario.peers):
            stage.add(number)
            self._ring_changed()
            if number % scenario.at_once == scenario.at_once - 1:
                self._run(1.0)
                self._say("peers start", number + 1, scenario.peers)
        self._wait(BEGIN_MAX_S, self.is_whole, "not whole", "the overlay has not come about", "they join")
        for number in range(scenario.users):
            stage.add_user(f"u{number}", number % scenario.peers)
        self._wait(BEGIN_MAX_S, self._are_placed, "not placed", "not all users have their records", "users come")
        self._began_s = stage.now
        self._tolls.begin()

    def happen(self) -> None:
        """All of the script, and what undoes it if that is before the end."""
        for happening in self.outcome.script:
            assert happening.at_s is not None, "drawn"
            self._at(happening.at_s, partial(self._deeds.do, happening, self._later))
        self._until(self.scenario.seconds)

    def heal(self) -> None:
        """What was to end is ended, all reach each other, and those who are left become one overlay."""
        undone = self._due
        self._due = []
        for due in sorted(undone):
            self._do(due)
        self.stage.heal()
        self._ring_changed()
        self.outcome.healed_s = self._wait(
            self.scenario.heal_s, self.is_whole, "not whole", "the overlay is in parts", "they heal"
        )
        self._tolls.end()

    def judge(self) -> None:
        """Who is there is found, by anybody, and can be called; who is not is not."""
        stage = self.stage
        here = sorted(stage.up)
        users = [user for user in stage.users.values() if stage.is_there(user)]
        gone = [user for user in stage.users.values() if user.phone is None]
        for user in users:
            self._insist(partial(self._looked_up, user.name, here), "not found", f"{user.name} is not found")
        for user in gone:
            lookup = self._looked_up(user.name, here)
            if lookup.is_found:
                self._fail("came back", f"{user.name} gave up the line, and is found")
        callers = [user for user in users if user.phone is not None and user.phone.is_registered]
        for user in self._rng.sample(callers, min(CALLED_AT_END, len(callers))) if len(callers) > 1 else ():
            other = self._rng.choice([each for each in callers if each is not user])
            called = partial(self._called, user.name, other.name)
            self._insist(called, "no call", f"{user.name} cannot call {other.name}")

    def end(self) -> None:
        """What it was like."""
        self.stage.collect()
        self._tolls.read(self.outcome)
        if self._watch is not None:
            self.outcome.checks = self._watch.checks

    def is_whole(self) -> bool:
        """True if all who run are one overlay."""
        nodes = [self.stage.node(number) for number in sorted(self.stage.up)]
        return not nodes or are_whole(self._case, nodes)

    # Time

    def _at(self, at_s: float, do: Callable[[], str | None]) -> None:
        heapq.heappush(self._due, _Due(at_s, next(self._order), do))

    def _later(self, seconds: float, do: Callable[[], str | None]) -> None:
        self._at(self.stage.now - self._began_s + seconds, do)

    def _until(self, end_s: float) -> None:
        while self._due and self._due[0].at_s <= end_s:
            due = heapq.heappop(self._due)
            self._run_to(due.at_s)
            self._do(due)
        self._run_to(end_s)

    def _do(self, due: _Due) -> None:
        done = due.do()
        if done is not None:
            self.outcome.log.append((self.stage.now - self._began_s, done))
        if self._deeds.moves:
            self._ring_changed(self._deeds.shaken)
            self._deeds.moves, self._deeds.shaken = False, []

    def _run_to(self, at_s: float) -> None:
        while (left_s := self._began_s + at_s - self.stage.now) > 0:
            self._run(min(STEP_S, left_s))
            self._say("it happens", self.stage.now - self._began_s, self.scenario.seconds)

    def _run(self, seconds: float) -> None:
        here = len(self.stage.up)
        if self._watch is None or not self._is_precise:
            self.stage.run(seconds)
            self._look()
        else:
            self.stage.run(seconds, stop=self._look)
        self.stage.collect()
        if len(self.stage.up) != here:
            # Who was leaving has left.
            self._ring_changed()
        if self._wrong:
            self._fail("invariant", self._wrong[0])

    def _wait(self, limit_s: float, condition: Callable[[], bool], kind: str, else_said: str, until: str) -> float:
        began_s = self.stage.now
        while not condition():
            if self.stage.now - began_s >= limit_s:
                self._fail(kind, f"{else_said}, after {limit_s:g} s")
            self._run(STEP_S)
            self._say(until, self.stage.now - began_s, limit_s)
        return self.stage.now - began_s

    # What must be so

    def _look(self) -> bool:
        if self._watch is not None:
            for number in self.stage.woken():
                if number in self.stage.up:
                    self._wrong += self._watch.look(
                        self.stage.island_of(number), self.stage.node(number), self.stage.now
                    )
        return bool(self._wrong)

    def _ring_changed(self, shaken: Iterable[int] = ()) -> None:
        if self._watch is not None:
            islands = self.stage.islands().items()
            self._watch.begin_anew(
                {at: [self.stage.node(number) for number in numbers] for at, numbers in islands},
                self.stage.now,
                shaken={self.stage.node_id(number) for number in shaken},
            )

    def _are_placed(self) -> bool:
        users = [user for user in self.stage.users.values() if self.stage.is_there(user)]
        return all(
            user.phone is not None
            and user.phone.is_registered
            and self.stage.peer(user.home).publisher.placed(user.name) is not None
            for user in users
        )

    def _looked_up(self, name: str, here: Sequence[int]) -> Lookup:
        lookup = self.stage.look_up(name, self._rng.choice(here))
        assert lookup is not None, "at a peer that runs"
        self._wait_for(LOOKUP_MAX_S, lambda: lookup.result is not None)
        return lookup

    def _called(self, name: str, to: str) -> DialledCall:
        call = self.stage.call(name, to)
        assert call is not None, "who is registered calls"
        self._wait_for(CALL_MAX_S, lambda: call.setup_s is not None or call.ending is not None)
        if call.setup_s is not None:
            call.phone.hang_up(call.number)
            self._run(STEP_S)
        return call

    def _wait_for(self, limit_s: float, condition: Callable[[], bool]) -> None:
        ends_s = self.stage.now + limit_s
        while not condition() and self.stage.now < ends_s:
            self._run(STEP_S / 4)

    def _insist(self, attempt: Callable[[], Lookup | DialledCall], kind: str, else_said: str) -> None:
        """What does not succeed at once may be tried again, as people do; how often it was is told."""
        for number in range(TRIES):
            tried = attempt()
            if tried.is_found if isinstance(tried, Lookup) else tried.setup_s is not None:
                self.outcome.retries += number
                return
            why = "" if isinstance(tried, Lookup) else f": {tried.ending or 'it rings'}"
            self._run(self.scenario.heal_s / TRIES)
        self._fail(kind, f"{else_said}{why}")

    def _fail(self, kind: str, why: str) -> None:
        raise _Failed(RunFailure(kind, self.stage.now - self._began_s, why))

    def _say(self, what: str, done: float, of: float) -> None:
        if self._told is not None:
            self._told(what, done, of, self.stage.clock)
