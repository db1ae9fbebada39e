"""What phones are given by HTTP, in the formats of their makers."""

from __future__ import annotations

import csv
import io
import json
from xml.etree import ElementTree as Xml

import pytest
from listed_people import OVERLAY, PEOPLE, person

from p2psip.directory.http_conversation import BODY_MAX, HEADERS_MAX, HttpConversation
from p2psip.directory.listing import Card, Listed, one_a_user
from p2psip.directory.phone_pages import DirectoryPage, PageAsked, page_for

EVERYBODY = [
    ("Alice Hill DL1ABC (alice)", "200"),
    ("Alice Hill DL1ABC (mallory)", "mallory"),
    ("Bob <Valley> & Sons", "bob"),
    ("carol", "carol"),
    ("José Müller", "0049301-2"),
]
"""Whom a phone shows, and what it dials: who takes somebody else's name is told from him by the name of the line."""


def get(target: str, people: list[Listed] = PEOPLE, method: str = "GET") -> DirectoryPage:
    """The page that a phone is given."""
    return page_for(PageAsked(method, target, "192.168.7.1:8088"), people, OVERLAY)


def test_yealink_s_phone_book() -> None:
    page = get("/yealink.xml")
    assert (page.status, page.content_type) == (200, "text/xml; charset=utf-8")
    root = Xml.fromstring(page.body)
    assert root.tag == "YealinkIPPhoneDirectory"
    assert [(e.findtext("Name"), e.findtext("Telephone")) for e in root.iter("DirectoryEntry")] == EVERYBODY


@pytest.mark.parametrize("path", ["/grandstream.xml", "/phonebook.xml", "/gs_phonebook.xml"])
def test_grandstream_s_address_book(path: str) -> None:
    root = Xml.fromstring(get(path).body)
    assert root.tag == "AddressBook"
    found = [
        (
            f"{contact.findtext('FirstName') or ''} {contact.findtext('LastName')}".strip(),
            contact.findtext("Phone/phonenumber"),
            contact.findtext("Phone/accountindex"),
        )
        for contact in root.iter("Contact")
    ]
    assert found == [(name, number, "0") for name, number in EVERYBODY]


def test_snom_s_phones_ask_by_post_for_a_tbook() -> None:
    root = Xml.fromstring(get("/snom.xml", method="POST").body)
    assert (root.tag, root.get("version"), root.get("complete")) == ("tbook", "2.0", "true")
    found = [
        (
            f"{contact.findtext('first_name') or ''} {contact.findtext('last_name')}".strip(),
            [number.get("no") for number in contact.iter("number")],
        )
        for contact in root.iter("contact")
    ]
    assert found == [(name, [number]) for name, number in EVERYBODY]


def test_cisco_s_phones_have_pages_of_32() -> None:
    many = one_a_user(person(f"user{number:03}") for number in range(70))
    first, shown = "/cisco.xml", []
    for _ in range(3):
        root = Xml.fromstring(get(first, many).body)
        assert root.tag == "CiscoIPPhoneDirectory"
        shown += [entry.findtext("Telephone") for entry in root.iter("DirectoryEntry")]
        keys = {key.findtext("Name"): key.findtext("URL") for key in root.iter("SoftKeyItem")}
        following = keys.get("Next") or ""
        assert following.startswith("http://192.168.7.1:8088/cisco.xml?first=") or not following
        first = following.removeprefix("http://192.168.7.1:8088")
    assert shown == [f"user{number:03}" for number in range(70)]
    assert not first
    for odd in ("-1", "x", "9" * 50, "", "\u0663"):
        assert get(f"/cisco.xml?first={odd}", many).status == 200


def test_files_for_other_programs() -> None:
    entries = json.loads(get("/directory.json").body)["entries"]
    assert [(entry["name"], entry["number"], entry["reachable"]) for entry in entries[:3]] == [
        ("Alice Hill", "200", True),
        ("Alice Hill", "mallory", True),
        ("Bob <Valley> & Sons", "bob", None),
    ]
    rows = list(csv.DictReader(io.StringIO(get("/directory.csv").body.decode())))
    assert (rows[4]["name"], rows[4]["site"], rows[4]["uri"]) == ("José Müller", "Berlin, Süd", "sip:jose@club.example")
    cards = get("/directory.vcf").body.decode()
    assert cards.count("BEGIN:VCARD\r\nVERSION:4.0\r\n") == len(PEOPLE)
    assert "FN:José Müller\r\n" in cards
    assert "ORG:Berlin\\, Süd\r\n" in cards
    assert max(len(line.encode()) for line in cards.split("\r\n")) <= 75


def test_a_long_line_of_a_card_is_folded_between_characters() -> None:
    card = get("/directory.vcf", [person("u", Card("ü" * 64))]).body.decode()
    assert max(len(line.encode()) for line in card.split("\r\n")) <= 75
    assert f"FN:{'ü' * 64}\r\n" in card.replace("\r\n ", "")


def test_a_spreadsheet_computes_nothing_of_what_people_say_of_themselves() -> None:
    table = get("/directory.csv", [person("u", Card("=1+2", "", "@x"), dial="+49301")]).body.decode()
    (row,) = csv.DictReader(io.StringIO(table))
    assert (row["name"], row["site"], row["number"]) == ("'=1+2", "'@x", "+49301")


def test_a_search_and_who_can_be_reached() -> None:
    assert len(json.loads(get("/directory.json?search=alice%20elsewhere").body)["entries"]) == 1
    there = json.loads(get("/directory.json?reachable=yes").body)["entries"]
    assert [entry["user"] for entry in there] == ["alice", "mallory", "carol", "jose"]


def test_what_is_not_there() -> None:
    assert get("/").status == 404
    assert b"/yealink.xml" in get("/").body
    assert get("/yealink.xml", method="DELETE").status == 405
    assert get("http://[x/").status == 400


def conversation(*pieces: bytes) -> tuple[bytes, bool]:
    """What a phone that sends this is sent, and whether that was all."""
    http = HttpConversation()
    for piece in pieces:
        asked = http.receive(piece)
        while asked:
            asked = http.answer(DirectoryPage(200, "text/plain", f"{asked[0].method} {asked[0].target}".encode()))
    return http.take(), http.is_over


def test_two_requests_over_one_connection_and_the_end_of_it() -> None:
    said = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    out, is_over = conversation(said[:30], said[30:])
    assert out.count(b"HTTP/1.1 200") == 2
    assert out.index(b"GET /a") < out.index(b"GET /b")
    assert is_over


def test_who_is_of_an_older_version_and_what_has_no_body() -> None:
    out, is_over = conversation(b"GET /a HTTP/1.0\r\n\r\n")
    assert out.endswith(b"GET /a")
    assert is_over
    out, is_over = conversation(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert out.endswith(b"\r\n\r\n")
    assert not is_over


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * HEADERS_MAX,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + bytes(BODY_MAX + 1),
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_ends_it(said: bytes) -> None:
    out, is_over = conversation(said)
    assert b" 200 " not in out
    assert is_over or not out
