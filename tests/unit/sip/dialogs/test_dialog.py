"""Dialogs (RFC 3261 section 12)."""

import pytest

from p2psip.sip.dialogs.dialog import Dialog, DialogId
from p2psip.sip.message.build import make_response
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse

INVITE = b"""INVITE sip:bob@biloxi.example SIP/2.0
Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bKnashds8
Record-Route: <sip:p2.example;lr>, <sip:p1.example;lr;x=1>
Max-Forwards: 70
From: Alice <sip:alice@atlanta.example>;tag=a
To: Bob <sip:bob@biloxi.example>
Call-ID: c1
CSeq: 314 INVITE
Contact: <sip:alice@pc33.atlanta.example>
Content-Length: 0

"""


def invite(*changes: tuple[bytes, bytes]) -> Request:
    data = INVITE
    for old, new in changes:
        assert old in data
        data = data.replace(old, new)
    request = parse(data.replace(b"\n", b"\r\n"))
    assert isinstance(request, Request)
    return request


def ok(request: Request, contact: str = "<sip:bob@192.0.2.4:5080>") -> Response:
    return make_response(request, 200, to_tag="b", extra=[("Contact", contact)])


def both() -> tuple[Dialog, Dialog]:
    """Alice's and Bob's side of a call through two proxies."""
    request = invite()
    return Dialog.of_uac(request, ok(request)), Dialog.of_uas(request, "b")


@pytest.mark.must("3261 12.1/1", "3261 12.1.1/11", "3261 12.1.1/12", "3261 12.1.2/10")
def test_12_both_sides_find_the_same_dialog() -> None:
    alice, bob = both()
    assert alice.id == DialogId("c1", "a", "b")
    assert bob.id == DialogId("c1", "b", "a")
    bye = alice.request("BYE")
    assert DialogId.of_request(bye) == bob.id


@pytest.mark.must("3261 12.1.1/6", "3261 12.1.2/4")
def test_12_1_the_route_set_is_the_record_route_seen_from_each_side() -> None:
    alice, bob = both()
    assert [str(route) for route in bob.route_set] == ["<sip:p2.example;lr>", "<sip:p1.example;lr;x=1>"]
    assert alice.route_set == bob.route_set[::-1]
    assert str(bob.next_hop) == "sip:p2.example;lr"


@pytest.mark.must(
    "3261 8.1.1.4/1",
    "3261 12.1.2/6",
    "3261 12.1.2/7",
    "3261 12.1.2/9",
    "3261 12.1.2/12",
    "3261 12.2.1.1/1",
    "3261 12.2.1.1/2",
    "3261 12.2.1.1/3",
    "3261 12.2.1.1/4",
    "3261 12.2.1.1/6",
    "3261 12.2.1.1/7",
    "3261 12.2.1.1/8",
    "3261 12.2.1.1/13",
)
def test_12_2_1_1_a_request_goes_to_the_remote_target_along_the_route_set() -> None:
    alice, _ = both()
    bye = alice.request("BYE", [("Reason", "Q.850 ;cause=16")], b"bye")
    assert bye.uri_text == "sip:bob@192.0.2.4:5080"
    assert [str(route) for route in bye.routes] == ["<sip:p1.example;lr;x=1>", "<sip:p2.example;lr>"]
    assert (str(bye.from_), bye.to.tag, bye.call_id) == ('"Alice" <sip:alice@atlanta.example>;tag=a', "b", "c1")
    assert (bye.cseq.number, bye.max_forwards, bye.body) == (315, 70, b"bye")
    assert bye.fields.first("reason") == "Q.850 ;cause=16"


@pytest.mark.must("3261 12.1.1/10", "3261 12.2.1.1/7", "3261 12.2.1.1/9")
def test_12_2_1_1_a_callee_numbers_its_own_requests() -> None:
    _, bob = both()
    assert [bob.request("INVITE").cseq.number, bob.request("BYE").cseq.number] == [1, 2]


@pytest.mark.must("3261 12.2.1.1/14", "3261 12.2.1.1/15", "3261 12.2.1.1/16")
def test_12_2_1_1_a_strict_router_is_in_the_request_uri() -> None:
    request = invite((b"<sip:p1.example;lr;x=1>", b"<sip:p1.example?Subject=x>"))
    bye = Dialog.of_uac(request, ok(request)).request("BYE")
    assert bye.uri_text == "sip:p1.example"
    assert [str(route) for route in bye.routes] == ["<sip:p2.example;lr>", "<sip:bob@192.0.2.4:5080>"]


@pytest.mark.must("3261 12.1.1/7", "3261 12.1.1/8", "3261 12.2.1.1/12")
def test_12_without_record_route_the_remote_target_is_the_next_hop() -> None:
    dialog = Dialog.of_uas(invite((b"Record-Route: <sip:p2.example;lr>, <sip:p1.example;lr;x=1>\n", b"")), "b")
    assert str(dialog.next_hop) == "sip:alice@pc33.atlanta.example"
    assert dialog.request("BYE").routes == ()


@pytest.mark.must("3261 17.1.1.3/1")
def test_13_2_2_4_an_ack_has_the_number_of_its_invite() -> None:
    alice, _ = both()
    alice.request("INVITE")
    assert (str(alice.ack(314).cseq), str(alice.ack(315).cseq), alice.local_cseq) == ("314 ACK", "315 ACK", 315)


@pytest.mark.must("3261 12.1.1/9", "3261 12.2.2/2", "3261 12.2.2/3", "3261 12.2.2/4")
def test_12_2_2_a_lower_number_is_out_of_order() -> None:
    alice, bob = both()
    first, second = alice.request("INFO"), alice.request("INFO")
    assert [bob.admits(second), bob.admits(second), bob.admits(first)] == [True, True, False]


@pytest.mark.must("3261 12.2.1.2/1", "3261 12.2.2/5")
def test_12_2_2_an_invite_moves_the_remote_target() -> None:
    alice, bob = both()
    bob.refresh(invite((b"pc33.atlanta.example>", b"192.0.2.7:5062>")))
    assert str(bob.remote_target) == "sip:alice@192.0.2.7:5062"
    alice.refresh(make_response(invite(), 200, to_tag="t"))
    assert str(alice.remote_target) == "sip:bob@192.0.2.4:5080"


@pytest.mark.must("3261 8.1.1.8/1")
@pytest.mark.parametrize(
    "contact", ["", "Contact: *\n", "Contact: <mailto:a@example>\n", "Contact: <sip:a@h>, <sip:b@h>\n"]
)
def test_8_1_1_8_one_sip_contact_is_needed(contact: str) -> None:
    request = invite((b"Contact: <sip:alice@pc33.atlanta.example>\n", contact.encode()))
    with pytest.raises(BadMessage, match=r"Contact|not a SIP URI"):
        Dialog.of_uas(request, "b")


def test_16_6_4_a_record_route_must_be_a_place_to_go() -> None:
    with pytest.raises(BadMessage, match="Record-Route"):
        Dialog.of_uas(invite((b"<sip:p1.example;lr;x=1>", b"<tel:+1>")), "b")
