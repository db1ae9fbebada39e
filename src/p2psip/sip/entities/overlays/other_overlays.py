"""In which overlays a site is beside this one, and who is asked for what (docs/decisions/several-overlays.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from p2psip.sip.entities.numbers.dial_plan import Rule
from p2psip.sip.transports.hops import BoundHop, LocalHop

ASKS, ASKED, RINGS, RUNG = "asks", "asked by", "rings at", "rung by"
"""The ways between two overlays of a site, by what they are for (crossing.py)."""


def agent_name(way: str, overlay: str) -> str:
    """What the agent is called by which something crosses to or from another overlay."""
    return f"{way} {overlay}"


def overlay_that_rings(hop: BoundHop) -> str | None:
    """Where something comes from that another overlay of the site has for a user's phones here; None if it does not."""
    return _behind(hop, RUNG)


def overlay_that_asks(hop: BoundHop) -> str | None:
    """The same of what a phone at the site's peer in another overlay has for anybody in this one."""
    return _behind(hop, ASKED)


def _behind(hop: BoundHop, way: str) -> str | None:
    beginning = agent_name(way, "")
    if not isinstance(hop, LocalHop) or not hop.name.startswith(beginning):
        return None
    return hop.name.removeprefix(beginning)


def _nowhere(user: str) -> bool:
    return False


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class OverlayRule:
    """Which overlays are asked for what is dialled so, in this order."""

    rule: Rule
    overlays: tuple[str, ...]


@dataclass(frozen=True)
class OtherOverlays:
    """The further overlays of a site, as the SIP server of its peer in one of them has them; by default there are none.

    `own` is the overlay of this server. By `domains` a domain of another one leads to the name of that overlay.
    `rules`, of which the first that matches counts, and else `order` say who is asked for a name that has no domain.
    With `phones_at` the phones of the site are at its peer in that overlay; "" where they are at this one.
    """

    own: str = ""
    domains: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[OverlayRule, ...] = ()
    order: tuple[str, ...] = ()
    phones_at: str = ""
    has_line: Callable[[str], bool] = _nowhere
    """True for a user who has a line at this peer."""
    is_connected: Callable[[], bool] = _always
    """True while this peer is in its overlay."""

    @property
    def others(self) -> tuple[str, ...]:
        """The names of the others."""
        return tuple(dict.fromkeys(self.domains.values()))

    def asked_for(self, name: str) -> tuple[str, ...]:
        """Who is asked for what has no domain, one after the other."""
        found = (each.overlays for each in self.rules if each.rule.matches(name.lower()))
        return next(found, self.order) or (self.own,)
