"""How a run ended, and what it was like: figures for machines, and a transcript for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from p2psip.sim.clock import VirtualClock
from p2psip.sim.scenario.scenario_terms import Happening, Scenario
from p2psip.sim.scenario.unanswered import UnansweredCall, by_kind

Told: TypeAlias = Callable[[str, float, float, VirtualClock], None]
"""Who wants to know how far it is: what goes on, how much of it is done, of how much."""


@dataclass(frozen=True)
class RunFailure:
    """What was wrong; failures of one `kind` are the same failure, for who makes a run shorter."""

    kind: str
    at_s: float
    """After the overlay had come about."""
    why: str

    def __str__(self) -> str:
        return f"after {self.at_s:.1f} s: {self.why} ({self.kind})"


class Spread(msgspec.Struct, frozen=True):
    """Of many readings."""

    count: int
    mean: float
    median: float
    p95: float
    p99: float
    most: float


@dataclass
class RunOutcome:
    """Of one run."""

    seed: int
    script: tuple[Happening, ...]
    failure: RunFailure | None = None
    log: list[tuple[float, str]] = field(default_factory=list)
    """What has happened, and when."""
    healed_s: float | None = None
    """How long after the last fault all were one overlay."""
    retries: int = 0
    """How many lookups and calls were tried again at the end before they succeeded."""
    checks: int = 0
    """How often a successor list was another, the ring was looked at, and it had to be sound."""
    peers: int = 0
    """Those that ran at the end."""
    virtual_s: float = 0.0
    events: int = 0
    lookups: int = 0
    lookups_found: int = 0
    """Of users who were there, before the end came."""
    calls: int = 0
    calls_answered: int = 0
    unanswered: list[UnansweredCall] = field(default_factory=list)
    """The other ones of `calls`."""
    hops: list[int] = field(default_factory=list)
    lookup_ms: list[float] = field(default_factory=list)
    setup_ms: list[float] = field(default_factory=list)
    bytes_per_s: list[float] = field(default_factory=list)
    """That each peer sent, while things happened."""
    records: list[int] = field(default_factory=list)
    """That each peer keeps at the end."""

    def transcript(self) -> str:
        """For people: what happened, and what was wrong."""
        lines = [f"{at_s:9.1f} s  {what}" for at_s, what in self.log]
        end = f"It failed {self.failure}." if self.failure is not None else "All was well in the end."
        return "\n".join([*lines, end])

    def figures(self) -> dict[str, object]:
        """For machines."""
        return {
            "seed": self.seed,
            "failure": None if self.failure is None else self.failure.__dict__,
            "healed_s": self.healed_s,
            "retries": self.retries,
            "checks": self.checks,
            "peers": self.peers,
            "virtual_s": round(self.virtual_s, 3),
            "events": self.events,
            "lookups": self.lookups,
            "lookups_found": self.lookups_found,
            "calls": self.calls,
            "calls_answered": self.calls_answered,
            "unanswered": by_kind(self.unanswered),
            **{name: spread(getattr(self, name)) for name in SPREADS},
        }


SPREADS = {
    "hops": "hops of a lookup",
    "lookup_ms": "milliseconds of a lookup",
    "setup_ms": "milliseconds until a call was answered",
    "bytes_per_s": "bytes that a peer sent in a second",
    "records": "records that a peer keeps",
}
"""Of what there are many readings in a run, and what it is called."""


def spread(readings: Sequence[float]) -> Spread | None:
    """None of none."""
    if not readings:
        return None
    ordered = sorted(readings)

    def at(part: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 3)

    mean = round(sum(ordered) / len(ordered), 3)
    return Spread(len(ordered), mean, at(0.5), at(0.95), at(0.99), round(ordered[-1], 3))


def as_scenario(scenario: Scenario, outcome: RunOutcome) -> str:
    """The scenario of just this run, in TOML: it happens again as it happened, whatever the seed draws."""
    fixed = msgspec.structs.replace(scenario, seed=outcome.seed, happens=outcome.script, is_swarm=False)
    lines = [f"{name} = {_toml(value)}" for name, value in _set(fixed) if name != "happens"]
    for happening in fixed.happens:
        lines += ["", "[[happens]]", *(f"{name} = {_toml(value)}" for name, value in _set(happening))]
    return "\n".join(lines) + "\n"


def _set(struct: msgspec.Struct) -> list[tuple[str, object]]:
    return list(msgspec.to_builtins(struct).items())


def _toml(value: object) -> str:
    """Numbers, texts, truths and lists of them are written in TOML as in JSON."""
    return msgspec.json.encode(value).decode()
