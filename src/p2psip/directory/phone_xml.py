"""The directory in the XML of phones' makers.

Yealink: "Remote Phone Book"; Grandstream: "XML Based Downloadable Phonebook Guide"; Snom: "Remote XML Directory";
Cisco: "Unified IP Phone Services Application Development Notes", CiscoIPPhoneDirectory, of which a page has 32 entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree as Xml

from p2psip.directory.listing import Listed

CISCO_PAGE = 32
""" "a maximum of 32 directory entries"."""


def labels(entries: Sequence[Listed]) -> list[str]:
    """What a phone shows of each: name and callsign, and where two have the same the name of the line as well."""
    shown = [replace(entry.card, name=entry.shown).label for entry in entries]
    counts = Counter(label.casefold() for label in shown)
    return [
        f"{label} ({entry.user})" if counts[label.casefold()] > 1 and label != entry.user else label
        for entry, label in zip(entries, shown, strict=True)
    ]


def yealink(entries: Sequence[Listed], overlay: str) -> bytes:
    """YealinkIPPhoneDirectory, with all entries; Fanvil's phones read it as well."""
    root = Xml.Element("YealinkIPPhoneDirectory")
    _add(root, "Title", overlay)
    _add_entries(root, entries, labels(entries))
    return _written(root)


def grandstream(entries: Sequence[Listed]) -> bytes:
    """AddressBook, which the phone takes over into its own book."""
    root = Xml.Element("AddressBook")
    _add(root, "version", "1")
    for number, (entry, label) in enumerate(zip(entries, labels(entries), strict=True), 1):
        contact = Xml.SubElement(root, "Contact")
        first, last = _names(label)
        _add(contact, "id", str(number))
        _add(contact, "FirstName", first)
        _add(contact, "LastName", last)
        phone = Xml.SubElement(contact, "Phone", {"type": "Work"})
        _add(phone, "phonenumber", entry.dial)
        _add(phone, "accountindex", "0")
    return _written(root)


def snom(entries: Sequence[Listed]) -> bytes:
    """tbook, version 2.0; what the phone had of it before goes."""
    root = Xml.Element("tbook", {"e": "2", "version": "2.0", "complete": "true"})
    for entry, label in zip(entries, labels(entries), strict=True):
        contact = Xml.SubElement(root, "contact", {"fav": "false", "vip": "false", "blocked": "false"})
        first, last = _names(label)
        _add(contact, "first_name", first)
        _add(contact, "last_name", last)
        numbers = Xml.SubElement(contact, "numbers")
        Xml.SubElement(numbers, "number", {"no": entry.dial, "type": "sip", "outgoing_id": "0"})
    return _written(root)


def cisco(entries: Sequence[Listed], overlay: str, first: int, next_url: str) -> bytes:
    """CiscoIPPhoneDirectory: a page of entries, from number `first` on; `next_url` leads to the next."""
    page = entries[first : first + CISCO_PAGE]
    root = Xml.Element("CiscoIPPhoneDirectory")
    _add(root, "Title", overlay)
    _add(root, "Prompt", f"{first + 1} to {first + len(page)} of {len(entries)}" if page else "Nobody")
    _add_entries(root, page, labels(entries)[first : first + CISCO_PAGE])
    keys = [("Dial", "SoftKey:Dial"), ("Edit", "SoftKey:EditDial"), ("Exit", "SoftKey:Exit")]
    if first + CISCO_PAGE < len(entries):
        keys.append(("Next", next_url))
    for position, (name, url) in enumerate(keys, 1):
        key = Xml.SubElement(root, "SoftKeyItem")
        _add(key, "Name", name)
        _add(key, "URL", url)
        _add(key, "Position", str(position))
    return _written(root)


def _add_entries(root: Xml.Element, entries: Sequence[Listed], shown: Sequence[str]) -> None:
    for entry, label in zip(entries, shown, strict=True):
        item = Xml.SubElement(root, "DirectoryEntry")
        _add(item, "Name", label)
        _add(item, "Telephone", entry.dial)


def _names(label: str) -> tuple[str, str]:
    """First and last name, as those phones put them together again."""
    first, _, last = label.rpartition(" ")
    return first, last


def _add(parent: Xml.Element, name: str, text: str) -> None:
    Xml.SubElement(parent, name).text = text


def _written(root: Xml.Element) -> bytes:
    written: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"
