"""Lookups in rings that are too large to be simulated peer by peer: Node-IDs, links and routes as arrays.

A model of CHORD-RELOAD at rest, as `p2psip.reload.topology.chord` links and routes: successors and predecessors, a
finger in each range that has somebody (RFC 6940 section 10.7.4.2), and every link is used from both its ends. Nobody
dies, no message is lost. Beside the real code at sizes where both can be had: docs/measurements.md.

NumPy is loaded with this module: `pip install p2psip[sim]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FINGERS = 16
NEIGHBORS = 5
BITS = 64
"""Of a Node-ID, the first: that two of a million have the same is not to be expected."""

Ids = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ModelRing:
    """Peers in ring order, and of each the peers it is linked with, the nearest clockwise first."""

    ids: Ids
    begins: Indices
    """Where the links of each peer begin in `links`; one more at the end."""
    links: Indices
    away: Ids
    """How far clockwise each of them is from that peer."""

    def hops(self, begin: Indices, targets: Ids) -> Indices:
        """Over how many links requests go, from these peers to who is responsible for these Resource-IDs."""
        home = _first_at_or_beyond(self.ids, targets)
        at, hops = begin.copy(), np.zeros(len(begin), np.int64)
        while (under_way := np.flatnonzero(at != home)).size:
            at[under_way] = self._next(at[under_way], targets[under_way])
            hops[under_way] += 1
        return hops

    def _next(self, at: Indices, targets: Ids) -> Indices:
        """10.3: "the largest Node-ID that is in the interval between the peer and k", else the smallest beyond k."""
        distance = targets - self.ids[at]
        low, last = self.begins[at], self.begins[at + 1]
        # The first link at or beyond the target, by halving all at once.
        first = low
        while (open_ := first < last).any():
            middle = (first + last) // 2
            is_before = open_ & (self.away[np.minimum(middle, len(self.away) - 1)] < distance)
            first = np.where(is_before, middle + 1, first)
            last = np.where(open_ & ~is_before, middle, last)
        chosen: Indices = self.links[np.where(first > low, first - 1, first)]
        return chosen


def model_ring(peers: int, seed: int) -> ModelRing:
    """A ring of so many, with what fingers chance gives them."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.integers(0, 2**BITS, peers, np.uint64))
    here = np.arange(peers)
    froms, tos = [], []
    for step in range(1, min(NEIGHBORS, peers - 1) + 1):
        froms.append(here)
        tos.append((here + step) % peers)
    for index in range(1, FINGERS + 1):
        width = np.uint64(2 ** (BITS - index))
        place = rng.integers(0, 2 ** (BITS - index), peers, np.uint64)
        found = _first_at_or_beyond(ids, ids + width + place)
        # Who was found lies in the range, or else there is mostly nobody in it.
        is_valid = (ids[found] - ids >= width) & (ids[found] - ids - width < width)
        froms.append(here[is_valid])
        tos.append(found[is_valid])
    return _linked(ids, np.concatenate(froms), np.concatenate(tos))


def _linked(ids: Ids, froms: Indices, tos: Indices) -> ModelRing:
    """Every link from both its ends, once, in the order of what each peer sees."""
    both = np.unique(np.concatenate((froms * len(ids) + tos, tos * len(ids) + froms)))
    froms, tos = both // len(ids), both % len(ids)
    away = ids[tos] - ids[froms]
    order = np.lexsort((away, froms))
    begins = np.searchsorted(froms[order], np.arange(len(ids) + 1))
    return ModelRing(ids, begins, tos[order], away[order])


def _first_at_or_beyond(ids: Ids, targets: Ids) -> Indices:
    found: Indices = np.searchsorted(ids, targets) % len(ids)
    return found


def lookup_hops(peers: int, lookups: int, seed: int) -> Indices:
    """The hops of lookups by chance, of one ring by chance."""
    rng = np.random.default_rng(seed + 1)
    ring = model_ring(peers, seed)
    return ring.hops(rng.integers(0, peers, lookups), rng.integers(0, 2**BITS, lookups, np.uint64))
