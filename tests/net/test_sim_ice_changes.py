"""Two agents and what is around them, in which anything changes at any time: what remains is what can be punched."""

from __future__ import annotations

import random

import pytest
from effort import EFFORT
from ice_oracle import can_be_punched
from ice_world import IceWorld, Scene

from p2psip.sim.ip.boxes import Dependence, Hairpin, Nat, NatBehaviour
from p2psip.sim.ip.network import Way

SEEDS = 40 if EFFORT == 1 else 100 * EFFORT
CHUNK = 20
STEP_S = 0.25


def scene_of(rng: random.Random) -> Scene:
    """Anything that two hosts may be behind, over any way that loses little."""

    def boxes(most: int) -> tuple[NatBehaviour, ...]:
        return tuple(
            NatBehaviour(
                rng.choice(list(Dependence)),
                rng.choice(list(Dependence)),
                rng.choice((Hairpin.NO, Hairpin.EXTERNAL)),
                preserves_port=rng.random() < 0.3,
            )
            for _ in range(rng.randint(0, most))
        )

    shared = boxes(1) if rng.random() < 0.2 else ()
    way = Way(delay_s=rng.uniform(0.005, 0.1), jitter_s=rng.uniform(0, 0.03), loss=rng.choice((0.0, 0.0, 0.03)))
    return Scene((*boxes(2), *shared), (*boxes(2), *shared), len(shared), way=way)


class Changing:
    """A world, what may happen to it, and nodes that attach again when their agents ask for it."""

    def __init__(self, seed: int, scene: Scene) -> None:
        self.rng = random.Random(f"changes {seed}")
        self.world = IceWorld(seed, scene, uses_relay=False)
        self.story: list[str] = []
        self._next_place = 120
        self._attached_at = 0.0
        self.world.connect()
        for host in self.world.hosts:
            host.talk()

    def run(self, seconds: float) -> None:
        """Let time go on; who has no path, or doubts it, attaches again by another way."""
        end = self.world.internet.now + seconds
        while self.world.internet.now < end:
            self.world.internet.run_for(STEP_S)
            self._attach_again()

    def _attach_again(self) -> None:
        hosts, now = self.world.hosts, self.world.internet.now
        is_wanted = any(host.path is None or self._is_told(host.doubted) for host in hosts)
        if not is_wanted or now < self._attached_at + 4.0:
            return
        for host in hosts:
            host.reflexive.clear()
            host.gather()
        if not self.world.internet.run_for(2.0, stop=lambda: all(host.is_ready for host in hosts)):
            return
        self.story.append(f"{now:.1f} attach")
        self._attached_at = self.world.internet.now
        first, second = hosts
        offer, answer = first.open(is_controlling=True), second.open(is_controlling=False)
        second.begin(offer)
        first.machine.at(first.machine.now + 0.1, lambda: first.begin(answer))

    def _is_told(self, doubted: list[float]) -> bool:
        return bool(doubted) and doubted[-1] > self._attached_at

    def change(self) -> None:
        """Something happens."""
        boxes = list(dict.fromkeys(nat for nats in self.world.nats for nat in nats))
        what = self.rng.choice(["move", "reboot", "reboot", "renumber"] if boxes else ["move"])
        self._next_place += 1
        if what == "move":
            host = self.rng.choice(self.world.hosts)
            (old,) = host.machine.hosts
            host.move(f"{old.rpartition('.')[0]}.{self._next_place}")
        else:
            nat: Nat = self.rng.choice(boxes)
            (old,) = nat.outside.hosts
            fresh = (f"{old.rpartition('.')[0]}.{self._next_place}",) if what == "renumber" else ()
            nat.reboot(*fresh, off_s=self.rng.choice((0.0, 0.5, 3.0)))
        self.story.append(f"{self.world.internet.now:.1f} {what}")

    def has_path(self) -> bool:
        """True if both have one, and data passes."""
        return self.world.is_connected and self.world.data_passes()


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_in_the_end_there_is_a_path_exactly_when_there_can_be_one(first: int) -> None:
    """Boxes reboot and are renumbered, hosts move, also while a path is sought; then all is quiet for a while."""
    for seed in range(first, first + CHUNK):
        rng = random.Random(f"changing {seed}")
        scene = scene_of(rng)
        changing = Changing(seed, scene)
        for _ in range(rng.randint(1, 5)):
            changing.run(rng.choice((0.5, 2.0, 8.0, 20.0)))
            changing.change()
        expected = can_be_punched(scene)
        for _ in range(6 if expected else 2):
            changing.run(10.0)
            if changing.has_path() is expected:
                break
        assert changing.has_path() is expected, (seed, scene, changing.story)
