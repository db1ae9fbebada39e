"""A line: the account of a phone at a peer. Its record in the overlay is elsewhere, so that who only reads the files of
lines, as commands do, loads no node.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2psip.reload.security.roles import Identity
from p2psip.sip.message.digest import Logins


@dataclass(frozen=True, slots=True)
class Line:
    """One user at this peer: the key and certificate for `user@overlay`, and what is kept of the phone password."""

    identity: Identity
    logins: Logins = field(repr=False)

    @property
    def aor(self) -> str:
        """`user@overlay`."""
        return self.identity.user

    @property
    def name(self) -> str:
        """The user part, by which the phone registers."""
        return self.aor.rpartition("@")[0]

    def is_as(self, other: Line) -> bool:
        """True if the other has the same certificates and passwords."""
        return self.logins == other.logins and self.identity.certificates == other.identity.certificates
