"""Two agents of ICE and nothing between them: what one sends the other has 20 ms later."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.reload.paths.ice.agents import Agents
from p2psip.reload.paths.ice.candidate_addresses import CandidateAddress, encoded, gathered
from p2psip.reload.paths.values import Parameters, SendStun

DELAY_S = 0.02
FIRST, SECOND = 0, 1

Sent = tuple[float, Address, Address, bytes]


class IcePair:
    """Agents of two nodes; the first one's asks for the connection."""

    def __init__(
        self,
        first: Sequence[CandidateAddress] | None = None,
        second: Sequence[CandidateAddress] | None = None,
        *,
        are_both_controlling: bool = False,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.sent: list[Sent] = []
        """(when, from, to, what), of both."""
        self.said: tuple[list[Effect], list[Effect]] = ([], [])
        """What else each has said."""
        self.passes: Callable[[Sent], bool] = lambda _: True
        self.candidates = (
            gathered([Address("192.0.2.1", 5000)]) if first is None else first,
            gathered([Address("192.0.2.2", 5000)]) if second is None else second,
        )
        self.agents = tuple(Agents(random.Random(f"{seed}/{side}")) for side in (FIRST, SECOND))
        self.words: list[Parameters] = []
        for agents, candidates in zip(self.agents, self.candidates, strict=True):
            is_controlling = are_both_controlling or not self.words
            own = agents.open(candidates, is_controlling=is_controlling)
            self.words.append(Parameters(own.ufrag, own.password, b"", encoded(candidates)))
        self._serial = itertools.count()
        self._flying: list[tuple[float, int, Sent]] = []

    def begin(self, side: int) -> None:
        """One has the other's words."""
        self.agents[side].begin(self.words[side].ufrag, self.words[1 - side], self.now)
        self._settle()

    def begin_both(self) -> None:
        """Both have."""
        self.begin(SECOND)
        self.begin(FIRST)
        self.run(0.0)

    def arrive(self, side: int, local: Address, remote: Address, data: bytes) -> None:
        """Something comes to one, from wherever."""
        self.agents[side].handle_datagram(local, remote, data, self.now)
        self._settle()

    def run(self, seconds: float) -> None:
        """Let time go on."""
        end = self.now + seconds
        while True:
            deadlines = [deadline.at for agents in self.agents if (deadline := agents.next_deadline()) is not None]
            when = min([*deadlines, *(each[0] for each in self._flying[:1])], default=math.inf)
            if when > end:
                break
            self.now = max(self.now, when)
            if self._flying and self._flying[0][0] <= self.now:
                _, _, (_, local, remote, data) = heapq.heappop(self._flying)
                for agents, candidates in zip(self.agents, self.candidates, strict=True):
                    if any(each.base == remote for each in candidates):
                        agents.handle_datagram(remote, local, data, self.now)
            else:
                for agents in self.agents:
                    agents.handle_timeout(self.now)
            self._settle()
        self.now = end

    def ends(self, side: int) -> list[str]:
        """What one has said of its path, as names."""
        return [type(effect).__name__ for effect in self.said[side]]

    def _settle(self) -> None:
        for side, agents in enumerate(self.agents):
            for effect in agents.drain():
                if not isinstance(effect, SendStun):
                    self.said[side].append(effect)
                    continue
                sent = (self.now, effect.local, effect.remote, effect.data)
                self.sent.append(sent)
                if self.passes(sent):
                    heapq.heappush(self._flying, (self.now + DELAY_S, next(self._serial), sent))
