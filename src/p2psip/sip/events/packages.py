"""What an event package is to a notifier (RFC 6665 section 5.4)."""

from __future__ import annotations

from typing import Protocol


class EventPackage(Protocol):
    """One kind of state that lines have, or rooms, whose numbers stand in the place of lines."""

    name: str
    content_type: str
    interval_s: float
    """A change is not told sooner after the last one (section 5.4.10)."""

    def may_watch(self, watcher: str, line: str, *, is_permitted: bool) -> bool:
        """Whether a user may know; `is_permitted` if the operator's rules let him watch the line, as it may itself."""

    def document(self, line: str, version: int, *, sees_calls: bool) -> bytes:
        """The state of a line now, for the NOTIFY with this number of a subscription."""
