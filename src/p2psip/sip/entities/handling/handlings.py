"""What the lines of this peer want of their calls, and the time of day that it may depend on."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.handling.call_handling import CallHandling

_DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class HandlingChanged(Effect):
    """The owner of a line has changed it by dialling: keep it, and have the line's record say so."""

    user: str
    handling: CallHandling


class Handlings:
    """By line. Only lines of this peer are in it, also those that want nothing in particular."""

    def __init__(self) -> None:
        self._by_user: dict[str, CallHandling] = {}
        self._wall: WallClock | None = None
        self._ahead_s = 0

    def of(self, user: str) -> CallHandling | None:
        """The line's; None if it is no line of this peer."""
        return self._by_user.get(user)

    @property
    def lines(self) -> list[str]:
        """The lines of this peer."""
        return sorted(self._by_user)

    def set(self, user: str, handling: CallHandling) -> None:
        """A line of this peer wants this from now on."""
        self._by_user[user] = handling

    def remove(self, user: str) -> None:
        """It is no line of this peer any more."""
        self._by_user.pop(user, None)

    def use_date(self, wall: WallClock) -> None:
        """The date has jumped, or is trusted now."""
        self._wall = wall

    def use_local_time(self, ahead_s: int) -> None:
        """So many seconds the clocks on the walls are ahead of UTC now."""
        self._ahead_s = ahead_s

    def minute(self, now: float) -> float | None:
        """Of the day, by the clocks on the walls; None if the date is not to be trusted."""
        if self._wall is None or not self._wall.is_trusted:
            return None
        return (self._wall.date(now) + self._ahead_s) % _DAY_S / 60
