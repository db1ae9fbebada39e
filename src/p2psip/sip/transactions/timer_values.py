"""The timers of transactions (RFC 3261 section 17.1.1.1 and table 4, RFC 6026 section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

TRYING_S = 0.2
"""Section 17.2.1: so long an INVITE may be without any answer."""


@dataclass(frozen=True, slots=True)
class TimerValues:
    """T1, T2 and T4, and what follows from them."""

    t1_s: float = 0.5
    """An estimate of the round-trip time."""
    t2_s: float = 4.0
    """The longest interval between retransmissions of non-INVITE requests and INVITE responses."""
    t4_s: float = 5.0
    """The longest time that a message stays in the network."""

    @property
    def timeout_s(self) -> float:
        """64*T1: how long a transaction tries (timers B, F, H, J, L, M)."""
        return 64 * self.t1_s

    def trying_s(self, method: str) -> float:
        """When a request that nobody has answered gets its 100."""
        if method == "INVITE":
            return TRYING_S
        # RFC 4320 4.1: only "after the amount of time it takes a client transaction's Timer E to be reset to T2".
        total = interval = self.t1_s
        while interval * 2 < self.t2_s:
            interval *= 2
            total += interval
        return total


class Timer(IntEnum):
    """The timers by their letters; CANCELLED is the patience after a CANCEL (section 9.1)."""

    A = 1
    B = 2
    D = 3
    E = 4
    F = 5
    G = 6
    H = 7
    I = 8  # noqa: E741 - the RFC's letter
    J = 9
    K = 10
    L = 11
    M = 12
    CANCELLED = 13
    TRYING = 14
    """When a request that nobody has answered gets its 100 (section 17.2.1; RFC 4320 section 4.1)."""


REASONS = {
    Timer.A: "retransmit INVITE (timer A)",
    Timer.B: "INVITE unanswered (timer B)",
    Timer.D: "absorb INVITE responses (timer D)",
    Timer.E: "retransmit request (timer E)",
    Timer.F: "request unanswered (timer F)",
    Timer.G: "retransmit INVITE response (timer G)",
    Timer.H: "no ACK (timer H)",
    Timer.I: "absorb ACKs (timer I)",
    Timer.J: "absorb requests (timer J)",
    Timer.K: "absorb responses (timer K)",
    Timer.L: "absorb INVITEs after 2xx (timer L)",
    Timer.M: "pass on further 2xx (timer M)",
    Timer.CANCELLED: "cancelled INVITE unanswered",
    Timer.TRYING: "100 to a slow request",
}
"""Each timer in words, for Deadline.reason."""
