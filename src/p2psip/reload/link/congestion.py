"""How many datagrams may be under way at once (RFC 6940 section 6.6.3, RFC 5405 section 3.1.1, RFC 5681).

6.6.3: "The sender algorithm used MUST meet the requirements of [RFC5405]", which asks whoever sends more than a few
datagrams a round trip for "window-based, TCP-like congestion control". This is TCP's, counted in datagrams: slow start,
one more each round trip, half of it after a loss, one after a timeout.
"""

from __future__ import annotations

WINDOW_INITIAL = 3.0
"""RFC 5681 section 3.1: "If SMSS > 1095 bytes and SMSS <= 2190 bytes: IW = 3 * SMSS bytes and MUST NOT be more than 3
segments"."""

WINDOW_MIN = 2.0
"""RFC 5681 equation 4: "ssthresh = max (FlightSize / 2, 2*SMSS)"."""

WINDOW_MAX = 128.0
"""The bound on what is under way, whatever a fast network would bear: about 150 kB, which Linux lets wait unread at a
UDP port as it comes (208 kB, its own bookkeeping included twice over)."""


class Window:
    """The congestion window of one link."""

    def __init__(self) -> None:
        self.size = WINDOW_INITIAL
        self._threshold = WINDOW_MAX

    def acknowledged(self) -> None:
        """A datagram came through while the window was full: only then is there reason to widen it."""
        if self.size < self._threshold:
            # RFC 5681 equation 2, slow start.
            self.size += 1
        else:
            # Equation 3, congestion avoidance.
            self.size += 1 / self.size
        self.size = min(self.size, WINDOW_MAX)

    def lost(self) -> None:
        """Something was lost, for the first time in this round trip."""
        self.size = self._threshold = max(WINDOW_MIN, self.size / 2)

    def timed_out(self) -> None:
        """Nothing comes back any more."""
        if self.size > 1:
            self._threshold = max(WINDOW_MIN, self.size / 2)
        self.size = 1.0

    def rested(self) -> None:
        """RFC 5681 section 4.1: what was learned goes stale "if the TCP has not sent data in an interval exceeding the
        retransmission timeout"."""
        self.size = min(self.size, WINDOW_INITIAL)
