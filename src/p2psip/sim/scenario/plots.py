"""Pictures of runs, as SVG: each reading beside what theory says of it.

Matplotlib is loaded with this module: `pip install p2psip[sim]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot

from p2psip.sim.scenario.run_outcome import SPREADS, RunOutcome

WIDTH_IN, HEIGHT_IN = 6.4, 3.6


def hops_of_theory(peers: int) -> float:
    """Stoica and others, "Chord", SIGCOMM 2001, section 6.3: half the logarithm of the number of peers, in the mean."""
    return 0.5 * math.log2(peers) if peers > 1 else 0.0


def records_of_theory(records: Sequence[int]) -> float:
    """Were all peers responsible for as much, each would keep the mean."""
    return sum(records) / len(records)


def draw_all(outcome: RunOutcome, directory: Path) -> list[Path]:
    """A picture of each kind of reading that the run has, as what part of the readings is how much at the most."""
    directory.mkdir(parents=True, exist_ok=True)
    # The same run is the same file, byte by byte.
    matplotlib.rcParams["svg.hashsalt"] = "p2psip"
    theory = {
        "hops": ("theory: the mean", hops_of_theory(outcome.peers)),
        "records": ("were all alike", records_of_theory(outcome.records) if outcome.records else 0.0),
    }
    drawn = []
    for name, words in SPREADS.items():
        readings = sorted(getattr(outcome, name))
        if readings:
            path = directory / f"{name}.svg"
            _draw(path, readings, words, theory.get(name))
            drawn.append(path)
    return drawn


def _draw(path: Path, readings: Sequence[float], words: str, theory: tuple[str, float] | None) -> None:
    figure, axes = pyplot.subplots(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    parts = [(number + 1) / len(readings) for number in range(len(readings))]
    axes.step(readings, parts, where="post", label=f"{len(readings)} readings")
    mean = sum(readings) / len(readings)
    axes.axvline(mean, linestyle=":", color="tab:blue", label=f"mean {mean:.3g}")
    if theory is not None:
        axes.axvline(theory[1], linestyle="--", color="tab:orange", label=f"{theory[0]} {theory[1]:.3g}")
    axes.set(xlabel=words, ylabel="part of the readings", ylim=(0, 1.02), xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)
