"""The event state compositor (RFC 3903 section 6): what phones publish of their lines, for how long.

Only presence is published. Of the publications of a line the newest counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.sip.events.limits import EventLimits
from p2psip.sip.events.notifier import RETRY_S, EventAnswer
from p2psip.sip.events.presence import PresencePackage, Published
from p2psip.sip.message.message import Request


@dataclass(frozen=True, slots=True)
class _Publication:
    line: str
    state: Published


class Publications:
    """All publications of one peer, by their entity-tags."""

    def __init__(self, presence: PresencePackage, limits: EventLimits, queue: TimerQueue | None = None) -> None:
        self._presence = presence
        self._limits = limits
        self._publications: dict[str, _Publication] = {}
        self._of_line: dict[str, list[str]] = {}
        """Entity-tags, the newest publication last."""
        self._timers: Timers[str] = Timers(queue)
        self._changed: list[str] = []

    def __len__(self) -> int:
        return len(self._publications)

    def publish(self, request: Request, line: str, new_tag: str, now: float) -> EventAnswer:
        """A PUBLISH for `line` has come from a phone of it; `drain` says what it changed. Raises BadMessage.

        `new_tag` is a token that there never was before, to be its entity-tag.
        """
        event = request.event
        if event is None or event.package != self._presence.name:
            # Step 2: "If the Event header field is missing or contains an event package which the ESC does not
            # support, the ESC MUST respond to the PUBLISH request with a 489 (Bad Event) response".
            return EventAnswer(489, (("Allow-Events", self._presence.name),))
        tags = request.fields.tokens("sip-if-match")
        if len(tags) > 1:
            return EventAnswer(400, phrase="Invalid Request (more than one entity-tag)")
        if tags and tags[0] not in self._of_line.get(line, ()):
            # Step 3: "If no match is found, the ESC MUST reject the publication with a response of 412".
            return EventAnswer(412)
        wanted = self._limits.published_max_s if request.expires is None else request.expires
        if 0 < wanted < self._limits.published_min_s:
            return EventAnswer(423, (("Min-Expires", self._limits.published_min_s),))
        if request.body and request.content_type != self._presence.content_type:
            return EventAnswer(415, (("Accept", self._presence.content_type),))
        expires_s = min(wanted, self._limits.published_max_s)
        return self._take(request, line, tags[0] if tags else "", new_tag, expires_s, now)

    def _take(self, request: Request, line: str, tag: str, new_tag: str, expires_s: int, now: float) -> EventAnswer:
        if not request.body and not tag:
            return EventAnswer(400, phrase="Invalid Request (nothing is published)")
        state = Published.parse(request.body) if request.body else self._publications[tag].state
        if not tag and expires_s and (refusal := self._make_room(line)):
            return refusal
        if tag:
            self._remove(tag)
        # Step 6: "The ESC MUST generate a new entity-tag for each successful publication".
        if expires_s:
            self._publications[new_tag] = _Publication(line, state)
            self._of_line.setdefault(line, []).append(new_tag)
            self._timers.set(new_tag, now + expires_s, "publication expires")
        self._settle(line)
        return EventAnswer(200, (("SIP-ETag", new_tag), ("Expires", expires_s)))

    def forget(self, line: str) -> None:
        """There is no such line any more."""
        for tag in tuple(self._of_line.get(line, ())):
            self._remove(tag)
        self._settle(line)

    def handle_timeout(self, now: float) -> None:
        """Forget what has expired."""
        for tag in self._timers.pop_due(now):
            line = self._publications[tag].line
            self._remove(tag)
            self._settle(line)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def drain(self) -> list[str]:
        """The lines of which something else is known since the last call."""
        changed, self._changed = self._changed, []
        return changed

    def _make_room(self, line: str) -> EventAnswer | None:
        if len(self._publications) >= self._limits.publications:
            return EventAnswer(480, (("Retry-After", RETRY_S),), "Too many publications here")
        if len(self._of_line.get(line, ())) >= self._limits.publications_per_line:
            # A phone that was started anew does not know its entity-tag: the oldest gives way.
            self._remove(self._of_line[line][0])
        return None

    def _remove(self, tag: str) -> None:
        line = self._publications.pop(tag).line
        self._of_line[line].remove(tag)
        if not self._of_line[line]:
            del self._of_line[line]
        self._timers.cancel(tag)

    def _settle(self, line: str) -> None:
        tags = self._of_line.get(line)
        if self._presence.note_published(line, self._publications[tags[-1]].state if tags else None):
            self._changed.append(line)
