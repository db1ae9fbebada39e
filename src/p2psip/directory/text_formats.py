"""The directory as files that other programs read: vCard (RFC 6350), CSV (RFC 4180), and values for JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from p2psip.directory.listing import Listed

COLUMNS = ("name", "number", "user", "site", "callsign", "reachable", "heard_s", "uri", "line", "peer")

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of something to compute."""

_FOLD_BYTES = 75


def as_values(entry: Listed) -> dict[str, object]:
    """One line, for JSON. `reachable` is null where nobody has heard of its peer for half an hour."""
    return {
        "name": entry.shown,
        "number": entry.dial,
        "user": entry.user,
        "site": entry.card.site,
        "callsign": entry.card.callsign,
        "says_number": entry.card.number,
        "reachable": None if entry.heard_s is None else entry.is_reachable,
        "state": entry.reach.value,
        "heard_s": None if entry.heard_s is None else round(entry.heard_s),
        "uri": f"sip:{entry.aor}",
        "line": entry.line,
        "peer": entry.peer,
    }


def write_csv(entries: Iterable[Mapping[str, object]]) -> str:
    """With a line of headings; lines end as the RFC says. What a spreadsheet would compute is made a text."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(COLUMNS)
    for entry in entries:
        table.writerow([_plain(entry[column]) for column in COLUMNS])
    return out.getvalue()


def _plain(value: object) -> str:
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"'{text}" if text.startswith(_FORMULAS) and not text[1:].isdigit() else text


def write_vcards(entries: Iterable[Mapping[str, object]]) -> str:
    """One card a line of the directory, version 4.0."""
    return "".join(map(_vcard, entries))


def _vcard(entry: Mapping[str, object]) -> str:
    name, number, uri = (_escaped(str(entry[field])) for field in ("name", "number", "uri"))
    lines = [
        "BEGIN:VCARD",
        "VERSION:4.0",
        f"UID:urn:p2psip:{entry['line']}",
        f"FN:{name}",
        f"TEL;VALUE=text;TYPE=voice:{number}",
        f"IMPP:{uri}",
    ]
    if entry["site"]:
        lines.append(f"ORG:{_escaped(str(entry['site']))}")
    if entry["callsign"]:
        lines.append(f"NICKNAME:{_escaped(str(entry['callsign']))}")
    return "".join(_folded(line) for line in (*lines, "END:VCARD"))


def _escaped(text: str) -> str:
    """RFC 6350 3.4: backslashes, commas, semicolons."""
    return text.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;").replace("\n", "\\n")


def _folded(line: str) -> str:
    """3.2: lines longer than 75 bytes are folded; never inside a character."""
    pieces: list[str] = []
    piece = ""
    for character in line:
        limit = _FOLD_BYTES - bool(pieces)
        if len((piece + character).encode()) > limit:
            pieces.append(piece)
            piece = ""
        piece += character
    return "\r\n ".join((*pieces, piece)) + "\r\n"
