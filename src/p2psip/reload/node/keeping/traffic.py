"""What a node has sent and received over its links, for diagnostics (RFC 7851 section 5.3)."""

from __future__ import annotations

from collections import Counter

from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.diagnostics import MessagesSentRcvd

PERIOD_S = 5.0
"""5.3: "This value is calculated every five seconds"."""

ALPHA = 0.8
"""5.3: "A suitable value for alpha is 0.8"."""

CODES = {code.to_bytes(2, "big"): code for code in MessageCode}


class Average:
    """An exponentially weighted average of bytes a second, brought up to date whenever it is looked at."""

    def __init__(self, now: float) -> None:
        self._began_at = now
        self._bytes = 0
        self._last: float | None = None

    def add(self, count: int, now: float) -> None:
        """So many bytes more."""
        if now >= self._began_at + PERIOD_S:
            self._roll(now)
        self._bytes += count

    def value(self, now: float) -> int:
        """Bytes a second; before the first period is over, zero."""
        self._roll(now)
        return round(self._last or 0.0)

    def _roll(self, now: float) -> None:
        periods = int((now - self._began_at) / PERIOD_S)
        if periods <= 0:
            return
        present = self._bytes / PERIOD_S
        # "The value for the very first time period should simply be the average of bytes sent in that time period."
        average = present if self._last is None else ALPHA * present + (1 - ALPHA) * self._last
        self._last = average * (1 - ALPHA) ** (periods - 1)
        self._began_at += periods * PERIOD_S
        self._bytes = 0


class Traffic:
    """The messages of one node, those that it passes on for others too."""

    def __init__(self, now: float) -> None:
        self.bytes_sent = Average(now)
        self.bytes_received = Average(now)
        self._sent: Counter[MessageCode] = Counter()
        self._received: Counter[MessageCode] = Counter()

    def sent(self, payload: bytes, size: int, now: float) -> None:
        """A message with this payload went out, of so many bytes."""
        self._sent[_code(payload)] += 1
        self.bytes_sent.add(size, now)

    def received(self, payload: bytes, size: int, now: float) -> None:
        """A message with this payload came in."""
        self._received[_code(payload)] += 1
        self.bytes_received.add(size, now)

    def messages(self) -> tuple[MessagesSentRcvd, ...]:
        """Of each code, how many."""
        codes = sorted({*self._sent, *self._received})
        return tuple(MessagesSentRcvd(code, self._sent[code], self._received[code]) for code in codes)


def _code(payload: bytes) -> MessageCode:
    """The message's code; what has none that we know, and what is no message, is counted under zero."""
    return CODES.get(payload[:2], MessageCode.INVALID_MESSAGE_CODE)
