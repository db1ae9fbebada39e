"""The `presence` package (RFC 3856, PIDF of RFC 3863): is a line to be reached, and what its user says of that.

A line is open while a phone of it is registered, unless that phone publishes otherwise. Of what was published the
newest counts: its note and its activities (RFC 4480) are told with the state.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from p2psip.sip.events.documents import PIDF, line_uri, local_name, parse_document, write_document
from p2psip.sip.events.limits import NOTE_CHARACTERS

_NS = "urn:ietf:params:xml:ns:pidf"
_PERSON = "urn:ietf:params:xml:ns:pidf:data-model"
_RPID = "urn:ietf:params:xml:ns:pidf:rpid"

_ACTIVITIES = frozenset(
    {
        "appointment", "away", "breakfast", "busy", "dinner", "holiday", "in-transit", "looking-for-work", "lunch",
        "meal", "meeting", "on-the-phone", "performance", "permanent-absence", "playing", "presentation", "shopping",
        "sleeping", "spectator", "steering", "travel", "tv", "unknown", "vacation", "working", "worship",
    }
)  # fmt: skip
"""RFC 4480 section 3.2, all that are a word; each is told once."""


@dataclass(frozen=True, slots=True)
class Published:
    """What counts of a presence document."""

    is_open: bool | None
    """None if it does not say."""
    note: str = ""
    activities: tuple[str, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Published:
        """A PIDF document as a phone publishes it. Raises BadMessage."""
        root = parse_document(data)
        words = [(element.text or "").strip().lower() for element in root.iter(f"{{{_NS}}}basic")]
        said = [word for word in words if word in ("open", "closed")]
        notes = [(element.text or "").strip() for element in root.iter("*") if local_name(element) == "note"]
        named = [local_name(one) for all_ in root.iter(f"{{{_RPID}}}activities") for one in all_.iter("*")]
        activities = dict.fromkeys(name for name in named if name in _ACTIVITIES)
        note = next(filter(None, notes), "")[:NOTE_CHARACTERS].strip()
        return cls("open" in said if said else None, note, tuple(activities))


class PresencePackage:
    """Writes PIDF (an `EventPackage`)."""

    name = "presence"
    content_type = PIDF
    interval_s = 5.0
    """RFC 3856 6.10: "a PA SHOULD NOT generate notifications for a single presentity at a rate of more than once every
    five seconds"."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._registered: set[str] = set()
        self._published: dict[str, Published] = {}

    def note_phones(self, line: str, has_phones: bool) -> bool:
        """Whether a phone of the line is registered; True if that is news."""
        if has_phones == (line in self._registered):
            return False
        self._registered ^= {line}
        return True

    def note_published(self, line: str, published: Published | None) -> bool:
        """What was published last for the line and counts; None: nothing. True if that is news."""
        before = self._published.pop(line, None)
        if published is not None:
            self._published[line] = published
        return before != published

    def may_watch(self, watcher: str, line: str, *, is_permitted: bool) -> bool:
        """packages.EventPackage"""
        return is_permitted

    def document(self, line: str, version: int, *, sees_calls: bool) -> bytes:
        """packages.EventPackage"""
        published = self._published.get(line, Published(None))
        uri = str(line_uri(line, self._domain))
        names = {None: _NS, "dm": _PERSON, "rpid": _RPID}
        root = etree.Element(f"{{{_NS}}}presence", nsmap=names)  # type: ignore[arg-type]
        root.set("entity", uri)
        place = etree.SubElement(root, f"{{{_NS}}}tuple")
        place.set("id", "line")
        status = etree.SubElement(place, f"{{{_NS}}}status")
        is_open = line in self._registered and published.is_open is not False
        etree.SubElement(status, f"{{{_NS}}}basic").text = "open" if is_open else "closed"
        etree.SubElement(place, f"{{{_NS}}}contact").text = uri
        if published.note:
            etree.SubElement(place, f"{{{_NS}}}note").text = published.note
        if published.activities:
            person = etree.SubElement(root, f"{{{_PERSON}}}person")
            person.set("id", "user")
            activities = etree.SubElement(person, f"{{{_RPID}}}activities")
            for name in published.activities:
                etree.SubElement(activities, f"{{{_RPID}}}{name}")
        return write_document(root)
