"""The `message-summary` package (RFC 3842): whether messages wait in a line's mailbox."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.sip.events.documents import MESSAGE_SUMMARY, line_uri


@dataclass(frozen=True, slots=True)
class MessageCounts:
    """How many voice messages there are for a line (section 5.2)."""

    new: int = 0
    old: int = 0
    new_urgent: int = 0
    old_urgent: int = 0


class MessageSummaryPackage:
    """Writes simple-message-summary (an `EventPackage`). Where nobody keeps messages, none wait."""

    name = "message-summary"
    content_type = MESSAGE_SUMMARY
    interval_s = 1.0

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._counts: dict[str, MessageCounts] = {}

    def note(self, line: str, counts: MessageCounts) -> bool:
        """So many messages are kept for a line now; True if that is news."""
        before = self._counts.get(line, MessageCounts())
        self._counts[line] = counts
        return counts != before

    def forget(self, line: str) -> None:
        """There is no such line any more."""
        self._counts.pop(line, None)

    def may_watch(self, watcher: str, line: str, *, is_permitted: bool) -> bool:
        """packages.EventPackage: nobody but the line itself."""
        return watcher == line

    def document(self, line: str, version: int, *, sees_calls: bool) -> bytes:
        """packages.EventPackage"""
        counts = self._counts.get(line, MessageCounts())
        return (
            f"Messages-Waiting: {'yes' if counts.new else 'no'}\r\n"
            f"Message-Account: {line_uri(line, self._domain)}\r\n"
            f"Voice-Message: {counts.new}/{counts.old} ({counts.new_urgent}/{counts.old_urgent})\r\n"
        ).encode("utf-8", "surrogateescape")
