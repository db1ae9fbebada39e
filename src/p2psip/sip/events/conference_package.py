"""The `conference` package (RFC 4575): who is in a room, for phones that are in it.

A document is always a full one, as those of lines are: a room is small, and what is lost or overtaken on the way leaves
nobody in it. A peer knows of a room what its mixer says: the names by which the others are shown who is in, and of its
own phones also whose they are. So only those have a URI that can be called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lxml import etree

from p2psip.sip.events.documents import CONFERENCE_INFO, line_uri, write_document

_NS = "urn:ietf:params:xml:ns:conference-info"

_NOBODY = "anonymous.invalid"
"""The host of who is in and has no URI here."""


@dataclass(frozen=True, slots=True)
class RoomPeople:
    """Who is in a room: the names of all, and by lines of this peer those of whose phones are in."""

    names: tuple[str, ...] = ()
    here: Mapping[str, str] = field(default_factory=dict)


class ConferencePackage:
    """Writes conference-info (an `EventPackage`). The rooms are those that phones of this peer are in."""

    name = "conference"
    content_type = CONFERENCE_INFO
    interval_s = 5.0
    """3.9: notifications are to be no more frequent than once every five seconds."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._rooms: dict[str, RoomPeople] = {}

    def note(self, room: str, people: RoomPeople) -> bool:
        """Who is in a room now; True if that is news."""
        before = self._rooms.pop(room, RoomPeople())
        if people.here:
            self._rooms[room] = people
        return before != people

    def room_of(self, line: str, called: str) -> str | None:
        """The room with this number, if a phone of the line is in it; "" stands for the first that one is in."""
        rooms = [called] if called else list(self._rooms)
        return next((room for room in rooms if self.may_watch(line, room, is_permitted=False)), None)

    def may_watch(self, watcher: str, line: str, *, is_permitted: bool) -> bool:
        """packages.EventPackage: who is in a room sees who else is, whatever rules there are for lines."""
        people = self._rooms.get(line)
        return people is not None and watcher in people.here

    def document(self, line: str, version: int, *, sees_calls: bool) -> bytes:
        """packages.EventPackage"""
        people = self._rooms.get(line, RoomPeople())
        root = etree.Element(f"{{{_NS}}}conference-info", nsmap={None: _NS})  # type: ignore[dict-item]
        root.set("entity", str(line_uri(line, self._domain)))
        root.set("state", "full")
        root.set("version", str(version))
        _write(etree.SubElement(root, f"{{{_NS}}}conference-description"), "display-text", f"Room {line}")
        state = etree.SubElement(root, f"{{{_NS}}}conference-state")
        _write(state, "user-count", str(len(people.names)))
        _write(state, "active", "true" if people.names else "false")
        users = etree.SubElement(root, f"{{{_NS}}}users")
        own = [(name, line) for line, name in people.here.items()]
        for number, name in enumerate(people.names, 1):
            is_own = next((each for each in own if each[0] == name), None)
            if is_own is not None:
                own.remove(is_own)
            # Within a document each has another one: it is the key by which its reader knows them.
            uri = f"sip:participant{number}@{_NOBODY}" if is_own is None else str(line_uri(is_own[1], self._domain))
            user = etree.SubElement(users, f"{{{_NS}}}user")
            user.set("entity", uri)
            _write(user, "display-text", name)
            endpoint = etree.SubElement(user, f"{{{_NS}}}endpoint")
            endpoint.set("entity", uri)
            _write(endpoint, "status", "connected")
            _write(endpoint, "joining-method", "dialed-in")
        return write_document(root)


def _write(parent: etree._Element, name: str, text: str) -> None:
    etree.SubElement(parent, f"{{{_NS}}}{name}").text = text
