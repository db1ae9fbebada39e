"""What a peer tells its driver, beside what its parts do."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.effects import Effect


@dataclass(frozen=True, slots=True)
class BindingsToKeep(Effect):
    """The registrations of phones changed: what the driver should remember for the next start."""

    user: str


@dataclass(frozen=True, slots=True)
class Stopped(Effect):
    """What `stop` began is done."""
