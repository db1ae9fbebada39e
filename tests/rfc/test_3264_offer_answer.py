"""Offer and answer (RFC 3264), clause by clause, for one stream of audio."""

import random

import pytest

from p2psip.media.g711 import PCMA, PCMU
from p2psip.media.negotiation import Agreement, Direction, Negotiation
from p2psip.media.sdp import MalformedSdp, SessionDescription

ALICE = ("192.0.2.1", 4000)
BOB = ("192.0.2.2", 5000)


def negotiations() -> tuple[Negotiation, Negotiation]:
    return Negotiation(ALICE, random.Random(1)), Negotiation(BOB, random.Random(2))


def exchange(offerer: Negotiation, answerer: Negotiation) -> None:
    answer = answerer.answer(offerer.offer())
    assert answer is not None
    assert offerer.accept(answer)


def directions(*both: Negotiation) -> list[Direction]:
    return [n.agreement.direction for n in both if n.agreement]


def sdp(*lines: str) -> bytes:
    return "\n".join(["v=0", "o=- 1 1 IN IP4 192.0.2.9", "s=-", "c=IN IP4 192.0.2.9", "t=0 0", *lines]).encode()


def test_both_sides_agree() -> None:
    alice, bob = negotiations()
    exchange(alice, bob)
    assert alice.agreement == Agreement(BOB, PCMU, 0, Direction.SENDRECV, 101)
    assert bob.agreement == Agreement(ALICE, PCMU, 0, Direction.SENDRECV, 101)


def test_5_1_an_offer_is_a_whole_description() -> None:
    offer = SessionDescription.decode(negotiations()[0].offer())
    assert offer.address == "192.0.2.1"
    assert [(m.kind, m.port, m.formats) for m in offer.media] == [("audio", 4000, ("0", "8", "101"))]
    rtpmap = offer.media[0].values("rtpmap")
    assert rtpmap == ["0 PCMU/8000", "8 PCMA/8000", "101 telephone-event/8000"]
    assert offer.media[0].values("fmtp") == ["101 0-15"]


def test_6_one_m_line_in_the_answer_for_each_in_the_offer() -> None:
    """ "The answer MUST contain exactly the same number of "m=" lines as the offer." Refused ones have port zero."""
    bob = negotiations()[1]
    offer = sdp("m=video 6000 RTP/AVP 31", "m=audio 6002 RTP/AVP 0", "m=audio 6004 RTP/AVP 8")
    answer = SessionDescription.decode(bob.answer(offer) or b"")
    assert [(m.kind, m.port, m.formats) for m in answer.media] == [
        ("video", 0, ("31",)),
        ("audio", 5000, ("0",)),
        ("audio", 0, ("8",)),
    ]


@pytest.mark.parametrize(
    "media",
    [
        "m=audio 6000 RTP/AVP 9 18",
        "m=audio 0 RTP/AVP 0",
        "m=video 6000 RTP/AVP 0",
        "m=audio 6000 RTP/SAVP 0",
        "m=audio 6000 RTP/AVP 0\nc=IN IP4 phone.example.org",
        "m=audio 6000 RTP/AVP 0\nc=IN IP4 239.1.1.1/127",
        "m=audio 6000 RTP/AVP 999 x",
        "m=audio 6000 RTP/AVP 0\na=rtpmap:0 G722/8000",
    ],
)
def test_6_nothing_in_common_is_no_answer(media: str) -> None:
    bob = negotiations()[1]
    assert bob.answer(sdp(media)) is None
    assert bob.agreement is None


def test_6_1_the_offerers_numbers_and_order_are_kept() -> None:
    bob = negotiations()[1]
    lines = ["m=audio 6000 RTP/AVP 97 98 0", "a=rtpmap:97 opus/48000/2", "a=rtpmap:98 pcma/8000/1"]
    answer = bob.answer(sdp(*lines, "a=rtpmap:96 telephone-event/8000"))
    assert bob.agreement == Agreement(("192.0.2.9", 6000), PCMA, 98, Direction.SENDRECV, None)
    assert SessionDescription.decode(answer or b"").media[0].values("rtpmap") == ["98 PCMA/8000"]


def test_6_the_answer_has_the_time_of_the_offer() -> None:
    bob = negotiations()[1]
    answer = bob.answer(sdp("m=audio 6000 RTP/AVP 0").replace(b"t=0 0", b"t=2873397496 2873404696")) or b""
    assert b"t=2873397496 2873404696\r\n" in answer


def test_6_1_the_offers_ptime_is_kept() -> None:
    bob = negotiations()[1]
    for wish, kept in [("30", 30), ("20", 20), ("25", 20), ("0", 20), ("1000", 20), ("x", 20)]:
        assert bob.answer(sdp("m=audio 6000 RTP/AVP 0", f"a=ptime:{wish}"))
        assert bob.agreement
        assert bob.agreement.ptime_ms == kept


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("sendonly", "recvonly"), ("recvonly", "sendonly"), ("sendrecv", "sendrecv"), ("inactive", "inactive")],
)
def test_6_1_direction_of_the_answer(offered: str, answered: str) -> None:
    bob = negotiations()[1]
    answer = bob.answer(sdp("m=audio 6000 RTP/AVP 0", f"a={offered}")) or b""
    assert f"a={answered}\r\n".encode() in answer
    assert directions(bob) == [Direction(answered)]


def test_6_1_a_direction_may_stand_in_the_session_section() -> None:
    bob = negotiations()[1]
    assert bob.answer(sdp("a=sendonly", "m=audio 6000 RTP/AVP 0"))
    assert directions(bob) == [Direction.RECVONLY]


def test_7_an_answer_with_port_zero_leaves_nothing() -> None:
    alice = negotiations()[0]
    alice.offer()
    assert not alice.accept(sdp("m=audio 0 RTP/AVP 0"))
    assert alice.agreement is None


def test_7_an_answer_with_another_number_of_streams_is_malformed() -> None:
    alice = negotiations()[0]
    alice.offer()
    with pytest.raises(MalformedSdp, match="2 media descriptions"):
        alice.accept(sdp("m=audio 6000 RTP/AVP 0", "m=video 0 RTP/AVP 31"))


def test_8_the_version_rises_by_one_and_only_with_a_change() -> None:
    alice = negotiations()[0]
    versions = []
    for direction in (Direction.SENDRECV, Direction.SENDRECV, Direction.SENDONLY, Direction.SENDRECV):
        alice.direction = direction
        versions.append(SessionDescription.decode(alice.offer()).origin.session_version)
    assert versions == [1, 1, 2, 3]


def test_8_a_new_offer_keeps_the_place_of_each_stream() -> None:
    """ "The i-th media stream in the previous SDP [...] matches the i-th media stream in the new SDP"."""
    bob = negotiations()[1]
    bob.answer(sdp("m=video 6000 RTP/AVP 31", "m=audio 6002 RTP/AVP 8 96", "a=rtpmap:96 telephone-event/8000"))
    offer = SessionDescription.decode(bob.offer())
    assert [(m.kind, m.port, m.formats) for m in offer.media] == [
        ("video", 0, ("31",)),
        ("audio", 5000, ("0", "8", "96")),
    ]
    assert bob.accept(sdp("m=video 0 RTP/AVP 31", "m=audio 7000 RTP/AVP 8"))
    assert bob.agreement
    assert bob.agreement.remote == ("192.0.2.9", 7000)


def test_8_4_hold_and_resume() -> None:
    alice, bob = negotiations()
    exchange(alice, bob)
    alice.direction = Direction.SENDONLY
    exchange(alice, bob)
    assert directions(alice, bob) == [Direction.SENDONLY, Direction.RECVONLY]
    bob.direction = Direction.SENDONLY
    exchange(bob, alice)
    assert directions(alice, bob) == [Direction.INACTIVE, Direction.INACTIVE]
    alice.direction = bob.direction = Direction.SENDRECV
    exchange(alice, bob)
    assert directions(alice, bob) == [Direction.SENDRECV, Direction.SENDRECV]


def test_8_4_an_address_of_zero_means_send_nothing() -> None:
    bob = negotiations()[1]
    assert bob.answer(sdp("m=audio 6000 RTP/AVP 0", "c=IN IP4 0.0.0.0"))
    assert directions(bob) == [Direction.RECVONLY]
