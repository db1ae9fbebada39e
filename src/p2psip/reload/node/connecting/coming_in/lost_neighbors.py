"""Neighbours that did not say that they leave: where to look for them, and when (RFC 6940 section 10.7.4.4).

"Future specifications may describe alternative mechanisms for determining when to repeat the discovery process": who
cannot be reached now may live on in another part of the overlay, and is the way into it when there is a path again.

Whatever took a short time is over soon, whatever took long will take longer: pauses grow with the time since the last
loss, up to a limit, and looking never ends. Each look is for one of them, in turn, whoever was lost last first; so what
it costs does not grow with their number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from p2psip.base.address import Address
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.node.limits import CONTACTS_KEPT
from p2psip.reload.paths.dialling import DIAL_MAX_S

LOOK_FIRST_S = 3.0
"""How long after a loss the first look is, on average. A peer that was started again comes back by itself before."""

LOOK_SHARE = 0.25
"""Of the time since the last loss, how long a pause is."""

LOOK_MAX_S = 20.0
"""How long pauses grow: of two parts with two peers or more each, somebody looks within half a minute."""

LOOK_LATER_S = 60.0
"""How long they are when the last loss was long ago."""

LOST_LONG_S = 24 * 3600.0
"""How long that is: who has an address after that is somebody else, as likely."""


class LostNeighbors:
    """Where up to ten neighbours could be dialled, those that were lost last; and when to dial the next of them."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self._rng = rng
        self._looked_at: dict[Address, float] = {}
        """When each was looked for last; the one lost last comes last."""
        self._lost_at = 0.0
        self._timers: Timers[None] = Timers(queue)

    @property
    def addresses(self) -> Sequence[Address]:
        """All of them."""
        return tuple(self._looked_at)

    def lost(self, address: Address, now: float) -> None:
        """A neighbour that could be dialled there is lost: it is the next to be looked for, and that soon."""
        self._looked_at.pop(address, None)
        self._looked_at[address] = float("-inf")
        while len(self._looked_at) > CONTACTS_KEPT:
            del self._looked_at[next(iter(self._looked_at))]
        self._lost_at = now
        self._look_later(now)

    def found(self, address: Address) -> None:
        """It is there, in our part of the overlay."""
        self._looked_at.pop(address, None)

    def next_deadline(self) -> Deadline | None:
        """When it is time to `take_due`."""
        return self._timers.next_deadline()

    def take_due(self, now: float) -> bool:
        """True, once each time, if somebody is to be looked for now."""
        is_due = bool(list(self._timers.pop_due(now))) and bool(self._looked_at)
        if is_due:
            self._look_later(now)
        return is_due

    def next_of(self, choose: Callable[[Sequence[Address]], Sequence[Address]], now: float) -> Address | None:
        """Whose turn it is, of those that `choose` leaves and that are not being dialled; None without one."""
        ready = [each for each, looked_at in reversed(self._looked_at.items()) if now >= looked_at + DIAL_MAX_S]
        left = choose(ready)
        if not left:
            return None
        address = min(left, key=self._looked_at.__getitem__)
        self._looked_at[address] = now
        return address

    def _look_later(self, now: float) -> None:
        since_s = now - self._lost_at
        longest_s = LOOK_MAX_S if since_s < LOST_LONG_S else LOOK_LATER_S
        pause_s = min(longest_s, max(LOOK_FIRST_S, LOOK_SHARE * since_s))
        self._timers.set(None, now + pause_s * self._rng.uniform(0.5, 1.5), "look for lost neighbours")
