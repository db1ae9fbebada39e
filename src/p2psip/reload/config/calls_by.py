"""By whom a call goes to a user's phones: the ways of draft-ietf-p2psip-concepts-01 section 5.2."""

from __future__ import annotations

from enum import Enum


class CallsBy(Enum):
    """What the configuration of an overlay says of it; docs/ways-of-calls.md has what each costs."""

    CALLER = "caller"
    """The first option: the caller's peer fetches the record and sends to the peers that it names."""
    RESPONSIBLE = "responsible"
    """The second: it sends to the peer that is responsible for the record, which sends on."""
    REDIRECT = "redirect"
    """That peer answers where the user is, and sends nothing on (302)."""
    HOME = "home"
    """The third: it fetches the record and sends to the home peer that this names, which sends on."""
    BOTH = "both"
    """The fourth: it sends to the responsible peer, that to the home peer, and that on."""
    DIRECT_THEN_HOME = "direct-then-home"
    """The first, and the third for whom that does not reach."""

    @property
    def asks_responsible(self) -> bool:
        """True if requests go to the responsible peer."""
        return self in (CallsBy.RESPONSIBLE, CallsBy.REDIRECT, CallsBy.BOTH)

    @property
    def has_homes(self) -> bool:
        """True if lines register with home peers."""
        return self in (CallsBy.HOME, CallsBy.BOTH, CallsBy.DIRECT_THEN_HOME)
