"""A line: the account of a phone at a peer. Its record in the overlay is elsewhere, so that who only reads the files of
lines, as commands do, loads no node.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2psip.base.user_keys import key_of
from p2psip.directory.listing import NO_CARD, Card
from p2psip.reload.security.roles import Identity
from p2psip.sip.message.digest import Logins


@dataclass(frozen=True, slots=True)
class Line:
    """One user at this peer: the key and certificate for `user@overlay`, and what is kept of the phone password."""

    identity: Identity
    overlay: str
    logins: Logins = field(repr=False)
    card: Card = NO_CARD
    """What the directory says of it."""

    @property
    def aor(self) -> str:
        """`user@overlay`."""
        return self.identity.user

    @property
    def name(self) -> str:
        """By what it is known at its peer (`user_keys`): the user part, with which the phone registers; of a user of
        another domain than the overlay's own all of the AoR.
        """
        return key_of(self.aor, self.overlay)

    def is_as(self, other: Line) -> bool:
        """True if the other has the same certificates, passwords and card."""
        is_same = self.card == other.card and self.logins == other.logins
        return is_same and self.identity.certificates == other.identity.certificates
