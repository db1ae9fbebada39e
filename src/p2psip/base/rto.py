"""The retransmission timeout (RFC 6298 section 2), of which RFC 6940 has two uses, 6.6.3.1 and 6.6.5, and STUN one."""

from __future__ import annotations

import math
from dataclasses import dataclass

RTO_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class RtoRules:
    """What RFC 6298 leaves open, or RFC 6940 does otherwise."""

    initial_s: float
    floor_s: float
    granularity_s: float


STREAM_RTO = RtoRules(initial_s=1.0, floor_s=1.0, granularity_s=0.001)
"""6.6.5: "calculate an RTO as specified in Section 2 of [RFC6298]"; 2.4 there: "if it is less than 1 second, then the
RTO SHOULD be rounded up to 1 second"."""

DATAGRAM_RTO = RtoRules(initial_s=0.5, floor_s=0.0, granularity_s=0.1)
"""6.6.3.1: "the default value for RTO is 500 ms"; it is "not rounded up to the nearest second". The granularity is that
of a small computer that has something else to do just now, not that of its clock."""

STUN_RTO = RtoRules(initial_s=0.5, floor_s=0.0, granularity_s=0.1)
"""RFC 8489 section 6.2.1: "In fixed-line access links, a value of 500 ms is RECOMMENDED"; it "SHOULD NOT be rounded up
to the nearest second"."""


class RoundTripEstimator:
    """Smoothed round-trip time and the timeout that follows from it."""

    def __init__(self, rules: RtoRules = STREAM_RTO) -> None:
        self.srtt_s: float | None = None
        self._rttvar_s = 0.0
        self._rules = rules
        self.rto_s = rules.initial_s

    def measured(self, rtt_s: float) -> None:
        """Take in one measurement."""
        if self.srtt_s is None:
            # RFC 6298 2.2: "SRTT <- R, RTTVAR <- R/2".
            self.srtt_s, self._rttvar_s = rtt_s, rtt_s / 2
        else:
            # 2.3: "RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|; SRTT <- (1 - alpha) * SRTT + alpha * R'".
            self._rttvar_s = 0.75 * self._rttvar_s + 0.25 * abs(self.srtt_s - rtt_s)
            self.srtt_s = 0.875 * self.srtt_s + 0.125 * rtt_s
        self._set_rto()

    def follow(self, other: RoundTripEstimator) -> None:
        """Believe another, which has measured the same way lately."""
        if other.srtt_s is not None:
            self.srtt_s, self._rttvar_s = other.srtt_s, other._rttvar_s
            self._set_rto()

    def _set_rto(self) -> None:
        assert self.srtt_s is not None, "something was measured"
        # "RTO <- SRTT + max (G, K*RTTVAR)"; 6.6.3.1 of RFC 6940: "rounded up to the nearest millisecond".
        rto_ms = math.ceil((self.srtt_s + max(self._rules.granularity_s, 4 * self._rttvar_s)) * 1000 - 1e-6)
        self.rto_s = min(RTO_MAX_S, max(self._rules.floor_s, rto_ms / 1000))

    def back_off(self) -> None:
        """RFC 6298 5.5: "The host MUST set RTO <- RTO * 2 ("back off the timer")", until the next measurement."""
        self.rto_s = min(RTO_MAX_S, 2 * self.rto_s)
