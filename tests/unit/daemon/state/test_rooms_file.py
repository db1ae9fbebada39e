"""The file of rooms: what it may say, and for each mistake the line that it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.dial_plan_file import load_numbering
from p2psip.daemon.state.rooms_file import ROOMS_FILE, load_rooms
from p2psip.sip.entities.conference.room_terms import PARTICIPANTS, RoomTerms
from p2psip.sip.entities.paging.page_terms import Page

PAGES = """
[[page]]
name = "all"
number = "700"
members = ["*", "carol"]
multicast = ["239.255.70.1:5004"]

[[page]]
name = "yard"
number = "701"
members = ["gate"]
lines = ["desk"]
"""


def read(directory: Path, text: str) -> RoomTerms | None:
    (directory / ROOMS_FILE).write_text(text)
    return load_rooms(directory).rooms


def test_without_the_file_there_are_none(tmp_path: Path) -> None:
    assert load_rooms(tmp_path) == (None, ())


def test_pages(tmp_path: Path) -> None:
    assert read(tmp_path, PAGES) is None
    everybody, yard = load_numbering(tmp_path).pages
    assert everybody == Page("all", "700", ("*", "carol"), (Address("239.255.70.1", 5004),))
    assert yard == Page("yard", "701", ("gate",), (), frozenset({"desk"}))
    assert (everybody.may("anybody"), yard.may("desk"), yard.may("gate")) == (True, True, False)


def test_what_it_says_is_part_of_what_numbers_mean(tmp_path: Path) -> None:
    assert read(tmp_path, 'rooms = ["30XX", "7000"]\nparticipants = 10\n') == RoomTerms(("30XX", "7000"), 10)
    assert load_numbering(tmp_path).rooms == RoomTerms(("30XX", "7000"), 10)
    (tmp_path / "dialplan.toml").write_text('[extensions]\n42 = "bob"\n')
    assert load_numbering(tmp_path).rooms == RoomTerms(("30XX", "7000"), 10)
    assert read(tmp_path, 'rooms = ["30XX"]') == RoomTerms(("30XX",), PARTICIPANTS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('\nrooms = "30XX"', "line 2: rooms: write the numbers that are rooms"),
        (f"rooms = {['30XX'] * 33}", "line 1: there are 33 rooms: write 32 at most"),
        ('rooms = ["30."]', "line 1: '30.' is no number of a room"),
        ('rooms = ["3"]', "line 1: '3' is no number of a room"),
        ('rooms = ["30XX"]\nparticipants = 1', "line 2: participants: write how many at once"),
        ('rooms = ["30XX"]\nparticipants = "many"', "line 2: participants: write how many at once"),
        ('rooms = ["30XX"]\nmusic = true', "line 2: there is no setting music; there are rooms, participants, page"),
        ("rooms = [", "line 1: "),
        (PAGES.replace('"700"', '"7"'), "line 4: number: write the number to dial"),
        (PAGES.replace('"700"', '"701"'), "line 10: 701 is the number of page all: change one"),
        (f'rooms = ["70X"]{PAGES}', "line 4: 700 is the number of a room: change one"),
        (PAGES.replace('["gate"]', "[]"), "line 8: nobody hears it: write members, or multicast, or both"),
        (PAGES.replace('"carol"', '"Carol Smith"'), "line 5: members: 'Carol Smith' is no user name"),
        (PAGES.replace('["desk"]', '["*"]'), "line 12: lines: '*' is no user name"),
        (PAGES.replace("239.255.70.1", "192.168.7.1"), "line 6: multicast: '192.168.7.1:5004' is no IPv4 multicast"),
        (PAGES.replace("5004", "5005"), "line 6: multicast: '239.255.70.1:5005' is no IPv4 multicast"),
        (PAGES.replace("239.255.70.1", "224.0.0.5"), "line 6: multicast: '224.0.0.5:5004' is for routers"),
        (PAGES.replace(":5004", ""), "line 6: multicast: '239.255.70.1' is no IPv4 multicast"),
        (PAGES.replace('name = "all"', 'name = "All"'), "line 3: name: write what you call it"),
        (PAGES.replace("[[page]]", "[page]", 1).split("[[")[0], "line 2: page: write a section [[page]]"),
    ],
)
def test_each_mistake_is_one_line_that_says_what_to_write(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(LocalMisuse) as caught:
        read(tmp_path, text)
    assert f"{ROOMS_FILE}: {says}" in str(caught.value)
    assert "\n" not in str(caught.value)
