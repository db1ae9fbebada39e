"""Messages in a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.address import Address
from p2psip.sip.message import limits
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.transports.framing import DatagramFraming, StreamFraming, framing_of
from p2psip.sip.transports.web_origins import WebOrigins
from p2psip.stun.message import may_be_stun

REMOTE = Address("192.0.2.9", 40_000)
BINDING = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"transaction."
"""A STUN binding request."""


def message_of(body: bytes = b"") -> bytes:
    return b"OPTIONS sip:a SIP/2.0\r\nl: %d\r\n\r\n%s" % (len(body), body)


def test_each_transport_has_its_framing() -> None:
    """18.3: over UDP the datagram is the message, whatever its Content-Length; a stream needs it."""
    two = message_of(b"x") + message_of()
    assert framing_of("UDP", REMOTE, WebOrigins()).feed(two) == [two]
    for transport in ("TCP", "TLS"):
        assert framing_of(transport, REMOTE, WebOrigins()).feed(two) == [message_of(b"x"), message_of()]


@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * 20, b"\r\n\r\n"])
def test_a_datagram_without_a_message_is_not_answered(data: bytes) -> None:
    framing = DatagramFraming(REMOTE)
    assert (framing.feed(data), framing.take_replies()) == ([], [])


@pytest.mark.must("5626 5.4/1", "5626 8/1")
def test_5626_a_datagram_of_stun_is_answered() -> None:
    framing = DatagramFraming(REMOTE)
    assert framing.feed(BINDING) == []
    (reply,) = framing.take_replies()
    assert may_be_stun(reply)
    assert reply[8:20] == BINDING[8:20]
    assert framing.take_replies() == []


def test_two_messages_in_one_segment() -> None:
    assert StreamFraming().feed(message_of(b"x") + message_of()) == [message_of(b"x"), message_of()]


def test_crlf_between_messages_is_ignored() -> None:
    framing = StreamFraming()
    assert framing.feed(b"\r\n" + message_of() + b"\r\n") == [message_of()]
    assert framing.take_replies() == []
    assert framing.is_between_messages


@pytest.mark.must("5626 5.4/2")
def test_ping_in_pieces() -> None:
    """RFC 5626 4.4.1: a double CRLF asks for an answer, however it arrives."""
    framing = StreamFraming()
    for byte in b"\r\n\r\n":
        assert framing.feed(bytes([byte])) == []
        assert framing.is_between_messages
    assert framing.take_replies() == [b"\r\n"]
    assert framing.take_replies() == []
    assert framing.feed(b"\r\n\r\n\r\n\r\n" + message_of()) == [message_of()]
    assert framing.take_replies() == [b"\r\n"] * 2


@pytest.mark.must("3261 18.3/3")
@pytest.mark.parametrize(
    "data",
    [
        b"OPTIONS sip:a SIP/2.0\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nl: x\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nl: 65536\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nno colon\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nl: 5\r\nl: 6\r\n\r\n",
        b"x" * 40_000,
        b"x" * 40_000 + b"\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ],
)
def test_streams_that_have_no_meaning(data: bytes) -> None:
    for cut in (0, 1, len(data) // 2):
        framing = StreamFraming()
        assert [framing.feed(message_of())] == [[message_of()]]
        assert framing.feed(data[:cut]) + framing.feed(data[cut:]) + framing.feed(message_of()) == []
        assert isinstance(framing.error, BadMessage)


@given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.integers(1, 40), min_size=1))
def test_any_segments_give_the_same_messages(bodies: list[bytes], cuts: list[int]) -> None:
    messages = [message_of(body) for body in bodies]
    stream = b"".join(messages)
    framing, got, at, turn = StreamFraming(), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        got += framing.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert got == messages
    assert framing.is_between_messages


@pytest.mark.parametrize("cut", range(5))
@pytest.mark.parametrize("excess", [0, 1])
def test_the_longest_head_however_its_end_is_cut(cut: int, excess: int) -> None:
    start = b"OPTIONS sip:a SIP/2.0\r\nl: 0\r\nX: "
    head = start + b"x" * (limits.HEAD_BYTES + excess - len(start))
    framing = StreamFraming()
    pieces = (head, b"\r\n\r\n"[:cut], b"\r\n\r\n"[cut:])
    messages = [message for piece in pieces for message in framing.feed(piece)]
    assert messages == ([] if excess else [head + b"\r\n\r\n"])
    assert (framing.error is not None) == bool(excess)
