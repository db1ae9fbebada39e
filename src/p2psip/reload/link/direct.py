"""A link between two cores in one process: whole messages go over it as they are.

There is nothing to frame, and nothing to acknowledge: in place of acknowledgements that do not come, what the driver
could not deliver comes back. From then on all is as on a stream whose other end does not answer.
"""

from __future__ import annotations

from p2psip.base.rto import STREAM_RTO
from p2psip.reload.link.link import Link, LinkState, Unacknowledged
from p2psip.reload.link.stream import FAILED_RTOS, KEPT_BYTES_MAX


class DirectLink(Link):
    """Messages in order; failure detection by those that come back."""

    def __init__(self, message_bytes_max: int, now: float) -> None:
        super().__init__(message_bytes_max, STREAM_RTO, now)
        self._came_back: list[Unacknowledged] = []
        self._kept_bytes = 0
        self._silent_since: float | None = None

    def send(self, message: bytes, now: float) -> None:
        """A message for the other end."""
        # What comes back says that nobody hears us; that somebody does nothing says.
        self._last_sent_at = self._heard_at = now
        self._output.append(message)

    def receive(self, data: bytes, now: float) -> list[bytes]:
        """The message itself."""
        return [data]

    def handle_returned(self, message: bytes, now: float) -> None:
        """A message could not be delivered."""
        if self._silent_since is None:
            self._silent_since = now
        if self._kept_bytes + len(message) <= KEPT_BYTES_MAX:
            self._came_back.append(Unacknowledged(message, now))
            self._kept_bytes += len(message)

    def _untold(self) -> list[Unacknowledged]:
        """Those that came back."""
        untold, self._came_back = self._came_back, []
        self._kept_bytes = 0
        return untold

    def _overdue_at(self) -> float | None:
        if self.state is not LinkState.UP or self._silent_since is None:
            return None
        return self._silent_since + FAILED_RTOS * self.round_trip.rto_s

    def _overdue(self, now: float) -> None:
        self._fail(now)
