"""What an agent between two overlays does with what it is given, whatever that is."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from p2psip.sip.entities.agents.types import ToServer
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.overlays.crossing import Crossed, CrossedOver, Crossing, OverlayEnded, crossings_of, ways_to
from p2psip.sip.entities.overlays.other_overlays import ASKED, ASKS, RINGS, OtherOverlays, agent_name
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.own_addresses import OwnAddresses

CLUB, MESH = "club.example", "mesh.example"


def config(*, is_connected: bool = True) -> ServerConfig:
    """Of the server in the mesh, where alice has a line."""
    overlays = OtherOverlays(
        MESH, {CLUB: CLUB}, has_line=lambda user: user == "alice", is_connected=lambda: is_connected
    )
    plain = ServerConfig(MESH, frozenset({MESH}), (), SipUri(MESH, "peer-mesh"), OwnAddresses())
    return replace(plain, overlays=overlays)


def crossing(way: str, *, is_connected: bool = True) -> Crossing:
    return Crossing(config(is_connected=is_connected), way, CLUB, random.Random(1))


def invite(method: str = "INVITE", from_: str = f"<sip:alice@{CLUB}>;tag=1", to: str = f"<sip:carol@{MESH}>") -> bytes:
    lines = (
        f"{method} sip:carol@{MESH} SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
        "Max-Forwards: 69",
        f"From: {from_}",
        f"To: {to}",
        "Call-ID: 1",
        f"CSeq: 1 {method}",
        f"P-Asserted-Identity: {from_.partition(';')[0]}",
        "Content-Length: 0",
    )
    return "\r\n".join([*lines, "", ""]).encode()


def brought(one: Crossing, data: bytes) -> list[object]:
    one.handle_order(CrossedOver(data), 0.0)
    return list(one.drain())


def test_what_the_server_says_is_for_the_counterpart() -> None:
    for way, there in ((ASKS, f"asked by {MESH}"), (RINGS, f"rung by {MESH}"), (ASKED, f"asks {MESH}")):
        one = crossing(way)
        one.handle_message(b"anything", 0.0)
        assert one.drain() == [Crossed(CLUB, there, b"anything")]
        assert one.drain() == []


def test_all_ways_are_there_by_their_names() -> None:
    agents = crossings_of(config(), random.Random(1))
    assert tuple(agent.name for agent in agents) == ways_to(CLUB)
    assert not any(agent.is_meant("alice") for agent in agents)
    assert crossings_of(replace(config(), overlays=OtherOverlays()), random.Random(1)) == ()


def test_who_has_a_line_here_is_called_by_it() -> None:
    (said,) = brought(crossing(ASKED), invite())
    assert isinstance(said, ToServer)
    request = parse(said.data)
    assert isinstance(request, Request)
    assert str(request.from_) == f"<sip:alice@{MESH}>;tag=1"
    assert request.fields.lines("p-asserted-identity") == [f"<sip:alice@{MESH}>"]


@pytest.mark.parametrize(
    "from_",
    [f"<sip:bob@{CLUB}>;tag=1", "<sip:alice@ham.example>;tag=1", "<tel:+441234>;tag=1", '"alice <sip:alice@', "<>"],
)
def test_of_anybody_else_nothing_is_changed(from_: str) -> None:
    (said,) = brought(crossing(ASKED), invite(from_=from_))
    assert isinstance(said, ToServer)
    assert from_.encode() in said.data
    assert MESH.encode() not in said.data.partition(b"From")[2].partition(b"To:")[0]


@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 40, b"INVITE\r\n\r\n", invite()[:60]])
def test_what_nobody_can_read_is_the_servers_to_refuse(data: bytes) -> None:
    assert brought(crossing(ASKED), data) == [ToServer(data)]
    ended = crossing(ASKS)
    ended.handle_order(OverlayEnded("it is revoked"), 0.0)
    ended.handle_message(data, 0.0)
    assert ended.drain() == []


def test_only_what_is_asked_is_looked_at() -> None:
    assert brought(crossing(RINGS), invite()) == [ToServer(invite())]


def test_outside_of_the_overlay_what_begins_something_goes_back() -> None:
    one = crossing(ASKED, is_connected=False)
    (refused,) = brought(one, invite())
    assert isinstance(refused, Crossed)
    assert (refused.overlay, refused.agent) == (CLUB, agent_name(ASKS, MESH))
    response = parse(refused.data)
    assert isinstance(response, Response)
    assert (response.status, response.reasons[0].text) == (504, f"this site is not in the overlay {MESH} now")
    assert response.via.branch == "z9hG4bK1"
    # A call that is up may be hung up.
    (said,) = brought(one, invite("BYE", to=f"<sip:carol@{MESH}>;tag=2"))
    assert isinstance(said, ToServer)


def test_one_that_has_ended_is_answered_for_and_an_ack_is_not_answered() -> None:
    one = crossing(ASKS)
    one.handle_order(OverlayEnded("it is revoked"), 0.0)
    one.handle_message(invite(), 0.0)
    (said,) = one.drain()
    assert isinstance(said, ToServer)
    response = parse(said.data)
    assert isinstance(response, Response)
    assert (response.status, response.reasons[0].text) == (504, "it is revoked")
    one.handle_message(invite("ACK", to=f"<sip:carol@{MESH}>;tag=2"), 0.0)
    assert one.drain() == []
