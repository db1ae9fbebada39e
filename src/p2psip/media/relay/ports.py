"""The ports of a relay: pairs of an even one for RTP and the odd one after it for RTCP (RFC 3550 section 11).

Theory of operation. Some pairs are open beforehand, so that an SDP can name one at once and never in vain. The numbers
are drawn, so that nobody knows where a call will be, and after a call they are closed: what still comes for it comes to
nobody. A pair is of one IP version, and no two pairs have the same number.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.media.relay.limits import RelayLimits

VERSIONS = (4, 6)


@dataclass(frozen=True, slots=True)
class OpenPorts(Effect):
    """Open `port` and the one after it, at every address of this IP version; say whether that went."""

    version: int
    port: int


@dataclass(frozen=True, slots=True)
class ClosePorts(Effect):
    """Close both."""

    port: int


class Ports:
    """Which there are, and which are wanted."""

    def __init__(self, limits: RelayLimits, rng: random.Random) -> None:
        self._limits = limits
        self._rng = rng
        self._spare: dict[int, deque[int]] = {version: deque() for version in VERSIONS}
        self._asked: dict[int, int] = {}
        """The version of each pair that is being opened."""
        self._used: set[int] = set()
        self._failures = dict.fromkeys(VERSIONS, 0)
        self._effects: list[Effect] = []

    def __contains__(self, port: int) -> bool:
        """True for one of ours, RTP or RTCP."""
        even = port & ~1
        return even in self._used or even in self._asked or any(even in spare for spare in self._spare.values())

    def fill(self) -> None:
        """Have as many open beforehand as there shall be."""
        for version in VERSIONS:
            self._fill(version)

    def take(self, version: int) -> int | None:
        """A pair's RTP port, for one side of a stream; None if there is none to be had."""
        self._failures[version] = 0
        spare = self._spare[version]
        port = spare.popleft() if spare else None
        if port is not None:
            self._used.add(port)
        self._fill(version)
        return port

    def give_back(self, port: int) -> None:
        """The stream is over."""
        self._used.discard(port)
        self._effects.append(ClosePorts(port))
        self.fill()

    def opened(self, port: int, is_open: bool) -> None:
        """What became of `OpenPorts`; one that somebody else has is no matter, if not all are."""
        version = self._asked.pop(port)
        if is_open:
            self._failures[version] = 0
            self._spare[version].append(port)
        else:
            self._failures[version] += 1
            self._fill(version)

    def drain(self) -> list[Effect]:
        """What is to be opened and closed, in order."""
        effects, self._effects = self._effects, []
        return effects

    def _fill(self, version: int) -> None:
        asked = sum(each == version for each in self._asked.values())
        while (
            len(self._spare[version]) + asked < self._limits.spare_pairs
            and self._failures[version] < self._limits.port_tries
        ):
            port = self._draw()
            if port is None:
                return
            asked += 1
            self._asked[port] = version
            self._effects.append(OpenPorts(version, port))

    def _draw(self) -> int | None:
        """A pair that is not ours yet; None where a good many draws are all of them ours."""
        first, last = (self._limits.first_port + 1) // 2, (self._limits.last_port - 1) // 2
        for _ in range(self._limits.port_tries):
            port = 2 * self._rng.randint(first, last)
            if port not in self:
                return port
        return None
