"""What is known of who sends a request that came from another peer."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.sip.entities.callers.passport import Party
from p2psip.sip.message.headers import NameAddr

_NOT_ASKED = "the request names no user of the overlay"


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of the overlay that a request is of, as far as another peer has proved it.

    `user` is "" where nothing is proved, and then `why` says why; `status` is what RFC 8224 section 6.2.2 has for that,
    0 where nothing was claimed. `parties` are whom the call is for, as the caller and those who forwarded it say.
    """

    user: str = ""
    why: str = _NOT_ASKED
    status: int = 0
    parties: frozenset[Party] = frozenset()
    forwarders: tuple[str, ...] = ()
    """The users who have proved to have forwarded it to whom it has come for, the latest first, whoever calls."""
    known_as: NameAddr | None = None
    """Within a call: as whom this end of it is known. Another name is the sender's if it is that of `user` (RFC 4916).
    """

    @property
    def words(self) -> str:
        """For the log."""
        return f"{self.user}, proved by certificate" if self.user else f"not proved: {self.why}"


UNKNOWN = Caller()
