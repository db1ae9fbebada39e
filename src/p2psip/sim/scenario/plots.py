"""Pictures of runs, as SVG: each reading beside what theory says of it.

Matplotlib is loaded with this module: `pip install p2psip[sim]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from p2psip.sim.scenario.run_outcome import SPREADS, RunOutcome

WIDTH_IN, HEIGHT_IN = 6.4, 3.6
CURVE_POINTS = 200
COPIES = 3

Theory = Callable[[Axes, Sequence[float], int], None]
"""Draws what theory says beside these readings, of so many peers."""


def hops_of_theory(peers: int) -> float:
    """Stoica and others, "Chord", SIGCOMM 2001, section 6.3: half the logarithm of the number of peers, in the mean."""
    return 0.5 * math.log2(peers) if peers > 1 else 0.0


def part_of_theory(records: float, mean: float) -> float:
    """What part of the peers keeps at most so many records: each is kept by three in a row, and the ways between peers
    by chance are as the clicks of a counter, so that what one keeps is the sum of three of those ways (Erlang).
    """
    clicks = COPIES * records / mean
    return 1.0 - math.exp(-clicks) * sum(clicks**number / math.factorial(number) for number in range(COPIES))


def draw_all(outcome: RunOutcome, directory: Path) -> list[Path]:
    """A picture of each kind of reading that the run has, as what part of the readings is how much at the most.
    Raises OSError.
    """
    # The same run is the same file, byte by byte.
    matplotlib.rcParams["svg.hashsalt"] = "p2psip"
    drawn = []
    for name, words in SPREADS.items():
        readings = sorted(getattr(outcome, name))
        if readings:
            path = directory / f"{name}.svg"
            _draw(path, readings, words, THEORY.get(name), outcome.peers)
            drawn.append(path)
    return drawn


def _draw(path: Path, readings: Sequence[float], words: str, theory: Theory | None, peers: int) -> None:
    figure, axes = pyplot.subplots(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    parts = [(number + 1) / len(readings) for number in range(len(readings))]
    axes.step(readings, parts, where="post", label=f"{len(readings)} readings")
    mean = sum(readings) / len(readings)
    axes.axvline(mean, linestyle=":", color="tab:blue", label=f"mean {mean:.3g}")
    if theory is not None:
        theory(axes, readings, peers)
    axes.set(xlabel=words, ylabel="part of the readings", ylim=(0, 1.02), xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _mean_of_hops(axes: Axes, _: Sequence[float], peers: int) -> None:
    mean = hops_of_theory(peers)
    axes.axvline(mean, linestyle="--", color="tab:orange", label=f"theory: the mean {mean:.3g}")


def _spread_of_records(axes: Axes, readings: Sequence[float], _: int) -> None:
    mean = sum(readings) / len(readings)
    if mean > 0:
        at = [readings[-1] * number / CURVE_POINTS for number in range(CURVE_POINTS + 1)]
        axes.plot(at, [part_of_theory(records, mean) for records in at], "--", color="tab:orange", label="theory")


THEORY: dict[str, Theory] = {"hops": _mean_of_hops, "records": _spread_of_records}
