"""What comes over a stream means the same however TCP has cut it (RFC 3261 section 18.3)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import FlowData, FlowUp
from p2psip.sip.transports.effects import CloseFlow, SendFlow
from p2psip.sip.transports.flow_table import TransportLimits
from p2psip.sip.transports.hops import FlowHop
from p2psip.sip.transports.layer import Listener

HERE, THERE = Address("10.1.0.1", 5060), Address("10.1.0.11", 40_000)
FLOW = 1


def message(number: int, method: str = "OPTIONS", cseq: str = "", length: str = "Content-Length: 0\r\n") -> bytes:
    return (
        f"{method} sip:10.1.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 10.1.0.11;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:alice@10.1.0.1>;tag=a\r\nTo: <sip:alice@10.1.0.1>\r\nCall-ID: c\r\n"
        f"CSeq: {cseq or f'{number} {method}'}\r\n{length}\r\n"
    ).encode()


PIECES = {
    "OPTIONS": message(1),
    "REGISTER": message(2, "REGISTER"),
    "unknown method": message(3, "ODD"),
    "malformed in a good frame": message(4, cseq="4 BYE"),
    "no field": message(5, length="Content-Length: 0\r\nno colon\r\n"),
    "with a body": message(6, length="l: 4\r\n") + b"\r\n\r\n",
    "ping": b"\r\n\r\n",
    "pong": b"\r\n",
}
ENDS = {
    "none": b"",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n" * 9,
    "no length": message(7, length=""),
    "two lengths": message(8, length="l: 0\r\nl: 1\r\n"),
    "too long a body": message(9, length="l: 999999\r\n"),
    "too long a head": b"OPTIONS sip:" + b"x" * 33_000,
    "too long a head that ends": b"OPTIONS sip:" + b"x" * 33_000 + b"\r\n\r\n",
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "half a message": message(10)[:100],
}


def answers(chunks: list[bytes]) -> tuple[list[bytes], int, bool]:
    """What a server says to these chunks, how many pongs it sends, whether it closes the connection.

    In which order it answers different requests has no meaning.
    """
    config = ServerConfig("overlay.example", frozenset({"10.1.0.1"}), (Listener("TCP", HERE),), SipUri("o", "p"))
    server = SipServer(config, random.Random(1))
    server.handle(FlowUp(FLOW, "TCP", HERE, THERE), 0.0)
    for chunk in chunks:
        server.handle(FlowData(FLOW, chunk), 0.0)
    deadline = server.next_deadline()
    assert deadline is not None
    if deadline.at == 0.0:
        server.handle_timeout(0.0)
    effects = server.drain()
    sent = [effect.data for effect in effects if isinstance(effect, SendFlow)]
    said = sorted(data for data in sent if data != b"\r\n")
    return said, len(sent) - len(said), CloseFlow(FLOW) in effects


def cut_at(stream: bytes, places: list[int]) -> list[bytes]:
    inner = sorted({place % (len(stream) + 1) for place in places})
    return [stream[a:b] for a, b in zip([0, *inner], [*inner, len(stream)], strict=True)]


@given(
    st.lists(st.sampled_from(sorted(PIECES)), unique=True),
    st.sampled_from(sorted(ENDS)),
    st.lists(st.integers(0, 100_000), max_size=12),
)
def test_18_3_any_cut_of_a_stream_gives_the_same_answers(pieces: list[str], end: str, places: list[int]) -> None:
    stream = b"".join(PIECES[piece] for piece in pieces) + ENDS[end]
    assert answers(cut_at(stream, places)) == answers([stream])


@pytest.mark.parametrize("end", sorted(ENDS))
def test_18_3_what_is_in_front_of_garbage_is_answered(end: str) -> None:
    """Byte by byte and in one piece; and what can be answered of the garbage is."""
    stream = PIECES["OPTIONS"] + PIECES["ping"] + ENDS[end]
    said, pongs, is_closed = answers([stream])
    assert said[0].startswith(b"SIP/2.0 200 ")
    assert pongs == 1 or end == "TLS"
    assert is_closed == (end not in ("none", "half a message"))
    last = {"no length": b"SIP/2.0 400 ", "two lengths": b"SIP/2.0 400 ", "too long a body": b"SIP/2.0 413 "}
    if end in last:
        assert said[1].startswith(last[end])
    else:
        assert len(said) == 1
    assert answers([bytes([byte]) for byte in stream]) == (said, pongs, is_closed)


def test_a_phone_over_tls_stays_however_many_strangers_come(world: Any) -> None:
    """They may have spoken, and been answered; who has shown a password makes room for none of them."""
    one = world.server("one", "10.1.0.1", transport_limits=TransportLimits(flows=3, flows_per_host=3))
    phone = world.phone("alice", one, Address("10.1.0.11", 5060), "TLS")
    phone.register()
    world.settle()
    for number in range(9):
        flow = one.next_flow()
        one.core.handle(FlowUp(flow, "TCP", one.address, Address("10.1.0.11", 40_000 + number)), world.now)
        one.core.handle(FlowData(flow, message(number)), world.now)
        world.run(1.0)
    (binding,) = one.core.bindings("alice", world.now)
    assert binding.hops[0] == FlowHop(1)
    assert [note.facts["outcome"] for note in one.notes if note.event == "too many SIP connections"] == ["ended"] * 7
