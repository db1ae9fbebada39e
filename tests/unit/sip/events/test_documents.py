"""What is told of lines, and how it is read and renamed (RFC 3842, RFC 3863, RFC 4235)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lxml import etree

from p2psip.sip.events.dialog_package import DialogPackage
from p2psip.sip.events.documents import DIALOG_INFO, MESSAGE_SUMMARY, PIDF, parse_document, renamed
from p2psip.sip.events.limits import DOCUMENT_BYTES, NOTE_CHARACTERS
from p2psip.sip.events.line_calls import CallState, LineCall, LineCalls
from p2psip.sip.events.message_summary import MessageCounts, MessageSummaryPackage
from p2psip.sip.events.presence import PresencePackage, Published
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri

OVERLAY = "club.example"
CALL = LineCall(
    "7",
    "x@<&>",
    True,
    CallState.EARLY,
    NameAddr(SipUri(OVERLAY, "alice"), 'A "B"'),
    "l",
    "r",
)
D = "{urn:ietf:params:xml:ns:dialog-info}"
PUBLISHED = b"""<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
 xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:bob@10.0.0.1">
 <dm:person id="p1"><rpid:activities><rpid:away/><rpid:away/><rpid:boasting/><rpid:meal/></rpid:activities></dm:person>
 <tuple id="t1"><status><basic>%s</basic></status><note> in the garden </note></tuple>
</presence>"""


def to_phone(uri: SipUri) -> SipUri:
    return uri.replace(host="pbx.lan", port=5070) if uri.host == OVERLAY else uri


def dialog_info(*calls: LineCall, sees_calls: bool) -> etree._Element:
    known = LineCalls(5)
    for call in calls:
        known.note("bob", replace(call, state=CallState.EARLY))
        known.note("bob", call)
    return etree.fromstring(DialogPackage(OVERLAY, known).document("bob", 4, sees_calls=sees_calls))


def test_4_1_what_who_may_pick_up_is_told_of_a_call() -> None:
    root = dialog_info(CALL, sees_calls=True)
    assert root.tag == f"{D}dialog-info"
    assert dict(root.attrib) == {"version": "4", "state": "full", "entity": "sip:bob@club.example"}
    (dialog,) = root
    assert dict(dialog.attrib) == {
        "id": "7", "call-id": "x@<&>", "local-tag": "l", "remote-tag": "r", "direction": "initiator"
    }  # fmt: skip
    assert [(one.tag.removeprefix(D), one.text) for one in dialog.iter("*")][1:] == [
        ("state", "early"),
        ("local", None),
        ("identity", "sip:bob@club.example"),
        ("remote", None),
        ("identity", "sip:alice@club.example"),
        ("target", None),
    ]
    assert dialog.find(f"{D}remote/{D}identity").get("display") == 'A "B"'


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ((), []),
        ((CallState.EARLY,), ["early"]),
        ((CallState.EARLY, CallState.CONFIRMED), ["confirmed"]),
        ((CallState.CONFIRMED, CallState.EARLY), ["confirmed"]),
        ((CallState.TERMINATED,), ["terminated"]),
        ((CallState.TERMINATED, CallState.EARLY), ["early"]),
    ],
)
def test_3_7_2_others_are_told_of_one_virtual_dialog(states: tuple[CallState, ...], shown: list[str]) -> None:
    """No identifiers, no word of with whom."""
    root = dialog_info(*[replace(CALL, id=str(n), state=state) for n, state in enumerate(states)], sees_calls=False)
    assert [one.text for one in root.iter(f"{D}state")] == shown
    assert all(dict(dialog.attrib) == {"id": "line"} for dialog in root)
    assert [one.text for one in root.iter(f"{D}identity")] == ["sip:bob@club.example"] * len(shown)


def test_names_that_xml_cannot_carry() -> None:
    odd = replace(CALL, remote=NameAddr(SipUri(OVERLAY, "a"), "x\x01\udcff\n"), call_id="\x00")
    (dialog,) = dialog_info(odd, sees_calls=True)
    assert (dialog.find(f"{D}remote/{D}identity").get("display"), dialog.get("call-id")) == ("x???", "?")


@pytest.mark.parametrize("port", [5070, None])
def test_what_a_phone_is_shown_it_can_dial(port: int | None) -> None:
    body = etree.tostring(dialog_info(CALL, sees_calls=True))
    root = etree.fromstring(renamed(DIALOG_INFO, body, lambda uri: to_phone(uri).replace(port=port)))
    at = "pbx.lan" if port is None else f"pbx.lan:{port}"
    assert root.get("entity") == f"sip:bob@{at}"
    assert [one.text for one in root.iter(f"{D}identity")] == [f"sip:bob@{at}", f"sip:alice@{at}"]
    assert root.find(f".//{D}target").get("uri") == f"sip:alice@{at}"


def test_others_names_stay_and_so_does_what_cannot_be_read() -> None:
    elsewhere = b'<presence entity="sip:bob@example.org" uri="tel:5"><contact>no uri</contact></presence>'
    assert etree.fromstring(renamed(PIDF, elsewhere, to_phone)).get("entity") == "sip:bob@example.org"
    for body in (b"", b"<a", b"<!DOCTYPE a><a/>", b"\xff\xfe<\0a\0/\0>\0", b"<a>" + b"x" * DOCUMENT_BYTES + b"</a>"):
        assert renamed(PIDF, body, to_phone) == body
    assert renamed("text/plain", b"sip:bob@club.example", to_phone) == b"sip:bob@club.example"


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'.encode("utf-16"),
        b"<x>&undefined;</x>",
        b"<x>" * 1000,
        b"\x00",
        b"",
    ],
    ids=["bomb", "file", "utf-16", "undefined", "deep", "zero", "empty"],
)
def test_documents_of_strangers(data: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_document(data)


@pytest.mark.parametrize(
    ("counts", "first", "summary"),
    [(MessageCounts(), "no", "0/0 (0/0)"), (MessageCounts(2, 8, 0, 2), "yes", "2/8 (0/2)")],
)
def test_3842_5_2_messages(counts: MessageCounts, first: str, summary: str) -> None:
    package = MessageSummaryPackage(OVERLAY)
    assert package.note("bob", counts) is (counts != MessageCounts())
    assert not package.note("bob", counts)
    body = package.document("bob", 0, sees_calls=True)
    assert body.decode().split("\r\n") == [
        f"Messages-Waiting: {first}", "Message-Account: sip:bob@club.example", f"Voice-Message: {summary}", ""
    ]  # fmt: skip
    assert b"Message-Account: sip:bob@pbx.lan:5070\r\n" in renamed(MESSAGE_SUMMARY, body, to_phone)
    package.forget("bob")
    assert b"Messages-Waiting: no" in package.document("bob", 0, sees_calls=True)


def test_3863_what_a_phone_publishes() -> None:
    assert Published.parse(PUBLISHED % b"open") == Published(True, "in the garden", ("away", "meal"))
    assert Published.parse(PUBLISHED % b" CLOSED ").is_open is False
    assert Published.parse(PUBLISHED % b"perhaps").is_open is None
    assert len(Published.parse(PUBLISHED.replace(b"garden", b"g" * 900) % b"open").note) == NOTE_CHARACTERS


@pytest.mark.parametrize(
    ("is_registered", "published", "shown"),
    [
        (False, None, "closed"),
        (True, None, "open"),
        (True, Published(None), "open"),
        (True, Published(True), "open"),
        (True, Published(False), "closed"),
        (False, Published(True), "closed"),
    ],
)
def test_3856_a_line_is_open_while_a_phone_is_there_and_does_not_say_otherwise(
    is_registered: bool, published: Published | None, shown: str
) -> None:
    package = PresencePackage(OVERLAY)
    assert package.note_phones("bob", is_registered) is is_registered
    assert not package.note_phones("bob", is_registered)
    package.note_published("bob", published)
    root = etree.fromstring(package.document("bob", 0, sees_calls=False))
    assert (root.get("entity"), [one.text for one in root.iter("{*}basic")]) == ("sip:bob@club.example", [shown])


def test_3856_the_note_and_activities_are_told() -> None:
    package = PresencePackage(OVERLAY)
    assert package.note_published("bob", Published.parse(PUBLISHED % b"open"))
    body = package.document("bob", 0, sees_calls=False)
    assert Published.parse(body) == Published(False, "in the garden", ("away", "meal"))
    assert package.note_published("bob", None)
    assert not package.note_published("bob", None)
    assert b"garden" not in package.document("bob", 0, sees_calls=False)
