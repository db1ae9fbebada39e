"""Consent to send on a path, and what keeps it open (RFC 7675; RFC 6940 section 6.5.1.10.3).

An answer of STUN is what proves that the other end wants what we send there. Who sends nothing needs no proof, and asks
just often enough that no NAT forgets the path.
"""

from __future__ import annotations

import random
from typing import Final

from p2psip.base.rto import DATAGRAM_RTO, RoundTripEstimator

CONSENT_S: Final = 30.0
"""5.1: "Consent expires after 30 seconds."."""

SENDING_S: Final = 5.0
"""5.1: "Implementations SHOULD set a default interval of 5 seconds"."""

IDLE_S: Final = 20.0
"""Shorter than what any NAT in use remembers a path for; RFC 8445 section 11 wants no less than 15 s."""


class Consent:
    """Of one path: when to ask again, whether data may be sent, and when it is over."""

    def __init__(self, rng: random.Random, now: float) -> None:
        """The check has just succeeded by which the path was chosen."""
        self._rng = rng
        self.round_trip = RoundTripEstimator(DATAGRAM_RTO)
        """What the answers say of it; for who sends on this path as well."""
        self._proven_at = self._asked_at = now
        self._unanswered_since: float | None = None
        self._has_sent = False
        self.next_at = self._after(now, IDLE_S)
        """When to `ask`, or that it is over."""

    @property
    def is_awaited(self) -> bool:
        """True if the last question has no answer yet."""
        return self._unanswered_since is not None

    def may_send(self, now: float) -> bool:
        """5.1: "if a valid STUN binding response has not been received [...] in 30 seconds, the endpoint MUST cease
        transmission".
        """
        return now <= self._proven_at + CONSENT_S

    def is_over(self, now: float) -> bool:
        """True if questions have been without an answer for so long that there will be none."""
        return self._unanswered_since is not None and now >= self._unanswered_since + CONSENT_S

    def sent(self, now: float) -> bool:
        """Data was sent, or was to be: the proof is to be fresh again. True if `next_at` may be another."""
        if self._has_sent:
            return False
        self._has_sent = True
        self.next_at = min(self.next_at, max(now, self._after(self._asked_at, SENDING_S)))
        return True

    def asked(self, now: float) -> None:
        """A question has gone out."""
        if self._unanswered_since is None:
            self._unanswered_since = now
        self._asked_at, self._has_sent = now, False
        self.next_at = min(self._after(now, SENDING_S), self._unanswered_since + CONSENT_S)

    def answered(self, asked_at: float, now: float) -> None:
        """An answer has come to a question of that time."""
        self.round_trip.measured(now - asked_at)
        self._proven_at, self._unanswered_since = now, None
        self.next_at = max(now, self._after(self._asked_at, SENDING_S if self._has_sent else IDLE_S))

    def _after(self, when: float, period_s: float) -> float:
        # 5.1: "each interval MUST be randomized from between 0.8 and 1.2 times the basic period".
        return when + period_s * self._rng.uniform(0.8, 1.2)
