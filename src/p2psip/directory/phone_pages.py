"""What a phone that asks by HTTP is given: which page it wants, and the page.

GET /yealink.xml, /grandstream.xml (as the phone asks: /phonebook.xml), /snom.xml, /cisco.xml, /directory.json, .csv,
.vcf. `?search=WORDS` and `?reachable=yes` give some of them; Cisco's has pages, `?first=32`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from p2psip.directory import phone_xml
from p2psip.directory.listing import Listed
from p2psip.directory.text_formats import as_values, write_csv, write_vcards

XML = "text/xml; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
FIRST_MAX = 1_000_000

NAMES = ("yealink.xml", "cisco.xml", "snom.xml", "grandstream.xml", "directory.json", "directory.csv", "directory.vcf")

_GRANDSTREAM = ("/phonebook.xml", "/gs_phonebook.xml")
"""What Grandstream's phones add to the server's name by themselves."""


@dataclass(frozen=True, slots=True)
class PageAsked:
    """A request of a phone. `host` is as whom it knows this server."""

    method: str
    target: str
    host: str


@dataclass(frozen=True, slots=True)
class DirectoryPage:
    """The answer."""

    status: int
    content_type: str
    body: bytes


def page_for(asked: PageAsked, entries: Sequence[Listed], overlay: str) -> DirectoryPage:
    """The page that is asked for. `entries` are all, one a user, in their order."""
    # Snom's phones ask by POST; what they send with it is nothing to us.
    if asked.method not in ("GET", "HEAD", "POST"):
        return DirectoryPage(405, TEXT, b"this is a directory: GET it\n")
    try:
        url = urlsplit(asked.target)
        query = parse_qs(url.query, max_num_fields=8)
    except ValueError:
        return DirectoryPage(400, TEXT, b"what is asked for cannot be read\n")
    text, only = query.get("search", [""])[0], query.get("reachable", [""])[0]
    shown = [entry for entry in entries if entry.matches(text) and (entry.is_reachable or only != "yes")]
    match "/grandstream.xml" if url.path in _GRANDSTREAM else url.path:
        case "/yealink.xml":
            return DirectoryPage(200, XML, phone_xml.yealink(shown, overlay))
        case "/grandstream.xml":
            return DirectoryPage(200, XML, phone_xml.grandstream(shown))
        case "/snom.xml":
            return DirectoryPage(200, XML, phone_xml.snom(shown))
        case "/cisco.xml":
            return _cisco(asked, shown, overlay, query)
        case "/directory.json":
            body = json.dumps({"overlay": overlay, "entries": [as_values(entry) for entry in shown]}).encode()
            return DirectoryPage(200, "application/json", body)
        case "/directory.csv":
            return DirectoryPage(200, "text/csv; charset=utf-8", write_csv(map(as_values, shown)).encode())
        case "/directory.vcf":
            return DirectoryPage(200, "text/vcard; charset=utf-8", write_vcards(map(as_values, shown)).encode())
    return DirectoryPage(404, TEXT, f"there are {', '.join(f'/{name}' for name in NAMES)}\n".encode())


def _cisco(asked: PageAsked, shown: Sequence[Listed], overlay: str, query: dict[str, list[str]]) -> DirectoryPage:
    said = query.get("first", ["0"])[0]
    first = int(said) if said.isascii() and said.isdigit() and len(said) < len(str(FIRST_MAX)) else 0
    rest = "".join(f"&{name}={quote(query[name][0])}" for name in ("search", "reachable") if name in query)
    next_url = f"http://{asked.host}/cisco.xml?first={first + phone_xml.CISCO_PAGE}{rest}"
    return DirectoryPage(200, XML, phone_xml.cisco(shown, overlay, first, next_url))
