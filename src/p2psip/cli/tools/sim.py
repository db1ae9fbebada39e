"""`p2psip sim`: an overlay in virtual time, what happens to it, and whether it gets over that."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.tables import aligned
from p2psip.cli.tools.seed_results import Figures, SeedResults
from p2psip.daemon.state.settings_file import make, read_values
from p2psip.net.disk.files import write_file
from p2psip.sim.clock import VirtualClock
from p2psip.sim.scenario.play import play
from p2psip.sim.scenario.run_outcome import SPREADS, RunOutcome, as_scenario, spread
from p2psip.sim.scenario.scenario_terms import Scenario
from p2psip.sim.scenario.shrink import shrink
from p2psip.sim.scenario.unanswered import by_kind

HELP = """Play a scenario in virtual time: peers with their phones, and what happens to them.

Peers join, crash, lose their power, leave, are cut off; users call, move, give up their lines. At the end all that
has broken is whole again, and then everybody who is there must be found and called. A seed plays the same run on
every machine. A run that fails is made as short as can be, told in words, and written to a file that plays it again.
docs/simulator.md has the words of a scenario. Exit status 1 if a run failed.

Examples:

\b
    p2psip sim village.toml
    p2psip sim village.toml --seed 7 --json --plots village
    p2psip sim village.toml --seeds 1-100000 --results village.jsonl --jobs 2
"""

SHRINK_RUNS = 200
SAY_EVERY_S = 1.0

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=HELP)
def sim(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="What is there, and what happens.")],
    seed: Annotated[int | None, typer.Option(help="Of all that chance decides, if not the scenario's.")] = None,
    seeds: Annotated[str, typer.Option(metavar="FIRST-LAST", help="Play it with each of these seeds.")] = "",
    results: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --seeds: a line of JSON for each; those that it has are not played."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="With --seeds: so many at once.")] = 1,
    keep: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where a run that failed is written; else beside the scenario.")
    ] = None,
    shrink_runs: Annotated[int, typer.Option(min=0, help="So many runs at the most to make it shorter.")] = SHRINK_RUNS,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw what the run was like there, as SVG (needs p2psip[sim]).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run.")] = False,
) -> int:
    """Play it."""
    read = _read(scenario)
    if seeds:
        for name, is_given in (("--seed", seed is not None), ("--plots", plots), ("--keep", keep)):
            if is_given:
                raise LocalMisuse(f"{name} is for one run, and --seeds for many: leave one of the two out")
        return _many(read, scenario, _range(seeds), SeedResults(results, read), jobs, as_json=as_json)
    if results is not None:
        raise LocalMisuse("--results is of many runs: write --seeds 1-300 as well")
    chosen = read.seed if seed is None else seed
    draw = None if plots is None else _pictures(plots)
    progress = _Progress()
    outcome = play(read, chosen, told=progress.told)
    progress.end()
    print(json.dumps(_plain(outcome)) if as_json else "\n".join(_described(outcome)))
    if draw is not None:
        draw(outcome)
    if outcome.failure is None:
        return 0
    shorter, shortest = shrink(read, outcome, runs_max=shrink_runs, told=progress.shrinking)
    progress.end()
    path = keep or scenario.with_name(f"{scenario.stem}-{chosen}.toml")
    write_file(path, as_scenario(shorter, shortest).encode())
    print(f"\nThe shortest run that fails so, with {shorter.peers} peers and {shorter.users} users:", file=sys.stderr)
    print(shortest.transcript(), file=sys.stderr)
    print(f"It is in {path}: p2psip sim {path}", file=sys.stderr)
    return 1


def _pictures(directory: Path) -> Callable[[RunOutcome], None]:
    """What draws there. That it cannot is said before a run that may take an hour, and not after it."""
    try:
        from p2psip.sim.scenario.plots import draw_all
    except ImportError as error:
        raise LocalMisuse(
            f"--plots: there is no {error.name} here: install it with pip install 'p2psip[sim]'"
        ) from None

    def draw(outcome: RunOutcome) -> None:
        try:
            drawn = draw_all(outcome, directory)
        except OSError as error:
            raise LocalMisuse(f"cannot write {error.filename or directory}: {error.strerror}") from None
        for path in drawn:
            print(path, file=sys.stderr)

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalMisuse(f"--plots {directory}: {error.strerror}: take a directory that can be written") from None
    return draw


def _read(path: Path) -> Scenario:
    values, text = read_values(path, Scenario)
    scenario = make(values, Scenario, str(path), text)
    try:
        scenario.check()
    except LocalMisuse as error:
        raise LocalMisuse(f"{path}: {error}") from None
    return scenario


def _range(seeds: str) -> range:
    first, _, last = seeds.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise LocalMisuse(f"--seeds {seeds}: write the first and the last, as --seeds 1-300")
    return range(int(first), int(last) + 1)


def _many(scenario: Scenario, path: Path, seeds: range, results: SeedResults, jobs: int, *, as_json: bool) -> int:
    """Each seed by itself; what has been played before counts as it was."""
    left = [seed for seed in seeds if seed not in results.known]
    began_s = time.monotonic()
    with ProcessPoolExecutor(jobs, initializer=_leave_interrupts_to_others) as pool:
        for done, figures in enumerate(pool.map(_figures, ((scenario, seed) for seed in left)), 1):
            line = results.add(figures)
            if as_json:
                print(line, flush=True)
            if figures["failure"]:
                print(f"seed {figures['seed']} failed: {figures['failure']['why']}", file=sys.stderr, flush=True)
            if sys.stderr.isatty():
                left_s = (time.monotonic() - began_s) / done * (len(left) - done)
                said = f"{done} of {len(left)} seeds, {len(results.failed)} failed, {left_s:.0f} s left"
                print(f"\r{said} ", end="", file=sys.stderr)
    if sys.stderr.isatty() and left:
        print(file=sys.stderr)
    failed = [seed for seed in seeds if seed in results.failed]
    if not as_json:
        print(f"{len(seeds)} seeds, {len(failed)} failed")
        for seed in failed:
            print(f"  p2psip sim {path} --seed {seed}: {results.failed[seed]}")
    return 1 if failed else 0


def _leave_interrupts_to_others() -> None:
    """Ctrl-C is for who has started them: it ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _figures(played: tuple[Scenario, int]) -> Figures:
    return _plain(play(*played))


def _plain(outcome: RunOutcome) -> Figures:
    plain: Figures = msgspec.to_builtins(outcome.figures())
    return plain


def _described(outcome: RunOutcome) -> Iterator[str]:
    """For people."""
    yield f"seed {outcome.seed}: {outcome.peers} peers at the end, {outcome.virtual_s:.0f} s of virtual time"
    if outcome.failure is not None:
        yield f"  failed {outcome.failure}"
    if outcome.healed_s is not None:
        yield f"  whole again {outcome.healed_s:.0f} s after the last fault"
    yield f"  {outcome.lookups_found} of {outcome.lookups} lookups found who was there, while things happened"
    yield f"  {outcome.calls_answered} of {outcome.calls} calls were answered"
    for kind in by_kind(outcome.unanswered):
        yield f"  {kind.count} were not: {kind.status or 'no response'}, {kind.why}"
        for call in kind.first:
            yield f"    at {call.at_s:.1f} s {call.caller} called {call.callee}: {call.why}"
    if outcome.retries:
        yield f"  {outcome.retries} lookups and calls succeeded only when tried again at the end"
    rows = [("", "median", "95 %", "most")]
    for name, words in SPREADS.items():
        if (of := spread(getattr(outcome, name))) is not None:
            rows.append((words, f"{of.median:g}", f"{of.p95:g}", f"{of.most:g}"))
    yield from (f"  {row}" for row in aligned(rows))


class _Progress:
    """A line that changes, for who sits at a terminal: virtual time, events a second, what remains."""

    def __init__(self) -> None:
        self._is_seen = sys.stderr.isatty()
        self._began_s = self._said_s = time.monotonic()
        self._events = 0
        self._what = ""

    def told(self, what: str, done: float, of: float, clock: VirtualClock) -> None:
        """How far a run is."""
        now_s = time.monotonic()
        if what != self._what:
            self._what, self._began_s = what, now_s
        if not self._is_seen or now_s - self._said_s < SAY_EVERY_S:
            return
        rate = (clock.events - self._events) / (now_s - self._said_s)
        left = f", {(now_s - self._began_s) / done * (of - done):.0f} s left" if done else ""
        self._say(
            f"{what}: {done:.0f} of {of:.0f}, {clock.now:.0f} s of virtual time, {rate:.0f} events a second{left}"
        )
        self._said_s, self._events = now_s, clock.events

    def shrinking(self, runs: int, happenings: int) -> None:
        """How far a failure is made shorter."""
        if self._is_seen:
            self._say(f"made shorter: {runs} runs, {happenings} happenings left")

    def end(self) -> None:
        """The next line is another's."""
        if self._is_seen:
            self._say("")

    def _say(self, line: str) -> None:
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
