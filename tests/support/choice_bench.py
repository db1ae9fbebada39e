"""Peers on a plane that choose among providers of a service: a world of queues, for what a choice is worth.

Of each caller the chooser is the real one; what it asks the overlay is answered from here, as late as the way is long.
A provider serves as many at once as it has places; who comes then waits in a queue. What others read of its load is as
old as it is in an overlay: told in steps and not too often (ServiceDiscovery.tell_load), read once a minute.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.reload.node.choosing.service_chooser import ProvidersKnown, ServiceChooser
from p2psip.reload.node.service_discovery import LOAD_AGAIN_S, LOAD_STEP, ServicesFound
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.redir import Provider
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import REDIR
from p2psip.reload.wire.usages.redir import ServiceOffer

SERVICE = "mixing"
NEAR_S, ACROSS_S = 0.005, 0.15
"""A round trip between neighbours, and what is added to it from one side of the plane to the other."""

SEARCH_S = 0.2


def node_of(number: int) -> NodeId:
    return NodeId(number.to_bytes(16, "big"))


def provider(number: int, capacity: int = 0, load: int = 0) -> Provider:
    """What the overlay has of one."""
    offer = ServiceOffer(capacity, load, 1 << 50, b"")
    return Provider(node_of(number), f"peer-{number}@x", (Destination.node(node_of(number)),), offer)


@dataclass
class Clock:
    """What happens next."""

    now: float = 0.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _serial: Any = field(default_factory=itertools.count)

    def after(self, seconds: float, run: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._serial), run))

    def run_until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self.now, _, run = heapq.heappop(self._events)
            run()
        self.now = end


class ChoosingPeer:
    """A peer with a real chooser; the overlay around it answers what `offered` and `rtt_s` say."""

    def __init__(
        self,
        clock: Clock,
        number: int,
        offered: Callable[[], Sequence[Provider] | None],
        rtt_s: Callable[[NodeId], float | None],
        rng: random.Random,
    ) -> None:
        """`offered` is None where a search fails, `rtt_s` where a Ping is not answered."""
        self.clock = clock
        self.searches = self.pings = 0
        self.known: list[float] = []
        self._offered = offered
        self._rtt_s = rtt_s
        self._waiting: list[Callable[[], None]] = []
        self.node = cast(
            Any,
            SimpleNamespace(
                node_id=node_of(number),
                is_connected=True,
                configuration=SimpleNamespace(kinds={REDIR: None}),
                request=self._request,
            ),
        )
        self.chooser = ServiceChooser(self.node, cast(Any, SimpleNamespace(find=self._find)), rng)

    def when_known(self, run: Callable[[], None], **how: Any) -> None:
        """Do something once the providers are known."""
        if self.chooser.seek(SERVICE, self.clock.now, **how):
            run()
        else:
            self._waiting.append(run)

    def _find(self, _name: str, _near: bytes, want: int, context: object, _now: float) -> None:
        self.searches += 1
        found = self._offered()
        error = RequestFailed("no way") if found is None else None
        effect = ServicesFound(context, tuple(found or ())[:want], error)
        self.clock.after(SEARCH_S, lambda: self._do(lambda now: self.chooser.handle_found(effect, now)))

    def _request(self, _request: object, context: Any, _now: float) -> None:
        self.pings += 1
        rtt_s = self._rtt_s(context.node)
        nobody: Any = None
        result = RequestFailed("no answer") if rtt_s is None else Answer(nobody, nobody, (), rtt_s, 1)
        late_s = 15.0 if rtt_s is None else rtt_s
        self.clock.after(late_s, lambda: self._do(lambda _: self.chooser.handle_pinged(context, result)))

    def _do(self, step: Callable[[float], None]) -> None:
        step(self.clock.now)
        for effect in self.chooser.drain():
            assert isinstance(effect, ProvidersKnown)
            self.known.append(self.clock.now)
            waiting, self._waiting = self._waiting, []
            for run in waiting:
                run()
        if (deadline := self.chooser.next_deadline()) is not None:
            self.clock.after(deadline.at - self.clock.now, self._wake)

    def _wake(self) -> None:
        deadline = self.chooser.next_deadline()
        if deadline is not None and deadline.at <= self.clock.now:
            self._do(self.chooser.handle_timeout)


@dataclass
class Server:
    """A provider."""

    number: int
    capacity: int
    served: int = 0
    queue: deque[Callable[[], None]] = field(default_factory=deque)
    worst: float = 0.0
    told: int = 0
    tell_at: float | None = None
    told_at: float = -LOAD_AGAIN_S

    @property
    def load(self) -> int:
        return min(100, 100 * (self.served + len(self.queue)) // self.capacity)


@dataclass(frozen=True)
class Outcome:
    """What it came to: seconds that 99 of 100 waited at most, and the most that one had to do, 1.0 being all it can."""

    p99_wait_s: float
    worst_load: float


class ChoiceWorld:
    """So many peers, of whom some are providers; all call now and then, and are served for two minutes on average."""

    HOLD_S = 120.0

    def __init__(
        self,
        seed: int,
        peers: int,
        capacities: Sequence[int],
        *,
        at_random: bool,
        busy: float = 0.5,
    ) -> None:
        """On average `busy` of all places are taken; `at_random` is what callers do who know nothing but names."""
        self._rng = random.Random(f"choice/{seed}")
        self._clock = Clock()
        self._at_random = at_random
        where = [(self._rng.random(), self._rng.random()) for _ in range(peers)]
        self._rtts = {
            (one, node_of(other)): NEAR_S + ACROSS_S * math.dist(where[one], where[other])
            for one in range(peers)
            for other in range(len(capacities))
        }
        self._servers = {node_of(number): Server(number, each) for number, each in enumerate(capacities)}
        self._offers = [provider(number, each) for number, each in enumerate(capacities)]
        self._peers = [
            ChoosingPeer(
                self._clock,
                number,
                lambda: tuple(self._offers),
                lambda node, number=number: self._rtts[number, node],  # type: ignore[misc]
                random.Random(f"choice/{seed}/{number}"),
            )
            for number in range(peers)
        ]
        self._per_s = busy * sum(capacities) / self.HOLD_S
        self._waits: list[float] = []

    def run(self, seconds: float) -> Outcome:
        self._clock.after(0.0, self._next_call)
        self._clock.run_until(seconds)
        waits = sorted(self._waits)
        return Outcome(waits[len(waits) * 99 // 100], max(server.worst for server in self._servers.values()))

    def _next_call(self) -> None:
        number = self._rng.randrange(len(self._peers))
        hold_s = self._rng.expovariate(1 / self.HOLD_S)
        self._peers[number].when_known(lambda: self._place(number, hold_s))
        self._clock.after(self._rng.expovariate(self._per_s), self._next_call)

    def _place(self, number: int, hold_s: float) -> None:
        chooser = self._peers[number].chooser
        nodes = list(self._servers)
        if self._at_random:
            node = self._rng.choice(nodes)
        else:
            node = chooser.order_for_one(SERVICE, nodes, self._clock.now)[0]
            chooser.placed(SERVICE, node)
        self._clock.after(
            self._rtts[number, node] / 2, lambda: self._arrive(self._servers[node], hold_s, self._rtts[number, node])
        )

    def _arrive(self, server: Server, hold_s: float, rtt_s: float) -> None:
        came_at = self._clock.now

        def serve() -> None:
            self._waits.append(rtt_s + self._clock.now - came_at)
            server.served += 1
            self._clock.after(hold_s, lambda: self._leave(server))

        if server.served < server.capacity:
            serve()
        else:
            server.queue.append(serve)
        server.worst = max(server.worst, (server.served + len(server.queue)) / server.capacity)
        self._tell(server)

    def _leave(self, server: Server) -> None:
        server.served -= 1
        if server.queue:
            server.queue.popleft()()
        self._tell(server)

    def _tell(self, server: Server) -> None:
        if abs(server.load - server.told) < LOAD_STEP and (server.load >= 100) == (server.told >= 100):
            return
        if server.tell_at is None:
            server.tell_at = max(self._clock.now, server.told_at + LOAD_AGAIN_S)
            self._clock.after(server.tell_at - self._clock.now, lambda: self._told(server))

    def _told(self, server: Server) -> None:
        server.tell_at, server.told, server.told_at = None, server.load, self._clock.now
        self._offers[server.number] = provider(server.number, server.capacity, server.load)
