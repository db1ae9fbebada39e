"""Parts of an overlay that grow together, in virtual time: how long after there is a path, over many seeds.

In the environment MERGE_PEERS is a list with commas of how many peers there are in all, MERGE_SEEDS how many overlays
of each, MERGE_APART_S how long their parts were apart. Of small ones two parts, of which chance says how large they
are; of fifty or more two halves, and three thirds as well. `late` are those of a hundred that took over 30 s.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence

from bench.results import Result, result
from p2psip.sim.registrations import grow, wait_until, wait_whole
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import CASES, Case, is_whole
from p2psip.sim.world import Host

SPLIT_MAX_S = 120.0
HEAL_MAX_S = 600.0
STEP_S = 0.5
MANY = 50
BOUND_S = 30.0


def measure() -> Iterator[Result]:
    """All topologies, each with so many peers."""
    seeds = int(os.environ.get("MERGE_SEEDS", "20"))
    apart_s = float(os.environ.get("MERGE_APART_S", "60"))
    for case in CASES.values():
        for peers in map(int, os.environ.get("MERGE_PEERS", "5,14").split(",")):
            for parts in (2, 3) if peers >= MANY else (2,):
                taken = [_heal_s(case, seed, peers, parts, apart_s) for seed in range(seeds)]
                name = f"merge.{case.name}.{peers}.{parts}"
                yield result(name, "s", taken)
                yield result(f"{name}.most", "s", [max(taken)])
                yield result(f"{name}.late", "%", [100 * sum(each > BOUND_S for each in taken) / len(taken)])


def _heal_s(case: Case, seed: int, peers: int, parts: int, apart_s: float) -> float:
    overlay = grow(f"merge {seed}", peers, is_direct=True, **case.settings)
    rng = random.Random(f"islands {seed}")
    islands = _islands(overlay.alive(), parts, rng)
    for island, members in enumerate(islands):
        for host in members:
            host.island = island
    wait_until(overlay, SPLIT_MAX_S, lambda: all(is_whole(overlay, members) for members in islands), STEP_S)
    overlay.world.run_for(apart_s * rng.uniform(0.9, 1.1))
    return _joined_s(overlay)


def _islands(hosts: Sequence[Host], parts: int, rng: random.Random) -> list[list[Host]]:
    shuffled = rng.sample(hosts, len(hosts))
    if len(hosts) < MANY:
        cut = rng.randint(1, len(hosts) - 1)
        return [shuffled[:cut], shuffled[cut:]]
    return [shuffled[number::parts] for number in range(parts)]


def _joined_s(overlay: SimulatedOverlay) -> float:
    for host in overlay.alive():
        host.island = 0
    return wait_whole(overlay, HEAL_MAX_S, STEP_S)
