"""The file of rooms: what it may say, and for each mistake the line that it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.dial_plan_file import load_numbering
from p2psip.daemon.state.rooms_file import ROOMS_FILE, load_rooms
from p2psip.sip.entities.conference.room_terms import PARTICIPANTS, RoomTerms


def read(directory: Path, text: str) -> RoomTerms | None:
    (directory / ROOMS_FILE).write_text(text)
    return load_rooms(directory)


def test_without_the_file_there_are_none(tmp_path: Path) -> None:
    assert load_rooms(tmp_path) is None


def test_what_it_says_is_part_of_what_numbers_mean(tmp_path: Path) -> None:
    assert read(tmp_path, 'rooms = ["30XX", "7000"]\nparticipants = 10\n') == RoomTerms(("30XX", "7000"), 10)
    assert load_numbering(tmp_path).rooms == RoomTerms(("30XX", "7000"), 10)
    (tmp_path / "dialplan.toml").write_text('[extensions]\n42 = "bob"\n')
    assert load_numbering(tmp_path).rooms == RoomTerms(("30XX", "7000"), 10)
    assert read(tmp_path, 'rooms = ["30XX"]') == RoomTerms(("30XX",), PARTICIPANTS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no rooms in it: write the numbers that are rooms"),
        ('\nrooms = "30XX"', "line 2: rooms: write the numbers that are rooms"),
        ("rooms = []", "line 1: there are 0 rooms: write 1 to 32"),
        ('rooms = ["30."]', "line 1: '30.' is no number of a room"),
        ('rooms = ["3"]', "line 1: '3' is no number of a room"),
        ('rooms = ["30XX"]\nparticipants = 1', "line 2: participants: write how many at once"),
        ('rooms = ["30XX"]\nparticipants = "many"', "line 2: participants: write how many at once"),
        ('rooms = ["30XX"]\nmusic = true', "line 2: there is no setting music; there are rooms, participants"),
        ("rooms = [", "line 1: "),
    ],
)
def test_each_mistake_is_one_line_that_says_what_to_write(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(LocalMisuse) as caught:
        read(tmp_path, text)
    assert f"{ROOMS_FILE}: {says}" in str(caught.value)
    assert "\n" not in str(caught.value)
