"""What one peer is told of the others with which it is one site, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from p2psip.sip.entities.overlays.crossing import Crossed
from p2psip.sip.entities.overlays.other_overlays import OtherOverlays


def _nowhere(crossed: Crossed) -> None:
    raise AssertionError("there is no other overlay")


@dataclass(frozen=True, slots=True)
class Beside:
    """By default there are no others.

    `records` are the files of records of all of them; `label` is the overlay, where there are several. What is for
    another one is given to `cross`; `report` tells of the others for `p2psip status`.
    """

    records: tuple[Path, ...]
    label: str = ""
    overlays: OtherOverlays = field(default_factory=OtherOverlays)
    told_to_stop: asyncio.Event = field(default_factory=asyncio.Event)
    cross: Callable[[Crossed], None] = _nowhere
    report: Callable[[], list[dict[str, object]]] = list
