"""Several messages that arrive in one read, as they do on a busy machine, mean what they mean one by one."""

from __future__ import annotations

from typing import Any

import pytest

from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import World

GATHERED_S = 0.05


class GatheringWorld(World):
    """What a link carries within a twentieth of a second arrives in one read."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._gathered: dict[int, list[bytes]] = {}

    def _arrive(self, end: Any, data: bytes) -> None:
        if id(end) not in self._gathered:
            self._gathered[id(end)] = []
            self.clock.at(self.now + GATHERED_S, lambda: self._read(end))
        self._gathered[id(end)].append(data)

    def _read(self, end: Any) -> None:
        super()._arrive(end, b"".join(self._gathered.pop(id(end))))


@pytest.mark.parametrize("seed", range(5))
def test_peers_that_join_together_are_let_in(seed: int) -> None:
    """The JoinAns, and the Update behind it that makes the joining node a member, come in one read."""
    overlay = SimulatedOverlay(seed)
    overlay.world = GatheringWorld(seed)
    for number in range(5):
        overlay.add_peer(number)
        overlay.world.run_for(0.2)
    assert overlay.world.run_for(20, stop=overlay.is_ring)
