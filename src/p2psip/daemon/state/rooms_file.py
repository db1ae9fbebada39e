"""The rooms that a peer mixes: `rooms.toml` in its state directory; without the file there are none.

Every mistake in it is one line that says in which line of the file it is, and what to write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.toml_lines import Mistake, TomlLines, described, parse_toml
from p2psip.net.disk.files import read_text
from p2psip.sip.entities.conference.room_terms import PARTICIPANTS, PATTERNS_MAX, RoomTerms, is_pattern

ROOMS_FILE = "rooms.toml"

PARTICIPANTS_MAX = 200


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    rooms: tuple[str, ...]
    participants: Annotated[int, msgspec.Meta(ge=2, le=PARTICIPANTS_MAX)] = PARTICIPANTS


_WANTED = {
    "rooms": 'the numbers that are rooms, as rooms = ["30XX", "7000"]: 2 to 16 digits, X for any digit',
    "participants": f"how many at once in all rooms together, a number from 2 to {PARTICIPANTS_MAX}",
}


def load_rooms(state_dir: Path) -> RoomTerms | None:
    """What the file says; None if there is none. Raises LocalMisuse, in one line that names the line of the file."""
    path = state_dir / ROOMS_FILE
    if not path.exists():
        return None
    try:
        return _read(read_text(path))
    except Mistake as mistake:
        raise LocalMisuse(f"{path}: {mistake}") from None


def _read(text: str) -> RoomTerms:
    lines = TomlLines(text)
    try:
        file = msgspec.convert(parse_toml(text), _File)
    except msgspec.ValidationError as error:
        raise Mistake(described(str(error), lines, _WANTED, {"": _File})) from None
    where = lines.words("", 0, "rooms")
    if not 1 <= len(file.rooms) <= PATTERNS_MAX:
        raise Mistake(f"{where}there are {len(file.rooms)} rooms: write 1 to {PATTERNS_MAX}, X is any digit")
    for pattern in file.rooms:
        if not is_pattern(pattern):
            raise Mistake(f"{where}{pattern!r} is no number of a room: write {_WANTED['rooms']}")
    return RoomTerms(file.rooms, file.participants)
