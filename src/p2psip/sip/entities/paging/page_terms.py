"""What an operator sets of pages: numbers by which one speaks to many phones at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2psip.base.address import Address

PAGES_MAX = 16
MEMBERS_MAX = 48
"""Of one page: each is a call."""

GROUPS_MAX = 4
"""Multicast addresses of one page."""

EVERYBODY = "*"
"""As a member: every line of this peer."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page: who dials its number speaks to its `members`, and to whoever listens at its `multicast` addresses.

    With no `lines` every line of this peer may.
    """

    name: str
    number: str
    members: tuple[str, ...] = ()
    multicast: tuple[Address, ...] = ()
    lines: frozenset[str] = field(default_factory=frozenset)

    def may(self, line: str) -> bool:
        """True if this line may page."""
        return not self.lines or line in self.lines
