"""The rooms that a peer mixes, and its pages: `rooms.toml` in its state directory; without the file there are none.

Every mistake in it is one line that says in which line of the file it is, and what to write.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.toml_lines import Mistake, TomlLines, described, parse_toml
from p2psip.enrollment.user_names import RULE, is_local_part
from p2psip.net.disk.files import read_text
from p2psip.sip.entities.conference.room_terms import PARTICIPANTS, PATTERNS_MAX, RoomTerms, is_pattern, is_room
from p2psip.sip.entities.paging.page_terms import EVERYBODY, GROUPS_MAX, MEMBERS_MAX, PAGES_MAX, Page

ROOMS_FILE = "rooms.toml"

PARTICIPANTS_MAX = 200

_GROUP = re.compile(r"([0-9.]+):([0-9]{1,5})")


class _Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A `[[page]]`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,32}$")]
    number: str
    members: tuple[str, ...] = ()
    multicast: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    rooms: tuple[str, ...] = ()
    participants: Annotated[int, msgspec.Meta(ge=2, le=PARTICIPANTS_MAX)] = PARTICIPANTS
    page: tuple[_Page, ...] = ()


class RoomsAndPages(NamedTuple):
    """What the file says."""

    rooms: RoomTerms | None = None
    pages: tuple[Page, ...] = ()


_WANTED = {
    "rooms": 'the numbers that are rooms, as rooms = ["30XX", "7000"]: 2 to 16 digits, X for any digit',
    "participants": f"how many at once in all rooms together, a number from 2 to {PARTICIPANTS_MAX}",
    "page": "a section [[page]], with two brackets, for each page",
    "name": "what you call it: small letters, digits and -, in quotes",
    "number": 'the number to dial, 2 to 16 digits in quotes, as "700"',
    "members": f'who hears it, as ["alice", "bob"], {MEMBERS_MAX} at most, or ["*"] for every line of this peer',
    "multicast": f'where phones listen, as ["239.255.70.1:5004"], {GROUPS_MAX} at most',
    "lines": 'who may page, as ["desk"]; without it every line of this peer may',
}


def load_rooms(state_dir: Path) -> RoomsAndPages:
    """What the file says; nothing if there is none. Raises LocalMisuse, in one line that names the line of the file."""
    path = state_dir / ROOMS_FILE
    if not path.exists():
        return RoomsAndPages()
    try:
        return _read(read_text(path))
    except Mistake as mistake:
        raise LocalMisuse(f"{path}: {mistake}") from None


def _read(text: str) -> RoomsAndPages:
    lines = TomlLines(text)
    try:
        file = msgspec.convert(parse_toml(text), _File)
    except msgspec.ValidationError as error:
        raise Mistake(described(str(error), lines, _WANTED, {"": _File, "page": _Page})) from None
    where = lines.words("", 0, "rooms")
    if len(file.rooms) > PATTERNS_MAX:
        raise Mistake(f"{where}there are {len(file.rooms)} rooms: write {PATTERNS_MAX} at most, X is any digit")
    for pattern in file.rooms:
        if not is_pattern(pattern):
            raise Mistake(f"{where}{pattern!r} is no number of a room: write {_WANTED['rooms']}")
    rooms = RoomTerms(file.rooms, file.participants) if file.rooms else None
    if len(file.page) > PAGES_MAX:
        raise Mistake(f"{lines.words('page', PAGES_MAX)}there are more than {PAGES_MAX} pages: leave some out")
    taken: dict[str, str] = {}
    pages = [_page(each, index, lines) for index, each in enumerate(file.page)]
    for index, page in enumerate(pages):
        what = "a room" if rooms is not None and rooms.has(page.number) else taken.get(page.number, "")
        if what:
            raise Mistake(f"{lines.words('page', index, 'number')}{page.number} is the number of {what}: change one")
        taken[page.number] = f"page {page.name}"
    return RoomsAndPages(rooms, tuple(pages))


def _page(page: _Page, index: int, lines: TomlLines) -> Page:
    def mistake(key: str, what: str) -> Mistake:
        return Mistake(f"{lines.words('page', index, key)}{what}")

    if not is_room(page.number):
        raise mistake("number", f"number: write {_WANTED['number']}")
    if not (page.members or page.multicast):
        raise mistake("", "nobody hears it: write members, or multicast, or both")
    for key, users, most in (("members", page.members, MEMBERS_MAX), ("lines", page.lines, MEMBERS_MAX)):
        if len(users) > most:
            raise mistake(key, f"{key}: write {_WANTED[key]}")
        for user in users:
            if not (is_local_part(user) or (key == "members" and user == EVERYBODY)):
                raise mistake(key, f"{key}: {user!r} is no user name: {RULE}")
    if len(page.multicast) > GROUPS_MAX:
        raise mistake("multicast", f"multicast: write {_WANTED['multicast']}")
    for each in page.multicast:
        if why := _no_group(each):
            raise mistake("multicast", f"multicast: {each!r} {why}")
    groups = tuple(Address(host, int(port)) for host, _, port in (each.partition(":") for each in page.multicast))
    return Page(page.name, page.number, page.members, groups, frozenset(page.lines))


def _no_group(text: str) -> str:
    """Why this is no multicast address to speak to; "" if it is one. RTP has even ports (RFC 3550 section 11)."""
    found = _GROUP.fullmatch(text)
    try:
        group = ipaddress.IPv4Address(found[1] if found else "")
    except ValueError:
        group = ipaddress.IPv4Address(0)
    port = int(found[2]) if found else 0
    if not group.is_multicast or not 1024 <= port <= 65535 or port % 2:
        return 'is no IPv4 multicast address with an even port from 1024: write one as "239.255.70.1:5004"'
    if group in ipaddress.IPv4Network("224.0.0.0/24"):
        return "is for routers and the like: write one that begins with 239"
    return ""
