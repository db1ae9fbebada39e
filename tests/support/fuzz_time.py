"""`make fuzz`: what strangers may send to the one port, for FUZZ_S seconds together, which are two minutes if not said.

The targets of STUN, TURN and the demultiplexer of tests/fuzz, one after the other, with seeds that no test has: those
of the day, or FUZZ_SEED and those after it. A slow machine tries fewer; none takes longer.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from mutations import mutant

SEEDS_A_DAY = 100_000
MUTANTS = 200
"""Of one specimen and seed."""

TARGETS = {
    "STUN: agents": ("test_ice_fuzz", "test_agents_outlive_damage_and_strangers"),
    "STUN: paths": ("test_ice_fuzz", "test_paths_outlive_damaged_attaches"),
    "TURN: server": ("test_turn_fuzz", "test_a_relay_outlives_its_clients"),
    "TURN: client": ("test_turn_fuzz", "test_a_client_outlives_its_relay"),
    "TURN: streams": ("test_turn_fuzz", "test_a_relay_outlives_streams_of_strangers_and_of_members"),
    "demultiplexer": ("test_ice_fuzz", "test_the_port_outlives_whatever_comes_to_it"),
}
PARSERS = ("STUN", "check of ICE")


def targets() -> dict[str, Callable[[int], None]]:
    """Each takes a seed, and raises if something does not hold."""
    modules = {module: _loaded(module) for module, _ in TARGETS.values()}
    found = {name: getattr(modules[module], test) for name, (module, test) in TARGETS.items()}
    parsers = [each for each in _loaded("test_sip_and_media_parsers").TARGETS if each.name in PARSERS]
    assert len(parsers) == len(PARSERS), "a parser has another name"

    def parse(seed: int) -> None:
        for target in parsers:
            specimens, rng = target.specimens(), random.Random(f"{target.name} {seed}")
            for _ in range(MUTANTS):
                target.check(mutant(specimens, rng))

    return {"STUN: parsers": parse, **found}


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "fuzz" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses look for it.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Until the time is over, or something does not hold."""
    budget_s = float(os.environ.get("FUZZ_S", "120"))
    seed = int(os.environ.get("FUZZ_SEED", "0")) or int(time.time() // 86400) * SEEDS_A_DAY
    tried: Counter[str] = Counter()
    ends_at, wanted = time.monotonic() + budget_s, targets()
    while time.monotonic() < ends_at:
        for name, target in wanted.items():
            try:
                target(seed)
            except Exception:
                print(f"fuzz: {name}: FUZZ_SEED={seed} has it again", file=sys.stderr)
                raise
            tried[name] += 1
        seed += 1
    print(f"fuzz: {budget_s:g} s, seeds up to {seed}: " + ", ".join(f"{name} {count}" for name, count in tried.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
