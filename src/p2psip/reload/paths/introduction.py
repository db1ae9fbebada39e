"""To which of the peers that it knows a bootstrap server leads who asks (RFC 7890 section 4, "Bootstrap Server")."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from p2psip.base.address import Address, source_key

CONNECTIONS_MAX: Final = 256
CONNECTIONS_PER_SOURCE_MAX: Final = 16
"""Of one IPv4 address, or one /64 of IPv6."""

TRIES: Final = 3
"""To so many peers one is led, one after the other, before it is sent away."""

FAILED_S: Final = 30.0
"""How long a peer that has not answered comes last."""


class Introductions:
    """Whom to lead to whom, and how many at once. Its length is how many there are now."""

    def __init__(self, peers: Sequence[Address], rng: random.Random) -> None:
        self._peers = tuple(dict.fromkeys(peers))
        self._rng = rng
        self._failed_at: dict[Address, float] = {}
        self._sources: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._sources.total()

    def accept(self, source: Address, now: float) -> list[Address]:
        """Somebody has connected: the peers to try, the best first, and `over` follows; none if there are too many."""
        key = source_key(source.host)
        if len(self) >= CONNECTIONS_MAX or self._sources[key] >= CONNECTIONS_PER_SOURCE_MAX:
            return []
        self._sources[key] += 1
        # All alike, so that the load is shared; who did not answer lately comes last, and not never.
        order = self._rng.sample(self._peers, len(self._peers))
        order.sort(key=lambda peer: peer in self._failed_at and now < self._failed_at[peer] + FAILED_S)
        return order[:TRIES]

    def over(self, source: Address) -> None:
        """The connection of one that was accepted has ended."""
        key = source_key(source.host)
        self._sources[key] -= 1
        if not self._sources[key]:
            del self._sources[key]

    def answered(self, peer: Address) -> None:
        """A peer is there, and is led to."""
        self._failed_at.pop(peer, None)

    def failed(self, peer: Address, now: float) -> None:
        """A peer is not there."""
        self._failed_at[peer] = now
