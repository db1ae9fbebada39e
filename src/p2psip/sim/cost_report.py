"""What a run in virtual time has cost this machine."""

from __future__ import annotations

import gc
import resource
import time
from dataclasses import dataclass

from p2psip.sim.clock import VirtualClock


@dataclass(frozen=True)
class Report:
    """From when a `Meter` was made until it was read."""

    peers: int
    virtual_s: float
    processor_s: float
    events: int
    memory_kb: float

    @property
    def events_per_s(self) -> float:
        """In a second of the processor."""
        return self.events / self.processor_s

    @property
    def kb_per_peer(self) -> float:
        """Of memory."""
        return self.memory_kb / self.peers

    def __str__(self) -> str:
        return (
            f"{self.peers} peers for {self.virtual_s:.0f} s in {self.processor_s:.1f} s of processor: "
            f"{self.events} events, {self.events_per_s:.0f} a second, {self.kb_per_peer:.0f} kB a peer"
        )


class Meter:
    """Made before a world is, so that what the world takes is what has been added since."""

    def __init__(self) -> None:
        self._began_s = time.process_time()
        self._empty_kb = _resident_kb()

    def read(self, clock: VirtualClock, peers: int) -> Report:
        """What it has cost until now."""
        processor_s = time.process_time() - self._began_s
        gc.collect()
        return Report(peers, clock.now, processor_s, clock.events, _resident_kb() - self._empty_kb)


def _resident_kb() -> float:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1024
