"""A Chord and the time: what its node tells it, and what it wants, by hand."""

from __future__ import annotations

import random
from typing import TypeVar

from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue
from p2psip.reload.link.link import LinkLost
from p2psip.reload.topology.actions import (
    Action,
)
from p2psip.reload.topology.chord.messages import NeighborView
from p2psip.reload.topology.chord.ring import RING_SIZE
from p2psip.reload.topology.chord.settings import ChordSettings
from p2psip.reload.topology.chord.topology import ChordTopology
from p2psip.reload.topology.joining import JoinState

A = TypeVar("A", bound=Action)

SCALE = RING_SIZE // 256

ME = 100


def nid(place: int) -> NodeId:
    """A Node-ID at one of 256 places around the ring."""
    return NodeId((place % 256 * SCALE).to_bytes(16, "big"))


def view(predecessors: tuple[int, ...] = (), successors: tuple[int, ...] = ()) -> NeighborView:
    """What an Update says."""
    return NeighborView(tuple(map(nid, predecessors)), tuple(map(nid, successors)))


class Bench:
    """A Chord and the time."""

    def __init__(self, *, is_reactive: bool = True, neighbors: int = 3) -> None:
        settings = ChordSettings(is_reactive=is_reactive, neighbors=neighbors)
        self.queue = TimerQueue()
        self.chord = ChordTopology(nid(ME), settings, random.Random(1), 0.0, self.queue)
        self.now = 0.0

    def actions(self) -> list[Action]:
        """What is to be done since the last look, before it is put into messages."""
        return self.chord.take_actions()

    def of(self, kind: type[A]) -> list[A]:
        """The same, of one kind."""
        return [action for action in self.actions() if isinstance(action, kind)]

    def run_for(self, seconds: float) -> list[tuple[float, Action]]:
        """Let time go on; what is asked for when."""
        end, done = self.now + seconds, [(self.now, action) for action in self.actions()]
        while (deadline := self.queue.next_deadline()) is not None and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            self.chord.handle_timeout(self.now)
            done += [(self.now, action) for action in self.actions()]
        self.now = end
        return done

    def link(self, place: int, **how: bool) -> None:
        """A link is up."""
        self.chord.handle_linked(nid(place), self.now, **how)

    def hear(self, place: int, says: NeighborView | None = None) -> None:
        """A linked node sends an Update."""
        self.chord.handle_update(nid(place), says or NeighborView(), self.now)

    def lose(self, place: int) -> None:
        """A link is down."""
        self.chord.handle_link_lost(LinkLost(nid(place), "reset"), self.now)

    @property
    def state(self) -> JoinState:
        """Where in the join it stands."""
        return self.chord.joining.state


def alone() -> Bench:
    """The first peer of an overlay."""
    bench = Bench()
    bench.chord.start_alone(0.0)
    bench.actions()
    return bench


def member(*others: int, neighbors: int = 3, is_reactive: bool = True) -> Bench:
    """A member of a ring whose other members it knows."""
    bench = Bench(neighbors=neighbors, is_reactive=is_reactive)
    bench.chord.start_alone(0.0)
    first = others[0]
    bench.link(first)
    bench.chord.handle_join(nid(first), 0.0)
    bench.chord.handle_handed_over(nid(first), 0.0)
    for other in others[1:]:
        bench.link(other)
        bench.hear(other)
    bench.run_for(1.0)
    assert bench.chord.joining.is_member
    return bench
