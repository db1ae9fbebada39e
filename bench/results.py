"""Figures: taken several times, told as median and 95th percentile."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

READINGS = 25
READING_S = 0.01
"""A reading repeats short work for at least so long, that the clock be no part of it."""


@dataclass(frozen=True, slots=True)
class Result:
    """One figure. `unit` says what of: us, ms, s, hops, MB, 1/s. 95 % of the readings are not worse than `p95`."""

    name: str
    unit: str
    median: float
    p95: float
    readings: int

    def line(self) -> str:
        """One JSON object."""
        return json.dumps(asdict(self))

    def row(self) -> str:
        """A line of the table."""
        return f"{self.name:<44}{_short(self.median):>10}{_short(self.p95):>10} {self.unit:<5}{self.readings:>6}"


HEADING = f"{'':<44}{'median':>10}{'p95':>10} {'unit':<5}{'of':>6}"


def result(name: str, unit: str, readings: Iterable[float], *, more_is_better: bool = False) -> Result:
    """Median and 95th percentile of some readings."""
    values = sorted(readings, reverse=more_is_better)
    return Result(name, unit, round(statistics.median(values), 4), round(_percentile(values, 95), 4), len(values))


def processor_us(work: Callable[[], object]) -> list[float]:
    """Microseconds of processor time that one run of `work` takes, several times."""
    runs = 1
    while (taken_s := _processor_s(work, runs)) < READING_S:
        runs = max(2 * runs, int(runs * READING_S / max(taken_s, 1e-6)))
    return [_processor_s(work, runs) / runs * 1e6 for _ in range(READINGS)]


def machine() -> dict[str, object]:
    """On what kind of machine, not on which."""
    return {
        "processors": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor_s(work: Callable[[], object], runs: int) -> float:
    began = time.process_time()
    for _ in range(runs):
        work()
    return time.process_time() - began


def _percentile(values: Sequence[float], percent: int) -> float:
    """The first value in this order behind which there are no more than the rest."""
    return values[max(0, -(-len(values) * percent // 100) - 1)]


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
