"""Time goes on while machines of a virtual world sleep."""

from __future__ import annotations

import heapq
import random

from p2psip.sim.clock import VirtualClock

HOUR_S = 3600.0


def jump(clock: VirtualClock, seconds: float, rng: random.Random) -> None:
    """Time goes on without anybody; what was to happen meanwhile happens now, in this order or another."""
    clock.now += seconds
    overdue = sorted(entry for entry in clock._heap if entry[0] <= clock.now)
    others = [entry for entry in clock._heap if entry[0] > clock.now]
    if rng.random() < 0.5:
        rng.shuffle(overdue)
    clock._heap = [(clock.now, number - len(overdue), *run) for number, (_, _, *run) in enumerate(overdue)] + others
    heapq.heapify(clock._heap)
