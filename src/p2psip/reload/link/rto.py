"""The retransmission timeout as a measure of a link's health (RFC 6298 section 2, RFC 6940 section 6.6.5)."""

from __future__ import annotations

RTO_INITIAL_S = 1.0
RTO_MIN_S = 1.0
RTO_MAX_S = 60.0
CLOCK_GRANULARITY_S = 0.001


class RoundTripEstimator:
    """Smoothed round-trip time and the timeout that follows from it."""

    def __init__(self) -> None:
        self.srtt_s: float | None = None
        self._rttvar_s = 0.0
        self.rto_s = RTO_INITIAL_S

    def measured(self, rtt_s: float) -> None:
        """Take in one measurement."""
        if self.srtt_s is None:
            # RFC 6298 2.2: "SRTT <- R, RTTVAR <- R/2".
            self.srtt_s, self._rttvar_s = rtt_s, rtt_s / 2
        else:
            # 2.3: "RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|; SRTT <- (1 - alpha) * SRTT + alpha * R'".
            self._rttvar_s = 0.75 * self._rttvar_s + 0.25 * abs(self.srtt_s - rtt_s)
            self.srtt_s = 0.875 * self.srtt_s + 0.125 * rtt_s
        rto_s = self.srtt_s + max(CLOCK_GRANULARITY_S, 4 * self._rttvar_s)
        # 2.4: "if it is less than 1 second, then the RTO SHOULD be rounded up to 1 second."
        self.rto_s = min(RTO_MAX_S, max(RTO_MIN_S, rto_s))
