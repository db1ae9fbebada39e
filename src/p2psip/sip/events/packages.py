"""What an event package is to a notifier (RFC 6665 section 5.4)."""

from __future__ import annotations

from typing import Protocol


class EventPackage(Protocol):
    """One kind of state that lines have."""

    name: str
    content_type: str
    interval_s: float
    """A change is not told sooner after the last one (section 5.4.10)."""
    is_private: bool
    """True if nobody but the line itself may know."""

    def document(self, line: str, version: int, *, sees_calls: bool) -> bytes:
        """The state of a line now, for the NOTIFY with this number of a subscription."""
