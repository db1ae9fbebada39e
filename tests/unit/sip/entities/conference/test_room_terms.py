"""Which numbers are rooms, and what mixers say of them to each other."""

from __future__ import annotations

import pytest

from p2psip.sip.entities.conference.room_terms import (
    OFFER_BYTES_MAX,
    PATTERNS_MAX,
    RoomTerms,
    is_for_mixer,
    is_pattern,
    read_rooms,
    write_rooms,
)
from p2psip.sip.entities.conference.roster import NAME_MAX, NAMES_MAX, read_roster, shown_name, write_roster
from p2psip.sip.message.uri import parse_sip_uri

TERMS = RoomTerms(("30XX", "7000"), 10)


@pytest.mark.parametrize(
    ("number", "is_room"),
    [("3000", True), ("3099", True), ("7000", True), ("300", False), ("30000", False), ("30a0", False), ("", False)],
)
def test_which_numbers_are_rooms(number: str, is_room: bool) -> None:
    assert TERMS.has(number) is is_room
    assert read_rooms(write_rooms(TERMS, ())).has(number) is is_room


@pytest.mark.parametrize("text", ["X", "30.", "30!", "abc", "3 0", "", "30XX ", "1" * 17, "[3-5]0"])
def test_what_is_no_pattern_of_rooms(text: str) -> None:
    """None that is open at its end, or has one digit: a member that may mix could take all numbers by it."""
    assert not is_pattern(text)


def test_an_offer_says_which_rooms_are_open() -> None:
    offered = read_rooms(write_rooms(TERMS, ["3001", "7000"]))
    assert (offered.numbers, offered.present) == (TERMS.numbers, {"3001", "7000"})


def test_an_offer_is_never_too_long() -> None:
    many = [str(number) for number in range(3000, 3100)]
    text = write_rooms(TERMS, many)
    assert len(text) <= OFFER_BYTES_MAX
    assert read_rooms(text).present <= set(many)
    assert len(read_rooms(text).present) > 40


@pytest.mark.parametrize("text", ["", " ", "=", "= =x ==3001", "\ufffd\x00", "." * 1000, "30XX;drop", "=" + "1" * 400])
def test_whatever_another_peer_offers_is_read(text: str) -> None:
    offered = read_rooms(text)
    assert not offered.present
    assert not offered.has("3001")


def test_a_flood_of_patterns_is_bounded() -> None:
    assert len(read_rooms(" ".join(["30XX"] * 1000)).numbers) <= PATTERNS_MAX


@pytest.mark.parametrize(
    ("uri", "is_so"),
    [
        ("sip:3001@x;gr=abc;mixer;who=bob", True),
        ("sip:3001@x;mixer", True),
        ("sip:3001@x;gr=abc", False),
        ("sip:bob@x;gr=abc;at=token;mixer", False),
        ("sip:bob@x;mixer;lr", False),
    ],
)
def test_what_leads_to_a_mixer_leads_nowhere_else(uri: str, is_so: bool) -> None:
    """Who calls is not asked to prove it there: nobody gets to a phone by such a URI."""
    assert is_for_mixer(parse_sip_uri(uri)) is is_so


def test_who_is_in_is_told() -> None:
    assert read_roster(write_roster(["alice", "Bob Böse"])) == ("alice", "Bob Böse")
    assert read_roster(b"") == ()


def test_a_roster_is_bounded_whoever_writes_it() -> None:
    assert len(read_roster(write_roster(["x"] * 1000))) == NAMES_MAX
    assert len(read_roster(b"\n".join([b"y" * 1000] * 1000))) <= NAMES_MAX
    assert {len(name) for name in read_roster(b"y" * 1_000_000)} == {NAME_MAX}
    assert read_roster(b"\xff\xfe\n\x00\nbob\n\x1b[31m") == ("\ufffd\ufffd", "bob")


def test_names_are_what_can_be_shown() -> None:
    assert shown_name("bo\x00b\n") == "bob"
    assert shown_name("") == "somebody"
    assert len(shown_name("x" * 500)) == NAME_MAX
